"""Files of ``torch.save``, read without torch; tensors become NumPy arrays."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.errors import reason
from tddfa._shared.npz import check_claim
from tddfa._shared.reading.regular import regular_size
from tddfa.compat.restricted_pickle import RefusedError, Storage, Tensor, read_pickle

# Limit of a file, and of all its tensors together.
_MAX_BYTES = 2 << 30
# The first pickle of the old layout is this number, the second is the version of the layout.
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001


def read_torch(path: str | os.PathLike[str]) -> Any:
    """Read a file of ``torch.save``; tensors become NumPy arrays.

    Both layouts are read: a zip archive (torch 1.6 and later), and the old one.

    Parameters
    ----------
    path : path
        The ``.pth`` file.

    Returns
    -------
    object
        Dicts, lists, tuples, numbers, text and arrays.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    RefusedError
        If the file has anything else, is damaged, or claims more data than it has.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with path.open("rb") as file:
            size = regular_size(path)
            if size > _MAX_BYTES:
                raise RefusedError(f"expected at most {_MAX_BYTES} bytes, got {size}")
            start = file.read(4)
            file.seek(0)
            return _read_zip(file) if start == b"PK\x03\x04" else _read_old(file, size)
    except Exception as error:  # a damaged archive may raise anything: UnicodeDecodeError, struct.error, …
        raise RefusedError(f"{path}: not a file of tensors that can be read: {reason(error)}") from error


def read_state(path: str | os.PathLike[str]) -> dict[str, NDArray[np.float32]]:
    """Read the weights of a network as float32 arrays by name.

    They may be under the key ``state_dict``. The prefix ``module.`` of a network trained on several devices is removed
    from the names. Integer tensors (the number of batches) are left out.

    Raises
    ------
    FileNotFoundError, RefusedError
        As `read_torch`; also if the file has no named tensors.
    """
    content = read_torch(path)
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise RefusedError(f"{path}: expected named tensors, got {type(content).__name__}")
    state = {
        str(name).removeprefix("module."): np.array(value, dtype=np.float32, order="C")
        for name, value in content.items()
        if isinstance(value, np.ndarray) and value.dtype.kind == "f"
    }
    if not state:
        raise RefusedError(f"{path}: expected named tensors, got none")
    for name, array in state.items():
        if not np.isfinite(array).all():
            raise RefusedError(f"{path}: {name}: expected finite numbers, got NaN or infinity")
    return state


def _read_old(file: IO[bytes], size: int) -> Any:
    if not _is_number(read_pickle(file), _MAGIC):
        raise RefusedError("it does not begin like a file of torch")
    if not _is_number(read_pickle(file), _VERSION):
        raise RefusedError("the layout has another version")
    system = read_pickle(file)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise RefusedError("its numbers are big-endian")
    content = read_pickle(file)
    keys = read_pickle(file)
    claimed = _storages(content, size)
    if not isinstance(keys, list) or any(not isinstance(key, str) or key not in claimed for key in keys):
        raise RefusedError("its storages differ from those that its tensors name")
    read: dict[str, NDArray[Any]] = {}
    for key in keys:
        storage = claimed[key]
        head = file.read(8)
        stored = struct.unpack("<q", head)[0] if len(head) == 8 else "none"
        if stored != storage.count:
            raise RefusedError(f"storage {key}: expected {storage.count} numbers, got {stored}")
        read[key] = _numbers(file.read(storage.count * storage.dtype.itemsize), storage)
    return _filled(content, read.get)


def _is_number(value: Any, expected: int) -> bool:
    # an array would compare element by element
    return isinstance(value, int) and value == expected


def _read_zip(file: IO[bytes]) -> Any:
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        check_claim(sum(entry.file_size for entry in entries.values()), file.seek(0, io.SEEK_END), _MAX_BYTES)
        roots = [name.removesuffix("data.pkl") for name in entries if name.split("/")[-1] == "data.pkl"]
        if len(roots) != 1:
            raise RefusedError(f"expected an archive with one data.pkl, got {len(roots)}")
        root = roots[0]
        order = archive.read(f"{root}byteorder") if f"{root}byteorder" in entries else b"little"
        if order != b"little":
            raise RefusedError("its numbers are big-endian")
        content = read_pickle(io.BytesIO(archive.read(f"{root}data.pkl")))
        read: dict[str, NDArray[Any]] = {}
        for key, storage in _storages(content, _MAX_BYTES).items():
            entry = entries.get(f"{root}data/{key}")
            expected = storage.count * storage.dtype.itemsize
            if entry is None or entry.file_size != expected:
                got = "none" if entry is None else str(entry.file_size)
                raise RefusedError(f"storage {key}: expected {expected} bytes, got {got}")
            read[key] = _numbers(archive.read(entry), storage)
    return _filled(content, read.get)


def _numbers(data: bytes, storage: Storage) -> NDArray[Any]:
    if len(data) != storage.count * storage.dtype.itemsize:
        raise RefusedError(f"storage {storage.key}: expected {storage.count} numbers, the file ends early")
    return np.frombuffer(data, dtype=storage.dtype)


def _storages(content: Any, available: int) -> dict[str, Storage]:
    """All storages that the tensors name; together at most `available` bytes."""
    found: dict[str, Storage] = {}
    taken = 0
    for tensor in _tensors(content):
        storage = found.setdefault(tensor.storage.key, tensor.storage)
        if storage != tensor.storage:
            raise RefusedError(f"storage {storage.key} is described in two ways")
        taken += int(np.prod(tensor.shape, dtype=object)) * storage.dtype.itemsize
        if taken > _MAX_BYTES:
            raise RefusedError(f"its tensors claim more than {_MAX_BYTES} bytes")
    claimed = sum(storage.count * storage.dtype.itemsize for storage in found.values())
    if claimed > available:
        raise RefusedError(f"expected tensors of at most {available} bytes, got {claimed}")
    return found


def _tensors(content: Any) -> list[Tensor]:
    found: list[Tensor] = []
    seen: set[int] = set()
    open_values = [content]
    while open_values:
        value = open_values.pop()
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            open_values += value.values() if isinstance(value, dict) else value
    return found


def _filled(content: Any, storage_of: Callable[[str], NDArray[Any] | None], done: dict[int, Any] | None = None) -> Any:
    """Replace tensors by arrays; a container that occurs several times is filled once, which bounds the memory."""
    done = {} if done is None else done
    if id(content) in done:
        return done[id(content)]
    if isinstance(content, Tensor):
        storage = storage_of(content.storage.key)
        if storage is None:
            raise RefusedError(f"storage {content.storage.key} is missing")
        result: Any = content.read(storage)
    elif isinstance(content, Mapping):
        result = {key: _filled(value, storage_of, done) for key, value in content.items()}
    elif isinstance(content, list | tuple):
        result = type(content)(_filled(value, storage_of, done) for value in content)
    else:
        return content
    done[id(content)] = result
    return result
