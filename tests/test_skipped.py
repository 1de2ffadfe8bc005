"""The end of a test run names what was skipped, and how to get it."""

import subprocess
import sys

import pytest


@pytest.fixture
def how_to_run(root, request):
    return request.config.pluginmanager.get_plugin(str(root / "conftest.py")).how_to_run


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("Skipped: could not import 'torch': No module named 'torch'", "needs torch: pip install torch onnx"),
        ("Skipped: could not import 'onnx': No module named 'onnx'", "needs onnx: pip install onnx"),
        ("Skipped: could not import 'pyarrow.parquet': …", "needs pyarrow: pip install pyarrow"),
        ("Skipped: ../shared/eval is missing", "../shared/eval is missing"),
    ],
)
def test_a_missing_package_is_named_with_its_command(how_to_run, reason, expected):
    assert how_to_run(reason) == expected


def test_a_run_lists_them(root, tmp_path):
    """Two processes, with the benchmark's plugin too: its warning about them is no error."""
    (tmp_path / "conftest.py").write_text((root / "conftest.py").read_text(encoding="utf-8"))
    (tmp_path / "pyproject.toml").write_text((root / "pyproject.toml").read_text(encoding="utf-8"))
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_it.py").write_text(
        "import pytest\n\ndef test_a():\n    pytest.importorskip('no_such_module')\n\ndef test_b():\n    pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "1", "tests"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "1 passed, 1 skipped" in done.stdout, done.stdout + done.stderr
    assert "   1  needs no_such_module: pip install no_such_module\n" in done.stdout
    assert "   1  the slow tests, such as installations and trainings" in done.stdout
