"""Every block of the README runs, and writes the files that it names."""

import itertools
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from builders_pages import ROOT, blocks, commands, text
from tddfa.outputs import KINDS

README = text(ROOT / "README.md")


@pytest.fixture
def checkout(root, tmp_path):
    """A folder with all that the README's commands read."""
    shutil.copytree(root / "examples/inputs", tmp_path / "examples/inputs")
    for script in root.glob("demo*.py"):
        shutil.copy(script, tmp_path)
    return tmp_path


def run(checkout, command):
    """Run a command; return the files that it has written."""
    before = set(checkout.rglob("*"))
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return {path for path in set(checkout.rglob("*")) - before if path.is_file() and path.stat().st_size}


def test_it_is_short():
    lines = README.splitlines()
    assert len(lines) <= 150
    assert max(map(len, lines)) < 120


def test_it_has_ten_lines_of_each():
    assert [len(block.splitlines()) for block in blocks(README, "python")] == [10]
    assert len(commands(README, "sh")) == 10


@pytest.mark.parametrize("code", blocks(README, "python"))
def test_python_blocks_run(checkout, code):
    written = run(checkout, [sys.executable, "-W", "error", "-c", code])
    named = re.findall(r"""\b(?:imwrite|save)\(["']([^"']+)["']""", code)
    assert named
    assert {checkout / name for name in named} <= written


@pytest.mark.parametrize("command", commands(README, "sh"))
def test_commands_run(checkout, command):
    program, *arguments = shlex.split(command)
    written = run(checkout, [sys.executable, *(["-m", program] if program == "tddfa" else []), *arguments])
    options = dict(itertools.pairwise(arguments))
    if arguments[0] in ("info", "models"):
        assert not written
        return
    folder = checkout / options.get("--out", "results" if program == "tddfa" else "examples/results")
    assert any(folder in path.parents for path in written)
    if "--save" in options:
        assert checkout / options["--save"] in written
    assert ("--json" in arguments) == any(path.suffix == ".json" for path in written)
    for kind in KINDS.keys() & set(arguments):
        assert any(f"_{kind}" in path.stem or path.suffix == f".{kind}" for path in written)


def test_the_other_shell_blocks_are_of_known_commands():
    """build.sh is run by .ci/run, the environments of pip by `pytest -m slow`."""
    others = [line for block in blocks(README, "console") for line in block.splitlines()]
    assert others
    for line in others:
        words = line.split("#")[0].split()
        assert words[0] in ("git", "cd", "./build.sh", "source", "pip", "tddfa"), line
        for file in re.findall(r"-r (\S+)", line):
            assert (ROOT / file).is_file(), file


def test_files_that_it_names_exist(root):
    named = re.findall(r"`((?:examples|configs|docs|weights|tddfa|tests)/[\w/.]+\.\w+)`", README)
    for name in named:
        assert (root / name).exists() or name.startswith("examples/results/"), name
    assert "(docs/overview.jpg)" in README


def row(page, start):
    """Numbers of the cells of a table's row."""
    (line,) = re.findall(rf"^\| {re.escape(start)}.*$", text(ROOT / page), re.M)
    return [[float(number) for number in re.findall(r"\d+(?:\.\d+)?", cell)] for cell in line.split("|")[2:-1]]


RATIOS = re.findall(r"^\| .*? \| ([\d.]+)× \| (.+) \|$", README, re.M)


def test_there_are_ratios():
    assert len(RATIOS) >= 5


@pytest.mark.parametrize(("ratio", "stage"), RATIOS)
def test_ratios_are_those_of_the_measured_times(ratio, stage):
    ours, theirs = row("docs/speed.md", stage)
    assert float(ratio) == round(theirs[0] / ours[0], 1 if theirs[0] / ours[0] < 10 else None)


@pytest.mark.parametrize("line", re.findall(r"^\| (?:AFLW2000-3D|LFPW|false faces).*$", README, re.M))
def test_figures_are_in_the_results(line):
    label, *cells = (cell.strip() for cell in line.strip("|").split("|"))
    results = text(ROOT / "RESULTS.md") + text(ROOT / "docs/accuracy.md")
    for number in re.findall(r"\d+\.\d+", " ".join(cells)):
        assert re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", results), (label, number)
