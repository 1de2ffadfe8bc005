"""Items to images: files are read and decoded ahead of the networks, and the memory that they take is bounded."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from tddfa._shared import image_io
from tddfa._shared.errors import FormatError, reason
from tddfa.scale.items import Item
from tddfa.scale.stores import is_local, local_path, open_url

_READERS = 2  # threads; each holds one photo
_READERS_OF_URLS = 8  # most of their time is waiting
_AHEAD_BYTES = 128 << 20  # of decoded photos that wait
_MAX_BYTES = 1 << 30  # of a file
# Name of a copy of a video, as `as_file` makes it, at the beginning of a message.
_COPY = re.compile(r"^.*?tddfa-[^/\\]*[/\\]video\.\w+: ")


class Loaded(NamedTuple):
    """An item with its image, or with the reason why there is none."""

    item: Item
    image: NDArray[np.uint8] | None
    reason: str = ""


class Decoders(NamedTuple):
    """Other processes that read and decode photos: a function that starts `load` in one, and their number."""

    submit: Callable[[Item, bytes | str | None], Future[Loaded]]
    at_once: int


def load_photos(
    items: Sequence[Item],
    *,
    threads: int | None = None,
    ahead_bytes: int = _AHEAD_BYTES,
    decoders: Decoders | None = None,
) -> Iterator[Loaded]:
    """Read and decode photos in their order, ahead of the caller.

    Parameters
    ----------
    items : sequence of Item
        Photos.
    threads : int, optional
        Number of photos that are read at the same time; raised to two, or to eight if there are URLs.
    ahead_bytes : int
        No further photo is read while decoded photos of this size in total wait. So the photos in memory take at most
        this size, plus one photo per thread.
    decoders : Decoders, optional
        Other processes in place of threads of this one.

    Yields
    ------
    Loaded
        For each item. What cannot be read has a reason.

    Examples
    --------
    >>> from tddfa.scale.reading import load_photos
    >>> from tddfa.scale.sources import list_items
    >>> [loaded.image.shape for loaded in load_photos(list(list_items("examples/inputs/astronaut.jpg")))]
    [(512, 512, 3)]
    """
    least = _READERS_OF_URLS if any("://" in item.url for item in items) else _READERS
    at_once = max(least, threads or 0) if decoders is None else decoders.at_once
    rows = _Rows()
    waiting: deque[tuple[Item, Future[Loaded]]] = deque()
    with contextlib.ExitStack() as stack:
        if decoders is None:
            pool = stack.enter_context(ThreadPoolExecutor(at_once, thread_name_prefix="tddfa-read"))
            decoders = Decoders(lambda item, row: pool.submit(load, item, row), at_once)
        try:
            for item in items:
                # rows of a Parquet file are read one after the other, here
                waiting.append((item, decoders.submit(item, rows.read(item) if item.row >= 0 else None)))
                while len(waiting) > at_once and (
                    _bytes_of(waiting) >= ahead_bytes or len(waiting) >= 4 * at_once or waiting[0][1].done()
                ):
                    yield _result(*waiting.popleft())
            while waiting:
                yield _result(*waiting.popleft())
        finally:
            for _, future in waiting:
                future.cancel()


def _result(item: Item, future: Future[Loaded]) -> Loaded:
    try:
        return future.result()
    except Exception as error:  # the process that decoded it has ended
        return Loaded(item, None, item_reason(item, error))


def _bytes_of(waiting: deque[tuple[Item, Future[Loaded]]]) -> int:
    ready = (_result(item, future).image for item, future in waiting if future.done())
    return sum(image.nbytes for image in ready if image is not None)


def load(item: Item, row: bytes | str | None = None) -> Loaded:
    """Read and decode a photo.

    Parameters
    ----------
    item : Item
        A photo.
    row : bytes or str, optional
        What a row of a Parquet file holds: its bytes, or the reason why there are none.

    Examples
    --------
    >>> from tddfa.scale.items import Item
    >>> from tddfa.scale.reading import load
    >>> load(Item("a.jpg", "missing.jpg", "photo")).reason
    'no such file'
    """
    try:
        if isinstance(row, str):
            return Loaded(item, None, row)
        data = read_bytes(item) if row is None else row
        return Loaded(item, image_io.decode(data, item.name))
    except Exception as error:  # whatever a file or a store does: it is the item's reason
        return Loaded(item, None, item_reason(item, error))


def item_reason(item: Item, error: BaseException) -> str:
    """Message of an error without the name of the item, which stands beside it."""
    if isinstance(error, FileNotFoundError):
        # if a server does not answer, fsspec reports a missing file too
        cause = error.__cause__
        silent = "://" in item.url and isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError)
        return f"cannot be read: {reason(cause)}" if silent and cause is not None else "no such file"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    message = _COPY.sub("", reason(error))
    for name in (item.name, item.url, str(Path(local_path(item.url)))):
        message = message.removeprefix(f"{name}: ")
    return message


def read_bytes(item: Item) -> bytes:
    r"""Read the bytes of an item that is a file, or a member of a tar file.

    Raises
    ------
    OSError
        If it cannot be read.
    FormatError
        If it is empty or over 1 GiB.

    Examples
    --------
    >>> from tddfa.scale.items import Item
    >>> from tddfa.scale.reading import read_bytes
    >>> name = "examples/inputs/astronaut.jpg"
    >>> read_bytes(Item(name, name, "photo"))[:2]
    b'\xff\xd8'
    """
    files, path = open_url(item.url)
    if item.offset >= 0:
        _check_size(item.size)
        data = bytes(files.cat_file(path, start=item.offset, end=item.offset + item.size))
        if len(data) != item.size:
            raise FormatError("the tar file ends before it")
        return data
    if is_local(files):
        return image_io.content(local_path(item.url))
    _check_size(int(files.size(path) or 0))
    return bytes(files.cat_file(path))


def _check_size(size: int) -> None:
    if size == 0:
        raise FormatError("the file is empty")
    if size > _MAX_BYTES:
        raise FormatError(_too_large(size))


def _too_large(size: int) -> str:
    return f"expected a file of at most {_MAX_BYTES >> 20} MiB, got {size >> 20} MiB"


@contextlib.contextmanager
def as_file(item: Item) -> Iterator[Path]:
    """Give a video as a local file: itself, or a copy that is removed afterwards."""
    files, path = open_url(item.url)
    if is_local(files) and item.offset < 0 and item.row < 0:
        yield Path(local_path(item.url))
        return
    with tempfile.TemporaryDirectory(prefix="tddfa-") as folder:
        copy = Path(folder) / f"video{PurePosixPath(item.name).suffix.lower()}"
        if item.offset < 0 and item.row < 0:
            files.get_file(path, str(copy))
        else:
            data = _Rows().read(item) if item.row >= 0 else read_bytes(item)
            if isinstance(data, str):
                raise FormatError(data)
            copy.write_bytes(data)
        yield copy


class _Rows:
    """Bytes in Parquet files, whose rows are read in their order: a row group may not fit into memory."""

    def __init__(self) -> None:
        self._key: tuple[str, str, int] | None = None
        self._values: Iterator[bytes | str | None] = iter(())
        self._next = 0

    def read(self, item: Item) -> bytes | str:
        """Return the bytes, or the reason why there are none."""
        try:
            value = self._value(item)
        except Exception as error:  # as of `_load`
            self._key = None
            return item_reason(item, error)
        return value or "the row has no bytes"

    def _value(self, item: Item) -> bytes | str | None:
        if self._key is None or self._key[:2] != (item.url, item.column) or self._next > item.row:
            self._values, self._next = self._open(item)
            self._key = (item.url, item.column, item.row)
        value = None
        while self._next <= item.row:
            value = next(self._values)
            self._next += 1
        return value

    def _open(self, item: Item) -> tuple[Iterator[bytes | str | None], int]:
        files, path = open_url(item.url)
        table = pyarrow.parquet.ParquetFile(files.open(path, "rb"))
        first = group = 0
        while first + table.metadata.row_group(group).num_rows <= item.row:
            first += table.metadata.row_group(group).num_rows
            group += 1
        groups = list(range(group, table.metadata.num_row_groups))
        return _values(table, groups, item.column), first


def _values(table: Any, groups: list[int], column: str) -> Iterator[bytes | str | None]:
    """Bytes of the rows, or the reason why there are none."""
    with table:
        # one by one: a small file may hold the same large value many times
        for batch in table.iter_batches(1, row_groups=groups, columns=[column]):
            for value in batch.column(0):
                if value.is_valid and isinstance(value, pyarrow.StructScalar):
                    value = value["bytes"]
                size = value.as_buffer().size if value.is_valid else 0
                yield value.as_py() if size <= _MAX_BYTES else _too_large(size)
