"""Checks of arguments. A message names the argument, what was expected and what was passed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

_INT32_MAX = 2**31 - 1


def float_array(
    name: str, value: ArrayLike, shape: tuple[int | None, ...], *, finite: bool = True
) -> NDArray[np.float32]:
    """Return `value` as C-contiguous float32, without a copy where it is already; None in `shape` is any length."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: expected numbers, got dtype {array.dtype}")
    _check_shape(name, array, shape)
    with np.errstate(over="ignore"):  # values beyond the range of float32 become infinite, and are refused below
        array = np.ascontiguousarray(array, dtype=np.float32)
    if finite and not np.isfinite(array).all():
        bad = array.size - np.count_nonzero(np.isfinite(array))
        raise ValueError(f"{name}: expected finite float32 values, got {bad} that are NaN or infinite")
    return array


def check_array(name: str, array: Any, shape: tuple[int | None, ...], dtype: DTypeLike) -> None:
    """Refuse what is not an array of this dtype and shape; None in `shape` is any length."""
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        got = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"{name}: expected an array of {np.dtype(dtype)}, got {got}")
    _check_shape(name, array, shape)


def check_native(name: str, array: Any, shape: tuple[int | None, ...], dtype: DTypeLike) -> None:
    """Refuse what the native code cannot read as it is: as `check_array`, and C-contiguous."""
    check_array(name, array, shape, dtype)
    if not array.flags.c_contiguous:
        raise ValueError(f"{name}: expected a C-contiguous array, got strides {array.strides}")


def _check_shape(name: str, array: NDArray[Any], shape: tuple[int | None, ...]) -> None:
    if array.ndim != len(shape) or any(
        want is not None and want != got for want, got in zip(shape, array.shape, strict=True)
    ):
        wanted = ", ".join("n" if want is None else str(want) for want in shape)
        raise ValueError(f"{name}: expected shape ({wanted}), got {array.shape}")


def triangle_array(triangles: ArrayLike, rows_name: str, rows: int) -> NDArray[np.int32]:
    """Return `triangles` (m, 3) as C-contiguous int32; every index is a row of `rows_name`."""
    array = np.asarray(triangles)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"triangles: expected whole numbers, got dtype {array.dtype}")
    if array.ndim != 2 or array.shape[1] != 3:
        raise ValueError(f"triangles: expected shape (n, 3), got {array.shape}")
    if len(array) > _INT32_MAX:
        raise ValueError(f"triangles: expected at most {_INT32_MAX} rows, got {len(array)}")
    if array.size:  # before the conversion, which would fold large values into the range
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= min(rows, _INT32_MAX):
            raise ValueError(f"triangles: expected indices of the {rows} rows of {rows_name}, got {low} .. {high}")
    return np.ascontiguousarray(array, dtype=np.int32)


def supersampling(factor: Any) -> int:
    """Return `factor` as an int of 1 .. 16."""
    if isinstance(factor, bool) or not isinstance(factor, int | np.integer) or not 1 <= factor <= 16:
        raise ValueError(f"factor: expected a whole number, 1 .. 16, got {factor!r}")
    return int(factor)


def thread_count(threads: Any) -> int:
    """Return `threads` as an int of 1 .. 256."""
    if isinstance(threads, bool) or not isinstance(threads, int | np.integer) or not 1 <= threads <= 256:
        raise ValueError(f"threads: expected a whole number, 1 .. 256, got {threads!r}")
    return int(threads)


def real(name: str, value: Any, low: float, high: float = float("inf")) -> float:
    """Return `value` as a float of low .. high."""
    try:
        if isinstance(value, (str, bytes)) or np.ndim(value) != 0:
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a number, got {value!r}") from None
    except OverflowError:  # a whole number beyond floats
        number = float("inf")
    if not (low <= number <= high and np.isfinite(number)):
        wanted = f"at least {low:g}" if high == float("inf") else f"{low:g} .. {high:g}"
        raise ValueError(f"{name}: expected a finite number, {wanted}, got {value!r}")
    return number
