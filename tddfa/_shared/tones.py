"""Pixels of more than 8 bits to 8 bits. One rule for all formats; a guess is logged as a warning."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LOG = logging.getLogger(__name__)
_WHITES = (1, 255, 65535)
# A value is taken as white if the brightest pixel reaches a quarter of it and hardly exceeds it.
_DARKEST, _OVERSHOOT = 0.25, 0.1


def to_8_bits(values: NDArray[Any], name: str | None) -> NDArray[np.uint8]:
    """Convert an image to 8 bits.

    - 16 bits, unsigned: the upper 8 bits. If no value reaches 16384, the image has fewer bits (10, 12 or 14 from a
      camera). Then the upper 8 of the bits in use are taken, with a warning.
    - Other numbers: white is 1, 255 or 65535. The largest value must be from 25 % to 110 % of it. If no white fits, the
      range from 0 (or the smallest value below) to the largest value is stretched, with a warning. NaN and infinity
      are black.

    Parameters
    ----------
    values : ndarray
        An image of any shape and number type.
    name : str or None
        Beginning of the warnings; with None, there are no warnings.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.uint16:
        return _integers_to_8_bits(values, name)
    finite = np.isfinite(values)
    if not finite.all():
        _warn(name, "pixels that are not finite are read as black")
        values = np.where(finite, values, 0)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    white = next((w for w in _WHITES if _DARKEST * w <= high <= (1 + _OVERSHOOT) * w and low >= -_OVERSHOOT * w), None)
    if white is not None:
        return _scaled(values, 0.0, float(white))
    low = min(low, 0.0)
    if low == high:
        return np.zeros(values.shape, dtype=np.uint8)
    _warn(name, f"values from {low:.6g} to {high:.6g} are stretched to the range from black to white")
    return _scaled(values, low, high)


def _warn(name: str | None, text: str) -> None:
    if name is not None:
        _LOG.warning("%s: %s", name, text)


def _integers_to_8_bits(values: NDArray[np.uint16], name: str | None) -> NDArray[np.uint8]:
    high = int(values.max(initial=0))
    bits = 16 if high >= _DARKEST * 65535 else max(high.bit_length(), 8)
    if bits < 16 and high > 0:
        _warn(name, f"the largest 16-bit value is {high}: read as a {bits}-bit image, and stretched")
    return (values >> (bits - 8)).astype(np.uint8)


def _scaled(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    result = np.empty(values.shape, dtype=np.uint8)
    for row, target in zip(values, result, strict=True):  # row by row, so that the numbers between need little memory
        with np.errstate(all="ignore"):  # a range of 1e308 or 1e-308
            scaled = (row.astype(np.float64) - low) * (255 / (high - low))
        target[...] = np.clip(np.rint(np.nan_to_num(scaled)), 0, 255)
    return result
