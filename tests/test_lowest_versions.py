"""The lowest versions that pyproject.toml allows, installed on the oldest Python at hand, run the commands."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = [pytest.mark.slow, pytest.mark.network]

# The lowest versions are of 2022 to 2025, and not all of them have wheels for Python 3.12 and later.
PYTHONS = ("3.10", "3.11")
# torch and CUDA's libraries are gigabytes; the pages are built by the newest Python; Ray and the clients of object
# stores bring fifty packages more
LEFT_OUT = {"train", "cuda", "docs", "scale", "s3", "gcs", "azure"}


def oldest_python():
    """Path of the oldest Python of `PYTHONS`: on the PATH, or one of pyenv."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in PYTHONS:
        on_path = shutil.which(f"python{version}")
        for python in ([on_path] if on_path else []) + sorted(versions.glob(f"{version}.*/bin/python")):
            # it runs, and can make environments and compile extensions
            code = "import ensurepip, os, sysconfig as s; print(os.path.isfile(s.get_path('include') + '/Python.h'))"
            done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
            if done.stdout.strip() == "True":
                return Path(python), version
    pytest.skip(f"no Python {' or '.join(PYTHONS)} with its headers on the PATH or in pyenv")


def lowest(requirements):
    """``numpy>=1.24`` -> ``numpy==1.24``; a bound that was never released cannot be installed."""
    pinned = [re.sub(r"^([\w.-]+)>=", r"\1==", requirement) for requirement in requirements]
    assert all(re.match(r"[\w.-]+==\d", requirement) for requirement in pinned), pinned
    return pinned


@pytest.fixture(scope="module")
def environment(root, tmp_path_factory):
    """Run a command of a fresh environment, away from the source."""
    folder = tmp_path_factory.mktemp("lowest")
    python, version = oldest_python()
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    extras = settings["project"]["optional-dependencies"]
    required = lowest(settings["project"]["dependencies"])
    required += [one for extra in extras.keys() - LEFT_OUT - {"test"} for one in lowest(extras[extra])]
    build = lowest(settings["build-system"]["requires"])
    subprocess.run([python, "-m", "venv", folder / "env"], check=True, capture_output=True)
    program = folder / "env" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*words):
        done = subprocess.run(
            [program, *map(str, words)], cwd=folder, env=clean, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"Python {version}: {' '.join(map(str, words))}\n{done.stdout}\n{done.stderr}"
        return done

    pip = ("-m", "pip", "--disable-pip-version-check", "--quiet", "install")
    run(*pip, "--only-binary", ":all:", *required, *build, "wheel")
    skipped = shutil.ignore_patterns(".*", "build", "tests", "*.egg-info", "*.so", "*.pyd", "__pycache__", "results")
    shutil.copytree(root, folder / "source", ignore=skipped)
    run(*pip, "--no-deps", "--no-build-isolation", folder / "source")
    shutil.rmtree(folder / "source")
    print(f"Python {version}: {' '.join(one.split(';')[0] for one in [*required, *build])}")
    yield run, folder
    shutil.rmtree(folder / "env")  # hundreds of megabytes


def test_every_kind_of_output(environment, root):
    run, folder = environment
    # the default model predicts no volumes
    listed = (
        "from tddfa.outputs import KINDS; print(*(name for name, kind in KINDS.items() if kind.takes != 'volumes'))"
    )
    kinds = run("-c", listed).stdout.split()
    photo = root / "examples/inputs/astronaut.jpg"
    done = run("-m", "tddfa", "image", "-f", photo, "-o", ",".join(kinds), "--json", "--out", "out")
    assert done.stderr == ""
    names = {path.name for path in (folder / "out").iterdir()}
    for kind in kinds:
        assert f"astronaut.{kind}" in names or any(name.startswith(f"astronaut_{kind}.") for name in names)
    (face,) = json.loads((folder / "out/astronaut.json").read_text(encoding="utf-8"))["faces"]
    assert abs(face["pose"]["yaw"]) < 10  # she looks into the camera


def test_a_video_its_table_and_no_camera(environment, root):
    run, folder = environment
    video = root / "examples/inputs/videos/crossing.mp4"
    done = run("-m", "tddfa", "video", "-f", video, "-o", "pose", "-e", "10", "--save", "faces.parquet", "--out", "out")
    assert done.stderr == ""
    assert (folder / "out/crossing_pose_smooth.mp4").stat().st_size > 10_000
    assert (folder / "faces.parquet").is_file()
    code = "from tddfa import video\ntry: list(video.frames(77))\nexcept video.VideoError as error: print(error)"
    done = run("-c", code)
    assert (done.stdout, done.stderr) == ("camera 77: no such camera, or another program uses it\n", "")


def test_plots_and_onnx_tools(environment, root):
    run, folder = environment
    code = """
        from pathlib import Path
        from tddfa.evaluate.report import plots
        from tddfa.evaluate.result import Curve
        curve = Curve("model", tuple(range(1, 41)), "%", yaw=tuple(range(40)))
        Path("plot.png").write_bytes(plots.cumulative("errors", [curve]))
    """
    run("-c", textwrap.dedent(code))
    assert (folder / "plot.png").read_bytes().startswith(b"\x89PNG")
    run("-m", "tddfa.onnx_tools.optimise", root / "weights/open_mb05.onnx", "faster.onnx")
    assert (folder / "faster.onnx").stat().st_size > 1_000_000
