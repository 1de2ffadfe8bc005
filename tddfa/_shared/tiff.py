"""Pages of a TIFF file: their sizes and kinds of pixels, from the directories alone; no pixel is decoded."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAX_PAGES = 10_000
_ORDERS = {b"II": "<", b"MM": ">"}
_FORMATS = {3: "H", 4: "I", 16: "Q"}  # field types SHORT, LONG, LONG8
_MAX_VALUES = 16
# tags of TIFF 6.0
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _SAMPLES, _SAMPLE_FORMAT = 254, 256, 257, 258, 277, 339
_TAGS = {_SUBFILE, _WIDTH, _HEIGHT, _BITS, _SAMPLES, _SAMPLE_FORMAT}
_REDUCED, _MASK = 1, 4  # bits of _SUBFILE


@dataclass(frozen=True)
class Page:
    """One directory of a TIFF file.

    Attributes
    ----------
    offset : int
        Where the directory begins in the file.
    width, height, samples, bits : int
        Size in px, samples per pixel, bits per sample.
    unsigned : bool
        Whether samples are unsigned integers.
    auxiliary : bool
        Whether it is a thumbnail, a level of a pyramid or a mask of another page.
    """

    offset: int
    width: int
    height: int
    samples: int
    bits: int
    unsigned: bool
    auxiliary: bool

    @property
    def byte_count(self) -> int:
        """Bytes of all pixels in memory."""
        return self.width * self.height * self.samples * max(self.bits // 8, 1)


def pages(data: bytes) -> list[Page]:
    """List the pages of a TIFF file; empty for another format.

    Thumbnails, levels of a pyramid and masks are left out, unless there is nothing else. Damaged directories end the
    list.
    """
    found = list(_directories(data))
    return [page for page in found if not page.auxiliary] or found


def starting_at(data: bytes, page: Page) -> bytes:
    """Return the file with `page` as its first page, for decoders that read the first."""
    order, big = _kind(data)
    first = struct.pack(f"{order}{'Q' if big else 'I'}", page.offset)
    at = 8 if big else 4
    return data if data.startswith(first, at) else data[:at] + first + data[at + len(first) :]


def _kind(data: bytes) -> tuple[str, bool]:
    """Byte order, and whether offsets have 64 bits; the byte order is empty for another format."""
    order = _ORDERS.get(data[:2], "")
    version = struct.unpack_from(f"{order}H", data, 2)[0] if order and len(data) >= 16 else 0
    return (order, version == 43) if version in (42, 43) else ("", False)


def _directories(data: bytes) -> Iterator[Page]:
    order, big = _kind(data)
    if not order:
        return
    count_format, entry_size, offset_format = ("Q", 20, "Q") if big else ("H", 12, "I")
    at = struct.unpack_from(order + offset_format, data, 8 if big else 4)[0]
    seen: set[int] = set()
    while at and at not in seen and len(seen) < MAX_PAGES:
        seen.add(at)
        try:
            count = struct.unpack_from(order + count_format, data, at)[0]
            first = at + struct.calcsize(count_format)
            following = struct.unpack_from(order + offset_format, data, first + count * entry_size)[0]
            yield _page(data, at, range(first, first + count * entry_size, entry_size), order, big)
        except (struct.error, OverflowError):
            return
        at = following


def _page(data: bytes, offset: int, entries: range, order: str, big: bool) -> Page:
    tags: dict[int, tuple[int, ...]] = {}
    for at in entries:
        tag, kind = struct.unpack_from(f"{order}HH", data, at)
        if tag in _TAGS and kind in _FORMATS:
            tags[tag] = _values(data, at + 4, kind, order, big)

    def first(tag: int, default: int) -> int:
        return (*tags.get(tag, ()), default)[0]

    return Page(
        offset=offset,
        width=first(_WIDTH, 0),
        height=first(_HEIGHT, 0),
        samples=first(_SAMPLES, 1),
        bits=max(tags.get(_BITS, ()), default=1),
        unsigned=first(_SAMPLE_FORMAT, 1) in (1, 4),  # 4 is "undefined"
        auxiliary=bool(first(_SUBFILE, 0) & (_REDUCED | _MASK)),
    )


def _values(data: bytes, at: int, kind: int, order: str, big: bool) -> tuple[int, ...]:
    """Values of an entry; they are in the entry itself, or where it points if they do not fit."""
    count = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, at)[0]
    place = at + (8 if big else 4)
    numbers = f"{order}{min(count, _MAX_VALUES)}{_FORMATS[kind]}"
    if count * struct.calcsize(_FORMATS[kind]) > (8 if big else 4):
        place = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, place)[0]
    return struct.unpack_from(numbers, data, place)
