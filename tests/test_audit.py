"""The workflow that looks for packages with known vulnerabilities."""

import re
import subprocess
import sys

import pytest
import yaml


@pytest.fixture
def workflow(root):
    return yaml.safe_load((root / ".github/workflows/audit.yml").read_text(encoding="utf-8"))


def test_every_extra_is_audited(root, workflow):
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11 or later")
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    commands = "\n".join(step.get("run", "") for step in workflow["jobs"]["pip-audit"]["steps"])
    (code,) = re.findall(r"python -c '(.+)'\)", commands)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=root, capture_output=True, text=True, check=True, timeout=100
    )
    assert set(done.stdout.strip().split(",")) == set(project["optional-dependencies"]) - {"cuda"}
    assert '".[$extras]"' in commands and "pip_audit" in commands and "--strict" in commands


def test_it_runs_each_week_and_may_only_read(workflow):
    triggers = workflow[True]  # YAML's name for ``on``
    assert triggers["schedule"] and "pyproject.toml" in triggers["pull_request"]["paths"]
    assert workflow["permissions"] == {"contents": "read"}
