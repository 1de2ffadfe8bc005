"""The script of ``tddfa --print-completion bash``, run by bash."""

import argparse
import shutil
import subprocess
import sys

import pytest

from tddfa.cli import main
from tddfa.cli.installation.completion import Values, values_of
from tddfa.outputs import KINDS, image_kinds


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    done = subprocess.run(
        [sys.executable, "-m", "tddfa", "--print-completion", "bash"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    path = tmp_path_factory.mktemp("completion") / "tddfa.bash"
    path.write_text(done.stdout)
    return path


@pytest.fixture
def complete(script, tmp_path):
    """What bash offers in a folder with two files and a folder when tab is pressed behind these words."""
    for name in ("photo.jpg", "mine.yml"):
        (tmp_path / name).touch()
    (tmp_path / "results").mkdir()
    code = 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_tddfa; printf "%s\\n" "${COMPREPLY[@]}"'

    def call(*words):
        done = subprocess.run(
            [shutil.which("bash"), "-c", code, script, "tddfa", *words],
            cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stderr == ""
        return set(done.stdout.split())

    return call


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is missing")
class TestBash:
    def test_commands(self, complete):
        assert {"image", "video", "align", "evaluate", "train"} <= complete("")
        assert complete("im") == {"image"}
        assert complete("train", "re") == {"regressor"}

    def test_options(self, complete):
        assert complete("image", "--al") == {"--alpha"}
        assert complete("train", "fit", "--max") == {"--max-yaw", "--max-error"}

    def test_values(self, complete):
        assert complete("image", "--device", "t") == {"tensorrt"}
        assert complete("image", "--background", "") == {"image", "black", "white", "transparent"}

    def test_kinds(self, complete):
        assert complete("image", "-o", "p") == {"pncc", "pose", "ply"}
        assert complete("image", "-o", "") == set(KINDS)
        assert complete("image", "-o", "3d,po") == {"3d,pose"}
        assert complete("video", "-o", "p") == {"pncc", "pose"}
        assert complete("video", "-o", "") == set(image_kinds())

    def test_files_and_folders(self, complete):
        assert complete("image", "-f", "") == {"photo.jpg", "mine.yml", "results"}
        assert complete("image", "-f", "ph") == {"photo.jpg"}
        assert complete("image", "--out", "") == {"results"}

    def test_configs(self, complete):
        assert {"open_mb05", "open_mb05+", "mine.yml"} <= complete("image", "-c", "")
        assert complete("image", "-c", "min") == {"mine.yml"}

    def test_words_besides_files(self, complete):
        assert complete("image", "--intrinsics", "e") == {"exif"}
        assert complete("image", "--intrinsics", "m") == {"mine.yml"}


@pytest.mark.parametrize(
    ("metavar", "expected"),
    [
        ("DIR", Values((), "directory")),
        ("FOLDER[:WEIGHT]", Values((), "directory")),
        ("FILE.npz", Values((), "file")),
        ("N|URL|FILE", Values((), "file")),
        ("true|false", Values(("true", "false"))),
        ("assumed|exif|FILE", Values(("assumed", "exif"), "file")),
        ("KIND", Values(tuple(image_kinds()))),
        ("N", None),
        ("0..1", None),
        (None, None),
    ],
)
def test_the_metavar_tells_what_an_option_takes(metavar, expected):
    assert values_of(argparse.ArgumentParser().add_argument("--option", metavar=metavar)) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script(shell, capsys):
    with pytest.raises(SystemExit) as end:
        main(["--print-completion", shell])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert "pncc" in out
    assert "exact-crop" in out


def test_an_unknown_shell_is_named(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--print-completion", "ed"])
    assert end.value.code == 2
    assert "--print-completion: expected one of bash, zsh, " in capsys.readouterr().err


def test_without_shtab_the_package_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit) as end:
        main(["--print-completion", "bash"])
    assert end.value.code == 1
    assert capsys.readouterr() == ("", "tddfa: error: --print-completion needs shtab: pip install shtab\n")
