"""Where data sets lie, and how their files are read: several photos at once, labels with every claim checked."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import checked
from tddfa._shared.image_io import SUFFIXES
from tddfa._shared.npz import read_npz

Item = TypeVar("Item")
Done = TypeVar("Done")

_MAX_LABEL_BYTES, _MAX_LIST_BYTES = 1 << 20, 1 << 24
_MAX_MAT_BYTES = 1 << 22
_MAX_ARRAY_BYTES = 1 << 29
# Jobs that are under way or done ahead of whoever takes them: keeps the cores busy, bounds the memory.
_AHEAD_A_WORKER = 4
_MAX_WORKERS = 8


def worked(job: Callable[[Item], Done], items: Iterable[Item], workers: int | None = None) -> Iterator[Done]:
    """Do a job on every item in a few threads, a little ahead of whoever takes the results; their order is kept.

    An exception of a job comes out at its place, and ends the rest. So does closing the iterator.

    Parameters
    ----------
    job : callable
        It reads a photo and runs the networks on it, say: OpenCV and ONNX Runtime let other threads run meanwhile.
    items : iterable
        What to do it on.
    workers : int or None
        How many threads; None takes one a core, eight at most.
    """
    count = workers or min(os.cpu_count() or 1, _MAX_WORKERS)
    waiting: deque[Future[Done]] = deque()
    with ThreadPoolExecutor(count, thread_name_prefix="evaluate") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(job, item))
                if len(waiting) > count * _AHEAD_A_WORKER:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def first_folder(data: Path, names: Sequence[str], pattern: str) -> Path | None:
    """The first of the named folders below `data`, or `data` itself, that holds a file like `pattern`."""
    folders = [*(data / name for name in names), data]
    return next((folder for folder in folders if next(iter(folder.glob(pattern)), None) is not None), None)


def first_file(folders: Iterable[Path], names: Sequence[str]) -> Path | None:
    """The first file of one of these names in one of the folders."""
    paths = (folder / name for folder in folders for name in names)
    return next((path for path in paths if path.is_file()), None)


def photo_beside(path: Path) -> Path | None:
    """The picture that has a label file's name, but for the suffix."""
    suffixes = (spelled for suffix in SUFFIXES for spelled in (suffix, suffix.upper()))
    return next((found for suffix in suffixes if (found := path.with_suffix(suffix)).is_file()), None)


def below(path: Path, data: Path) -> str:
    """A path as results name it: relative to the data folder where it lies there."""
    return path.relative_to(data).as_posix() if path.is_relative_to(data) else path.as_posix()


def read_list(path: Path) -> list[str]:
    """The lines of a list of photos, those that are not empty; errors as of `read_text`."""
    return [line.strip() for line in read_text(path, _MAX_LIST_BYTES).splitlines() if line.strip()]


def read_text(path: Path, max_bytes: int = _MAX_LABEL_BYTES) -> str:
    """A text file with the labels of one photo.

    Raises
    ------
    ValueError
        If it cannot be read, or is larger than such files are; the message names it.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise ValueError(f"{path}: expected at most {max_bytes} bytes of text, got {size}")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error


def read_mat(path: Path, shapes: dict[str, tuple[int | None, ...]]) -> dict[str, NDArray[np.float64]]:
    """Arrays of a MATLAB file, by name; no other variable of it is read.

    Raises
    ------
    ValueError
        If the file is none, or too large, or if an array is missing, has another shape, or is not finite.
    """
    from scipy.io import loadmat, whosmat

    try:
        size = path.stat().st_size
        if size > _MAX_MAT_BYTES:
            raise ValueError(f"expected a label file of at most {_MAX_MAT_BYTES} bytes, got {size}")
        # the shapes are asked for first: what they claim is not yet in memory
        claimed = {name: shape for name, shape, _ in whosmat(str(path))}
        for name, shape in shapes.items():
            if name not in claimed:
                raise ValueError(f"expected a variable {name}, got {', '.join(claimed) or 'none'}")
            got = claimed[name]
            if len(got) != len(shape) or any(w not in (None, g) for w, g in zip(shape, got, strict=True)):
                raise ValueError(f"{name}: expected shape {_spelled(shape)}, got {_spelled(got)}")
        loaded = loadmat(str(path), variable_names=list(shapes))
        return {name: checked(name, loaded[name], shape, np.float64) for name, shape in shapes.items()}
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(f"{path}: not a label file that can be read: {error}") from error


def read_array(path: Path, shape: tuple[int | None, ...]) -> NDArray[np.float64]:
    """The array of a ``.npy`` file.

    Raises
    ------
    ValueError
        If it holds something else; the message names it.
    """
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)  # nothing is read yet
        if mapped.nbytes > _MAX_ARRAY_BYTES:
            raise ValueError(f"expected at most {_MAX_ARRAY_BYTES} bytes, got {mapped.nbytes}")
        return checked("it", mapped, shape, np.float64)
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise ValueError(f"{path}: not an array of shape {_spelled(shape)} that can be read: {error}") from error


def read_arrays(path: Path, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Arrays of a ``.npz`` file: all of `names`, and of `optional` those that are there.

    Raises
    ------
    ValueError
        If it holds something else; the message names it.
    """
    try:
        arrays = read_npz(path, _MAX_ARRAY_BYTES, (*names, *optional))
        missing = [name for name in names if name not in arrays]
        if missing:
            raise ValueError(f"expected arrays {', '.join(names)}, found none called {', '.join(missing)}")
        return arrays
    except ValueError as error:
        raise ValueError(f"{path}: not arrays that can be read: {error}") from error


def _spelled(shape: Sequence[int | None]) -> str:
    return f"({', '.join('n' if length is None else str(length) for length in shape)})"
