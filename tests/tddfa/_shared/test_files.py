import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from builders_files import size_limit
from tddfa._shared import files
from tddfa._shared.files import MAX_STEM_BYTES, new_part, output_path, safe_stem, write_atomic, write_together


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
    with pytest.raises(IsADirectoryError, match=r"^expected a file, got the folder \S*x\.bin$"):
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


def hostile_names(count, seed=3):
    """Names of what breaks paths: dots, separators, control characters, devices, undecodable bytes, great lengths."""
    rng = random.Random(seed)
    pieces = [
        ".", "..", "/", "\\", "\0", "\n", "\r", "\x1b[2J", "\x7f", "\x85", "\u2028", " ", "con", "NUL", "Lpt1", "com¹",
        "~", "-", "*", "%", "a", "é", "日", "\udcff", "\ud800", "\U0001f600", ":", "C:", "file:", "n" * 255, "日" * 85,
    ]  # fmt: skip
    yield from pieces
    yield ""
    for _ in range(count):
        yield "".join(rng.choices(pieces, k=rng.randint(1, 6)))


def test_no_name_of_an_input_leads_out_of_the_folder_of_outputs(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    ending = "_2d_sparse_smooth.mp4"
    for name in hostile_names(3000):
        stem = safe_stem(name)
        assert safe_stem(stem) == stem
        assert len(os.fsencode(stem)) <= MAX_STEM_BYTES
        assert not any(character < " " or character in "/\\\x7f" for character in stem)
        assert stem.partition(".")[0].casefold() not in ("con", "nul", "lpt1", "com¹")
        for path in (output_path(out, stem), output_path(out, stem + ending)):
            assert path.parent == out
            assert Path(os.path.normpath(path)).parent == out
    for name in hostile_names(60, seed=4):
        write_atomic(output_path(out, safe_stem(name) + ending), b"1")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_usual_names_stay_and_long_ones_stay_different():
    for name in ("me", "naïve café", ".hidden", "a.b", "-x", "why?", "日" * 66, "control", "nullable"):
        assert safe_stem(name) == name
    assert safe_stem("n" * 250) != safe_stem("n" * 251)


@pytest.mark.parametrize("name", ["", ".", "..", " .", "/x", "a/b", "../x", "a\\b", "a\0b", "a/"])
def test_what_is_no_file_name_is_refused(name):
    with pytest.raises(ValueError, match=r"^name of an output: expected a file name without a folder, got "):
        output_path("out", name)


@pytest.mark.parametrize("limit", [0, 1, 4095, 9_999])
def test_a_write_that_fails_at_any_byte_leaves_the_old_file_and_names_it(tmp_path, limit):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    with size_limit(limit), pytest.raises(OSError, match=r"x\.bin'$"):
        write_atomic(path, bytes(10_000))
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["x.bin"]


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("obstacle", ["size", "folder"])
def test_of_files_that_belong_together_all_are_new_or_none(tmp_path, old, obstacle):
    side, main = tmp_path / "x.mtl", tmp_path / "x.obj"
    if old:
        side.write_bytes(b"old")
    if obstacle == "folder":
        main.mkdir()
    with size_limit(100 if obstacle == "size" else 1 << 30), pytest.raises(OSError, match=r"x\.obj"):
        write_together({side: b"1", main: bytes(1000)})
    assert names(tmp_path) == ["x.mtl"] * old + ["x.obj"] * (obstacle == "folder")
    assert not old or side.read_bytes() == b"old"


def test_a_rename_that_fails_takes_the_new_files_back(tmp_path, monkeypatch):
    replace = Path.replace

    def fail_at_the_second(self, target):
        if target.name == "x.obj":
            raise OSError(5, "Input/output error", str(target))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail_at_the_second)
    with pytest.raises(OSError, match=r"x\.obj"):
        write_together({tmp_path / "x.mtl": b"1", tmp_path / "x.obj": b"2"})
    assert names(tmp_path) == []


def test_a_file_that_tells_that_others_are_there_is_gone_while_they_change(tmp_path, monkeypatch):
    paths = [tmp_path / "a", tmp_path / "b", tmp_path / "seal"]
    write_together(dict.fromkeys(paths, b"old"), sealed=True)
    seen = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: (seen.append(paths[-1].exists()), replace(self, target)))
    made = []
    write_together({path: lambda: made.append(1) or b"new" for path in paths}, sealed=True)
    assert seen == [False] * 3
    assert [path.read_bytes() for path in paths] == [b"new"] * 3
    assert len(made) == 3
    assert names(tmp_path) == ["a", "b", "seal"]


@pytest.mark.skipif(os.name == "nt", reason="no kill -9")
def test_temporary_files_of_dead_processes_are_removed_and_no_others(tmp_path):
    code = f"""
import os, pathlib
from tddfa._shared.files import new_part
part = new_part({str(tmp_path / "x.mp4")!r})
part.write_bytes(b"half")
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == -9
    (dead,) = names(tmp_path)
    assert dead.endswith(".part")
    living = new_part(tmp_path / "y.mp4")  # this process has not looked into the folder since
    living.touch()
    elsewhere = tmp_path / ".x.mp4.01234567-1-89abcdef.part"  # of another machine
    download = tmp_path / "x.onnx.part"  # continued by the next run
    for path in (elsewhere, download):
        path.touch()
    files._remove_stale.cache_clear()
    write_atomic(tmp_path / "z", b"1")
    assert names(tmp_path) == sorted(["z", living.name, elsewhere.name, download.name])
    assert dead not in names(tmp_path)
