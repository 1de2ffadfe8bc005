import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tddfa._shared.packages import REQUIREMENTS, conflicts, needs, reason
from tddfa.cli import main

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def test_every_requirement_is_declared(root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    lines = [line for group in (project["dependencies"], *extras) for line in group]
    assert set(REQUIREMENTS.values()) <= {re.match(r"[\w-]+(\[[\w,]+\])?", line)[0] for line in lines}


def test_no_text_tells_to_install_tddfa_from_an_index(root):
    """Until there is a release, a stranger may take the name: an extra is asked of the checkout, or by its packages."""
    asked = re.compile(r"tddfa" + r"\[[a-z]|pip install\s+(?:-\S+\s+)*['\"]?tddfa\b")
    suffixes = (".py", ".pyx", ".pyi", ".md", ".sh", ".toml", ".yml", ".txt")
    skipped = {".git", ".venv", "build", "dist", "results", "__pycache__"}
    texts = []
    for folder, inside, names in os.walk(root):
        inside[:] = set(inside) - skipped
        texts += [Path(folder, name) for name in names if name.endswith(suffixes)]
    assert {root / "README.md", root / "tddfa/export/glb.py", root / "build.sh"} <= set(texts)
    wrong = [f"{path}: {line}" for path in texts for line in path.read_text("utf-8").splitlines() if asked.search(line)]
    assert not wrong, "\n".join(wrong)


def test_several_packages_are_one_command():
    assert needs("training", "torch", "onnx") == "training needs torch and onnx: pip install torch onnx"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ModuleNotFoundError("no 'scipy'", name="scipy.spatial"), "no 'scipy': pip install scipy"),
        (ModuleNotFoundError("no 'other'", name="other"), "no 'other'"),  # the name of a stranger's package
        (ModuleNotFoundError("-o glb: pip install trimesh", name="trimesh"), "-o glb: pip install trimesh"),
        (ValueError("a.jpg: damaged"), "a.jpg: damaged"),
        (KeyboardInterrupt(), ""),
        (PermissionError(13, "Permission denied", "a.jpg"), "a.jpg: Permission denied"),
        (OSError(21, "Is a directory", ".a.jpg.part", None, "a.jpg"), "a.jpg: Is a directory"),  # a rename
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (OSError("a.jpg: damaged"), "a.jpg: damaged"),
    ],
)
def test_only_a_package_that_was_not_found_gets_a_command(error, expected):
    assert reason(error) == expected


@pytest.mark.parametrize(
    ("arguments", "module"),
    [
        (["tddfa", "image", "-f", "x.jpg"], "numpy"),
        (["tddfa", "video", "-f", "x.mp4"], "av"),
        (["tddfa.onnx_tools.optimise", "{weights}", "out.onnx"], "onnx"),
    ],
)
def test_a_command_names_the_package_that_is_missing(root, tmp_path, arguments, module):
    code = f"""
        import runpy, sys
        sys.modules["{module}"] = None
        sys.argv = {[one.format(weights=root / "weights/open_mb05.onnx") for one in arguments]!r}
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("tddfa: error: ")
    assert done.stderr.endswith(f"pip install {REQUIREMENTS[module]}\n")
    assert done.stderr.count("\n") == 1


class TestVariants:
    def test_two_are_named(self, tmp_path):
        for name in ("opencv_python", "opencv_python_headless", "opencv_contrib_python", "onnxruntime_gpu", "numpy"):
            (tmp_path / f"{name}-1.0.dist-info").mkdir()
        (line,) = conflicts([str(tmp_path)])
        assert line.startswith("opencv-python and opencv-python-headless and opencv-contrib-python are installed")
        assert line.endswith("uninstall all, then install one")
        (tmp_path / "onnxruntime-1.0.dist-info").mkdir()
        assert conflicts([str(tmp_path)])[1].startswith("onnxruntime and onnxruntime-gpu are installed")

    def test_those_of_different_folders_share_no_files(self, tmp_path):
        for name in ("a/opencv_python", "b/opencv_python_headless"):
            (tmp_path / f"{name}-1.0.dist-info").mkdir(parents=True)
        assert conflicts([str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "python.zip")]) == []

    def test_a_command_warns(self, root, tmp_path, monkeypatch, capsys):
        for name in ("opencv_python", "opencv_python_headless"):
            (tmp_path / f"{name}-1.0.dist-info").mkdir()
        monkeypatch.syspath_prepend(tmp_path)
        photo = root / "examples/inputs/astronaut.jpg"
        assert main(["image", "-f", str(photo), "-o", "pose", "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
        warning = "tddfa: warning: opencv-python and opencv-python-headless are installed, and share their files: "
        assert warning in capsys.readouterr().err


class TestWithoutALibrary:
    OPENCV = "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory', name='cv2')"

    @pytest.mark.parametrize(
        "arguments",
        [
            ["image", "-f", "x.jpg"], ["video", "-f", "x.mp4"], ["webcam"], ["align", "-f", "x.jpg"],
            ["evaluate", "300w", "--data", "x"], ["bench"], ["train", "fit", "photos", "crops"],
        ],
        ids=lambda arguments: arguments[0],
    )  # fmt: skip
    def test_a_command_names_the_package_of_the_system(self, tmp_path, arguments):
        (tmp_path / "cv2.py").write_text(self.OPENCV)
        done = subprocess.run(
            [sys.executable, "-m", "tddfa", *arguments],
            env=os.environ | {"PYTHONPATH": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("tddfa: error: opencv-python needs libGL.so.1: apt install libgl1 (Debian, Ubun")
        assert "dnf install libglvnd-glx (Fedora)" in done.stderr
        assert done.stderr.count("\n") == 1

    def test_so_does_the_error_in_python(self, tmp_path):
        (tmp_path / "cv2.py").write_text(self.OPENCV)
        done = subprocess.run(
            [sys.executable, "-c", "from tddfa import Aligner"],
            env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.stderr.splitlines()[-1].startswith("ImportError: opencv-python needs libGL.so.1: apt install libgl")

    def test_an_unknown_library_is_left_as_it_is(self):
        text = "libother.so.3: cannot open shared object file: No such file or directory"
        assert reason(ImportError(text)) == text
