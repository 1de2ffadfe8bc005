"""Faces at any roll: crops and whole images that are tried at 90, 180 and 270 degrees.

The detector finds many faces that are rolled by more than 90 degrees, but the regressor aligns them only in a crop in
which they are about upright, and else may call a wrong alignment a face. So a detected face whose score is under
`Aligner.sure_score`, or whose roll is large, is aligned again: in further passes, and in crops that are rotated by
quarter turns (`realigned`).
If no face of an image is found, the detector takes the image rotated by quarter turns too (`rotated_targets`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from FaceBoxes import Detections
from tddfa.crop import roi_from_box, roi_from_detection
from tddfa.geometry.boxes import box_iou
from tddfa.model.config import CropRule
from tddfa.passes import Floats, Image, Passes, Prediction, Target, roll_step

ROTATIONS = ("auto", "all", "off")
"""Values of ``rotations``."""

Aligned = tuple[Target, Prediction]
"""A face with what was detected of it, and how it was aligned."""

# Degrees: a detected face whose square was rotated by more than this is doubtful whatever its score: among those of
# 40 photos rolled by 0 to 345 degrees, every fourth is wrong. Between 40 and 60, the limit makes no difference (LFPW,
# 60-70 % by name; so for the next one).
_MAX_ROLL = 50.0
# Distance of two centres, times the size of the larger face, under which one of two faces is a duplicate if one of them
# is rolled.
_DUPLICATE = 0.5
# A box of a rolled face that overlaps its landmarks' box less than this is replaced by it: the detector sees parts of
# rolled faces. With 0.4, 0.7 % fewer of the faces above have a box that is right, with 0.6 as many.
_MIN_BOX_IOU = 0.5

# Score of the detector under which a box gets no further passes: from pass to pass, patterns of images without a face
# become more like a face too, and their boxes have lower scores.
_LIKELY_BOX = 0.5
# The score of the first pass is a quarter of that of three: it may be this much farther from 1 than the result.
_SPREAD = 4.0

_TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, -90: cv2.ROTATE_90_CLOCKWISE}


def realigned(
    passes: Passes,
    images: Sequence[Image],
    aligned: Sequence[Aligned],
    sure_score: float,
    *,
    ignored_below: float | None = None,
) -> list[Aligned]:
    """Align doubtful faces again: in further passes, then in crops that are rotated by 90, 180 and 270 degrees.

    Parameters
    ----------
    passes : Passes
        Passes of the regressor.
    images : sequence of ndarray (h, w, 3) uint8
        BGR.
    aligned : sequence of (Target, Prediction)
        Faces that were detected in them.
    sure_score : float
        A face with a lower score is doubtful. The best rotation takes its place if it has at least this score.
    ignored_below : float or None
        Faces with a lower score stay as they are in an image that has a sure face: most are no faces, and a crowd has
        many.

    Returns
    -------
    list of (Target, Prediction)
        In the same order.
    """
    result = list(aligned)
    likely_boxes = [k for k in _doubtful(aligned, sure_score, ignored_below) if aligned[k][0].score >= _LIKELY_BOX]
    before = [aligned[k] for k in likely_boxes]
    settled = passes.settled(images, [target for target, _ in before], [each for _, each in before], sure_score)
    for k, predicted in zip(likely_boxes, settled, strict=True):
        result[k] = aligned[k][0], predicted
    tried = [
        (k, target._replace(roi=roi_from_box(target.box, passes.rule, target.roi.angle + angle)))
        for k in _doubtful(result, sure_score, ignored_below)
        for target in (result[k][0],)
        for angle in _TURNS
    ]
    if not tried:
        return result
    first = passes.first(images, [target for _, target in tried])
    likely = [i for i, predicted in enumerate(first) if predicted.score >= 1 - _SPREAD * (1 - sure_score)]
    tried, first = [tried[i] for i in likely], [first[i] for i in likely]
    last = passes.further(images, [target for _, target in tried], first)
    for (k, target), predicted in zip(tried, last, strict=True):
        if predicted.score > max(result[k][1].score, sure_score):
            result[k] = target, predicted
    return result


def _doubtful(aligned: Sequence[Aligned], sure_score: float, ignored_below: float | None) -> list[int]:
    """Indices of the faces to align again."""
    sure = [
        predicted.score >= sure_score and roll_step(target.roi, predicted.roi) <= _MAX_ROLL
        for target, predicted in aligned
    ]
    if ignored_below is None:
        return [k for k, is_sure in enumerate(sure) if not is_sure]
    with_sure = {target.image for (target, _), is_sure in zip(aligned, sure, strict=True) if is_sure}
    return [
        k
        for k, (target, predicted) in enumerate(aligned)
        if not sure[k] and (predicted.score >= ignored_below or target.image not in with_sure)
    ]


def rotated_targets(
    detector: Callable[[Image], Detections], image: Image, index: int, rule: CropRule
) -> Iterator[Target]:
    """Detect faces in an image rotated by 90, 180 and 270 degrees, and yield them in px of the image as it is.

    Parameters
    ----------
    detector : callable
        Image to `FaceBoxes.Detections`.
    image : ndarray (h, w, 3) uint8
        BGR.
    index : int
        Index of the image.
    rule : CropRule
        The crops that the regressor was trained on.
    """
    for angle in _TURNS:
        detections = detector(np.asarray(cv2.rotate(image, _TURNS[angle])))
        yield from targets(detections, index, rule, rotated=angle, size=image.shape[:2])


def targets(
    detections: Detections, index: int, rule: CropRule, *, rotated: int = 0, size: tuple[int, int] = (0, 0)
) -> Iterator[Target]:
    """Yield the faces that were detected in an image.

    Parameters
    ----------
    detections : Detections
        In px of the image that the detector took.
    index : int
        Index of the image.
    rule : CropRule
        The crops that the regressor was trained on.
    rotated : {0, 90, 180, -90}
        Degrees by which the image was rotated counterclockwise for the detector: the roll of faces that it saw upright.
    size : (int, int)
        Height and width of the image as it is.
    """
    for k, box in enumerate(detections.xyxy):
        points = None if detections.points is None else detections.points[k]
        if rotated:
            corners = _turned_back(box.reshape(2, 2), rotated, size)
            box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
            points = None if points is None else _turned_back(points, rotated, size)
        known = points is not None and not rule.rounded
        roi = roi_from_detection(box, points, rule) if known else roi_from_box(box, rule, rotated)
        yield Target(index, box, float(detections.scores[k]), roi, points)


def _turned_back(points: Floats, rotated: int, size: tuple[int, int]) -> Floats:
    """Points (n, 2) in an image that was rotated counterclockwise, in px of the image (height, width) as it was."""
    x, y = points.T
    right, bottom = size[1] - 1, size[0] - 1
    back = {90: (right - y, x), 180: (right - x, bottom - y), -90: (y, bottom - x)}
    return np.stack(back[rotated], axis=1).astype(np.float32)


def merged(faces: Sequence[Aligned]) -> list[Aligned]:
    """Drop duplicates of faces that are rolled or were found rotated, and give these a box that fits.

    The order is that of the detection scores. Upright faces stay as they are: the detector has dropped their duplicates
    already.
    """
    if not any(map(_is_rotated, faces)):
        return list(faces)
    kept: list[int] = []
    for k in sorted(range(len(faces)), key=lambda k: -faces[k][1].score):
        if not any(_is_duplicate(faces[k], faces[other]) for other in kept):
            kept.append(k)
    kept.sort(key=lambda k: (-faces[k][0].score, k))
    return [(target._replace(box=_box(target, predicted)), predicted) for target, predicted in (faces[k] for k in kept)]


def _is_rotated(face: Aligned) -> bool:
    target, predicted = face
    return bool(target.roi.angle or predicted.roi.angle)


def _is_duplicate(face: Aligned, other: Aligned) -> bool:
    if not (_is_rotated(face) or _is_rotated(other)):
        return False
    (low, high), (other_low, other_high) = _bounds(face[1]), _bounds(other[1])
    size = max(float((high - low).max()), float((other_high - other_low).max()))
    distance = np.linalg.norm((low + high) / 2 - (other_low + other_high) / 2)
    return bool(distance < _DUPLICATE * size)


def _box(target: Target, predicted: Prediction) -> Floats:
    if not _is_rotated((target, predicted)):
        return target.box
    around = np.concatenate(_bounds(predicted))
    overlap = box_iou(target.box[None].astype(np.float64), around[None].astype(np.float64)).item()
    return around if overlap < _MIN_BOX_IOU else target.box


def _bounds(face: Prediction) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    points = face.landmarks[:, :2]
    return points.min(axis=0), points.max(axis=0)
