"""Arrays of untrusted ``.npz`` files: pickles are not run, and memory is limited."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared.files import write_atomic

_DAMAGED: tuple[type[Exception], ...] = (
    OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error,
    RuntimeError,  # encrypted, or an unknown compression
)  # fmt: skip
try:
    from lzma import LZMAError
except ImportError:  # a Python built without lzma cannot read such a file either
    pass
else:
    _DAMAGED = (*_DAMAGED, LZMAError)


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
    ValueError
        If the file cannot be read or is too large. The message is one line without the file name: the caller adds it.
    """

    def wanted(name: str) -> bool:
        return names is None or name in names

    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if wanted(entry.filename.removesuffix(".npy"))]
        claimed = sum(entry.file_size for entry in entries)
        if claimed > max_bytes:
            raise ValueError(f"expected at most {max_bytes} bytes of arrays, it claims {claimed}")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if wanted(name)}
        # NumPy returns the bytes of an entry that is no array
        other = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
        if other:
            raise ValueError(f"{other[0]} is not an array")
    except _DAMAGED as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error
    return arrays


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
