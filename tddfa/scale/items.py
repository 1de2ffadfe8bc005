"""`Item`: one photo or video of the input, and shards of them."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

from tddfa._shared.files import is_sidecar
from tddfa._shared.image_io import SUFFIXES

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp",
)  # fmt: skip
"""Suffixes of videos."""

Kind = Literal["photo", "video"]


class Item(NamedTuple):
    """A photo or a video.

    Attributes
    ----------
    name : str
        Its path in the rows of the result.
    url : str
        The file of the item, or the file that contains it.
    kind : {"photo", "video"}
    stamp : str
        Text that changes with the content: size and time of change, or the ETag. Empty if it is unknown.
    offset, size : int
        Bytes of a member of a tar file; -1 for other items.
    row : int
        Row of a Parquet file; -1 for other items.
    column : str
        The column with its bytes.
    """

    name: str
    url: str
    kind: Kind
    stamp: str = ""
    offset: int = -1
    size: int = -1
    row: int = -1
    column: str = ""


def kind_of(name: str) -> Kind | None:
    """Return whether a file name is that of a photo or of a video; None for others.

    Examples
    --------
    >>> from tddfa.scale.items import kind_of
    >>> kind_of("a/b.JPG"), kind_of("s3://c/d.mp4"), kind_of("e.txt"), kind_of("a/._b.JPG")
    ('photo', 'video', None, None)
    """
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    if is_sidecar(path.name):
        return None
    if suffix in SUFFIXES:
        return "photo"
    return "video" if suffix in VIDEO_SUFFIXES else None


def shards(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Cut items into shards, in their order: up to `size` photos, or one video.

    Examples
    --------
    >>> from tddfa.scale.items import Item, shards
    >>> names = [("a", "photo"), ("b", "photo"), ("c", "photo"), ("d", "video"), ("e", "photo")]
    >>> [[item.name for item in shard] for shard in shards([Item(n, n, kind) for n, kind in names], 2)]
    [['a', 'b'], ['d'], ['c', 'e']]
    """
    photos: list[Item] = []
    for item in items:
        if item.kind == "video":
            yield [item]
            continue
        photos.append(item)
        if len(photos) == size:
            yield photos
            photos = []
    if photos:
        yield photos


def pack(items: Sequence[Item]) -> tuple[bytes, str]:
    """Return a shard as bytes, and the sha256 of what is in it."""
    text = json.dumps(items, ensure_ascii=True, separators=(",", ":")).encode()
    return zlib.compress(text), hashlib.sha256(text).hexdigest()


def unpack(data: bytes) -> list[Item]:
    """Return the items of a packed shard.

    Examples
    --------
    >>> from tddfa.scale.items import Item, pack, unpack
    >>> unpack(pack([Item("a.jpg", "a.jpg", "photo")])[0])[0].name
    'a.jpg'
    """
    return [Item(*fields) for fields in json.loads(zlib.decompress(data))]
