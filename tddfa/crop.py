"""Boxes and landmarks to the squares that the regressor sees, and those squares cropped from the image."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared.arrays import checked
from tddfa.geometry.camera import Camera
from tddfa.geometry.rotation import rotation_in_image
from tddfa.model.config import CropRule
from tddfa.types import Roi

# px; a side of 0 could not be cropped.
_MIN_SIDE = 1.0
# Distance from the eyes to the mouth, relative to the mean side of the box, under which the roll of five points is not
# used: a detector that is not sure of the roll predicts points near their mean. It is 0.3 to 0.45 otherwise.
_MIN_EYES_TO_MOUTH = 0.2
# A rounded square of more px than this is mostly black: it is not padded in memory only to be shrunk.
_MAX_PADDED = 1 << 24

# Degrees: a face that is rolled by less than the first number is cropped by an upright square, and one that is rolled
# by more than the second by a square with its roll; the angle rises linearly from the one to the other, for it must not
# jump from one frame of a video to the next. Chosen on LFPW, 60-70 % by name: rotated squares reduce the error of faces
# rolled by 15 degrees by 4 %, by 30 by 17 %, by 60 by 24 %, and that of faces rolled by less than 10 not at all.
# Both numbers rise as a face turns aside, up to 40 and 80 for a profile, whose pitch looks like a roll. Chosen on the
# profiles of CFP, persons 401-425, as they are and tilted by 15 and 30 degrees: the error falls by 0.4 and 3.5 %;
# without the rise by 0.4 and 5 %, but then that of the jaw rises by 0.7 % where the photos are not tilted.
_ROLLED = (10.0, 20.0)


def roi_from_box(box: ArrayLike, rule: CropRule, angle: float = 0.0) -> Roi:
    """Square to crop for a face in a box.

    Parameters
    ----------
    box : array_like (4,)
        x1, y1, x2, y2 in px; it may leave the image.
    rule : CropRule
        The crops that the regressor was trained on.
    angle : float
        Roll of the face, degrees, clockwise: the crop is rotated so that the face is upright in it.

    Raises
    ------
    ValueError
        If the box is empty, or if its edges are in the wrong order.

    Examples
    --------
    >>> from tddfa import CropRule
    >>> from tddfa.crop import roi_from_box
    >>> roi_from_box([10, 20, 50, 60], CropRule(size=120, box_shift_y=0.1, box_scale=1.5, landmark_scale=1.25))
    Roi(left=0.0, top=14.0, side=60.0, angle=0.0)
    """
    x1, y1, x2, y2 = checked("box", box, (4,), np.float64)
    if x2 <= x1 or y2 <= y1:
        raise ValueError(f"box: expected x1 < x2 and y1 < y2, got {x1:g} {y1:g} {x2:g} {y2:g}")
    old = ((x2 - x1) + (y2 - y1)) / 2
    side = max(rule.box_scale * old, _MIN_SIDE)
    if rule.rounded:
        side = float(int(side))
    shift = rule.box_shift_y * old
    if not angle:
        return Roi.around((x1 + x2) / 2, (y1 + y2) / 2 + shift, side)
    x, y = rotation_in_image(angle) @ np.array([0.0, shift])  # down for the face
    return Roi.around((x1 + x2) / 2 + x, (y1 + y2) / 2 + y, side, angle)


def roi_from_detection(box: ArrayLike, points: ArrayLike | None, rule: CropRule) -> Roi:
    """Square to crop for a detected face, rotated with the face where its five points are known.

    Parameters
    ----------
    box : array_like (4,)
        See `roi_from_box`.
    points : array_like (5, 2) or None
        `FaceBoxes.Detections.points` of the face, px.
    rule : CropRule
        One that rounds rotates no crop, as 3DDFA_V2.

    Examples
    --------
    >>> from tddfa import CropRule
    >>> from tddfa.crop import roi_from_detection
    >>> rule = CropRule(size=120, box_shift_y=0.1, box_scale=1.5, landmark_scale=1.25)
    >>> lying = [[60, 20], [60, 40], [45, 30], [30, 20], [30, 40]]  # eyes at the right, mouth at the left
    >>> round(roi_from_detection([20, 10, 70, 50], lying, rule).angle)
    90
    """
    if points is None or rule.rounded:
        return roi_from_box(box, rule)
    five = checked("points", points, (5, 2), np.float64)
    x1, y1, x2, y2 = np.asarray(box, dtype=np.float64).tolist()
    down = float(np.linalg.norm(five[3:].mean(axis=0) - five[:2].mean(axis=0)))
    if down < _MIN_EYES_TO_MOUTH * (x2 - x1 + y2 - y1) / 2:
        return roi_from_box(box, rule)
    return roi_from_box(box, rule, crop_angle(math.degrees(float(roll_of_points(five)))))


def roll_of_points(points: ArrayLike) -> NDArray[np.float64]:
    """Roll (...) of faces from their five points (..., 5, 2): radians, clockwise in the image.

    It is the direction from the eyes to the mouth. The line between the eyes would be short on turned faces.

    Examples
    --------
    >>> from tddfa.crop import roll_of_points
    >>> float(roll_of_points([[10, 10], [30, 10], [20, 20], [12, 30], [28, 30]]))
    0.0
    """
    five = np.asarray(points, dtype=np.float64)
    down = five[..., 3:, :].mean(axis=-2) - five[..., :2, :].mean(axis=-2)
    return np.asarray(np.arctan2(-down[..., 0], down[..., 1]) + 0.0)


def crop_angle(roll: float, seen: float = 1.0) -> float:
    """Angle of the square for a face with a roll, both in degrees: 0 if it is small.

    Parameters
    ----------
    roll : float
        Roll of the face, -180..180.
    seen : float
        How much of the face is turned to the camera: 1 from the front, 1/4 from the side. The less, the larger is a
        small roll.

    Examples
    --------
    >>> from tddfa.crop import crop_angle
    >>> [crop_angle(roll) for roll in (-5, 15, 40)]
    [0.0, 10.0, 40]
    >>> crop_angle(40, seen=0.25)
    0.0
    """
    low, high = (limit / max(seen, 1e-3) for limit in _ROLLED)
    excess = abs(roll) - low
    if excess <= 0:
        return 0.0
    return roll if excess >= high - low else math.copysign(high * excess / (high - low), roll)


def roi_from_landmarks(landmarks: ArrayLike, rule: CropRule, angle: float = 0.0) -> Roi:
    """Square to crop around landmarks (n, 2 or 3) in px, for a face with a roll of `angle` degrees.

    Only x and y count. The longer side of the landmarks' box is measured along the sides of the square.

    Examples
    --------
    >>> from tddfa import CropRule
    >>> from tddfa.crop import roi_from_landmarks
    >>> rule = CropRule(size=120, box_shift_y=0.1, box_scale=1.5, landmark_scale=1.25)
    >>> roi_from_landmarks([[10, 20], [50, 60]], rule)
    Roi(left=5.0, top=15.0, side=50.0, angle=0.0)
    """
    points = np.asarray(landmarks)
    points = checked("landmarks", points, (None, points.shape[-1] if points.ndim == 2 else 2), np.float64)[:, :2]
    if not len(points):
        raise ValueError("landmarks: expected one point at least, got none")
    if angle:
        points = points @ rotation_in_image(angle)  # the inverse, for rows
    low, high = points.min(axis=0), points.max(axis=0)
    side = max(rule.landmark_scale * float((high - low).max()), _MIN_SIDE)
    x, y = (low + high) / 2 if not angle else rotation_in_image(angle) @ ((low + high) / 2)
    return Roi.around(x, y, side, angle)


def to_image(roi: Roi, camera: ArrayLike, rule: CropRule) -> Camera:
    """Camera to image px, from the regressor's camera matrix (3, 4) to px of the crop at `roi`."""
    return _as_mapped(roi, rule).fold(camera, rule.size)


def to_crop(roi: Roi, camera: Camera, rule: CropRule) -> NDArray[np.float32]:
    """Camera matrix (3, 4) to px of the crop at `roi`, from a camera to image px: the inverse of `to_image`."""
    return _as_mapped(roi, rule).unfold(camera, rule.size)


def _as_mapped(roi: Roi, rule: CropRule) -> Roi:
    if not rule.rounded or roi.angle:
        return roi
    half = 0.5 * roi.side / rule.size  # 3DDFA_V2 puts the first px of the crop at the edge itself
    return Roi(roi.left - half, roi.top - half, roi.side)


def crop_image(image: NDArray[np.uint8], roi: Roi, out: NDArray[np.uint8], *, rounded: bool = False) -> None:
    """Crop a square of an image, scaled to the size of `out`; a rotated square becomes upright.

    Bilinear, at the square's exact edges: nothing is rounded to whole pixels. The crop is black where the square leaves
    the image.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    roi : Roi
        The square.
    out : ndarray (size, size, 3) uint8, C-contiguous
        The crop is written here.
    rounded : bool
        See `CropRule`: crop as 3DDFA_V2 does, from the px nearest to the left and top edges up to the px nearest to the
        right and bottom edges, exclusive. A rotated square, which 3DDFA_V2 does not have, is cropped exactly.

    Examples
    --------
    >>> import numpy as np
    >>> from tddfa import Roi
    >>> from tddfa.crop import crop_image
    >>> crop = np.empty((120, 120, 3), np.uint8)
    >>> crop_image(image, Roi(150, 40, 150), crop)
    >>> bool(crop.any())
    True
    """
    size = len(out)
    if rounded and not roi.angle:
        _crop_rounded(image, roi, out)
        return
    matrix = roi.crop_to_image(size)
    x1, y1, x2, y2 = roi.left, roi.top, roi.left + roi.side, roi.top + roi.side
    if roi.angle:
        corners = roi.corners()
        (x1, y1), (x2, y2) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    # Only the part under the square is passed on: OpenCV refuses images with a side over 32767 px here.
    left, top = max(math.floor(x1) - 1, 0), max(math.floor(y1) - 1, 0)
    right, bottom = math.ceil(x2) + 2, math.ceil(y2) + 2
    part = image[top : max(bottom, 0), left : max(right, 0)]
    if part.size == 0:
        out[:] = 0
        return
    matrix[:, 2] -= left, top
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cv2.warpAffine(part, matrix, (size, size), dst=out, flags=flags, borderMode=cv2.BORDER_CONSTANT)


def _crop_rounded(image: NDArray[np.uint8], roi: Roi, out: NDArray[np.uint8]) -> None:
    height, width = image.shape[:2]
    left, top = round(roi.left), round(roi.top)
    right, bottom = (max(round(a + roi.side), b + 1) for a, b in ((roi.left, left), (roi.top, top)))
    inner = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if inner[0] >= inner[2] or inner[1] >= inner[3]:
        out[:] = 0
        return
    part = image[inner[1] : inner[3], inner[0] : inner[2]]
    if part.shape[:2] != (bottom - top, right - left):
        if (bottom - top) * (right - left) > _MAX_PADDED:
            # the same edges; the px differ by a grey level
            crop_image(image, Roi(left - 0.5, top - 0.5, right - left), out)
            return
        padded = np.zeros((bottom - top, right - left, 3), dtype=np.uint8)
        padded[inner[1] - top : inner[3] - top, inner[0] - left : inner[2] - left] = part
        part = padded
    cv2.resize(part, out.shape[1::-1], dst=out, interpolation=cv2.INTER_LINEAR)
