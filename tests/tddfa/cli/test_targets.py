import os

import pytest

from tddfa.cli._targets import check_file, check_folder


def test_what_can_be_written(tmp_path, monkeypatch):
    check_folder("--out", tmp_path)
    check_folder("--out", tmp_path / "a/b")
    check_file("--json", tmp_path / "a/b.json")
    monkeypatch.chdir(tmp_path)
    check_file("--json", type(tmp_path)("b.json"))
    assert not list(tmp_path.iterdir())


def test_what_cannot(tmp_path, monkeypatch):
    file = tmp_path / "README.md"
    file.touch()
    for path in (file, file / "a/b"):
        with pytest.raises(ValueError, match=rf"^--out: {file} is not a folder$"):
            check_folder("--out", path)
    with pytest.raises(ValueError, match=rf"^--json: {file} is not a folder$"):
        check_file("--json", file / "a.json")
    with pytest.raises(ValueError, match=rf"^--json: {tmp_path} is a folder$"):
        check_file("--json", tmp_path)
    # as who may write everywhere it cannot be tried
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ValueError, match=rf"^--out: {tmp_path} may not be written to$"):
        check_folder("--out", tmp_path / "new")
