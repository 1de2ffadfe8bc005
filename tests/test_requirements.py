"""The files in requirements/ are pyproject.toml's dependencies, with other variants of OpenCV and ONNX Runtime."""

import os
import re
import shutil
import subprocess
import sys

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def name(requirement):
    return re.match(r"[\w-]+", requirement)[0]


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def lines(path):
    """Requirements of a file and of those it includes."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            yield from lines(path.parent / line[3:])
        elif line and not line.startswith("#"):
            yield line


@pytest.mark.parametrize("variant", ["headless", "cpu", "headless-cpu"])
def test_a_variant_replaces_what_its_name_says_and_nothing_else(root, project, variant):
    expected = list(project["dependencies"])
    if "headless" in variant:
        expected = [re.sub("^opencv-python>", "opencv-python-headless>", line) for line in expected]
    if "cpu" in variant:
        expected = [line for line in expected if name(line) != "onnxruntime-gpu"]
        expected = [line.partition(";")[0] if name(line) == "onnxruntime" else line for line in expected]
    assert sorted(lines(root / f"requirements/{variant}.txt")) == sorted(expected)


def test_there_are_no_other_files(root):
    names = {path.stem for path in (root / "requirements").iterdir()}
    assert names == {"common", "headless", "cpu", "headless-cpu"}


def test_the_declared_dependencies_are_those_with_windows_and_gpu(project):
    assert {"opencv-python", "onnxruntime-gpu"} <= {name(line) for line in project["dependencies"]}


def test_build_finds_the_requirements_of_tests_in_the_metadata(project):
    # it takes those whose only condition is the extra
    assert not [line for line in project["optional-dependencies"]["test"] if ";" in line]


@pytest.mark.skipif(os.name == "nt", reason="build.sh runs in a shell of Unix")
class TestBuild:
    """build.sh with a Python that writes down what it is asked to do."""

    PYTHON = r"""#!/usr/bin/env bash
case "$*" in
  *distributions*) cat installed ;;
  *'requires("tddfa")'*) printf 'pytest>=8\nruff>=0.6\n' ;;
  *"import cv2"*) if [ -e broken ]; then echo "opencv-python needs libGL.so.1: apt install libgl1"; exit 1; fi ;;
  *sched_getaffinity*) echo 2 ;;
  *"import pip"*) ;;
  "-m pip"*) shift 4; echo "pip $*" >> done; if [ "$1" = uninstall ]; then rm -f broken; fi ;;
  *version_info*) ;;
  *) echo "python $*" >> done ;;
esac
"""

    @pytest.fixture
    def build(self, root, tmp_path):
        shutil.copy(root / "build.sh", tmp_path)
        python = tmp_path / ".venv/bin/python"
        python.parent.mkdir(parents=True)
        python.write_text(self.PYTHON)
        python.chmod(0o755)

        def run(*words, installed=""):
            (tmp_path / "installed").write_text(installed)
            (tmp_path / "done").write_text("")
            done = subprocess.run(
                ["bash", tmp_path / "build.sh", *words],
                env=os.environ | {"PYTHON": str(python)}, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            run.output = done.stdout
            return (tmp_path / "done").read_text().splitlines()

        return run

    def test_without_options(self, build):
        assert build(installed="numpy onnxruntime-gpu opencv-python") == ["pip install --editable ."]

    @pytest.mark.parametrize("words", [("--headless", "demo"), ("demo", "--headless")])
    def test_headless_demo(self, build, words):
        assert build(*words) == [
            "pip install --requirement requirements/headless.txt",
            "pip install --no-deps --editable .",
            "python demo.py -f examples/inputs/astronaut.jpg -o 3d",
        ]

    def test_both_variants_with_the_tests(self, build):
        *installs, tests = build("--cpu", "test", "--headless")
        assert installs == [
            "pip install --requirement requirements/headless-cpu.txt",
            "pip install --no-deps --editable .",
            "pip install pytest>=8 ruff>=0.6",
        ]
        assert tests == "python -m pytest -n 2 --dist worksteal -p no:benchmark"

    def test_another_variant_goes_before_one_comes(self, build):
        first, second, *_ = build("--headless", "--cpu", installed="onnxruntime-gpu opencv-python numpy")
        assert first == "pip uninstall --yes opencv-python opencv-python-headless"
        assert second == "pip uninstall --yes onnxruntime-gpu onnxruntime"

    def test_an_environment_keeps_its_variant(self, build):
        assert build(installed="onnxruntime opencv-python-headless numpy") == [
            "pip install --requirement requirements/headless-cpu.txt",
            "pip install --no-deps --editable .",
        ]

    def test_an_opencv_that_cannot_be_loaded_is_explained_and_replaced(self, build, tmp_path):
        (tmp_path / "broken").touch()
        assert build() == [
            "pip install --editable .",
            "pip uninstall --yes opencv-python opencv-python-headless",
            "pip install --requirement requirements/common.txt opencv-python-headless",
        ]
        assert "OpenCV cannot be loaded: opencv-python needs libGL.so.1: apt install libgl1\n" in build.output

    def test_an_environment_that_is_not_whole_is_named(self, build, tmp_path):
        (tmp_path / ".venv/bin/python").unlink()
        script = ["bash", tmp_path / "build.sh"]
        done = subprocess.run(script, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr == "build.sh: error: .venv has no Python with pip; delete the folder and run this again\n"

    @pytest.mark.parametrize("broken", ["exit 3", 'mkdir .venv; kill -INT "$PPID"; sleep 2'])
    def test_an_environment_that_could_not_be_made_is_removed(self, root, tmp_path, broken):
        shutil.copy(root / "build.sh", tmp_path)
        python = tmp_path / "python"
        python.write_text(f'#!/usr/bin/env bash\ncase "$*" in *venv*) {broken} ;; esac\n')
        python.chmod(0o755)
        environment = os.environ | {"PYTHON": str(python)}
        script = ["bash", tmp_path / "build.sh"]
        done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode in (1, 130)
        assert not (tmp_path / ".venv").exists()

    def test_a_python_that_does_not_exist_is_named(self, root):
        environment = os.environ | {"PYTHON": "/nope"}
        script = ["bash", root / "build.sh"]
        done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, "no such program: /nope" in done.stderr) == (1, True)

    def test_wrong_words(self, root):
        for words, message in ((["all"], "got 'all'"), (["demo", "test"], "got both")):
            done = subprocess.run(["bash", root / "build.sh", *words], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stdout) == (1, "")
            assert message in done.stderr
