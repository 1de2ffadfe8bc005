"""Names of output files, and atomic writes: a file appears complete or not at all, and only in its folder."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import platform
import re
import secrets
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

MAX_STEM_BYTES = 200
"""Limit of `safe_stem`: file systems take 255 bytes, and an ending such as ``_2d_sparse_smooth.mp4`` follows."""

MAX_NAME_BYTES = 255
"""Limit of a file's name on the usual file systems."""

_PART_BYTES = 80  # of a name that a temporary file repeats
_HASH_LENGTH = 8
# devices of Windows, with any suffix
_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE | re.DOTALL)
_PART = re.compile(r"\..*\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.part", re.DOTALL)


def safe_stem(name: str) -> str:
    """Return the name of an input as the beginning of the names of its outputs.

    Most names stay as they are. Separators, control characters and characters that cannot be encoded become ``_``. So
    do the characters of names that have only dots and spaces, because such names mean folders. A name that is a device
    of Windows gets a ``_`` before it. A name over `MAX_STEM_BYTES` is cut, and ends in a hash, so that long names stay
    different.

    Examples
    --------
    >>> from tddfa._shared.files import safe_stem
    >>> [safe_stem(name) for name in ("me", ".hidden", "..", "a/b", "con")]
    ['me', '.hidden', '__', 'a_b', '_con']
    """
    stem = "".join("_" if _is_unsafe(character) else character for character in name)
    if not stem.strip(". "):
        stem = "_" * max(len(stem), 1)
    if _RESERVED.fullmatch(stem):
        stem = f"_{stem}"
    encoded = stem.encode("utf-8", "surrogatepass")
    if len(encoded) <= MAX_STEM_BYTES:
        return stem
    digest = hashlib.sha256(encoded).hexdigest()[:_HASH_LENGTH]
    return f"{cut(stem, MAX_STEM_BYTES - _HASH_LENGTH - 1)}-{digest}"


def is_sidecar(name: str) -> bool:
    """Whether a file is a sidecar of macOS, which stores what the file system of ``photo.jpg`` cannot store.

    Examples
    --------
    >>> from tddfa._shared.files import is_sidecar
    >>> [is_sidecar(name) for name in ("._photo.jpg", "photo.jpg", ".photo.jpg")]
    [True, False, False]
    """
    return name.startswith("._")


def _is_unsafe(character: str) -> bool:
    category = unicodedata.category(character)
    # Python represents bytes of a name that are not UTF-8 by these surrogates; no others can be encoded
    undecodable = category == "Cs" and not "\udc80" <= character <= "\udcff"
    return character in "/\\" or category in ("Cc", "Zl", "Zp") or undecodable


def cut(name: str, size: int) -> str:
    """Beginning of a name, of at most `size` bytes."""
    return name.encode("utf-8", "surrogatepass")[:size].decode("utf-8", "ignore")


def output_path(folder: str | os.PathLike[str], name: str) -> Path:
    """Return the path of an output: the file `name` of `folder`, and of no other folder.

    Raises
    ------
    ValueError
        If `name` is not that of a file: it has a separator or a NUL, or means a folder.

    Examples
    --------
    >>> from tddfa._shared.files import output_path
    >>> output_path("results", "me.json").as_posix()
    'results/me.json'
    >>> output_path("results", "..")
    Traceback (most recent call last):
        ...
    ValueError: name of an output: expected a file name without a folder, got '..'
    """
    folder = Path(folder)
    path = folder / name
    if path.parent != folder or path.name != name or not name.strip(". ") or "\\" in name or "\0" in name:
        raise ValueError(f"name of an output: expected a file name without a folder, got {name!r}")
    return path


def new_part(path: str | os.PathLike[str]) -> Path:
    """Return the name of a temporary file beside `path`; missing folders are made.

    The name tells the process that writes it. Temporary files that ended processes left in the folder are removed when
    a process asks for its first one there.

    Raises
    ------
    OSError
        If the folder cannot be made, or if the name is longer than file systems allow.
    """
    path = Path(path)
    check_length(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path.parent.absolute())
    return path.with_name(f".{cut(path.name, _PART_BYTES)}.{_host()}-{os.getpid()}-{secrets.token_hex(4)}.part")


def check_length(path: Path) -> None:
    """Raise the `OSError` that a file system would raise for a name of more than 255 bytes, before there is a file."""
    if len(os.fsencode(path.name)) > MAX_NAME_BYTES:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), str(path))


def created_part(path: str | os.PathLike[str]) -> Path:
    """Create the empty temporary file of `new_part`, so that an unwritable folder fails before the work.

    Raises
    ------
    OSError
        If the folder cannot be made or written; it names `path`.
    """
    part = new_part(path)
    with naming(path):
        part.touch()
    return part


@functools.cache
def _host() -> str:
    """Short hash of this machine and, in a container, of the container: process numbers are valid only there."""
    namespace = ""
    with contextlib.suppress(OSError):
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - no path of a file
    return hashlib.sha256(f"{platform.node()} {namespace}".encode()).hexdigest()[:8]


@functools.lru_cache(maxsize=1024)
def _remove_stale(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            match = _PART.fullmatch(entry.name)
            if match is not None and match[1] == _host() and not _is_running(int(match[2])):
                Path(entry.path).unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    if os.name == "nt":
        return True  # os.kill would end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it belongs to another user
        return True
    return True


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The sha256 of a file's bytes, as hexadecimal digits.

    Examples
    --------
    >>> from tddfa._shared.files import sha256_of
    >>> _ = (tmp / "empty").write_bytes(b"")
    >>> sha256_of(tmp / "empty")[:8]
    'e3b0c442'
    """
    with Path(path).open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Add the file that could not be written to an `OSError`, because the error of a full disk names no file."""
    try:
        yield
    except OSError as error:
        if not (error.filename is None or str(error.filename).endswith(".part")):
            raise
        if error.errno is None:
            raise OSError(f"{path}: cannot be written: {error}") from error
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def write_atomic(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write `data` to `path` through a temporary file beside it.

    Another process that reads `path` meanwhile sees the old file or the new one, never a part. Missing folders are
    made.

    Raises
    ------
    OSError
        If the folder cannot be made or written; it names `path`, and no temporary file is left.
    """
    path = Path(path)
    write_together({path: data})
    return path


def write_together(files: Mapping[Path, bytes | Callable[[], bytes]], *, sealed: bool = False) -> None:
    """Write files that belong together, in order: none gets its name before all are on the disk.

    Parameters
    ----------
    files : mapping of Path to bytes, or to a function that makes them
        Content that a function makes is in memory for one file at a time.
    sealed : bool
        The last file marks the others as complete. An old last file is removed before the others get their names. So a
        killed process never leaves an old last file beside new files.

    Raises
    ------
    OSError
        If a file cannot be written; the error names it. Then none of the files is new, and no temporary file is left.
    """
    parts = {path: new_part(path) for path in files}
    new: list[Path] = []
    try:
        for path, data in files.items():
            with naming(path):
                parts[path].write_bytes(data if isinstance(data, bytes) else data())
        for path in parts:
            if path.is_dir():
                raise IsADirectoryError(f"expected a file, got the folder {path}")
        if sealed:
            next(reversed(parts)).unlink(missing_ok=True)
        for path, part in parts.items():
            existed = os.path.lexists(path)
            part.replace(path)
            if not existed:
                new.append(path)
    except BaseException:
        for path in (*parts.values(), *new):
            path.unlink(missing_ok=True)
        raise
