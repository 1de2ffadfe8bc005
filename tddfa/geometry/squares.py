"""Squares of several faces as one array: each a row of left, top, side (px) and angle (degrees), as `tddfa.Roi` has it.

Where all squares are upright, nothing is rounded by a rotation.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Squares = NDArray[np.float64]
Floats = NDArray[np.float32]
Numbers = NDArray[np.float64]

_CORNERS = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])


def rotations_in_image(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations (n, 2, 2) of image px by angles in degrees, see `tddfa.geometry.rotation.rotation_in_image`."""
    radians = np.radians(angles)
    c, s = np.cos(radians), np.sin(radians)
    return np.stack([c, -s, s, c], axis=-1).reshape(-1, 2, 2)


def around(
    x: NDArray[np.float64], y: NDArray[np.float64], side: NDArray[np.float64], angle: ArrayLike = 0.0
) -> Squares:
    """Squares (n, 4) centred on (x, y)."""
    squares = np.empty((len(x), 4))
    squares[:, 0], squares[:, 1], squares[:, 2] = x - side / 2, y - side / 2, side
    squares[:, 3] = np.asarray(angle)
    return squares


def corners(squares: Squares) -> NDArray[np.float64]:
    """Corners (n, 4, 2), px: left top, right top, right bottom and left bottom of the crops."""
    flat = squares[:, 2, None, None] * _CORNERS
    centres = squares[:, :2] + squares[:, 2:3] / 2
    return np.asarray(flat @ rotations_in_image(squares[:, 3]).transpose(0, 2, 1) + centres[:, None])


def offsets(squares: Squares, crop_size: int) -> NDArray[np.float64]:
    """Image px (n, 2) of the centre of the first px of crops of `crop_size` px."""
    scale = squares[:, 2] / crop_size
    first = squares[:, :2] + 0.5 * scale[:, None]
    turned = np.flatnonzero(squares[:, 3])
    if turned.size:
        linear = scale[turned, None, None] * rotations_in_image(squares[turned, 3])
        centres = squares[turned, :2] + squares[turned, 2:3] / 2
        first[turned] = centres - linear.sum(axis=-1) * ((crop_size - 1) / 2)
    return np.asarray(first)


def fold(squares: Squares, cameras: NDArray[np.floating], crop_size: int) -> Floats:
    """Matrices (n, 3, 4) to image px, from camera matrices (n, 3, 4) to crop px; z is scaled as x and y are."""
    matrices = cameras * (squares[:, 2] / crop_size)[:, None, None]
    turned = np.flatnonzero(squares[:, 3])
    if turned.size:
        matrices[turned, :2] = rotations_in_image(squares[turned, 3]) @ matrices[turned, :2]
    matrices[:, :2, 3] += offsets(squares, crop_size)
    return matrices.astype(np.float32)


def unfold(squares: Squares, cameras: Floats, crop_size: int) -> Floats:
    """Camera matrices (n, 3, 4) to crop px, from matrices (n, 3, 4) to image px: the inverse of `fold`."""
    matrices = cameras.astype(np.float64)
    matrices[:, :2, 3] -= offsets(squares, crop_size)
    turned = np.flatnonzero(squares[:, 3])
    if turned.size:
        matrices[turned, :2] = rotations_in_image(-squares[turned, 3]) @ matrices[turned, :2]
    matrices /= (squares[:, 2] / crop_size)[:, None, None]
    return matrices.astype(np.float32)


def iou(first: Squares, second: Squares) -> NDArray[np.float64]:
    """Intersection over union (n,) of pairs of squares: 0 (apart) to 1 (the same)."""
    low, high = (
        np.maximum(first[:, :2], second[:, :2]),
        np.minimum(first[:, :2] + first[:, 2:3], second[:, :2] + second[:, 2:3]),
    )
    common = np.maximum(high - low, 0).prod(axis=1)
    turned = np.flatnonzero((first[:, 3] != 0) | (second[:, 3] != 0))
    if turned.size:
        common[turned] = list(_common_areas(corners(first[turned]), corners(second[turned])))
    return np.asarray(common / (first[:, 2] ** 2 + second[:, 2] ** 2 - common))


def _common_areas(first: NDArray[np.float64], second: NDArray[np.float64]) -> Iterator[float]:
    """Areas that pairs of squares have in common; in float32, so about a centre of both."""
    for a, b in zip(first, second, strict=True):
        origin = (a.mean(axis=0) + b.mean(axis=0)) / 2
        area, _ = cv2.intersectConvexConvex((a - origin).astype(np.float32), (b - origin).astype(np.float32))
        yield float(area)
