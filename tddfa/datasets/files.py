"""Search for the files of data sets, and checked readers of text, MATLAB and NumPy files."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import checked
from tddfa._shared.cores import available_cores
from tddfa._shared.errors import FormatError, reason
from tddfa._shared.image_io import SUFFIXES
from tddfa._shared.npz import read_npz
from tddfa._shared.reading import regular
from tddfa.datasets.mat_tags import check_tags

Item = TypeVar("Item")
Done = TypeVar("Done")

_MAX_LABEL_BYTES, _MAX_LIST_BYTES = 1 << 20, 1 << 24
_MAX_MAT_BYTES = 1 << 22
_MAT_NUMBERS = frozenset(
    ("double", "single", "logical", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
)
_MAX_ARRAY_BYTES = 1 << 29
# A face is at most this many times as large as the longer side of its image.
_LARGEST_FACE = 8
# Jobs that are running or done ahead of the consumer: keeps the cores busy, bounds the memory.
_AHEAD_A_WORKER = 4
_MAX_WORKERS = 8


def check_landmarks(label: Path, landmarks: NDArray[np.floating], image: NDArray[np.uint8]) -> None:
    """Check that landmarks (n, 2), px, span a box that lies in an image (h, w, 3), in part at least.

    Raises
    ------
    ValueError
        If not; the message names the file of the labels.
    """
    size = np.array(image.shape[1::-1])
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    if not (high > low).all() or not ((low < size) & (high > 0) & (high - low < _LARGEST_FACE * size.max())).all():
        spans = " and ".join(f"{axis} {a:g}..{b:g}" for axis, a, b in zip("xy", low, high, strict=True))
        raise ValueError(f"{label}: expected landmarks of a face in an image of {size[0]} x {size[1]} px, got {spans}")


def parallel_map(job: Callable[[Item], Done], items: Iterable[Item], workers: int | None = None) -> Iterator[Done]:
    """Apply a function to every item in a few threads, slightly ahead of the consumer; the order is kept.

    An exception in the function is raised at its item, and ends the iteration. Closing the iterator ends it too.

    Parameters
    ----------
    job : callable
        For example, it reads an image and runs the networks on it: OpenCV and ONNX Runtime release the GIL.
    items : iterable
        Its arguments.
    workers : int or None
        Number of threads; None takes one per core, at most eight.

    Examples
    --------
    >>> list(parallel_map(abs, [-3, 2, -1], workers=2))
    [3, 2, 1]
    """
    count = workers or min(available_cores(), _MAX_WORKERS)
    waiting: deque[Future[Done]] = deque()
    with ThreadPoolExecutor(count, thread_name_prefix="parallel_map") as pool:
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
    """The first of the folders `names` in `data`, else `data` itself, with a file that matches `pattern`; None if none.

    Examples
    --------
    >>> (tmp / "lfpw").mkdir()
    >>> (tmp / "lfpw" / "a.pts").touch()
    >>> first_folder(tmp, ["helen", "lfpw"], "*.pts").name
    'lfpw'
    """
    folders = [*(data / name for name in names), data]
    return next((folder for folder in folders if next(iter(folder.glob(pattern)), None) is not None), None)


def first_file(folders: Iterable[Path], names: Sequence[str]) -> Path | None:
    """The first existing file of these names in the folders, folder by folder; None if there is none."""
    paths = (folder / name for folder in folders for name in names)
    return next((path for path in paths if path.is_file()), None)


def image_beside(path: Path) -> Path | None:
    """Find the image whose name differs from that of a label file only in the suffix; None if there is none."""
    suffixes = (spelled for suffix in SUFFIXES for spelled in (suffix, suffix.upper()))
    return next((image for suffix in suffixes if (image := path.with_suffix(suffix)).is_file()), None)


def relative_name(path: Path, data: Path) -> str:
    """A path as text; relative to the data folder if the path is in this folder.

    Examples
    --------
    >>> relative_name(Path("data/lfpw/a.jpg"), Path("data"))
    'lfpw/a.jpg'
    """
    return path.relative_to(data).as_posix() if path.is_relative_to(data) else path.as_posix()


def read_list(path: Path) -> list[str]:
    """Read the lines of a text file, without empty ones; errors as of `read_text`."""
    return [line.strip() for line in read_text(path, _MAX_LIST_BYTES).splitlines() if line.strip()]


def read_text(path: Path, max_bytes: int = _MAX_LABEL_BYTES) -> str:
    """Read a small text file.

    Raises
    ------
    ValueError
        If it cannot be read, is not UTF-8, or has more than `max_bytes`; the message names it.
    """
    try:
        return regular.read_text(path, max_bytes)
    except (OSError, FormatError) as error:
        raise ValueError(f"{path}: cannot be read: {reason(error)}") from error


def read_mat(path: Path, shapes: dict[str, tuple[int | None, ...]]) -> dict[str, NDArray[np.float64]]:
    """Read arrays of a MATLAB file (version 5), by name.

    Parameters
    ----------
    path : path
        The file.
    shapes : dict of str to tuple of int or None
        The wanted variables and their shapes; None stands for any length. No other variable is read.

    Raises
    ------
    ValueError
        If the file is damaged or too large, or if an array is missing, has another shape, or is not finite.
    """
    from scipy.io import loadmat, whosmat

    try:
        size = regular.regular_size(path)
        if size > _MAX_MAT_BYTES:
            raise ValueError(f"expected at most {_MAX_MAT_BYTES} bytes, got {size}")
        check_tags(path.read_bytes(), _MAX_MAT_BYTES)
        # shapes first: they are checked before memory of their size is allocated
        listed = whosmat(str(path))
        claimed = {name: shape for name, shape, _ in listed}
        kinds = {name: kind for name, _, kind in listed}
        for name, shape in shapes.items():
            if name not in claimed:
                raise ValueError(f"expected a variable {name}, got {', '.join(claimed) or 'none'}")
            if kinds[name] not in _MAT_NUMBERS:  # what is in others was not checked
                raise ValueError(f"{name}: expected numbers, got {kinds[name]}")
            got = claimed[name]
            if len(got) != len(shape) or any(w not in (None, g) for w, g in zip(shape, got, strict=True)):
                raise ValueError(f"{name}: expected shape {_spelled(shape)}, got {_spelled(got)}")
        loaded = loadmat(str(path), variable_names=list(shapes))
        return {name: checked(name, loaded[name], shape, np.float64) for name, shape in shapes.items()}
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(f"{path}: not a .mat file that can be read: {reason(error)}") from error


def read_array(path: Path, shape: tuple[int | None, ...]) -> NDArray[np.float64]:
    """Read the array of a ``.npy`` file.

    Parameters
    ----------
    path : path
        The file.
    shape : tuple of int or None
        The expected shape; None stands for any length.

    Raises
    ------
    ValueError
        If the file holds something else; the message names it.

    Examples
    --------
    >>> np.save(tmp / "yaw.npy", [-10, 35])
    >>> read_array(tmp / "yaw.npy", (None,))
    array([-10.,  35.])
    """
    try:
        regular.regular_size(path)
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)  # not yet in memory
        if mapped.nbytes > _MAX_ARRAY_BYTES:
            raise ValueError(f"expected at most {_MAX_ARRAY_BYTES} bytes, got {mapped.nbytes}")
        return checked("array", mapped, shape, np.float64)
    except Exception as error:  # a damaged header may raise anything
        raise ValueError(
            f"{path}: not an array of shape {_spelled(shape)} that can be read: {reason(error)}"
        ) from error


def read_arrays(path: Path, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Read arrays of a ``.npz`` file: all of `names`, and those of `optional` that exist.

    Raises
    ------
    ValueError
        If the file holds something else; the message names it.

    Examples
    --------
    >>> np.savez(tmp / "points.npz", points=np.zeros((2, 3)))
    >>> read_arrays(tmp / "points.npz", ["points"], optional=["names"])["points"].shape
    (2, 3)
    """
    try:
        arrays = read_npz(path, _MAX_ARRAY_BYTES, (*names, *optional))
        missing = [name for name in names if name not in arrays]
        if missing:
            raise ValueError(f"expected arrays {', '.join(names)}, got none named {', '.join(missing)}")
        return arrays
    except ValueError as error:
        raise ValueError(f"{path}: not arrays that can be read: {reason(error)}") from error


def _spelled(shape: Sequence[int | None]) -> str:
    return f"({', '.join('n' if length is None else str(length) for length in shape)})"
