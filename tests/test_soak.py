"""Long runs: memory stays where it is after the first part, and no descriptor is left open.

Short forms by ``pytest -m slow``; ``pytest -m soak --soak 1`` takes 10,000 frames, 5,000 photos, 6,400 requests and two
hours of a camera, which are 180,000 frames.
"""

from __future__ import annotations

import concurrent.futures
import json
import re
import signal
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from builders_soak import PHOTO, state

pytestmark = [
    pytest.mark.soak,
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux: /proc tells memory and descriptors"),
]

# A short run sees memory reach its working size (5 %), and go up and down (3 %). A frame that is kept at each unit is
# more than that.
MAX_GROWTH, MAX_GROWTH_OF_SHORT, LONG = 0.02, 0.10, 1000
CLIENTS = 64


@pytest.fixture
def count(request):
    """Units of work: a number for a whole run, times ``--soak``."""
    return lambda whole, least: max(round(whole * request.config.getoption("--soak")), least)


def check(noted, record_property):
    """Compare the part from 20 to 50 % of a run with its last 30 %."""
    units = noted[-1][0]
    assert len(noted) >= 10
    early = [note for note in noted if 0.2 * units <= note[0] <= 0.5 * units]
    late = [note for note in noted if note[0] >= 0.7 * units]
    before, after = (statistics.median(megabytes for _, megabytes, _ in part) for part in (early, late))
    record_property("soak", f"{units} units, {before:.1f} -> {after:.1f} MB, {late[-1][2]} descriptors")
    limit = MAX_GROWTH if units >= LONG else MAX_GROWTH_OF_SHORT
    assert after <= (1 + limit) * before, f"{units} units: {before:.1f} -> {after:.1f} MB"
    assert {descriptors for *_, descriptors in late} <= {descriptors for *_, descriptors in early}


def at_rest(process, descriptors):
    """The state of a process once it has closed its connections: no more descriptors than before, or after a minute."""
    deadline = time.monotonic() + 60
    while state(process)[1] > descriptors and time.monotonic() < deadline:
        time.sleep(0.05)
    return state(process)


@pytest.mark.parametrize(
    ("kind", "whole", "least"), [("photos", 5000, 300), ("video", 10_000, 300), ("webcam", 180_000, 500)]
)
def test_commands(root, tmp_path, count, record_property, kind, whole, least):
    command = [sys.executable, root / "tests/builders_soak.py", kind, str(count(whole, least)), tmp_path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["status"] == (1 if kind == "photos" else 0), done.stderr  # damaged photos are told
    check(result["noted"], record_property)


def test_clients_of_the_service(count, record_property):
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    pytest.importorskip("python_multipart")
    total = count(6400, 4 * CLIENTS)
    whole = PHOTO.read_bytes()
    bodies = [whole, whole[:5000], b"no image", whole]
    command = [sys.executable, "-m", "tddfa", "serve", "--port", "0", "--max-requests", str(CLIENTS), "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address), address

        def ask(number):
            request = urllib.request.Request(
                f"{address}/v1/faces?dense=false", bodies[number % len(bodies)], {"Content-Type": "image/jpeg"}
            )
            try:
                with urllib.request.urlopen(request, timeout=600) as answer:
                    return answer.status
            except urllib.error.HTTPError as error:
                with error:
                    return error.code

        noted, statuses = [], []
        ask(0)
        time.sleep(1)  # its connection is closed, and what stays open is open
        open_before = state(process.pid)[1]
        step = max(total // 40, CLIENTS // 4)
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
            for begin in range(0, total, step):
                statuses += clients.map(ask, range(begin, min(begin + step, total)))
                noted.append((len(statuses), *at_rest(process.pid, open_before)))
        assert set(statuses) == {200, 400}
        assert statuses.count(200) == sum(number % len(bodies) in (0, 3) for number in range(total))
        check(noted, record_property)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, 130)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
