import re
import subprocess
import sys
import textwrap

import pytest

from tddfa._shared.packages import REQUIREMENTS, needs, reason

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def test_every_requirement_is_declared(root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    lines = [line for group in (project["dependencies"], *extras) for line in group]
    assert set(REQUIREMENTS.values()) <= {re.match(r"[\w-]+", line)[0] for line in lines}


def test_no_text_tells_to_install_tddfa_from_an_index(root):
    """Until there is a release, a stranger may take the name: an extra is asked of the checkout, or by its packages."""
    asked = re.compile(r"tddfa" + r"\[|pip install\s+(?:-\S+\s+)*['\"]?tddfa\b")
    skipped = {".git", ".venv", "build", "dist", "results", "__pycache__"}
    texts = [
        path
        for suffix in (".py", ".pyx", ".pyi", ".md", ".sh", ".toml", ".yml", ".txt")
        for path in root.rglob(f"*{suffix}")
        if not skipped & set(path.relative_to(root).parts)
    ]
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
