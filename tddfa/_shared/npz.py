"""Arrays of a ``.npz`` file from outside: no pickle is run, and no more memory taken than is allowed."""

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
    RuntimeError,  # it is encrypted, or packed by a method that is not known
)  # fmt: skip
try:
    from lzma import LZMAError
except ImportError:  # a Python that was built without it cannot unpack such a file either
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
        What the arrays that are read may hold together.
    names : collection of str, optional
        Read these alone, those of them that are there; None reads all.

    Raises
    ------
    ValueError
        If the file cannot be read, or claims more; the message, one line, leaves it to the caller to name the file.
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
        # NumPy gives the bytes of what is no array
        other = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
        if other:
            raise ValueError(f"{other[0]} is no array")
    except _DAMAGED as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error
    return arrays


def add_arrays(
    source: str | os.PathLike[str], target: str | os.PathLike[str], arrays: Mapping[str, ArrayLike], max_bytes: int
) -> Path:
    """Write a copy of a file with arrays added, or put in the place of those of the same name.

    It is not compressed: half-precision bases hardly shrink, and are read three times as fast.

    Raises
    ------
    OSError, ValueError
        If the one cannot be read (see `read_npz`) or the other not be written; the message names the file.
    """
    try:
        found = read_npz(source, max_bytes)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    buffer = io.BytesIO()
    np.savez(buffer, **{**found, **arrays})  # type: ignore[arg-type]  # its switch is a keyword
    return write_atomic(target, buffer.getvalue())
