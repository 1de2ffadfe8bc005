"""Contents of regular files: pipes and devices, which may be without end, are refused before they are read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tddfa._shared.errors import FormatError

_KINDS = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)  # fmt: skip


def regular_size(path: str | os.PathLike[str]) -> int:
    """Return the size of a regular file, bytes.

    Raises
    ------
    FormatError
        If it is a folder, a pipe, a device or a socket. The message does not name the file: the caller does.
    OSError
        If there is no such file.

    Examples
    --------
    >>> from tddfa._shared.reading.regular import regular_size
    >>> regular_size("/dev/null")
    Traceback (most recent call last):
        ...
    tddfa._shared.errors.FormatError: expected a file, got a device
    """
    return _checked(os.stat(path))  # noqa: PTH116 - takes what `os.fspath` takes


def read_regular(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    """Read a regular file of at most `max_bytes`.

    Raises
    ------
    FormatError
        If it is something else than a regular file, or larger. The message does not name the file: the caller does.
    OSError
        If it cannot be read.
    """
    # a pipe may take the place of the file after a check of its name; opened so, it is refused without a wait
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        size = _checked(os.fstat(descriptor))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            # not at once: memory for all that is asked for is allocated before the file is read
            data = file.read(size + 1) if size <= max_bytes else b""
            if size < len(data) <= max_bytes:  # it has grown, or its size is not known, as under /proc
                data += file.read(max_bytes + 1 - len(data))
    finally:
        os.close(descriptor)
    if max(size, len(data)) > max_bytes:
        raise FormatError(f"expected at most {max_bytes} bytes, got {max(size, len(data))}")
    return data


def read_text(path: str | os.PathLike[str], max_bytes: int) -> str:
    """Read a text file in UTF-8; errors as of `read_regular`."""
    try:
        return read_regular(path, max_bytes).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise FormatError(f"expected text in UTF-8: {error}") from error


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a pipe, a device or a socket: neither a file nor a folder nor missing."""
    path = Path(path)
    try:
        return path.exists() and not (path.is_file() or path.is_dir())
    except (OSError, ValueError):  # a name that is too long, or with a NUL: opening it gives the error
        return False


def _checked(status: os.stat_result) -> int:
    if not stat.S_ISREG(status.st_mode):
        kind = next((text for test, text in _KINDS if test(status.st_mode)), "something else")
        raise FormatError(f"expected a file, got {kind}")
    return status.st_size
