from pathlib import Path

import pytest

from tddfa.cli._paths import input_files, output_stems, source_stem


def test_names_that_differ_in_case_alone_get_numbers():
    assert output_stems([Path("A.png"), Path("a.png"), Path("a-2.png")]) == ["A", "a-3", "a-2"]


def test_a_folder_gives_its_photos_and_no_other_files(tmp_path, capsys):
    for name in ("b.PNG", "a.jpg", "notes.txt"):
        (tmp_path / name).touch()
    assert input_files([str(tmp_path)]) == ([tmp_path / "a.jpg", tmp_path / "b.PNG"], True)
    assert capsys.readouterr().err == ""


def test_a_missing_file_is_kept_so_that_reading_it_tells(tmp_path):
    assert input_files([str(tmp_path / "no.jpg")]) == ([tmp_path / "no.jpg"], True)


def test_a_pattern_without_a_file_is_told_and_the_others_count(tmp_path, capsys):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "only_folders_here").mkdir()
    patterns = [str(tmp_path / "*.png"), str(tmp_path / "only*"), str(tmp_path / "*.jpg")]
    assert input_files(patterns) == ([tmp_path / "a.jpg"], False)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all("no file of such a name" in line for line in said)


def test_an_empty_folder_is_told(tmp_path, capsys):
    assert input_files([str(tmp_path)]) == ([], False)
    assert "no photo in this folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "stem"),
    [
        ("clips/a.b.mp4", "a.b"),
        ("frames/", "frames"),
        ("https://host/x/clip.mp4?token=secret.key&t=1#part", "clip"),
        ("rtsp://user:word@host:554/live/", "live"),
        ("http://host", "video"),
        ("why?.mp4", "why?"),
        ("/", "video"),
    ],
)
def test_results_of_a_video_are_called_after_its_file(source, stem):
    assert source_stem(source) == stem
