"""Runs over several photos: what is counted, what is said, and the bar."""

import io
import os
import re
import sys
import time
from pathlib import Path

import pytest

from tddfa.cli._common import FAILED, NO_FACE, Steps, print_line
from tddfa.cli._paths import Inputs, Photo, Skipped, input_files
from tddfa.cli._summary import do_photos, summary


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(count, *, failing=(), skipped=(), seconds=0.0):
    """Do photos whose numbers are their names; return the exit status."""
    paths = [Path(f"{k}.jpg") for k in range(count)]
    steps = Steps()

    def do(photo):
        time.sleep(seconds)
        print_line(f"did {photo.stem}")
        if int(photo.stem) in failing:
            with steps.step("a kind"):
                raise ValueError(f"{photo.name}: one kind")
            raise ValueError(f"{photo.name}: all of it")
        return int(photo.stem)

    return do_photos([Photo(path, None, path.stem) for path in paths], Inputs(paths, list(skipped), True), steps, do)


def test_a_run_ends_with_one_line(capsys):
    skipped = [Skipped(Path("in/notes.txt"), "not an image"), Skipped(Path("in/gone.jpg"), "link to a missing file")]
    assert run(5, failing=(1, 3), skipped=skipped) == FAILED
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith(
        "3 of 5 done, 2 failed, 2 skipped: notes.txt (not an image), gone.jpg (link to a missing file); "
    )
    assert err.splitlines()[::2] == ["tddfa: error: 1.jpg: one kind", "tddfa: error: 3.jpg: one kind"]


def test_a_photo_alone_needs_no_line(capsys):
    assert run(1) == NO_FACE
    assert capsys.readouterr().out == "did 0\n"
    assert run(2) == 0
    assert re.fullmatch(r"did 0\ndid 1\n2 of 2 done; \d\.\d s, \d+ photos/s\n", capsys.readouterr().out)
    run(1, skipped=[Skipped(Path("old"), "folder")])
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 of 1 done, 1 skipped: old (folder); ")


def test_many_names_are_counted():
    skipped = [Skipped(Path(f"{k}.txt"), "not an image") for k in range(9)] + [Skipped(Path("a\nb"), "folder")]
    assert summary(2, 0, skipped, 1.0) == (
        "2 of 2 done, 10 skipped: 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 4 more (not an image), a b (folder); "
        "1.0 s, 2.0 photos/s"
    )


@pytest.mark.parametrize(
    ("count", "failed", "seconds", "text"),
    [
        (3, 0, 1.5, "3 of 3 done; 1.5 s, 2.0 photos/s"),
        (200, 40, 12.5, "160 of 200 done, 40 failed; 12.5 s, 13 photos/s"),
        (2, 2, 40, "0 of 2 done, 2 failed; 40.0 s, 0.0 photos/s"),
        (2, 0, 60, "2 of 2 done; 60.0 s, 0.033 photos/s"),
        (5000, 0, 2.5, "5000 of 5000 done; 2.5 s, 2000 photos/s"),
    ],
)
def test_photos_per_second(count, failed, seconds, text):
    assert summary(count, failed, [], seconds) == text


def test_what_a_folder_holds_beside_images(tmp_path):
    for name in ("a.jpg", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "old.jpg").mkdir()
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    (tmp_path / "same.jpg").symlink_to(tmp_path / "a.jpg")
    expected = [
        ("gone.jpg", "link to a missing file"),
        ("loop.jpg", "link to a missing file"),
        ("notes.txt", "not an image"),
        ("old.jpg", "folder"),
    ]
    inputs = input_files([str(tmp_path)])
    assert inputs.paths == [tmp_path / "a.jpg", tmp_path / "same.jpg"]
    assert inputs.complete
    assert [(path.name, reason) for path, reason in inputs.skipped] == expected
    # a pattern means files of any name
    inputs = input_files([str(tmp_path / "*")])
    assert inputs.paths == [tmp_path / "a.jpg", tmp_path / "notes.txt", tmp_path / "same.jpg"]
    assert [path.name for path, _ in inputs.skipped] == ["gone.jpg", "loop.jpg", "old.jpg"]
    # and one for all levels passes through folders
    assert [path.name for path, _ in input_files([str(tmp_path / "**")]).skipped] == ["gone.jpg", "loop.jpg"]


def test_files_of_browsers_and_cameras_are_images_and_sidecars_of_macos_are_not(tmp_path):
    for name in ("a.jfif", "b.JPE", "c.mpo", "._a.jfif"):
        (tmp_path / name).touch()
    inputs = input_files([str(tmp_path)])
    assert [path.name for path in inputs.paths] == ["a.jfif", "b.JPE", "c.mpo"]
    assert [(path.name, reason) for path, reason in inputs.skipped] == [("._a.jfif", "not an image")]
    # one that is named is read, and gives the error
    assert input_files([str(tmp_path / "._a.jfif")]).paths == [tmp_path / "._a.jfif"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with a name")
def test_what_is_no_file_is_skipped(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert input_files([str(tmp_path)]) == ([], [Skipped(tmp_path / "pipe.jpg", "not a file")], False)
    assert "no image in this folder" in capsys.readouterr().err


def test_a_bar_on_a_terminal_only(monkeypatch):
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    run(3)
    assert err.getvalue() == ""
    monkeypatch.setattr(sys, "stderr", Terminal())
    run(1)
    assert sys.stderr.getvalue() == "", "one photo needs no bar"
    run(3, seconds=0.12)  # tqdm draws at most 10 times a second
    assert "2/3" in sys.stderr.getvalue()
    assert "photo/s" in sys.stderr.getvalue()


def test_lines_are_printed_above_the_bar(monkeypatch):
    """On one terminal, each line begins where the bar was cleared, and the bar is drawn again after it."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    run(3, failing=(1,))
    shown = terminal.getvalue()
    for text in ("did 0", "did 1", "did 2", "tddfa: error: 1.jpg: one kind"):
        before, after = shown.split(f"{text}\n")
        assert before.endswith(("\r", "\n")), "the line has its own row"
        assert before.split("\r")[-2].strip() == "" or before.endswith("\n"), "which was cleared"
        assert "0/3" in before
        assert after
    assert "2 of 3 done, 1 failed; " in shown.splitlines()[-1]
