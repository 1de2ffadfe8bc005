"""A check of MATLAB files (version 5) before SciPy reads them: an unknown data type would end the process."""

from __future__ import annotations

import struct
import zlib

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_FLAGS = (6, 8)  # type and size of the first part of a matrix
_NUMERIC = range(6, 16)  # classes of matrices of numbers
_KNOWN = frozenset((1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18))


def check_tags(data: bytes, max_bytes: int) -> None:
    """Check the parts of all matrices of numbers in a file.

    Parameters
    ----------
    data : bytes
        The file.
    max_bytes : int
        Limit of what one compressed matrix unpacks to.

    Raises
    ------
    ValueError
        If a part has another type than those of numbers and text, or ends beyond its matrix.
    """
    order = {b"IM": "<", b"MI": ">"}.get(data[126:_HEADER])
    if order is None:
        raise ValueError("expected a MATLAB file of version 5, got another file")
    for kind, content in _parts(data[_HEADER:], order):
        if kind == _COMPRESSED:
            unpacker = zlib.decompressobj()
            content = unpacker.decompress(content, max_bytes)
            if unpacker.unconsumed_tail:
                raise ValueError(f"expected matrices of at most {max_bytes} bytes, got a larger one")
            for inner, matrix in _parts(content, order):
                _check(inner, matrix, order)
        else:
            _check(kind, content, order)


def _check(kind: int, matrix: bytes, order: str) -> None:
    if kind != _MATRIX:
        raise ValueError(f"expected matrices, got a part of type {kind}")
    if len(matrix) < 16 or struct.unpack_from(f"{order}2I", matrix) != _FLAGS:
        raise ValueError("a matrix without its flags")
    if struct.unpack_from(f"{order}I", matrix, 8)[0] & 0xFF in _NUMERIC:
        for part, _ in _parts(matrix, order):
            if part not in _KNOWN:
                raise ValueError(f"a matrix with numbers of an unknown type, {part}")


def _parts(data: bytes, order: str) -> list[tuple[int, bytes]]:
    """Type and content of the parts of a file or a matrix; a small part has both in 8 bytes."""
    parts, at = [], 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}2I", data, at)
        if kind >> 16:
            kind, size, begin, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        else:
            begin, end = at + 8, at + 8 + size
            end += 0 if kind == _COMPRESSED else -size % 8
        if begin + size > len(data) or size > end - begin:
            raise ValueError("a damaged file: a part ends after the end of the file")
        parts.append((kind, data[begin : begin + size]))
        at = end
    return parts
