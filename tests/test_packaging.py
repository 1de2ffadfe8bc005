"""The packages among themselves, and as a wheel away from their source."""

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tddfa.model.assets import NOT_IN_WHEELS, REGISTRY


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize(
    ("package", "others"), [("FaceBoxes", {"tddfa", "Sim3DR"}), ("Sim3DR", {"tddfa", "FaceBoxes"})]
)
def test_detector_and_renderer_know_nothing_of_the_rest(root, package, others):
    files = list((root / package).rglob("*.py")) + list((root / package).rglob("*.pyx"))
    assert len(files) >= 4
    for path in files:
        if path.suffix == ".py":
            assert not others & set(imported(path)), path
        else:
            assert not re.search(rf"^\s*c?(import|from)\s+({'|'.join(others)})\b", path.read_text(), re.M), path


def test_only_the_runtime_knows_of_onnxruntime(root):
    users = {
        p.relative_to(root).as_posix() for p in (root / "tddfa").rglob("*.py") if "onnxruntime" in set(imported(p))
    }
    assert users == {"tddfa/model/runtime.py"}


def loaded_by(code):
    script = f"import sys\n{code}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


def test_import_loads_no_heavy_package():
    heavy = {"torch", "matplotlib", "scipy", "gradio", "ray", "cv2", "onnxruntime", "trimesh", "imageio"}
    assert not heavy & loaded_by("import tddfa")
    assert not heavy & loaded_by("import tddfa.cli")


def test_aligning_and_drawing_load_no_package_they_do_not_need(root):
    loaded = loaded_by(
        f"import cv2\nfrom tddfa import Aligner, draw, export\na = Aligner.load('open_mb05', device='cpu')\n"
        f"i = cv2.imread({str(root / 'examples/inputs/astronaut.jpg')!r})\nm = a.decoder.mesh(a(i)[0])\n"
        "draw.mesh(i, [m])\nexport.encode('a.obj', m)"
    )
    assert not {"torch", "matplotlib", "scipy", "gradio", "ray", "trimesh", "imageio"} & loaded


def test_names_at_the_top():
    import tddfa

    for name in tddfa.__all__:
        assert getattr(tddfa, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tddfa.nothing


def copy_of_checkout(root, folder):
    """Copy what an installation reads: a build leaves files behind, and this process has loaded the extensions."""
    skipped = shutil.ignore_patterns(".*", "build", "tests", "*.egg-info", "__pycache__", "results")
    shutil.copytree(root, folder, ignore=skipped)
    return folder


def environment(folder):
    """Path of the Python of a new, empty environment."""
    venv.create(folder, with_pip=False)
    return folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"


def add_paths(target):
    """Let an environment find the packages of this one."""
    # A plain path in a .pth adds a folder, but reads no .pth file in it: an editable install stays out of sight.
    paths = {sysconfig.get_paths()[kind] for kind in ("purelib", "platlib")}
    paths |= {path for path in sys.path if Path(path).name == "site-packages"}
    (Path(target) / "dependencies.pth").write_text("\n".join(sorted(paths)))


def site_packages(python):
    """Folder of the packages of an environment."""
    command = [python, "-c", "import sysconfig; print(sysconfig.get_paths()['platlib'])"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def installed(root, tmp_path_factory):
    """A fresh environment with the built wheel; what it depends on comes from this one."""
    folder = tmp_path_factory.mktemp("wheel")
    copy_of_checkout(root, folder / "source")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(folder / "source")], check=True, capture_output=True)
    (wheel,) = folder.glob("tddfa-*.whl")
    python = environment(folder / "env")
    target = site_packages(python)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    add_paths(target)
    return folder, python, wheel


@pytest.mark.slow
class TestWheel:
    def run(self, installed, *arguments):
        folder, python, _ = installed
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [python, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    def test_it_runs_away_from_the_source(self, installed, root):
        where = self.run(installed, "-c", "import tddfa, Sim3DR, FaceBoxes; print(tddfa.__file__)")
        assert str(installed[0] / "env") in where.stdout, where.stderr
        photo = root / "examples/inputs/astronaut.jpg"
        done = self.run(installed, "-m", "tddfa", "image", "-f", str(photo), "-o", "3d,obj", "--out", "here")
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert {p.name for p in (installed[0] / "here").iterdir()} == {
            "astronaut_3d.jpg", "astronaut.obj", "astronaut.mtl", "astronaut_obj.png",
        }  # fmt: skip

    def test_the_self_test_runs_away_from_the_source(self, installed):
        done = self.run(installed, "-m", "tddfa", "info")
        assert re.search(r"^self-test +passed: one face in the example photo", done.stdout, re.M), done.stdout
        assert done.stderr == ""

    def test_models_and_configs_travel_in_it_and_sources_do_not(self, installed):
        names = set(zipfile.ZipFile(installed[2]).namelist())
        assert {
            "tddfa/configs/open_mb05.yml", "tddfa/configs/open_face.npz", "tddfa/weights/open_mb05.onnx",
            "tddfa/weights/faceboxes.onnx", "tddfa/weights/models.yml", "tddfa/examples/inputs/astronaut.jpg",
            "tddfa/py.typed", "Sim3DR/py.typed", "FaceBoxes/py.typed",
        } <= names  # fmt: skip
        weights = {name.removeprefix("tddfa/") for name in names if name.endswith(".onnx")}
        assert weights == {name for name in set(REGISTRY) - set(NOT_IN_WHEELS) if name.endswith(".onnx")}
        assert installed[2].stat().st_size <= 30_000_000
        # read as text by `tddfa bench --peer`, `tddfa evaluate --peer-mediapipe`
        assert {"tddfa/bench/peers/driver.py", "tddfa/bench/peers/face_landmarker.py"} <= names
        assert not [name for name in names if name.startswith("tests/") or name.endswith(("_native.cpp", ".pyx"))]


def install(folder):
    """Install where there is no compiler."""
    command = ["env/bin/python", "-m", "pip", "install", "--no-deps", "--no-build-isolation", "-e", "tddfa"]
    unset = {"PYTHONPATH", "CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS"}
    variables = {name: value for name, value in os.environ.items() if name not in unset}
    variables["PATH"] = str(folder / "env/bin")
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def beside(root, tmp_path_factory):
    """Folder with the clone and its environment."""
    folder = tmp_path_factory.mktemp("beside")
    clone = copy_of_checkout(root, folder / "tddfa")
    extensions = [*clone.rglob("*.so"), *clone.rglob("*.pyd")]
    assert len(extensions) >= 3
    for path in extensions:
        path.touch()
    python = environment(folder / "env")
    add_paths(site_packages(python))
    done = install(folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
class TestEditable:
    """``pip install -e .`` in a clone whose folder is called ``tddfa``."""

    def test_a_script_beside_the_clone_imports_it(self, beside):
        code = "import FaceBoxes, Sim3DR, tddfa\nfrom tddfa import Decoder\n"
        code += "Decoder.load('open_mb05')\nprint(tddfa.__file__, FaceBoxes.__file__, Sim3DR.__file__)"
        (beside / "script.py").write_text(code)
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            ["env/bin/python", "script.py"], cwd=beside, env=variables, capture_output=True, text=True, check=False
        )
        names = ("tddfa", "FaceBoxes", "Sim3DR")
        assert done.stdout.split() == [str(beside / "tddfa" / name / "__init__.py") for name in names], done.stderr

    def test_the_command_runs_in_the_parent_folder(self, beside):
        for command in (["env/bin/tddfa"], ["env/bin/python", "-m", "tddfa"]):
            done = subprocess.run([*command, "--version"], cwd=beside, capture_output=True, text=True, check=False)
            assert re.fullmatch(r"tddfa \d\S+\n", done.stdout), done.stderr

    def test_what_has_changed_is_compiled(self, beside):
        (beside / "tddfa/Sim3DR/core/band.h").touch()
        done = install(beside)
        assert done.returncode != 0
        assert "Sim3DR._native" in done.stdout + done.stderr
        assert "FaceBoxes._nms" not in done.stdout + done.stderr
