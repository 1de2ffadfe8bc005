"""Every Python block and every command of the README and of docs/ runs, and writes the files that it names."""

import itertools
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tddfa._shared.packages import REQUIREMENTS
from tddfa.outputs import KINDS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = "\n".join([README, *(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md")))])


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGES, re.S)


def commands():
    """The commands of the package in blocks of shell; others, such as ``./build.sh``, are left out."""
    lines = (line for block in blocks("sh") for line in block.splitlines())
    return [line for line in lines if line.startswith(("python demo", "tddfa "))]


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


def test_there_are_blocks():
    assert blocks("python")
    assert commands()


@pytest.mark.parametrize("code", blocks("python"))
def test_python_blocks_run(checkout, code):
    written = run(checkout, [sys.executable, "-W", "error", "-c", code])
    named = re.findall(r"""\b(?:imwrite|save)\(["']([^"']+)["']""", code)
    assert {checkout / name for name in named} <= written


@pytest.mark.parametrize("command", commands())
def test_commands_run(checkout, command):
    program, *arguments = shlex.split(command, comments=True)
    written = run(checkout, [sys.executable, *(["-m", program] if program == "tddfa" else []), *arguments])
    options = dict(itertools.pairwise(arguments))
    folder = checkout / options.get("--out", "results" if program == "tddfa" else "examples/results")
    assert any(folder in path.parents for path in written)
    if "--save" in options:
        assert checkout / options["--save"] in written
    assert ("--json" in arguments) == any(path.suffix == ".json" for path in written)
    for kind in KINDS.keys() & set(arguments):
        assert any(f"_{kind}" in path.stem or path.suffix == f".{kind}" for path in written)


class TestTableOfKinds:
    ROWS = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", README, re.M)[: len(KINDS)])

    def test_it_has_every_kind_in_order(self):
        assert list(self.ROWS) == list(KINDS)

    @pytest.mark.parametrize("kind", KINDS)
    def test_its_options_have_an_effect_on_the_kind(self, kind):
        fields = {
            "--raw": "raw_depth",
            "--no-ears": "ears",
            **dict.fromkeys(("--fov", "--focal", "--intrinsics"), "intrinsics"),
        }
        for flag in re.findall(r"`(--[\w-]+)", self.ROWS[kind]):
            assert fields.get(flag, flag[2:].replace("-", "_")) in KINDS[kind].options, flag

    @pytest.mark.parametrize("kind", KINDS)
    def test_it_names_what_has_to_be_installed(self, kind):
        packages = re.findall(r"pip install ([\w-]+)", self.ROWS[kind])
        assert packages == [REQUIREMENTS[module] for module in KINDS[kind].needs]


def test_files_that_it_names_exist(root):
    for name in re.findall(r"`((?:examples|configs|docs|weights|tddfa|tests)/[\w/.]+\.\w+)`", README):
        assert (root / name).exists() or name.startswith("examples/results/"), name
    assert (root / "examples/results/overview.jpg").is_file()
