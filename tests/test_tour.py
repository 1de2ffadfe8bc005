"""examples/tour.ipynb: it runs from a checkout, and its outputs are committed."""

import json
import re
import subprocess
import sys

import pytest

NAME = "examples/tour.ipynb"


@pytest.fixture(scope="module")
def cells(root):
    path = root / NAME
    assert path.stat().st_size < 600_000
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def source(cell):
    return "".join(cell["source"])


def test_it_has_ten_steps_with_their_outputs(cells):
    steps = [source(cell) for cell in cells if cell["cell_type"] == "markdown"][1:]
    assert [re.match(r"## (\d+)\. ", step)[1] for step in steps] == [str(number) for number in range(1, 11)]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) == 11
    assert all(cell["outputs"] for cell in code[1:])
    kinds = {output["output_type"] for cell in code for output in cell["outputs"]}
    assert kinds == {"stream", "display_data"}  # no error
    printed = "".join("".join(output.get("text", "")) for cell in code for output in cell["outputs"])
    assert "/tour" not in printed.replace("examples/tour", "")
    assert "Traceback" not in printed


def test_colab_has_its_address_in_one_constant_and_is_skipped_elsewhere(cells, root):
    colab, *others = [cell for cell in cells if cell["cell_type"] == "code"]
    assert colab["metadata"]["tags"] == ["skip-execution"]
    assert colab["outputs"] == []
    (address,) = re.findall(r'^REPOSITORY = "(\S+)"$', source(colab), re.MULTILINE)
    assert f'Source = "{address}"' in (root / "pyproject.toml").read_text(encoding="utf-8")
    assert not [cell for cell in others if "http" in source(cell)]


def test_the_readme_links_it(root):
    assert f"]({NAME})" in (root / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_it_runs_from_a_checkout(root):
    pytest.importorskip("nbmake")
    pytest.importorskip("ipykernel")
    # the settings of the project's tests, such as warnings that are errors, are not those of a notebook
    options = ["-c", "/dev/null", "--rootdir", root, "-p", "no:cacheprovider", "--nbmake", "--nbmake-timeout=600"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, root / NAME], cwd=root, capture_output=True, text=True, check=False
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert not (root / "examples/head.glb").exists()
