import os
from pathlib import Path

import pytest

from tddfa._shared.errors import FormatError
from tddfa._shared.reading.regular import is_stream, read_regular, read_text, regular_size


@pytest.fixture
def pipe(tmp_path):
    """Nobody writes to it: to open it usually waits for ever."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_a_file(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\rc")
    assert (regular_size(path), read_regular(path, 9), is_stream(path)) == (9, path.read_bytes(), False)
    assert read_text(path, 9) == "a\nb\nc"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name")
@pytest.mark.parametrize("read", [regular_size, lambda path: read_regular(path, 10)])
def test_what_may_have_no_end_is_refused_at_once(pipe, tmp_path, read):
    for path, kind in ((pipe, "pipe"), ("/dev/zero", "device"), (tmp_path, "folder")):
        with pytest.raises(FormatError, match=rf"^expected a file, got a {kind}$"):
            read(path)
    assert is_stream(pipe)
    assert is_stream("/dev/zero")
    assert not is_stream(tmp_path)
    assert not is_stream("n" * 5000)


def test_limits(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(11))
    with pytest.raises(FormatError, match=r"^expected at most 10 bytes, got 11$"):
        read_regular(path, 10)
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # takes no space, and would take all memory
    with pytest.raises(FormatError, match=rf"^expected at most {2 << 20} bytes, got {1 << 40}$"):
        read_regular(path, 2 << 20)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none", 10)


def test_text_is_utf_8(tmp_path):
    (tmp_path / "x").write_bytes(b"\xff")
    with pytest.raises(FormatError, match=r"^expected text in UTF-8: "):
        read_text(tmp_path / "x", 10)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no files whose size is not known")
def test_a_file_that_is_longer_than_its_size():
    assert regular_size("/proc/self/stat") == 0
    assert read_regular("/proc/self/stat", 1 << 20).split()[0] == str(os.getpid()).encode()
    with pytest.raises(FormatError, match=r"^expected at most 3 bytes, got 4$"):
        read_regular("/proc/self/stat", 3)
