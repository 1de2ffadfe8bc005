"""Checks of array arguments, whose messages name the argument, and a cache by the values of arrays."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, update_wrapper
from math import inf
from numbers import Integral, Real
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def checked(
    name: str,
    value: ArrayLike,
    shape: tuple[int | None, ...],
    dtype: Any = np.float32,
    finite: bool = True,
) -> NDArray[Any]:
    """Return `value` as a C-contiguous array of `dtype`; it is copied only if needed.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : array_like
        The argument.
    shape : tuple of int or None
        Expected shape; None stands for any length.
    dtype : numpy dtype
        Type of the result; numbers are converted, anything else is refused.
    finite : bool
        Refuse NaN and infinity.

    Raises
    ------
    TypeError
        If `value` does not hold numbers, or holds floats where `dtype` is an integer.
    ValueError
        If the shape is wrong, or if a value is not finite.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: expected numbers, got dtype {array.dtype}")
    if np.dtype(dtype).kind in "iu" and array.dtype.kind == "f" and array.size:
        raise TypeError(f"{name}: expected whole numbers, got dtype {array.dtype}")
    if array.ndim != len(shape) or any(
        want is not None and want != got for want, got in zip(shape, array.shape, strict=True)
    ):
        wanted = ", ".join("n" if want is None else str(want) for want in shape)
        raise ValueError(f"{name}: expected shape ({wanted}), got {array.shape}")
    wanted = np.dtype(dtype)
    if wanted.kind in "iu" and array.dtype != wanted and array.dtype.kind in "iu" and array.size:
        limits, low, high = np.iinfo(wanted), int(array.min()), int(array.max())
        if low < limits.min or high > limits.max:
            raise ValueError(f"{name}: expected numbers from {limits.min} to {limits.max}, got {low} to {high}")
    with np.errstate(over="ignore"):  # a value that does not fit becomes infinite, which is checked below
        array = np.ascontiguousarray(array, dtype=dtype)
    if finite and array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(array.size - np.count_nonzero(np.isfinite(array)))
        raise ValueError(f"{name}: expected finite values, got {bad} that are NaN or infinite")
    return array


def checked_number(name: str, value: Any, low: float = -inf, high: float = inf, *, whole: bool = False) -> None:
    """Raise an error unless `value` is a number from `low` to `high`, and whole if asked for.

    Raises
    ------
    TypeError
        If it is not a number, or not of a type of whole numbers.
    ValueError
        If it is NaN or out of the range. An infinite limit is itself allowed.
    """
    if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
        raise TypeError(f"{name}: expected a {'whole ' if whole else ''}number, got {value!r}")
    if not low <= float(value) <= high:
        wanted = f"{low:g} or more" if high == inf else f"{low:g}..{high:g}"
        raise ValueError(f"{name}: expected {wanted}, got {value}")


def checked_image(name: str, image: Any) -> NDArray[np.uint8]:
    """Return `image` if it is an image as OpenCV gives it: (height, width, 3) uint8 BGR.

    Raises
    ------
    TypeError
        If it is not an array of uint8.
    ValueError
        If its shape is not (height, width, 3), or if it has no pixels.
    """
    if not isinstance(image, np.ndarray):
        raise TypeError(f"{name}: expected a NumPy array (height, width, 3) uint8 BGR, got {type(image).__name__}")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        hint = _shape_hint(name, image.shape)
        raise ValueError(f"{name}: expected shape (height, width, 3), BGR, got {image.shape}{hint}")
    if image.dtype != np.uint8:
        hint = f"; if its values are 0..1, give (255 * {name}).astype(np.uint8)" if image.dtype.kind == "f" else ""
        raise TypeError(f"{name}: expected dtype uint8, got {image.dtype}{hint}")
    return image


def _shape_hint(name: str, shape: tuple[int, ...]) -> str:
    """End of a message about an image of another layout: how it becomes one of three channels."""
    if 0 in shape:
        return ""
    if len(shape) == 2 or (len(shape) == 3 and shape[2] == 1):
        return f"; for a grey image, give cv2.cvtColor({name}, cv2.COLOR_GRAY2BGR)"
    if len(shape) == 3 and shape[2] == 4:
        return f"; for one with an alpha channel, give cv2.cvtColor({name}, cv2.COLOR_BGRA2BGR)"
    if len(shape) == 3 and shape[0] == 3:
        return f"; if the channels are first, give {name}.transpose(1, 2, 0)"
    return ""


def make_constant(array: NDArray[np.generic]) -> None:
    """Make an array and the arrays whose memory it shares read-only. Use it only for arrays without other users."""
    part: Any = array
    while isinstance(part, np.ndarray):
        part.flags.writeable = False
        part = part.base


def is_constant(array: NDArray[np.generic]) -> bool:
    """Whether an array is read-only, and so are the arrays whose memory it shares."""
    part: Any = array
    while isinstance(part, np.ndarray):
        if part.flags.writeable:
            return False
        part = part.base
    return part is None


def cached_by_arrays(maxsize: int) -> Callable[[Callable[Arguments, Result]], _Cached[Arguments, Result]]:
    """Cache the results of a function by the values of its arrays, as `functools.lru_cache` does by other arguments.

    The function gets copies of its arrays, which the cache keeps. So arrays that were changed in place are other
    arguments.

    Parameters
    ----------
    maxsize : int
        Number of results that are kept.

    Examples
    --------
    >>> @cached_by_arrays(maxsize=2)
    ... def total(numbers):
    ...     return int(numbers.sum())
    >>> numbers = np.arange(3)
    >>> total(numbers), total(numbers.copy()), total.cache_info().misses
    (3, 3, 1)
    """
    return lambda function: _Cached(function, maxsize)


class _Cached(Generic[Arguments, Result]):
    """A function with a cache."""

    def __init__(self, function: Callable[Arguments, Result], maxsize: int) -> None:
        update_wrapper(self, function)

        @lru_cache(maxsize)
        def by_keys(*keys: Any, **named: Any) -> Result:
            return function(*map(_kept, keys), **{name: _kept(key) for name, key in named.items()})

        self._by_keys = by_keys
        self.cache_info, self.cache_clear = by_keys.cache_info, by_keys.cache_clear

    def __call__(self, *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        return self._by_keys(*map(_key, arguments), **{name: _key(argument) for name, argument in named.items()})


def _key(argument: Any) -> Any:
    return _ArrayKey(argument) if isinstance(argument, np.ndarray) else argument


def _kept(key: Any) -> Any:
    return key.keep() if isinstance(key, _ArrayKey) else key


class _ArrayKey:
    """An array as the key of a cache; arrays with equal values are equal keys."""

    def __init__(self, array: NDArray[np.generic]) -> None:
        self._array = array

    def keep(self) -> NDArray[np.generic]:
        """Copy the array unless it is constant, so that changes in place do not change the key."""
        if not is_constant(self._array):
            self._array = self._array.copy()
        return self._array

    def __hash__(self) -> int:
        # a hash of a few values, because a comparison takes 5 % of the time of a hash of all values
        return hash((self._array.shape, self._array[:: len(self._array) // 16 + 1].tobytes()))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _ArrayKey):
            return False
        same = other._array is self._array and is_constant(self._array)
        return same or np.array_equal(other._array, self._array)
