"""``tddfa serve`` as a process."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from tddfa.cli import _parsers, main

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")


def test_it_answers_on_this_machine_alone_and_ends_when_asked(root):
    command = [sys.executable, "-m", "tddfa", "serve", "--port", "0", "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address), address or process.stderr.read()
        photo = (root / "examples/inputs/astronaut.jpg").read_bytes()
        request = urllib.request.Request(f"{address}/v1/faces", photo, {"Content-Type": "image/jpeg"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            (face,) = json.load(answer)["faces"]
        assert abs(face["pose"]["yaw"]) < 10  # she looks into the camera
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=30)
        assert (process.returncode, out, errors) == (130, "", "")
    finally:
        process.kill()
        process.wait()


def test_a_port_that_is_taken_is_named(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["serve", "--port", str(port), "--device", "cpu"]) == 1
    assert f"error: 127.0.0.1, port {port}: cannot listen there: " in capsys.readouterr().err


def test_missing_packages_are_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve"]) == 1
    expected = "tddfa serve needs fastapi and uvicorn and python-multipart: "
    assert capsys.readouterr().err == f"tddfa: error: {expected}pip install fastapi uvicorn python-multipart\n"


def test_defaults():
    options = _parsers()[0].parse_args(["serve"])
    assert (options.host, options.port, options.max_megabytes, options.max_megapixels) == ("127.0.0.1", 8000, 20, 50)
