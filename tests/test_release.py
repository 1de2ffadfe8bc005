"""What is published: an sdist that builds in a bare environment, and wheels that run on every Python at hand."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tddfa.model.assets import NOT_IN_WHEELS, REGISTRY

pytestmark = [pytest.mark.slow, pytest.mark.network]

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
MAX_WHEEL = 30_000_000  # bytes


def interpreters():
    """The Pythons of the PATH and of pyenv that can compile extensions, by version."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = {}
    for version in PYTHONS:
        on_path = shutil.which(f"python{version}")
        for python in sorted(versions.glob(f"{version}.*/bin/python")) + ([Path(on_path)] if on_path else []):
            code = "import ensurepip, os, sysconfig as s; print(os.path.isfile(s.get_path('include') + '/Python.h'))"
            done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
            if done.stdout.strip() == "True":
                found[version] = python
                break
    return found


def call(*command, cwd):
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "TDDFA_WEIGHTS")}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


@pytest.fixture(scope="module")
def sdist(root, tmp_path_factory):
    """The sdist of a copy of the checkout, without compiled files and what Cython has written."""
    folder = tmp_path_factory.mktemp("release")
    skipped = shutil.ignore_patterns(".*", "build", "*.egg-info", "*.so", "*.pyd", "__pycache__", "results", "_*.cpp")
    shutil.copytree(root, folder / "source", ignore=skipped)
    # in an environment of its own, with what pyproject.toml asks for and nothing else
    call(sys.executable, "-m", "build", "--sdist", "--outdir", folder / "dist", folder / "source", cwd=folder)
    shutil.rmtree(folder / "source")
    (file,) = (folder / "dist").iterdir()
    return file


@pytest.fixture(scope="module")
def wheel(sdist):
    """Builds the wheel of a Python from the sdist, in an environment of its own; returns its Python and the wheel."""
    made = {}

    def build(python, version):
        if version not in made:
            folder = sdist.parents[1] / version
            call(python, "-m", "venv", folder / "env", cwd=sdist.parent)
            program = folder / "env" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
            call(program, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, sdist, cwd=folder)
            (file,) = folder.glob("*.whl")
            made[version] = program, file
        return made[version]

    return build


@pytest.fixture(scope="module")
def own(wheel):
    """The wheel of this Python."""
    return wheel(sys.executable, "own")[1]


def test_the_sdist_has_sources_and_nothing_that_was_compiled(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "FaceBoxes/_nms.pyx", "Sim3DR/core/rasterize.cpp", "Sim3DR/core/rasterize.h", "tddfa/crops.cpp", "LICENSE",
        "tddfa/surface/_texels.pyx", "configs/open_face.npz", "weights/open_mb05.onnx", "CHANGELOG.md",
    } <= names  # fmt: skip
    assert not [name for name in names if name.endswith((".so", ".pyd")) or re.search(r"/_\w+\.cpp$", name)]
    assert sdist.stat().st_size <= MAX_WHEEL


def test_the_wheel_has_the_default_model_and_is_small(own):
    assert own.stat().st_size <= MAX_WHEEL
    names = {name.removeprefix("tddfa/") for name in zipfile.ZipFile(own).namelist()}
    assert names & set(REGISTRY) == set(REGISTRY) - set(NOT_IN_WHEELS)
    assert not names & set(NOT_IN_WHEELS)


def test_its_metadata(own):
    archive = zipfile.ZipFile(own)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = archive.read(name).decode()
    assert "License-Expression: MIT\n" in metadata
    assert "Project-URL: Documentation, https://" in metadata
    # the README of a package index, which has no other files of the repository
    assert "# tddfa\n" in metadata
    assert re.search(r"!\[[^]]+\]\(https://\S+/raw/v[\d.]+/docs/overview\.jpg\)", metadata)
    assert not re.search(r"\]\((?!https?:|#)", metadata)


@pytest.mark.skipif(sys.platform != "linux", reason="auditwheel reads wheels of Linux")
def test_auditwheel_finds_no_library_that_a_platform_wheel_may_not_need(own):
    pytest.importorskip("auditwheel")
    done = call(sys.executable, "-m", "auditwheel", "show", own, cwd=own.parent)
    assert re.search(r'consistent with the following platform\s+tag: "(manylinux_\S+)"', done.stdout.replace("\n", " "))


@pytest.mark.parametrize(
    "version",
    [
        # minutes each: CI runs this Python alone
        pytest.param(version, marks=() if version == "{}.{}".format(*sys.version_info) else pytest.mark.release)
        for version in PYTHONS
    ],
)
def test_it_runs_on_every_python_from_another_folder(wheel, root, tmp_path, version):
    own = version == "{}.{}".format(*sys.version_info)
    python = sys.executable if own else interpreters().get(version)
    if python is None:
        pytest.skip(f"no Python {version} with its headers on the PATH or in pyenv")
    program, file = wheel(python, "own" if own else version)
    pip = (program, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    call(*pip, "-r", root / "requirements/headless-cpu.txt", cwd=tmp_path)
    call(*pip, "--no-deps", file, cwd=tmp_path)
    try:
        info = call(program, "-m", "tddfa", "info", cwd=tmp_path)
        assert "FAILED" not in info.stdout
        assert re.search(r"^self-test +passed: one face", info.stdout, re.M)
        assert f"{len(NOT_IN_WHEELS)} more are in a checkout" in info.stdout
        photo = root / "examples/inputs/astronaut.jpg"
        done = call(program, "-m", "tddfa", "image", photo, "-o", "3d,glb", "--json", "--out", "here", cwd=tmp_path)
        assert done.stderr == ""
        names = {path.name for path in (tmp_path / "here").iterdir()}
        assert names == {"astronaut_3d.jpg", "astronaut.glb", "astronaut.json"}
        weights = ("--weights", root / "weights")
        done = call(program, "-m", "tddfa", "image", photo, "-c", "jvcr_s", *weights, "--out", "jvcr", cwd=tmp_path)
        assert done.stderr == ""
    finally:
        shutil.rmtree(program.parents[1])  # hundreds of megabytes; the wheel stays
