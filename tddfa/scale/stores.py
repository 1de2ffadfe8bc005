"""Folders on a disk or in an object store, by fsspec: whole files in, whole files out."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from tddfa._shared.errors import TddfaError, reason
from tddfa._shared.files import naming, new_part, write_atomic
from tddfa._shared.packages import needs

PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
"""Package of each protocol that is not fsspec's own."""

# An object appears when its upload is complete; elsewhere a file is written under another name first.
_OBJECT_STORES = frozenset((*PACKAGES, "abfss", "memory"))


class StoreError(TddfaError, OSError):
    """A folder or file behind a URL cannot be reached."""


def open_url(url: str) -> tuple[Any, str]:
    """Return the file system of a path or URL, and the path in it.

    Raises
    ------
    ImportError
        If the package of its protocol is missing; the message gives the pip command.
    ValueError
        If the protocol is unknown.

    Examples
    --------
    >>> from tddfa.scale.stores import open_url
    >>> files, path = open_url("memory://photos/a.jpg")
    >>> path
    '/photos/a.jpg'
    """
    protocol = url.partition("://")[0]
    try:
        files, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        if protocol in PACKAGES:
            raise ImportError(needs(f"{protocol}://", PACKAGES[protocol])) from error
        raise
    except ValueError as error:
        raise ValueError(f"{url}: {error}") from error
    return files, str(path)


@contextlib.contextmanager
def reached(url: str) -> Iterator[None]:
    """Add a path or URL to errors of the library of its protocol, which may have any type and name no file.

    Raises
    ------
    StoreError
        Replaces such an error, and an error of Python that does not name the URL.
    """
    try:
        yield
    except Exception as error:
        ours = type(error).__module__.partition(".")[0] in ("builtins", "tddfa", "pyarrow")
        nameless = isinstance(error, OSError) and error.filename is None and url not in str(error)
        if ours and not ("://" in url and nameless):
            raise
        raise StoreError(f"{url}: {reason(error)}") from error


def is_local(files: Any) -> bool:
    """Whether a file system is that of this machine.

    Examples
    --------
    >>> from tddfa.scale.stores import is_local, open_url
    >>> is_local(open_url("photos")[0]), is_local(open_url("memory://photos")[0])
    (True, False)
    """
    return isinstance(files, LocalFileSystem)


def local_path(url: str) -> str:
    """Return a path of this machine as it was given, without a protocol.

    Examples
    --------
    >>> from tddfa.scale.stores import local_path
    >>> local_path("a.jpg"), local_path("file:///a.jpg")
    ('a.jpg', '/a.jpg')
    """
    return url.removeprefix("file://").removeprefix("local://")


class Store:
    """The folder of the results.

    Parameters
    ----------
    url : str
        A path, or a URL that fsspec knows. The folder need not exist.

    Examples
    --------
    >>> from tddfa.scale.stores import Store
    >>> store = Store(str(tmp / "out"))
    >>> store.write("done/a.json", b"{}")
    >>> store.names("done"), store.read("done/a.json"), store.read("done/b.json")
    (['a.json'], b'{}', None)
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.files, root = open_url(url)
        self.root = root.rstrip("/") or root
        self.is_local = is_local(self.files)
        protocol = self.files.protocol
        protocols = {protocol} if isinstance(protocol, str) else set(protocol)
        self._is_object_store = bool(protocols & _OBJECT_STORES)

    def path(self, name: str) -> str:
        """Path of a file of the folder, in its file system."""
        return f"{self.root}/{name}"

    def names(self, folder: str = "") -> list[str]:
        """Names in the folder, or in a folder in it, sorted; none if it does not exist. Temporary files are left out.

        Raises
        ------
        NotADirectoryError
            If it is a file.
        """
        where = f"{self.root}/{folder}" if folder else self.root
        if self.is_local:
            try:
                return sorted(name for name in os.listdir(where) if not _is_temporary(name))  # noqa: PTH208
            except FileNotFoundError:
                return []
        self.files.invalidate_cache()  # other processes write here
        with reached(self.url):
            try:
                entries = self.files.ls(where, detail=False)
            except FileNotFoundError:
                return []
        names = {str(entry).rstrip("/").rpartition("/")[2] for entry in entries if str(entry).rstrip("/") != where}
        return sorted(name for name in names if name and not _is_temporary(name))

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes | None:
        """Content of a file, or of its bytes from `start` to `end`; None if there is no such file."""
        with reached(self.url):
            try:
                return bytes(self.files.cat_file(self.path(name), start=start, end=end))
            except FileNotFoundError:
                return None

    def write(self, name: str, data: bytes) -> None:
        """Write a file: it appears whole, or not at all."""
        if self.is_local:
            write_atomic(self.path(name), data)
            return
        with self.new_file(name) as part:
            part.write_bytes(data)

    @contextlib.contextmanager
    def new_file(self, name: str) -> Iterator[Path]:
        """Give a local file to be written. It gets its name after the block, unless the block raises."""
        if self.is_local:
            part = new_part(self.path(name))
            try:
                with naming(self.path(name)):
                    yield part
                    part.replace(self.path(name))
            finally:
                part.unlink(missing_ok=True)
            return
        with tempfile.TemporaryDirectory(prefix="tddfa-") as folder:
            part = Path(folder) / "part"
            yield part
            self._upload(part, self.path(name))

    def _upload(self, part: Path, target: str) -> None:
        with reached(self.url):
            if self._is_object_store:
                self.files.put_file(str(part), target)
                return
            self.files.makedirs(target.rpartition("/")[0], exist_ok=True)
            self.files.put_file(str(part), f"{target}.part")
            self.files.mv(f"{target}.part", target)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file if it does not exist yet; return whether it was written.

        Object stores with conditional writes decide between two writers at the same time. Elsewhere, only a check
        before the write decides.
        """
        if self.read(name) is not None:
            return False
        with reached(self.url):
            try:
                self.files.pipe_file(self.path(name), data, mode="create")
            except FileExistsError:
                return False
        return True

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with reached(self.url), contextlib.suppress(FileNotFoundError):
            self.files.rm_file(self.path(name))


def _is_temporary(name: str) -> bool:
    return name.endswith(".part")
