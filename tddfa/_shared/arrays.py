"""Checks of array arguments; the message names the argument, what was expected and what it got."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
        raise ValueError(f"{name}: expected shape (height, width, 3), BGR, got {image.shape}")
    if image.dtype != np.uint8:
        raise TypeError(f"{name}: expected dtype uint8, got {image.dtype}")
    return image


class SameArray:
    """An array as the key of a cache; arrays with equal values are equal keys. The key keeps the array alive."""

    def __init__(self, array: NDArray[np.generic]) -> None:
        self.array = array

    def __hash__(self) -> int:
        # of a few values: a comparison takes 5 % of the time of a hash of all values
        return hash((self.array.shape, self.array[:: len(self.array) // 16 + 1].tobytes()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SameArray) and (other.array is self.array or np.array_equal(other.array, self.array))
