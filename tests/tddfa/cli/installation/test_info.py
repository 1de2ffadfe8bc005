"""``tddfa info`` in a sound installation, and in broken ones: each line reports its own failure."""

import argparse
import os
import re
import subprocess
import sys
from importlib import metadata

import pytest

import tddfa
from tddfa import Aligner
from tddfa.cli import main
from tddfa.cli.installation import info, probes
from tddfa.model import assets

LABELS = [
    "tddfa", "Python", "system", "packages", "extras", "OpenCV", "ONNX Runtime", "models", "cache", "self-test",
]  # fmt: skip


def lines_of(text):
    """Label -> what is printed for it."""
    lines = {}
    label = ""
    for line in text.splitlines():
        label = line[:13].strip() or label
        lines[label] = "\n".join(filter(None, [lines.get(label), line[14:]]))
    return lines


@pytest.fixture
def without_children(monkeypatch):
    """No check of a compiled package: those take a process each."""
    quick = tuple(
        (label, check) for label, check in info._CHECKS if label not in ("OpenCV", "ONNX Runtime", "self-test")
    )
    monkeypatch.setattr(info, "_CHECKS", quick)


@pytest.fixture
def run(capfd, without_children):
    def call():
        status = main(["info"])
        out, err = capfd.readouterr()
        assert err == ""
        return status, lines_of(out)

    return call


def process(tmp_path, **environment):
    """Run the command in a folder of its own; return its status and lines."""
    done = subprocess.run(
        [sys.executable, "-m", "tddfa", "info"],
        cwd=tmp_path, env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return done.returncode, lines_of(done.stdout)


def test_a_sound_installation(tmp_path):
    status, lines = process(tmp_path, TDDFA_CACHE=str(tmp_path / "cache"))
    assert status == 0
    assert list(lines) == LABELS
    assert lines["tddfa"].startswith(tddfa.__version__)
    assert f"numpy {metadata.version('numpy')}" in lines["packages"]
    assert "CPU; CUDA devices: " in lines["ONNX Runtime"]
    assert lines["cache"] == f"{tmp_path}/cache (TDDFA_CACHE is set): empty"
    assert re.match(r"passed: one face in the example photo, on \w+, \d+ ms", lines["self-test"])
    assert not (tmp_path / "cache").exists()


def test_a_folder_of_weights_that_does_not_exist(monkeypatch, capsys):
    monkeypatch.setenv("TDDFA_WEIGHTS", "/nope")
    monkeypatch.setattr(info, "_CHECKS", (("models", info._models),))
    assert info.run_info(argparse.Namespace()) == 1
    assert capsys.readouterr().out == "models        FAILED: TDDFA_WEIGHTS: expected a folder, got /nope\n"


def test_a_broken_one_costs_its_own_lines(tmp_path):
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    (stubs / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    (stubs / "onnxruntime.py").write_text("import os; os.abort()")
    (stubs / "yaml.py").write_text("raise RuntimeError('broken')")
    (stubs / "numpy.py").write_text("import nothing_of_this_name")
    (tmp_path / "cache").touch()
    status, lines = process(tmp_path, PYTHONPATH=str(stubs), TDDFA_CACHE=str(tmp_path / "cache"))
    assert status == 1
    assert list(lines) == LABELS
    assert lines["OpenCV"] == "FAILED: ImportError: libGL.so.1: cannot open shared object file"
    assert lines["ONNX Runtime"].startswith("FAILED: ")
    assert lines["cache"] == f"FAILED: {tmp_path}/cache is not a folder that can be written (TDDFA_CACHE is set)"
    assert "nothing_of_this_name" in lines["self-test"]
    for label in ("tddfa", "Python", "system", "packages", "extras", "models"):
        assert "FAILED" not in lines[label]


class TestChildren:
    def test_a_crash_is_named(self, monkeypatch):
        monkeypatch.setattr(sys, "executable", "/bin/false")
        with pytest.raises(info._FailedError, match=r"^$"):
            info._in_child("opencv")
        assert list(info._ending(-6)) == ["ended by SIGABRT"]
        assert list(info._ending(3)) == ["ended with status 3"]

    def test_a_crash_does_not_end_the_command(self, tmp_path, monkeypatch):
        (tmp_path / "onnxruntime.py").write_text("import os; os.abort()")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(info._FailedError, match="ended by SIGABRT"):
            info._in_child("onnxruntime")

    def test_one_that_hangs_is_stopped(self, tmp_path, monkeypatch):
        (tmp_path / "cv2.py").write_text("import time; time.sleep(60)")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(info, "_TIMEOUT", 0.5)
        with pytest.raises(info._FailedError, match=r"no result within 0\.5 s"):
            info._in_child("opencv")


class TestSelfTest:
    def test_another_result_fails(self, aligner, monkeypatch):
        monkeypatch.setattr(Aligner, "load", lambda: aligner)
        assert probes.self_test().startswith("passed")
        monkeypatch.setattr(probes, "_EXPECTED", (200.0, 126.5))
        with pytest.raises(ValueError, match=r"expected the tip of the nose at 200\.0, 126\.5, got 22\d\.\d, 12\d\.\d"):
            probes.self_test()
        monkeypatch.setattr(Aligner, "load", lambda: lambda image: [])
        with pytest.raises(ValueError, match="expected one face in the example photo, got 0"):
            probes.self_test()


class TestModels:
    def test_missing_and_changed_files_are_named(self, run, tmp_path, monkeypatch):
        monkeypatch.setattr(assets, "data_folder", lambda: tmp_path)
        (tmp_path / "weights").mkdir()
        (tmp_path / "weights/open_mb05.onnx").write_bytes(b"something else")
        status, lines = run()
        assert status == 1
        assert lines["models"].startswith("FAILED: ")
        assert "open_face.npz: no such file" in lines["models"]
        assert "open_mb05.onnx: not the released file" in lines["models"]

    def test_fetched_ones_are_listed(self, run, tmp_path, monkeypatch):
        monkeypatch.setenv("TDDFA_CACHE", str(tmp_path))
        (tmp_path / "3ddfa_v2").mkdir()
        (tmp_path / "3ddfa_v2/mb1_120x120.yml").write_bytes(b"x" * 200_000)
        status, lines = run()
        assert (status, lines["cache"].partition(": ")[2]) == (0, "1 file, 0.2 MB; fetched models: mb1_120x120")


class TestPackages:
    @pytest.fixture
    def installed(self, monkeypatch):
        """Changes which packages seem to be installed: name -> version, None for a missing one."""

        def change(**versions):
            versions = {name.replace("_", "-"): version for name, version in versions.items()}
            real = metadata.version

            def version(name):
                found = versions[name] if name in versions else real(name)
                if found is None:
                    raise metadata.PackageNotFoundError(name)
                return found

            monkeypatch.setattr(metadata, "version", version)

        return change

    def test_a_missing_one_is_named(self, run, installed):
        installed(pooch=None, onnxruntime=None, onnxruntime_gpu=None)
        status, lines = run()
        assert (status, lines["packages"]) == (1, "FAILED: missing: pip install onnxruntime pooch")

    def test_variants_count_and_two_of_them_are_a_warning(self, run, installed):
        variants = ("opencv_python", "opencv_contrib_python", "opencv_contrib_python_headless")
        installed(**dict.fromkeys(variants), opencv_python_headless="4.11.0.86")
        status, lines = run()
        assert status == 0
        assert "opencv-python-headless 4.11.0.86" in lines["packages"]
        assert "warning" not in lines["packages"]
        installed(opencv_python="4.12.0.88")
        status, lines = run()
        assert status == 0
        assert "warning: opencv-python 4.12.0.88 and opencv-python-headless 4.11.0.86 write" in lines["packages"]

    def test_extras(self, run, installed):
        installed(pi_heif=None, python_osc="1.9.3")
        _, lines = run()
        extras = dict(line.split(maxsplit=1) for line in lines["extras"].splitlines())
        assert extras["heic"] == "missing: pip install pi-heif"
        assert extras["avatar"] == "python-osc 1.9.3"
        assert "pi-heif" in extras["test"]

    def test_an_extra_of_a_package_is_looked_into(self, monkeypatch):
        required = {"runtime": ["base>=1", "cuda-library; extra == 'cuda'"]}
        monkeypatch.setattr(metadata, "requires", required.get)
        there = {"runtime": "2", "base": "1"}
        monkeypatch.setattr(info, "_version", there.get)
        assert info._extra({"runtime": "cuda"}) == "missing: pip install 'runtime[cuda]'"
        assert info._extra({"runtime": ""}) == "runtime 2"
        there["cuda-library"] = "3"
        assert info._extra({"runtime": "cuda"}) == "runtime 2"

    def test_a_checkout_that_is_not_installed_says_so(self, run, installed):
        installed(tddfa=None)
        status, lines = run()
        assert status == 1
        assert lines["packages"] == "FAILED: tddfa is not installed as a package, so its requirements are not known"
        assert "not known" in lines["extras"]
        assert "FAILED" not in lines["models"]
