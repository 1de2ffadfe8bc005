"""Metrics as plain functions of arrays: landmark errors, error curves, eye openness, angles.

The 68 points are those of 300-W, counted from 0 (`tddfa.landmarks68`). Lengths are in px, angles in degrees, errors in
per cent of a length of the face.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa import landmarks68
from tddfa.geometry.rotation import Euler

Floats = NDArray[np.float64]

YAW_BINS = ((0, 30), (30, 60), (60, 90))
"""Degrees of absolute yaw (Zhu et al., 2016). The first bin includes both its ends, the others their upper one."""

# Corners of an eye, and the two pairs of lid points between them; right, left.
_EYES = (
    (landmarks68.RIGHT_EYE_CORNERS, *landmarks68.RIGHT_LID_PAIRS),
    (landmarks68.LEFT_EYE_CORNERS, *landmarks68.LEFT_LID_PAIRS),
)


def _array(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)


def mean_distance(predicted: ArrayLike, ground_truth: ArrayLike) -> float:
    """Mean Euclidean distance between corresponding points (n, d); NaN without points.

    Examples
    --------
    >>> mean_distance([[0, 0], [3, 4]], [[0, 0], [0, 0]])
    2.5
    """
    distances = np.linalg.norm(_array(predicted) - _array(ground_truth), axis=1)
    return float(distances.mean()) if len(distances) else float("nan")


def box_length(points: ArrayLike) -> float:
    """Square root of the area of the box around points (n, 2 or more), of x and y.

    Examples
    --------
    >>> box_length([[0, 0], [9, 4]])
    6.0
    """
    width, height = np.ptp(_array(points)[:, :2], axis=0)
    return float(np.sqrt(width * height))


def spans_box(points: ArrayLike) -> bool:
    """Whether x and y of points (n, 2 or more) are finite, with a box around them whose area is over 0 and finite.

    Examples
    --------
    >>> spans_box([[0, 0], [9, 4]]), spans_box([[0, 0], [9, 0]]), spans_box([[0, 0], [1e308, 1e308]])
    (True, False, False)
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return 0 < box_length(points) < np.inf


def eye_length(points: ArrayLike) -> float:
    """Distance between the outer eye corners of 68 points (68, 2 or 3), in 2D or 3D.

    Examples
    --------
    >>> points = np.zeros((68, 2))
    >>> points[45] = 30, 40
    >>> eye_length(points)
    50.0
    """
    corners = _array(points)[list(landmarks68.OUTER_EYE_CORNERS)]
    return float(np.linalg.norm(np.subtract(*corners)))


def percent(distance: float, length: float) -> float:
    """A distance in per cent of a length; NaN where the length is 0.

    Examples
    --------
    >>> percent(3, 60)
    5.0
    """
    return 100 * distance / length if length > 0 else float("nan")


def nme_box(predicted: ArrayLike, ground_truth: ArrayLike) -> float:
    """Normalised mean error (NME) in 2D, divided by the root of the ground truth's box area (Zhu et al., 2016).

    Parameters
    ----------
    predicted, ground_truth : array_like (n, 2 or 3)
        Landmarks, px.

    Returns
    -------
    float
        %.

    Examples
    --------
    >>> ground_truth = np.array([[0, 0], [90, 40]])
    >>> nme_box(ground_truth + [3, 0], ground_truth)
    5.0
    """
    return percent(mean_distance(_array(predicted)[:, :2], _array(ground_truth)[:, :2]), box_length(ground_truth))


def depth_aligned(predicted: ArrayLike, ground_truth: ArrayLike) -> Floats:
    """Shift points (n, 3) in z to the mean depth of the ground truth: a single view does not determine it.

    Examples
    --------
    >>> depth_aligned([[0, 0, 1], [0, 0, 3]], [[0, 0, 10], [0, 0, 10]])[:, 2]
    array([ 9., 11.])
    """
    points = _array(predicted).copy()
    points[:, 2] += (_array(ground_truth)[:, 2] - points[:, 2]).mean()
    return points


def nme_3d(predicted: ArrayLike, ground_truth: ArrayLike) -> float:
    """Normalised mean error (NME) in 3D, divided by the square root of the area of the ground truth's box (JVCR).

    Mean depths are aligned first (`depth_aligned`).

    Parameters
    ----------
    predicted, ground_truth : array_like (n, 3)
        Landmarks, px.

    Returns
    -------
    float
        %.

    Examples
    --------
    >>> ground_truth = np.array([[0, 0, 0], [90, 40, 8]])
    >>> nme_3d(ground_truth + [3, 0, 100], ground_truth)
    5.0
    """
    return percent(mean_distance(depth_aligned(predicted, ground_truth), ground_truth), box_length(ground_truth))


def ground_truth_error(predicted: ArrayLike, ground_truth: ArrayLike) -> float:
    """Ground truth error (GTE): mean error in 3D, divided by the 3D distance between the outer eye corners (JVCR).

    Mean depths are aligned first (`depth_aligned`).

    Parameters
    ----------
    predicted, ground_truth : array_like (68, 3)
        Landmarks, px.

    Returns
    -------
    float
        %.

    Examples
    --------
    >>> ground_truth = np.zeros((68, 3))
    >>> ground_truth[45] = 30, 40, 0
    >>> ground_truth_error(ground_truth + [1, 0, 7], ground_truth)
    2.0
    """
    return percent(mean_distance(depth_aligned(predicted, ground_truth), ground_truth), eye_length(ground_truth))


def nme_eyes(predicted: ArrayLike, ground_truth: ArrayLike, part: slice = slice(0, 68)) -> float:
    """Normalised mean error (NME) in 2D, divided by the distance of the outer eye corners (Sagonas et al., 2013).

    Parameters
    ----------
    predicted, ground_truth : array_like (68, 2 or 3)
        Landmarks, px.
    part : slice
        The landmarks that count, for example `tddfa.landmarks68.MOUTH`.

    Returns
    -------
    float
        %.

    Examples
    --------
    >>> ground_truth = np.zeros((68, 2))
    >>> ground_truth[45] = 30, 40
    >>> nme_eyes(ground_truth + [1, 0], ground_truth)
    2.0
    """
    predicted, ground_truth = _array(predicted)[:, :2], _array(ground_truth)[:, :2]
    return percent(mean_distance(predicted[part], ground_truth[part]), eye_length(ground_truth))


def nme_inner(predicted: ArrayLike, ground_truth: ArrayLike) -> float:
    """Normalised mean error in 2D of the inner 51 landmarks, for faces at any yaw.

    The error is divided by the distance between the outer eye corners, but at least by half the longer side of the box
    of all 68 landmarks, because on a turned face the corners are close together in the image.

    Parameters
    ----------
    predicted, ground_truth : array_like (68, 2 or 3)
        Landmarks, px.

    Returns
    -------
    float
        %.

    Examples
    --------
    >>> frontal, profile = np.zeros((2, 68, 2))
    >>> frontal[45], profile[8] = (50, 0), (0, 80)
    >>> nme_inner(frontal + [1, 0], frontal), nme_inner(profile + [1, 0], profile)
    (2.0, 2.5)
    """
    predicted, ground_truth = _array(predicted)[:, :2], _array(ground_truth)[:, :2]
    length = max(eye_length(ground_truth), float(np.ptp(ground_truth, axis=0).max()) / 2)
    return percent(mean_distance(predicted[landmarks68.INNER], ground_truth[landmarks68.INNER]), length)


def in_bin(yaw: ArrayLike, low: float, high: float) -> NDArray[np.bool_]:
    """True for angles (n,) whose absolute value belongs to a bin of `YAW_BINS`.

    Examples
    --------
    >>> in_bin([0, -30, 31, 60], 0, 30)
    array([ True,  True, False, False])
    """
    size = np.abs(_array(yaw))
    return np.asarray((size <= high) & ((size > low) if low > 0 else (size >= low)))


def mean(values: ArrayLike) -> float:
    """Mean of the finite values; NaN without any.

    Examples
    --------
    >>> mean([1, np.nan, 3])
    2.0
    """
    array = _array(values)
    array = array[np.isfinite(array)]
    return float(array.mean()) if array.size else float("nan")


def area_under_curve(errors: ArrayLike, limit: float) -> float:
    """Area under the cumulative error curve (AUC) from 0 to `limit`, % of the area of a perfect method.

    The curve is the fraction of errors up to each value; its integral is exact, not a sum over a grid.

    Parameters
    ----------
    errors : array_like (n,)
        An infinite or NaN error marks a missed face, and counts as an error beyond the limit.
    limit : float
        In the unit of the errors.

    Examples
    --------
    >>> area_under_curve([0, 5, np.nan, 20], limit=10)
    37.5
    """
    array = _array(errors)
    if not array.size:
        return float("nan")
    array = np.where(np.isfinite(array), array, np.inf)
    return float(100 * np.clip(1 - array / limit, 0, 1).mean())


def failure_rate(errors: ArrayLike, limit: float) -> float:
    """Percentage of errors over `limit`; infinite and NaN errors, of missed faces, are among them.

    Examples
    --------
    >>> failure_rate([0, 5, np.nan, 20], limit=10)
    50.0
    """
    array = _array(errors)
    return float(100 * np.mean(~(array <= limit))) if array.size else float("nan")


def area_under_roc(positive: ArrayLike, negative: ArrayLike) -> float:
    """Probability that a positive score is higher than a negative one; equal scores count half. NaN without either.

    Examples
    --------
    >>> area_under_roc([0.9, 0.6], [0.1, 0.6])
    0.875
    """
    positive, negative = _array(positive), np.sort(_array(negative))
    if not positive.size or not negative.size:
        return float("nan")
    below = np.searchsorted(negative, positive, side="left") + np.searchsorted(negative, positive, side="right")
    return float(below.mean() / (2 * len(negative)))


def eye_openness(points: ArrayLike) -> tuple[float, float]:
    """Eye aspect ratio (EAR) of the subject's right and left eye (Soukupova and Cech, 2016).

    Parameters
    ----------
    points : array_like (68, 2 or 3)
        Landmarks, px; x and y count.

    Returns
    -------
    (float, float)
        Mean height of the lid opening by the width of the eye; NaN of an eye without width.

    Examples
    --------
    >>> right, left = eye_openness(face.landmarks)
    >>> 0.1 < right < 0.5
    True
    """
    points = _array(points)[:, :2]

    def length(pair: tuple[int, int]) -> float:
        return float(np.linalg.norm(points[pair[0]] - points[pair[1]]))

    right, left = (
        (length(one) + length(other)) / (2 * length(corners)) if length(corners) > 0 else float("nan")
        for corners, one, other in _EYES
    )
    return right, left


def correlation(predicted: ArrayLike, ground_truth: ArrayLike) -> float:
    """Pearson's correlation over the pairs of finite values; NaN if there are fewer than two or a side is constant.

    Examples
    --------
    >>> round(correlation([1, 2, np.nan], [10, 20, 30]), 6)
    1.0
    """
    a, b = _array(predicted).ravel(), _array(ground_truth).ravel()
    finite = np.isfinite(a) & np.isfinite(b)
    a, b = a[finite], b[finite]
    if len(a) < 2:
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else float("nan")


def nearest(candidates: list[Floats], ground_truth: ArrayLike) -> int | None:
    """Index of the face that belongs to the ground truth, by the mean of its landmarks.

    Parameters
    ----------
    candidates : list of ndarray (n, 2 or 3)
        Landmarks of each detected face, px.
    ground_truth : array_like (n, 2 or 3)
        Landmarks of the labelled face, px.

    Returns
    -------
    int or None
        None if the face is missed: if no face is closer than half the longer side of the ground truth's box.

    Examples
    --------
    >>> ground_truth = np.array([[0.0, 0.0], [10.0, 10.0]])
    >>> nearest([ground_truth + 90, ground_truth + 1], ground_truth)
    1
    """
    ground_truth = _array(ground_truth)[:, :2]
    middle = ground_truth.mean(axis=0)
    distances = [float(np.linalg.norm(points[:, :2].mean(axis=0) - middle)) for points in candidates]
    if not distances or min(distances) >= np.ptp(ground_truth, axis=0).max() / 2:
        return None
    return int(np.argmin(distances))


def wrapped(angle: ArrayLike) -> Floats:
    """Angles in degrees, wrapped to (-180, 180].

    Examples
    --------
    >>> wrapped([-351, 188, -180])
    array([   9., -172.,  180.])
    """
    return np.asarray(180 - (180 - _array(angle)) % 360)


def euler_300w_lp(rotation: ArrayLike) -> Euler:
    """Euler angles of a rotation in the convention of 300W-LP and AFLW2000-3D (``Pose_Para``).

    ``rotation = Rx(-pitch) @ Ry(-yaw) @ Rz(-roll)`` with right-handed elementary rotations of the view frame
    (`tddfa.geometry.camera`), so yaw > 0 turns to the subject's *right*. These are the angles that img2pose computes
    from a rotation in OpenCV's frame: transposed, as Euler angles about fixed x, y, z, as (pitch, -yaw, -roll).

    Parameters
    ----------
    rotation : array_like (3, 3)
        Model to view.

    Returns
    -------
    Euler
        yaw in -90..90, pitch and roll in -180..180, degrees.

    Examples
    --------
    >>> [round(angle) for angle in euler_300w_lp(rotation_300w_lp(yaw=20, pitch=-10, roll=5))]
    [20, -10, 5]
    """
    r = _array(rotation)
    yaw = -np.arctan2(r[0, 2], np.hypot(r[0, 0], r[0, 1]))
    pitch, roll = np.arctan2(r[1, 2], r[2, 2]), np.arctan2(r[0, 1], r[0, 0])
    return Euler(*(float(angle) for angle in np.degrees([yaw, pitch, roll])))


def rotation_300w_lp(yaw: float, pitch: float, roll: float) -> Floats:
    """Rotation (3, 3), model to view, from Euler angles of 300W-LP in degrees; see `euler_300w_lp`.

    Examples
    --------
    >>> rotation_300w_lp(yaw=90, pitch=0, roll=0).round()[:, 2]
    array([-1.,  0.,  0.])
    """
    (cy, cp, cr), (sy, sp, sr) = (f(np.radians([yaw, pitch, roll])) for f in (np.cos, np.sin))
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return np.asarray(about_x @ about_y @ about_z)


def rotation_angle(a: ArrayLike, b: ArrayLike) -> float:
    """Angle of the rotation between two rotations (3, 3), degrees.

    Examples
    --------
    >>> round(rotation_angle(np.eye(3), rotation_300w_lp(yaw=30, pitch=0, roll=0)), 6)
    30.0
    """
    relative = _array(a).T @ _array(b)
    sine = np.linalg.norm(relative - relative.T) / (2 * np.sqrt(2))
    return float(np.degrees(np.arctan2(sine, (np.trace(relative) - 1) / 2)))
