import os
from pathlib import Path

import pytest

from tddfa._shared.files import write_atomic


class Stop(BaseException):
    """Neither an OSError nor any Exception: as an interrupt from the keyboard."""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_content_and_result(tmp_path):
    path = tmp_path / "x.bin"
    assert write_atomic(path, b"\0\r\n\xff") == path
    assert path.read_bytes() == b"\0\r\n\xff"
    assert names(tmp_path) == ["x.bin"]


def test_empty_content(tmp_path):
    assert write_atomic(tmp_path / "x", b"").read_bytes() == b""


def test_a_path_as_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert write_atomic("x.bin", b"1") == Path("x.bin")
    assert (tmp_path / "x.bin").read_bytes() == b"1"


def test_folders_are_made(tmp_path):
    write_atomic(tmp_path / "a" / "b" / "c.bin", b"1")
    assert (tmp_path / "a/b/c.bin").read_bytes() == b"1"


def test_an_old_file_is_replaced_and_not_changed_in_place(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"the old one is longer")
    with path.open("rb") as reader:  # who reads meanwhile keeps the old one
        write_atomic(path, b"new")
        assert reader.read() == b"the old one is longer"
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["x.bin"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), Stop(), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["write_bytes", "replace"])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_failure_leaves_the_old_file(tmp_path, monkeypatch, error, step, old):
    path = tmp_path / "x.bin"
    if old is not None:
        path.write_bytes(old)
    write_bytes = Path.write_bytes

    def fail(self, *arguments):
        if step == "write_bytes":
            write_bytes(self, b"ha")  # half of it is on the disk
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(Path, step, fail)
        with pytest.raises(type(error)):
            write_atomic(path, b"half")
    assert names(tmp_path) == ([] if old is None else ["x.bin"])
    assert old is None or path.read_bytes() == old


def test_the_file_appears_with_its_whole_content(tmp_path, monkeypatch):
    seen = []
    replace = Path.replace

    def look(self, target):
        seen.append((target.exists(), self.parent == target.parent, self.read_bytes()))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", look)
    write_atomic(tmp_path / "x.bin", b"whole")
    assert seen == [(False, True, b"whole")]


def test_a_folder_of_that_name(tmp_path):
    (tmp_path / "x.bin").mkdir()
    (tmp_path / "x.bin" / "inside").write_text("kept")
    with pytest.raises(OSError, match=r"x\.bin"):
        write_atomic(tmp_path / "x.bin", b"1")
    assert names(tmp_path) == ["x.bin"]
    assert names(tmp_path / "x.bin") == ["inside"]


def test_a_file_instead_of_the_folder(tmp_path):
    (tmp_path / "x").write_text("kept")
    with pytest.raises(OSError, match="x"):
        write_atomic(tmp_path / "x" / "y.bin", b"1")
    assert (tmp_path / "x").read_text() == "kept"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path):
    folder = tmp_path / "kept"
    folder.mkdir()
    folder.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match="kept"):
            write_atomic(folder / "x.bin", b"1")
        assert names(folder) == []
    finally:
        folder.chmod(0o700)


@pytest.mark.parametrize("name", ["n" * 250 + ".jpg", "naïve café.jpg", "日" * 80 + ".jpg", "-x.jpg", ".hidden"])
def test_names(tmp_path, name):
    write_atomic(tmp_path / name, b"1")
    assert names(tmp_path) == [name]


def test_concurrent_writes(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    path = tmp_path / "deep" / "x.bin"
    contents = [bytes([i]) * 100_000 for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda data: write_atomic(path, data), contents))
    assert path.read_bytes() in contents
    assert names(path.parent) == ["x.bin"]
