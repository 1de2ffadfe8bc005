"""What the README says, done as it says it."""

import re
import shlex
import shutil
import subprocess
import sys

import pytest

from tddfa.outputs import KINDS


@pytest.fixture(scope="module")
def readme(root):
    return (root / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def checkout(root, tmp_path):
    """A folder with what the README's commands name."""
    shutil.copytree(root / "examples/inputs", tmp_path / "examples/inputs")
    for script in root.glob("demo*.py"):
        shutil.copy(script, tmp_path)
    return tmp_path


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def run(checkout, command):
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("index", range(6))
def test_python_blocks_run(readme, checkout, index):
    code = blocks(readme, "python")
    assert len(code) == 6, "a block without a test"
    done = run(checkout, [sys.executable, "-W", "error", "-c", code[index]])
    assert done.returncode == 0, done.stderr
    made = {path.name for path in checkout.iterdir()}
    files = {0: {"overlay.jpg", "face.obj"}, 3: {"hopper.obj", "hopper.mtl", "hopper.png"}}
    assert files.get(index, set()) <= made
    # the second and the fifth print a line a face, the third one number
    assert len(done.stdout.splitlines()) == {1: 2, 2: 1, 4: 2}.get(index, 0)


def test_commands_run(readme, checkout):
    commands = [
        shlex.split(line)
        for block in blocks(readme, "sh")
        for line in block.splitlines()
        if line.startswith(("python demo", "tddfa "))
    ]
    assert len(commands) == 8
    for command in commands:
        words = command[2:] if command[0] == "python" else command[1:]
        module = [command[1]] if command[0] == "python" else ["-m", "tddfa"]
        done = run(checkout, [sys.executable, *module, *words])
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
    assert (checkout / "examples/results/two_people_3d.jpg").is_file()
    assert len(list((checkout / "results").glob("two_people_*.jpg"))) == 6
    assert len(list((checkout / "results").glob("*.json"))) >= 3
    assert len(list((checkout / "aligned").glob("*.jpg"))) == 4
    assert {path.name for path in (checkout / "frontal").iterdir()} == {"two_people_0.jpg", "two_people.json"}
    assert len((checkout / "results/crossing.jsonl").read_text().splitlines()) == 300
    videos = {path.name for path in (checkout / "examples/results/videos").iterdir()}
    assert videos == {"crossing_3d_smooth.mp4", "crossing_2d_sparse.mp4", "crossing_pose_smooth.mp4"}


def test_the_table_of_kinds_is_whole(readme):
    assert re.findall(r"^\| `(\w+)` \|", readme, re.M)[: len(KINDS)] == list(KINDS)


def test_files_it_speaks_of_exist(root, readme):
    for name in re.findall(r"`((?:examples|configs|weights|tddfa|tests)/[\w/.]+\.\w+)`", readme):
        assert (root / name).exists() or name.startswith("examples/results/"), name
    assert (root / "examples/results/overview.jpg").is_file()
