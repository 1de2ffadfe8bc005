"""Compute the square around a face from its box or landmarks, and crop the square from the image."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._crops import crop_all
from tddfa._shared.arrays import checked, checked_image
from tddfa.geometry import squares
from tddfa.geometry.camera import Camera
from tddfa.geometry.squares import Squares
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
    """Compute the square to crop for a face from its box.

    Parameters
    ----------
    box : array_like (4,)
        x1, y1, x2, y2 in px; it may extend beyond the image.
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
    x1, y1, x2, y2 = row = checked("box", box, (4,), np.float64)
    if x2 <= x1 or y2 <= y1:
        raise ValueError(f"box: expected x1 < x2 and y1 < y2, got {x1:g} {y1:g} {x2:g} {y2:g}")
    return Roi(*squares_from_boxes(row[None], rule, np.array([angle]))[0].tolist())


def squares_from_boxes(boxes: NDArray[np.floating], rule: CropRule, angles: NDArray[np.float64]) -> Squares:
    """`roi_from_box` of boxes (n, 4) that are not empty, with angles (n,): squares (n, 4)."""
    low, high = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64)
    sides = high - low
    length = sides.max(axis=1) if rule.box_length == "longer" else sides.sum(axis=1) / 2
    side = np.maximum(rule.box_scale * length, _MIN_SIDE)
    if rule.rounded:
        side = np.trunc(side)
    centre, shift = (low + high) / 2, rule.box_shift_y * length
    if not angles.any():
        return squares.around(centre[:, 0], centre[:, 1] + shift, side)
    down = squares.rotations_in_image(angles)[:, :, 1] * shift[:, None]  # for the face
    return squares.around(centre[:, 0] + down[:, 0], centre[:, 1] + down[:, 1], side, angles)


def squares_of_detections(
    boxes: NDArray[np.floating], points: NDArray[np.floating] | None, rule: CropRule, roll: float = 0.0
) -> Squares:
    """Compute the squares to crop for detected faces, rotated with the faces if their five points are known.

    Parameters
    ----------
    boxes : ndarray (n, 4)
        `FaceBoxes.Detections.xyxy`, px.
    points : ndarray (n, 5, 2) or None
        `FaceBoxes.Detections.points`, px.
    rule : CropRule
        The crops that the regressor was trained on. If it rounds, the points are not used, as in 3DDFA_V2.
    roll : float
        Roll of the faces where the points are not used, degrees, clockwise.

    Returns
    -------
    ndarray (n, 4) float64
        See `tddfa.geometry.squares`.

    Examples
    --------
    >>> import numpy as np
    >>> from tddfa import CropRule
    >>> from tddfa.crop import squares_of_detections
    >>> rule = CropRule(size=120, box_shift_y=0.1, box_scale=1.5, landmark_scale=1.25)
    >>> lying = np.array([[60.0, 20], [60, 40], [45, 30], [30, 20], [30, 40]])  # eyes at the right, mouth at the left
    >>> round(float(squares_of_detections(np.array([[20.0, 10, 70, 50]]), lying[None], rule)[0, 3]))
    90
    """
    if points is None or rule.rounded:
        return squares_from_boxes(boxes, rule, np.full(len(boxes), float(roll)))
    return squares_from_boxes(boxes, rule, roll_of_detections(boxes, points))


def roll_of_detections(boxes: NDArray[np.floating], points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Angles (n,) of the squares for detected faces, from their boxes (n, 4) and five points (n, 5, 2); degrees."""
    five = points.astype(np.float64)
    down = np.linalg.norm(five[:, 3:].mean(axis=1) - five[:, :2].mean(axis=1), axis=1)
    clear = down >= _MIN_EYES_TO_MOUTH * (boxes[:, 2:].astype(np.float64) - boxes[:, :2]).sum(axis=1) / 2
    return np.where(clear, crop_angles(np.degrees(roll_of_points(five)), np.ones(len(five))), 0.0)


def roll_of_points(points: ArrayLike) -> NDArray[np.float64]:
    """Roll (...) of faces from their five points (..., 5, 2): radians, clockwise in the image.

    It is measured from the eyes to the mouth, because the line between the eyes is short on turned faces.

    Examples
    --------
    >>> from tddfa.crop import roll_of_points
    >>> float(roll_of_points([[10, 10], [30, 10], [20, 20], [12, 30], [28, 30]]))
    0.0
    """
    five = np.asarray(points, dtype=np.float64)
    down = five[..., 3:, :].mean(axis=-2) - five[..., :2, :].mean(axis=-2)
    return np.asarray(np.arctan2(-down[..., 0], down[..., 1]) + 0.0)


def crop_angles(roll: NDArray[np.float64], seen: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the rotation of the squares for faces with these rolls, in degrees; 0 for a small roll.

    Parameters
    ----------
    roll : ndarray (n,) float64
        Roll of each face, -180..180.
    seen : ndarray (n,) float64
        How much of each face is turned to the camera: 1 from the front, 1/4 from the side. The smaller this value, the
        larger the rolls that count as small.

    Examples
    --------
    >>> from tddfa.crop import crop_angles
    >>> crop_angles(np.array([-5.0, 15, 40, 40]), np.array([1, 1, 1, 0.25])).tolist()
    [0.0, 10.0, 40.0, 0.0]
    """
    return squares.angles_of_crops(roll, seen, _ROLLED)


def roi_from_landmarks(landmarks: ArrayLike, rule: CropRule, angle: float = 0.0) -> Roi:
    """Square to crop around landmarks (n, 2 or 3) in px, for a face with a roll of `angle` degrees.

    Only x and y are used. The side of the square depends on the longer side of the landmarks' box, which is measured
    along the sides of the square.

    Examples
    --------
    >>> from tddfa import CropRule
    >>> from tddfa.crop import roi_from_landmarks
    >>> rule = CropRule(size=120, box_shift_y=0.1, box_scale=1.5, landmark_scale=1.25)
    >>> roi_from_landmarks([[10, 20], [50, 60]], rule)
    Roi(left=5.0, top=15.0, side=50.0, angle=0.0)
    """
    points = np.asarray(landmarks)
    columns = 3 if points.ndim == 2 and points.shape[1] == 3 else 2
    points = checked("landmarks", points, (None, columns), np.float64)[:, :2]
    if not len(points):
        raise ValueError("landmarks: expected at least one point, got none")
    return Roi(*squares_around(points[None], rule, np.array([float(angle)]))[0].tolist())


def squares_around(points: NDArray[np.floating], rule: CropRule, angles: NDArray[np.float64]) -> Squares:
    """`roi_from_landmarks` of points (n, k, 2 or 3) of several faces, with angles (n,): squares (n, 4)."""
    return squares.around_points(points, angles, rule.landmark_scale, _MIN_SIDE)


def to_image(roi: Roi, camera: ArrayLike, rule: CropRule) -> Camera:
    """Convert the regressor's camera matrix (3, 4) to px of the crop at `roi` into a camera to image px."""
    return Camera(all_to_image(roi.row, np.asarray(camera)[None], rule)[0])


def all_to_image(rois: Squares, cameras: NDArray[np.floating], rule: CropRule) -> NDArray[np.float32]:
    """`to_image` of several faces: matrices (n, 3, 4), from squares (n, 4) and camera matrices (n, 3, 4)."""
    return squares.fold(_as_mapped(rois, rule), cameras, rule.size)


def all_to_crop(rois: Squares, cameras: NDArray[np.float32], rule: CropRule) -> NDArray[np.float32]:
    """Convert cameras to image px into matrices to px of the crops: the inverse of `all_to_image`."""
    return squares.unfold(_as_mapped(rois, rule), cameras, rule.size)


def _as_mapped(rois: Squares, rule: CropRule) -> Squares:
    if not rule.rounded:
        return rois
    # 3DDFA_V2 puts the first px of the crop at the edge itself
    half = np.where(rois[:, 3] == 0, 0.5 * rois[:, 2] / rule.size, 0.0)
    return rois - np.stack([half, half, 0 * half, 0 * half], axis=1)


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

    Raises
    ------
    TypeError, ValueError
        If `image` or `out` is another kind of array.

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
    checked_image("image", image)
    if out.dtype != np.uint8 or out.shape != (len(out), len(out), 3) or not out.flags.c_contiguous:
        raise ValueError(f"out: expected a C-contiguous array (size, size, 3) of uint8, got {out.shape} of {out.dtype}")
    crop_images([image], np.zeros(1, np.int64), roi.row, out[None], rounded=rounded)


def crop_images(
    images: Sequence[NDArray[np.uint8]],
    index: NDArray[np.int64],
    rois: Squares,
    out: NDArray[np.uint8],
    *,
    rounded: bool = False,
    flipped: bool = False,
) -> None:
    """`crop_image` of several faces.

    Parameters
    ----------
    images : sequence of ndarray (h, w, 3) uint8
        BGR.
    index : ndarray (n,)
        Index of the image of each face.
    rois : ndarray (n, 4)
        Squares, see `tddfa.geometry.squares`.
    out : ndarray (n, size, size, 3) uint8, C-contiguous
        The crops are written here.
    rounded : bool
        See `crop_image`.
    flipped : bool
        Flip the crops horizontally.

    Examples
    --------
    >>> from tddfa import Roi
    >>> from tddfa.crop import crop_images
    >>> crops = np.empty((2, 120, 120, 3), np.uint8)
    >>> rois = np.concatenate([Roi(150, 40, 150).row, Roi(150, 40, 150, 30).row])
    >>> crop_images([image], np.zeros(2, np.int64), rois, crops)
    >>> bool((crops[0] == crops[1]).all())
    False
    """
    if not rounded:
        crop_all([_packed(image) for image in images], index, rois, out, flipped)
        return
    for k, roi in enumerate(rois):
        image, one = images[index[k]], slice(k, k + 1)
        if roi[3]:
            crop_all([_packed(image)], np.zeros(1, np.int64), rois[one], out[one], flipped)
            continue
        _crop_rounded(image, roi, out[k])
        if flipped:
            out[k] = out[k][:, ::-1].copy()


def _packed(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image with its pixels side by side in each row: itself, but for unusual views."""
    return image if image.strides[1:] == (3, 1) else np.ascontiguousarray(image)


def _crop_rounded(image: NDArray[np.uint8], roi: NDArray[np.float64], out: NDArray[np.uint8]) -> None:
    height, width = image.shape[:2]
    x, y, side, _ = roi.tolist()
    left, top = round(x), round(y)
    right, bottom = (max(round(a + side), b + 1) for a, b in ((x, left), (y, top)))
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
