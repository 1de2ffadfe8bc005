"""Arrays of untrusted ``.npz`` files: pickles are not run, and memory is limited."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared.errors import FormatError, reason
from tddfa._shared.files import write_atomic
from tddfa._shared.reading.regular import regular_size

# A file whose arrays unpack to more than this, and to more than this many times its size, is made to fill the memory.
_MAX_UNSUSPICIOUS, _MAX_RATIO = 64 << 20, 100


def read_npz(
    path: str | os.PathLike[str], max_bytes: int, names: Collection[str] | None = None
) -> dict[str, NDArray[np.generic]]:
    """Read arrays by name.

    Parameters
    ----------
    path : path
        The file.
    max_bytes : int
        Limit for all arrays that are read, together.
    names : collection of str, optional
        Names to read; those that are missing are left out. None reads all.

    Raises
    ------
    FormatError
        If the file cannot be read, is too large, or is no regular file. The message is one line without the file name:
        the caller adds it.
    """

    def wanted(name: str) -> bool:
        return names is None or name in names

    try:
        size = regular_size(path)
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if wanted(entry.filename.removesuffix(".npy"))]
        check_claim(sum(entry.file_size for entry in entries), size, max_bytes)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if wanted(name)}
        # NumPy returns the bytes of an entry that is no array
        other = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
        if other:
            raise ValueError(f"{other[0]} is not an array")
    except Exception as error:  # a damaged header may raise anything
        raise FormatError(reason(error)) from error
    return arrays


def check_claim(claimed: int, size: int, max_bytes: int) -> None:
    """Check the bytes that an archive of `size` bytes claims to hold, before any of them is unpacked.

    Raises
    ------
    FormatError
        If they are more than `max_bytes`, or more than real data in a file of this size can unpack to.
    """
    if claimed > max_bytes:
        raise FormatError(f"expected at most {max_bytes} bytes of unpacked arrays, got {claimed}")
    limit = max(_MAX_UNSUSPICIOUS, _MAX_RATIO * size)
    if claimed > limit:
        raise FormatError(f"expected at most {limit} bytes of arrays unpacked from {size} bytes, got {claimed}")


def add_arrays(
    source: str | os.PathLike[str], target: str | os.PathLike[str], arrays: Mapping[str, ArrayLike], max_bytes: int
) -> Path:
    """Write a copy of a file with arrays added; those with the same name are replaced.

    The copy is not compressed: half-precision bases hardly shrink, and load three times as fast.

    Raises
    ------
    OSError, ValueError
        If `source` cannot be read (see `read_npz`) or `target` cannot be written; the message names the file.
    """
    try:
        present = read_npz(source, max_bytes)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    buffer = io.BytesIO()
    np.savez(buffer, **{**present, **arrays})  # type: ignore[arg-type]  # NumPy's stub has its switch as a keyword
    return write_atomic(target, buffer.getvalue())
