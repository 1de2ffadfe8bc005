"""Drivers and workers that are killed at random moments: the rows are those of a run that nobody disturbed."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from builders_scale import errors, faces, manifests, sorted_rows

pytest.importorskip("fsspec")
pytest.importorskip("pyarrow")

WAIT = 240  # s, for a machine with much else to do


def start(out, photos, workers):
    """Start the command; its processes and those of its Ray can be found by a variable of their environment."""
    environment = os.environ | {"TDDFA_TEST": str(out), "RAY_worker_niceness": "0"}
    command = [sys.executable, "-m", "tddfa", "scale", photos, "--out", out, "--shard-size", "1"]
    return subprocess.Popen(
        [*command, "--workers", str(workers)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def wait_for(condition):
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def done(out):
    return len(list((out / "_tddfa/done").glob("*.json")))


def processes(out, name):
    """Numbers of the processes of a run with this beginning of their command."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            marked = entry.name.isdigit() and f"TDDFA_TEST={out}\0".encode() in (entry / "environ").read_bytes()
            if marked and (entry / "cmdline").read_bytes().startswith(name.encode()):
                found.append(int(entry.name))
    return sorted(found)


def kill(number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_a_driver_that_is_killed_and_started_again(do, photos, tmp_path, seed):
    out, whole = tmp_path / "out", tmp_path / "whole"
    do(photos, out="whole", shard_size=1)
    moments = random.Random(seed)
    with start(out, photos, workers=0) as driver:
        wait_for(lambda: done(out) >= moments.randrange(1, 8) or driver.poll() is not None)
        kill(driver.pid)
    before = done(out)
    with start(out, photos, workers=0) as driver:
        _, printed = driver.communicate(timeout=WAIT)
    assert driver.returncode == 1, printed  # two photos cannot be read
    assert 0 < before <= done(out) == 13
    assert faces(out) == faces(whole)
    assert errors(out) == errors(whole)
    assert not list(out.rglob("*.part"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
@pytest.mark.parametrize("seed", [2, 3])
def test_workers_and_a_driver_that_are_killed_at_random_moments(do, scale_photos, tmp_path, seed):
    pytest.importorskip("ray")
    photos, out, whole = tmp_path / "photos", tmp_path / "out", tmp_path / "whole"
    photos.mkdir()
    for number in range(5):  # of other names: a restart may not confuse them
        for path in scale_photos.rglob("*.*g"):
            (photos / f"{number}_{path.name}").write_bytes(path.read_bytes())
    do(photos, out="whole", shard_size=1, threads=1)
    count = len(list(photos.iterdir()))
    moments = random.Random(seed)
    targets = ["worker", "driver", "worker"]
    moments.shuffle(targets)
    driver = start(out, photos, workers=2)
    try:
        for target in targets:
            first = done(out)
            wanted = first + moments.randrange(1, count // 5)
            wait_for(lambda wanted=wanted, driver=driver: done(out) >= wanted or driver.poll() is not None)
            time.sleep(moments.random() / 20)  # within a shard
            if target == "worker" and (workers := processes(out, "ray::MapWorker")):
                kill(moments.choice(workers))
            elif target == "driver":
                kill(driver.pid)
                driver.communicate(timeout=WAIT)
                wait_for(lambda: not processes(out, "ray::"))  # they end with their driver
                driver = start(out, photos, workers=2)
        _, printed = driver.communicate(timeout=WAIT)
        assert driver.returncode == 1, printed
    finally:
        kill(driver.pid)
        driver.wait()
        driver.stderr.close()
    assert done(out) == len(manifests(out)) == count
    assert sorted_rows(faces(out)) == sorted_rows(faces(whole))
    assert errors(out) == errors(whole)
