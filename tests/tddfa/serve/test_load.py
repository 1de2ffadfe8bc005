"""The benchmark of the service under load: nothing is lost, and every answer is that of the plain loop."""

import subprocess
import sys

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")


@pytest.mark.slow
def test_many_clients(root):
    command = [sys.executable, root / "benchmarks/serve_load.py", "--photos", "48", "--clients", "16", "--block", "24"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 lost, 0 wrong, 0 refused and sent again" in done.stdout
    assert "48 photos of 512 x 512, 16 clients, blocks of 24" in done.stdout
