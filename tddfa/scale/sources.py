"""Names of photos and videos, in a stable order: folders, patterns, lists, Parquet files, WebDataset tars, URLs."""

from __future__ import annotations

import glob
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from tddfa._shared.errors import FormatError, reason
from tddfa.scale.items import Item, kind_of
from tddfa.scale.stores import is_local, local_path, open_url

LIST_SUFFIXES = (".txt", ".lst", ".list")
"""Suffixes of files with a path or URL in each line."""

COLUMNS = ("path", "image", "bytes", "url", "file_name")
"""Columns of Parquet files that are taken if none is named, the first that is there."""

_MAX_LINE = 32_768  # bytes of a path
_ROWS = 1024  # of a Parquet file, read at a time
# keys, in the listings of the file systems, of values that change with the content of a file
_STAMPS = ("ETag", "etag", "md5Hash", "checksum", "mtime", "LastModified", "last_modified", "updated", "created")


def list_items(source: str, *, column: str | None = None) -> Iterator[Item]:
    """Give the photos and videos of a source, one at a time. None is opened.

    Parameters
    ----------
    source : str
        - a photo or a video;
        - a folder: those in it and below it, by name; links to folders are not followed;
        - a pattern such as ``photos/**/*.jpg`` or ``shards/*.tar``: each file that matches, by name;
        - a ``.txt``, ``.lst`` or ``.list`` file: a path or URL in each line, relative to the folder of the file;
        - a ``.parquet`` file: a column of paths (relative to its folder), of the bytes of photos, or of structs with
          both (``bytes``, ``path``);
        - a ``.tar`` file of WebDataset: its photos and videos.

        Each may be a URL that fsspec knows, such as ``s3://bucket/photos``.
    column : str, optional
        Column of Parquet files. None takes the first of `COLUMNS` that is there.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is of another kind, or has no such column; the message names it.

    Examples
    --------
    >>> from tddfa.scale.sources import list_items
    >>> [item.name for item in list_items("examples/inputs/astro*.jpg")]
    ['examples/inputs/astronaut.jpg']
    """
    files, path = open_url(source)
    if is_local(files):
        path = local_path(source)
    if files.isdir(path):
        yield from _folder(files, path)
    elif glob.has_magic(path) and not files.exists(path):
        yield from _matches(files, path, source, column)
    elif not files.exists(path):
        raise FileNotFoundError(f"{source}: no such file or folder")
    else:
        yield from _file(files, path, _stamp(files.info(path)), column)


def _url(files: Any, path: str) -> str:
    return path if is_local(files) else str(files.unstrip_protocol(path))


def _stamp(entry: dict[str, Any]) -> str:
    mark = next((entry[key] for key in _STAMPS if entry.get(key) is not None), "")
    return f"{entry.get('size', '')}-{mark}"


def _file(files: Any, path: str, stamp: str, column: str | None) -> Iterator[Item]:
    """Give the items of one file: itself, or what it lists or holds."""
    name, url = path.lower(), _url(files, path)
    if name.endswith(LIST_SUFFIXES):
        yield from _lines(files, path)
    elif name.endswith(".parquet"):
        yield from _rows(files, path, stamp, column)
    elif name.endswith(".tar"):
        yield from _members(files, path, stamp)
    elif (kind := kind_of(path)) is not None:
        yield Item(url, url, kind, stamp)
    else:
        known = f"a photo, a video, a folder, .parquet, .tar, {', '.join(LIST_SUFFIXES)}"
        raise ValueError(f"{url}: expected {known}, or a pattern")


def _folder(files: Any, path: str) -> Iterator[Item]:
    """Give the items of a folder and of those below it; only the names of one folder are in memory."""
    if is_local(files):
        yield from _local_folder(path)
        return
    entries = sorted(files.ls(path, detail=True), key=lambda entry: str(entry["name"]))
    for entry in entries:
        name = str(entry["name"])
        if entry["type"] == "directory":
            if name.rstrip("/") != path.rstrip("/"):
                yield from _folder(files, name)
        elif (kind := kind_of(name)) is not None:
            url = _url(files, name)
            yield Item(url, url, kind, _stamp(entry))
    files.dircache.clear()  # else the listings of all folders stay in memory


def _local_folder(path: str) -> Iterator[Item]:
    with os.scandir(path) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _local_folder(entry.path)
        elif (kind := kind_of(entry.name)) is not None and not entry.is_dir():
            yield Item(entry.path, entry.path, kind, _local_stamp(entry))


def _local_stamp(path: str | os.DirEntry[str]) -> str:
    try:
        stat = os.stat(path)  # noqa: PTH116 - takes an entry of a folder too
    except OSError:
        return "missing"  # reading it gives the error
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def _matches(files: Any, path: str, source: str, column: str | None) -> Iterator[Item]:
    if is_local(files):
        names: list[str] = sorted(glob.iglob(path, recursive=True))  # noqa: PTH207 - a pattern may be absolute
        stamps = {name: _local_stamp(name) for name in names}
    else:
        found = files.glob(path, detail=True)
        names = sorted(found)
        stamps = {name: _stamp(found[name]) for name in names}
    if not names:
        raise FileNotFoundError(f"{source}: no file matches")
    holders = (*LIST_SUFFIXES, ".parquet", ".tar")
    for name in names:
        # a pattern may match notes beside the photos
        known = kind_of(name) is not None or (name.lower().endswith(holders) and not source.endswith("*"))
        if known and not files.isdir(name):
            yield from _file(files, name, stamps[name], column)


def _beside(files: Any, holder: str, name: str) -> str:
    """Path or URL of an entry of a list."""
    if "://" in name:
        return name
    if is_local(files):
        return str(Path(holder).parent / name)
    return _url(files, name if name.startswith("/") else f"{holder.rpartition('/')[0]}/{name}")


def _listed(url: str, holder: str) -> Item:
    kind = kind_of(url.partition("?")[0])
    if kind is None:
        kind = "photo"  # a name may have no suffix; reading it tells
    if "://" in url and not url.startswith(("file://", "local://")):
        return Item(url, url, kind)  # asking for the time of each would take a request each
    if "\0" in url:
        raise FormatError(f"{holder}: expected a path or URL in each line, got {url[:80]!r}")
    return Item(url, url, kind, _local_stamp(local_path(url)))


def _lines(files: Any, path: str) -> Iterator[Item]:
    url = _url(files, path)
    with files.open(path, "rb") as file:
        while line := file.readline(_MAX_LINE):
            if len(line) == _MAX_LINE:
                raise FormatError(f"{url}: expected a path or URL in each line, got a line over {_MAX_LINE} bytes")
            try:
                name = line.decode("utf-8-sig").strip("\r\n")
            except UnicodeDecodeError as error:
                raise FormatError(f"{url}: expected text in UTF-8, got {line[:40]!r}") from error
            if name.strip():
                yield _listed(_beside(files, path, name), url)


def _rows(files: Any, path: str, stamp: str, column: str | None) -> Iterator[Item]:
    url = _url(files, path)
    try:
        with files.open(path, "rb") as file:
            table = pyarrow.parquet.ParquetFile(file)
            schema = table.schema_arrow
            name = _column(schema, column, url)
            kind = schema.field(name).type
            if _is_text(kind):
                for batch in table.iter_batches(_ROWS, columns=[name]):
                    for value in batch.column(0).to_pylist():
                        if value:
                            yield _listed(_beside(files, path, value), url)
                return
            yield from _bytes(table, url, stamp, name)
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise FormatError(f"{url}: not a readable Parquet file: {reason(error)}") from error


def _column(schema: Any, column: str | None, url: str) -> str:
    wanted = COLUMNS if column is None else (column,)
    found = [name for name in wanted if name in schema.names]
    if not found:
        raise ValueError(f"{url}: expected a column {' or '.join(wanted)}, got {', '.join(schema.names)}; see --column")
    kind = schema.field(found[0]).type
    if not (_is_text(kind) or _is_bytes(kind) or _has_bytes(kind)):
        raise ValueError(f"{url}: column {found[0]}: expected paths, bytes, or structs with bytes, got {kind}")
    return found[0]


def _is_text(kind: Any) -> bool:
    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind))


def _is_bytes(kind: Any) -> bool:
    return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))


def _has_bytes(kind: Any) -> bool:
    return bool(pyarrow.types.is_struct(kind)) and any(field.name == "bytes" for field in kind)


def _bytes(table: Any, url: str, stamp: str, column: str) -> Iterator[Item]:
    """Give the rows of a column of bytes; they are named by their paths, if there are some, else by their numbers."""
    kind = table.schema_arrow.field(column).type
    inside = _has_bytes(kind) and any(field.name == "path" for field in kind)
    named = f"{column}.path" if inside else "path" if "path" in table.schema_arrow.names else None
    count = table.metadata.num_rows
    if named is None:
        for row in range(count):
            yield Item(f"{url}#{row}", url, "photo", stamp, row=row, column=column)
        return
    row = 0
    for batch in table.iter_batches(_ROWS, columns=[named]):
        for value in batch.column(0).to_pylist():
            path = value["path"] if isinstance(value, dict) else value
            name = f"{url}#{row}" if not path else str(path)
            yield Item(name, url, kind_of(name) or "photo", stamp, row=row, column=column)
            row += 1


def _members(files: Any, path: str, stamp: str) -> Iterator[Item]:
    url = _url(files, path)
    try:
        with files.open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # tarfile would keep them all
                kind = kind_of(member.name)
                if member.isfile() and kind is not None:
                    name = f"{url}/{member.name}"
                    yield Item(name, url, kind, stamp, offset=member.offset_data, size=member.size)
    except tarfile.TarError as error:
        raise FormatError(f"{url}: not a readable tar file: {reason(error)}") from error
