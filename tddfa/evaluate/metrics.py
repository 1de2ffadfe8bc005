"""The field's measures as plain functions of arrays: landmark errors, curves, eye openness, angles.

The 68 points are 300-W's, counted from 0. Lengths are in px of the picture, angles in degrees, errors in per cent of
the length that they are measured by.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa import landmarks68
from tddfa.geometry.rotation import Euler

Floats = NDArray[np.float64]

YAW_BINS = ((0, 30), (30, 60), (60, 90))
"""Degrees; the first holds both its ends, the others their upper one (Zhu et al., 2016)."""

# Corners of an eye, and the two pairs of lid points between them.
_EYES = (
    (landmarks68.RIGHT_EYE_CORNERS, *landmarks68.RIGHT_LID_PAIRS),
    (landmarks68.LEFT_EYE_CORNERS, *landmarks68.LEFT_LID_PAIRS),
)


def _points(points: ArrayLike) -> Floats:
    return np.asarray(points, dtype=np.float64)


def mean_distance(found: ArrayLike, truth: ArrayLike) -> float:
    """Mean distance between points (n, d) and their truth, in 2D or 3D; NaN of no points."""
    distances = np.linalg.norm(_points(found) - _points(truth), axis=1)
    return float(distances.mean()) if len(distances) else float("nan")


def box_length(truth: ArrayLike) -> float:
    """The square root of the area of the box around points (n, 2 or more), of which x and y count."""
    width, height = np.ptp(_points(truth)[:, :2], axis=0)
    return float(np.sqrt(width * height))


def eye_length(truth: ArrayLike) -> float:
    """Distance of the outer eye corners of 68 points, in as many dimensions as they have."""
    points = _points(truth)
    return float(np.linalg.norm(np.subtract(*points[list(landmarks68.OUTER_EYE_CORNERS)])))


def percent(distance: float, length: float) -> float:
    """A distance in per cent of a length; NaN where that is 0."""
    return 100 * distance / length if length > 0 else float("nan")


def nme_box(found: ArrayLike, truth: ArrayLike) -> float:
    """Mean 2D error of 68 points by the square root of the area of the truth's box, % (Zhu et al., 2016)."""
    return percent(mean_distance(_points(found)[:, :2], _points(truth)[:, :2]), box_length(truth))


def depth_aligned(found: ArrayLike, truth: ArrayLike) -> Floats:
    """Move points (n, 3) in z so that their mean depth is the truth's: one view does not tell it."""
    points = _points(found).copy()
    points[:, 2] += (_points(truth)[:, 2] - points[:, 2]).mean()
    return points


def nme_3d(found: ArrayLike, truth: ArrayLike) -> float:
    """Mean 3D error by the square root of the area of the truth's box, mean depths aligned, % (JVCR)."""
    return percent(mean_distance(depth_aligned(found, truth), truth), box_length(truth))


def ground_truth_error(found: ArrayLike, truth: ArrayLike) -> float:
    """GTE: mean 3D error by the 3D distance of the outer eye corners, mean depths aligned, % (JVCR)."""
    return percent(mean_distance(depth_aligned(found, truth), truth), eye_length(truth))


def nme_eyes(found: ArrayLike, truth: ArrayLike, part: slice = slice(0, 68)) -> float:
    """Mean 2D error of a part of 68 points by the distance of the outer eye corners, % (Sagonas et al., 2013)."""
    found, truth = _points(found)[:, :2], _points(truth)[:, :2]
    return percent(mean_distance(found[part], truth[part]), eye_length(truth))


def in_bin(yaw: ArrayLike, low: float, high: float) -> NDArray[np.bool_]:
    """Which angles (n,) belong to a bin of `YAW_BINS`, by their size."""
    size = np.abs(_points(yaw))
    return np.asarray((size <= high) & ((size > low) if low > 0 else (size >= low)))


def mean(values: ArrayLike) -> float:
    """The mean of what is finite; NaN of nothing."""
    array = _points(values)
    array = array[np.isfinite(array)]
    return float(array.mean()) if array.size else float("nan")


def area_under_curve(errors: ArrayLike, limit: float) -> float:
    """Area under the cumulative error curve from 0 to `limit`, % of what a perfect one has.

    The curve is the share of errors up to each value; its integral is taken exactly, not on a grid. An error that is
    infinite or NaN, a face that was missed, counts as one beyond the limit.
    """
    array = _points(errors)
    if not array.size:
        return float("nan")
    array = np.where(np.isfinite(array), array, np.inf)
    return float(100 * np.clip(1 - array / limit, 0, 1).mean())


def failure_rate(errors: ArrayLike, limit: float) -> float:
    """Share of errors over `limit`, %; missed faces (infinite or NaN) are among them."""
    array = _points(errors)
    return float(100 * np.mean(~(array <= limit))) if array.size else float("nan")


def eye_openness(points: ArrayLike) -> tuple[float, float]:
    """EAR of the subject's right eye and of the left one (Soukupova and Cech, 2016); NaN where an eye has no width."""
    points = _points(points)[:, :2]

    def length(pair: tuple[int, int]) -> float:
        return float(np.linalg.norm(points[pair[0]] - points[pair[1]]))

    right, left = (
        (length(one) + length(other)) / (2 * length(corners)) if length(corners) > 0 else float("nan")
        for corners, one, other in _EYES
    )
    return right, left


def correlation(found: ArrayLike, truth: ArrayLike) -> float:
    """Pearson's correlation of what is finite in both; NaN of fewer than two, or where one does not vary."""
    a, b = _points(found).ravel(), _points(truth).ravel()
    finite = np.isfinite(a) & np.isfinite(b)
    a, b = a[finite], b[finite]
    if len(a) < 2:
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else float("nan")


def nearest(candidates: list[Floats], truth: ArrayLike) -> int | None:
    """Which of several faces' landmarks (n, 2 or 3) were meant by the truth's.

    The one whose middle (the mean of its points) lies nearest to the truth's, unless that is further away than half
    the longer side of the truth's box: then the face was missed, and None is told.
    """
    truth = _points(truth)[:, :2]
    distances = [float(np.linalg.norm(points[:, :2].mean(axis=0) - truth.mean(axis=0))) for points in candidates]
    if not distances or min(distances) >= np.ptp(truth, axis=0).max() / 2:
        return None
    return int(np.argmin(distances))


def wrapped(angle: ArrayLike) -> Floats:
    """Angles brought into -180 .. 180 (180 stays, -180 becomes 180): -351 is 9, and 188 is -172."""
    return np.asarray(180 - (180 - _points(angle)) % 360)


def euler_300w_lp(rotation: ArrayLike) -> Euler:
    """Angles of a rotation (3, 3), model to view, as 300W-LP and AFLW2000-3D give them (``Pose_Para``).

    ``rotation = Rx(-pitch) @ Ry(-yaw) @ Rz(-roll)`` with right-handed elementary rotations of the view frame
    (`tddfa.geometry.camera`), so yaw > 0 turns to the subject's *right*. It is what img2pose takes out of a rotation in
    OpenCV's frame: transposed, as Euler angles about fixed x, y, z, as (pitch, -yaw, -roll). Yaw is in -90..90.
    """
    r = _points(rotation)
    yaw = -np.arctan2(r[0, 2], np.hypot(r[0, 0], r[0, 1]))
    pitch, roll = np.arctan2(r[1, 2], r[2, 2]), np.arctan2(r[0, 1], r[0, 0])
    return Euler(*(float(angle) for angle in np.degrees([yaw, pitch, roll])))


def rotation_300w_lp(yaw: float, pitch: float, roll: float) -> Floats:
    """Rotation (3, 3), model to view, of angles in degrees as 300W-LP gives them; see `euler_300w_lp`."""
    (cy, cp, cr), (sy, sp, sr) = (f(np.radians([yaw, pitch, roll])) for f in (np.cos, np.sin))
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return np.asarray(about_x @ about_y @ about_z)


def rotation_angle(a: ArrayLike, b: ArrayLike) -> float:
    """The one angle, degrees, by which two rotations (3, 3) differ."""
    relative = _points(a).T @ _points(b)
    sine = np.linalg.norm(relative - relative.T) / (2 * np.sqrt(2))
    return float(np.degrees(np.arctan2(sine, (np.trace(relative) - 1) / 2)))
