"""Squares of several faces as one array: each a row of left, top, side (px) and angle (degrees), as `tddfa.Roi` has it.

Where all squares are upright, nothing is rounded by a rotation.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa.geometry import _squares

Squares = NDArray[np.float64]
Floats = NDArray[np.float32]
Numbers = NDArray[np.float64]

_CORNERS = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])


def _expect(name: str, array: NDArray[np.generic], *shape: int) -> None:
    """Raise an error unless an array has a shape: the native loops check no bounds."""
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")


def rotations_in_image(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations (n, 2, 2) of image px by angles in degrees, clockwise as the image is seen: as a roll turns a head."""
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


def enlarged(squares: Squares, factor: float) -> Squares:
    """Squares with the same centres and `factor` times their sides."""
    grown = squares[:, 2] * (factor - 1)
    return squares + np.stack([-grown / 2, -grown / 2, grown, 0 * grown], axis=1)


def corners(squares: Squares) -> NDArray[np.float64]:
    """Corners (n, 4, 2), px: left top, right top, right bottom and left bottom of the crops."""
    flat = squares[:, 2, None, None] * _CORNERS
    centres = squares[:, :2] + squares[:, 2:3] / 2
    return np.asarray(flat @ rotations_in_image(squares[:, 3]).transpose(0, 2, 1) + centres[:, None])


def bounds(squares: Squares) -> Floats:
    """Boxes (n, 4) around squares: x1, y1, x2, y2, px."""
    _expect("squares", squares, len(squares), 4)
    out = np.empty((len(squares), 4), dtype=np.float32)
    _squares.bounds(squares, out)
    return out


def offsets(squares: Squares, crop_size: int) -> NDArray[np.float64]:
    """Image px (n, 2) of the centre of the first px of crops of `crop_size` px."""
    _expect("squares", squares, len(squares), 4)
    out = np.empty((len(squares), 2))
    _squares.offsets(squares, crop_size, out)
    return out


def fold(squares: Squares, cameras: NDArray[np.floating], crop_size: int) -> Floats:
    """Matrices (n, 3, 4) to image px, from camera matrices (n, 3, 4) to crop px; z is scaled as x and y are."""
    _expect("squares", squares, len(squares), 4)
    _expect("cameras", cameras, len(squares), 3, 4)
    out = np.empty(cameras.shape, dtype=np.float32)
    _squares.fold(squares, np.ascontiguousarray(cameras, dtype=np.float64), crop_size, out)
    return out


def unfold(squares: Squares, cameras: Floats, crop_size: int) -> Floats:
    """Camera matrices (n, 3, 4) to crop px, from matrices (n, 3, 4) to image px: the inverse of `fold`."""
    _expect("squares", squares, len(squares), 4)
    _expect("cameras", cameras, len(squares), 3, 4)
    out = np.empty(cameras.shape, dtype=np.float32)
    _squares.unfold(squares, np.ascontiguousarray(cameras), crop_size, out)
    return out


def around_points(points: NDArray[np.floating], angles: Numbers, scale: float, min_side: float) -> Squares:
    """Squares (n, 4) rotated by `angles` (n,) around points (n, k, 2 or more) in px, of which x and y count.

    The side is `scale` times the longer side of the points' box along the sides of the square, `min_side` at least.
    """
    if points.ndim != 3 or points.shape[2] < 2:
        raise ValueError(f"points: expected shape (n, k, 2 or more), got {points.shape}")
    _expect("angles", angles, len(points))
    out = np.empty((len(points), 4))
    _squares.around(points, np.ascontiguousarray(angles), scale, min_side, out)
    return out


def rolls(cameras: Floats) -> tuple[Numbers, Numbers]:
    """Rolls (n,) of faces in the image, degrees, and how much of each is turned to the camera, 1 to 1/4.

    Parameters
    ----------
    cameras : ndarray (n, 3, 4) float32
        Matrices to image px.

    Returns
    -------
    roll : ndarray (n,)
        The rotation in the image that is nearest to the pose: the roll of a face that looks into the camera, and
        defined for all other poses too.
    seen : ndarray (n,)
        See `tddfa.crop.crop_angles`.
    """
    _expect("cameras", cameras, len(cameras), 3, 4)
    roll, seen = np.empty(len(cameras)), np.empty(len(cameras))
    _squares.rolls(np.ascontiguousarray(cameras), roll, seen)
    return roll, seen


def angles_of_crops(roll: Numbers, seen: Numbers, limits: tuple[float, float]) -> Numbers:
    """Angles (n,) of squares for faces with these rolls; see `tddfa.crop.crop_angles`."""
    _expect("roll", roll, len(roll))
    _expect("seen", seen, len(roll))
    out = np.empty(len(roll))
    _squares.crop_angles(roll, seen, *limits, out)
    return out


def iou(first: Squares, second: Squares) -> Numbers:
    """Intersection over union (n,) of pairs of squares: 0 (apart) to 1 (the same)."""
    _expect("first", first, len(first), 4)
    _expect("second", second, len(first), 4)
    common = np.empty(len(first))
    if not _squares.common_areas(first, second, common):
        turned = np.flatnonzero((first[:, 3] != 0) | (second[:, 3] != 0))
        common[turned] = list(_common_areas(corners(first[turned]), corners(second[turned])))
    return np.asarray(common / (first[:, 2] ** 2 + second[:, 2] ** 2 - common))


def _common_areas(first: NDArray[np.float64], second: NDArray[np.float64]) -> Iterator[float]:
    """Areas that pairs of squares have in common; in float32, so about a centre of both."""
    for a, b in zip(first, second, strict=True):
        origin = (a.mean(axis=0) + b.mean(axis=0)) / 2
        area, _ = cv2.intersectConvexConvex((a - origin).astype(np.float32), (b - origin).astype(np.float32))
        yield float(area)
