"""`repro.sh`: the failures of earlier versions do not come back."""

import re
import subprocess
from pathlib import Path

import pytest


@pytest.mark.slow
def test_nothing_fails_again(root, cases):
    if not Path(root, ".venv/bin/python").exists():
        pytest.skip("needs .venv: ./build.sh")
    done = subprocess.run(
        ["bash", root / "tests/repro.sh", root, cases], capture_output=True, text=True, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout
    assert done.stdout.count("PASS") >= 35


def test_a_failure_ends_with_status_1(root, tmp_path):
    """A checkout whose Python is ``false`` fails at the first line."""
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/bin/false")
    photo = tmp_path / "examples/inputs/astronaut.jpg"
    photo.parent.mkdir(parents=True)
    photo.touch()
    done = subprocess.run(
        ["bash", root / "tests/repro.sh", tmp_path, tmp_path], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.match(r"FAIL  photo \.\.jpg: status 1, expected 0", done.stdout)
    passed = re.findall("^PASS .*", done.stdout, re.MULTILINE)
    assert all(line.endswith("the old file") for line in passed), passed  # nothing wrote over it
