"""``tddfa serve`` as a process."""

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from tddfa.cli import _parsers, main

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")
pytest.importorskip("prometheus_client")

KEY = "correct-horse-battery"


@contextlib.contextmanager
def serving(*options):
    """A process, and its address."""
    command = [sys.executable, "-m", "tddfa", "serve", "--port", "0", "--device", "cpu", "--no-page", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address), address or process.stderr.read()
        yield process, address.removeprefix("http://")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def until(condition):
    """Wait for a condition."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def metric(address, name):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=60) as answer:
        return float(re.search(rf"^{name} (\S+)$", answer.read().decode(), re.MULTILINE)[1])


def is_refused(address):
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=60).close()
    except ConnectionRefusedError:
        return True
    return False


def test_what_runs_is_finished_and_the_rest_refused_when_it_is_asked_to_end(root):
    photo = (root / "examples/inputs/astronaut.jpg").read_bytes()
    with serving() as (process, address):
        running = http.client.HTTPConnection(address, timeout=60)
        running.putrequest("POST", "/v1/faces?outputs=pose")
        running.putheader("Content-Type", "image/jpeg")
        running.putheader("Content-Length", str(len(photo)))
        running.endheaders()
        running.send(photo[:1000])
        until(lambda: metric(address, "tddfa_requests_in_flight") == 1)
        process.send_signal(signal.SIGTERM)
        until(lambda: is_refused(address))
        assert process.poll() is None
        running.send(photo[1000:])
        answer = running.getresponse()
        (face,) = json.load(answer)["faces"]
        running.close()
        assert abs(face["pose"]["yaw"]) < 10  # she looks into the camera
        out, errors = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, "")
        *asked, last = errors.splitlines()
        assert re.fullmatch(r"\S+ POST /v1/faces 200 \d+ \d+", last)
        assert all(re.fullmatch(r"\S+ GET /metrics 200 \d+ \d+", line) for line in asked)


def test_a_key_from_a_file(tmp_path):
    (tmp_path / "key").write_text(KEY)
    with serving("--api-key-file", str(tmp_path / "key")) as (process, address):
        request = urllib.request.Request(f"http://{address}/v1/models")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=60)
        assert refused.value.code == 401
        refused.value.close()
        request.add_header("Authorization", f"Bearer {KEY}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert json.load(answer)["loaded"]["device"] == "cpu"
        process.send_signal(signal.SIGINT)  # Ctrl-C
        errors = process.communicate(timeout=60)[1]
        assert process.returncode == 0
        assert KEY not in errors


def test_a_key_that_is_none_is_named(tmp_path, capsys):
    (tmp_path / "key").write_text("short")
    assert main(["serve", "--api-key-file", str(tmp_path / "key")]) == 1
    assert f"error: {tmp_path / 'key'}: expected one line with a key of 16 " in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["serve", "--port", str(port), "--device", "cpu"]) == 1
    assert f"error: 127.0.0.1, port {port}: cannot listen there: " in capsys.readouterr().err


def test_missing_packages_are_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve"]) == 1
    assert capsys.readouterr().err == (
        "tddfa: error: tddfa serve needs fastapi and uvicorn and python-multipart and prometheus-client: "
        "pip install fastapi uvicorn python-multipart prometheus-client\n"
    )


def test_defaults():
    options = _parsers()[0].parse_args(["serve"])
    assert (options.host, options.port, options.max_megabytes, options.max_megapixels) == ("127.0.0.1", 8000, 20, 50)
    assert options.max_batch == 1  # an answer is that of the image alone, to the last digit
    assert (options.max_requests, options.max_seconds, options.api_key_file, options.cors_origin) == (16, 30, None, [])


@pytest.mark.parametrize("origin", ["example.org", "https://example.org/page", "https://", "null", "https://a@b.org"])
def test_an_origin_that_is_none(origin, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--cors-origin", origin])
    assert ended.value.code == 2
    assert f"expected * or an origin such as https://example.org, got {origin!r}" in capsys.readouterr().err


def test_an_empty_address_is_not_all_of_them(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--host", ""])
    assert ended.value.code == 2
    assert "--host: expected an address" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 80, "a..b"])
def test_an_address_that_is_none_is_named(host, capsys):
    assert main(["serve", "--host", host, "--no-page", "--device", "cpu"]) == 1
    err = capsys.readouterr().err
    assert f"{host}, port 8000: cannot listen there" in err
    assert "fault of tddfa" not in err


def test_boxes_by_the_names_of_files_are_no_detector_of_a_service(tmp_path, capsys):
    (tmp_path / "boxes.json").write_text("{}")
    (tmp_path / "mine.yml").write_text("base: open_mb05\ndetector: {kind: boxes, boxes: boxes.json}\n")
    assert main(["serve", "-c", str(tmp_path / "mine.yml"), "--no-page", "--device", "cpu"]) == 2
    assert "--config: expected a detector that finds faces" in capsys.readouterr().err
