import os
from pathlib import Path

import pytest
from PIL import Image

from tddfa._shared.terminal.parser import UsageError
from tddfa.cli._paths import (
    Photo,
    check_file,
    check_folder,
    check_targets,
    input_files,
    output_stems,
    photos,
    source_stem,
)


def test_names_that_differ_in_case_alone_get_numbers():
    assert output_stems([Path("A.png"), Path("a.png"), Path("a-2.png")]) == ["A", "a-3", "a-2"]
    # the .mtl and the textures of an .obj have no spaces in their names
    assert output_stems([Path("me 1.jpg"), Path("me_1.jpg")]) == ["me 1", "me_1-2"]


def test_a_folder_gives_its_images_and_no_other_files(tmp_path, capsys):
    images = ["a.jpg", "b.PNG", "c.HEIC", "d.avif"]
    for name in (*images, "notes.txt"):
        (tmp_path / name).touch()
    assert input_files([str(tmp_path)])[:2] == (
        [tmp_path / name for name in images],
        [(tmp_path / "notes.txt", "not an image")],
    )
    assert capsys.readouterr().err == ""


def test_a_missing_file_is_kept_and_reading_it_gives_the_error(tmp_path):
    assert input_files([str(tmp_path / "no.jpg")]) == ([tmp_path / "no.jpg"], [], True)


def test_a_pattern_without_a_file_gives_an_error_and_the_others_count(tmp_path, capsys):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "only_folders_here").mkdir()
    patterns = [str(tmp_path / "*.png"), str(tmp_path / "only*"), str(tmp_path / "*.jpg")]
    skipped = [(tmp_path / "only_folders_here", "folder")]
    assert input_files(patterns) == ([tmp_path / "a.jpg"], skipped, False)
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert all("no file matches" in line for line in errors)


def test_an_empty_folder_gives_an_error(tmp_path, capsys):
    assert input_files([str(tmp_path)]) == ([], [], False)
    assert "no image in this folder" in capsys.readouterr().err


def test_pages_get_names_of_their_own(tmp_path):
    many, one, damaged = (tmp_path / name for name in ("x.tif", "x_page1.png", "no.tif"))
    page = Image.new("L", (8, 8))
    page.save(many, save_all=True, append_images=[page])
    page.save(one)
    assert photos([many, one, damaged], "all") == [
        Photo(many, 1, "x_page1"),
        Photo(many, 2, "x_page2"),
        Photo(one, None, "x_page1-2"),
        Photo(damaged, None, "no"),
    ]
    assert photos([many], None) == [Photo(many, None, "x")]
    assert photos([many], 2) == [Photo(many, 2, "x")]
    assert Photo(many, 2, "x").name == f"{many}, page 2"


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
def test_outputs_of_a_video_are_named_after_its_file(source, stem):
    assert source_stem(source) == stem


def test_outputs_of_folders_with_a_dot_have_names_of_their_own(tmp_path):
    for name in ("clip.1", "clip.2"):
        (tmp_path / name).mkdir()
        assert source_stem(f"{tmp_path / name}/") == name


def test_what_can_be_written(tmp_path, monkeypatch):
    check_folder("--out", tmp_path)
    check_folder("--out", tmp_path / "a/b")
    check_file("--json", tmp_path / "a/b.json")
    monkeypatch.chdir(tmp_path)
    check_file("--json", Path("b.json"))
    check_folder("--out", Path())
    assert not list(tmp_path.iterdir())


def test_a_file_is_no_folder_and_a_folder_no_file(tmp_path):
    file = tmp_path / "README.md"
    file.touch()
    for path in (file, file / "a/b"):
        with pytest.raises(ValueError, match=rf"^--out: {file} is not a folder$"):
            check_folder("--out", path)
    with pytest.raises(ValueError, match=rf"^--json: {file} is not a folder$"):
        check_file("--json", file / "a.json")
    with pytest.raises(ValueError, match=rf"^--json: {tmp_path} is a folder$"):
        check_file("--json", tmp_path)


def test_a_new_folder_has_no_name_of_a_file(tmp_path):
    for name in ("out.jpg", "take.MP4", "face.obj"):
        with pytest.raises(UsageError, match=rf"^--out: expected a folder, got the name of a file: \S*{name}$"):
            check_folder("--out", tmp_path / name)
    for name in ("results.v2", "out.jpg"):
        (tmp_path / name).mkdir()
        check_folder("--out", tmp_path / name)
    check_folder("--out", tmp_path / "results.v3")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")
@pytest.mark.parametrize("check", [check_folder, check_file])
def test_a_file_system_that_takes_no_files_is_refused(check):
    with pytest.raises(ValueError, match=r"^--out: /proc/x.* cannot be written: "):
        check("--out", Path("/proc/x/y"))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match=r"^--out: .*new cannot be written: "):
        check_folder("--out", tmp_path / "new")


def test_files_beside_an_obj_replace_no_input(tmp_path):
    """`me 1.obj` has the texture `me_1_obj.png`."""
    photos = [tmp_path / "me 1.jpg", tmp_path / "me_1_obj.png"]
    check_targets(tmp_path / "out", ["me 1", "me_1_obj"], [r"\.obj", r"_obj\.png"], photos)
    with pytest.raises(ValueError, match=r"me_1_obj\.png: an output of this run could replace it"):
        check_targets(tmp_path, ["me 1", "me_1_obj"], [r"\.obj", r"_obj\.png"], photos)
