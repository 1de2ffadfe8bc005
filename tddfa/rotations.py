"""Faces that the first pass misses: further passes, weaker boxes, and crops and images at 90, 180 and 270 degrees.

The detector finds many faces that are rolled by more than 90 degrees. The regressor aligns a face only in a crop in
which the face is nearly upright; in other crops, it may report a wrong alignment as a face. So a detected face is
aligned again if its score is under `Aligner.sure_score` or if its roll is large: in further passes, and in crops that
are rotated by quarter turns (`realigned`).
If no face of an image is found, boxes with lower detection scores are tried (`weakly_detected`). Then the detector also
processes the image rotated by quarter turns (`rotated_targets`).
If the sure faces of an image lie on one side or are upside down, the other faces probably are too. So the detector also
processes the image turned upright (`upright_targets`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from FaceBoxes import Detections
from tddfa.crop import squares_from_boxes
from tddfa.detector import Detector
from tddfa.geometry.boxes import box_area, box_iou
from tddfa.geometry.squares import enlarged
from tddfa.model.config import CropRule
from tddfa.passes import Floats, Image, Passes, Targets, joined, replaced, roll_steps, rows
from tddfa.selection import Aligned, beside_any, promising
from tddfa.targets import detected

ROTATIONS = ("auto", "all", "off")
"""Values of ``rotations``."""


# Degrees: a detected face whose square was rotated by more than this is doubtful, whatever its score. Of such faces in
# 40 photos rolled by 0 to 345 degrees, every fourth is wrong. Between 40 and 60, the limit makes no difference (LFPW,
# 60-70 % by name; the same photos for the next limit).
_MAX_ROLL = 50.0
# If one of two faces is rolled, they are duplicates if the distance of their centres is smaller than this, relative to
# the size of the larger face.
_DUPLICATE = 0.5
# The same for two upright faces.
_UPRIGHT_DUPLICATE = 0.2
# If the IoU of a rolled face's box and its landmarks' box is lower than this, the landmarks' box replaces it: the
# detector sees parts of rolled faces. With 0.4, 0.7 % fewer of the faces above have a correct box; with 0.6, as many.
_MIN_BOX_IOU = 0.5

# A box with a lower detection score gets no further passes. From pass to pass, patterns of images without a face become
# more like a face too; their boxes have lower scores.
_LIKELY_BOX = 0.5
# The same in an image without a sure face; with a score under `_LIKELY_BOX`, the result must be sure. One more of 500
# turned and rolled faces is found (CFP, persons 401 to 425), and none more in 248 images without a face (negatives,
# first half, as they are and enlarged three times).
_LAST_BOX = 0.3
# Scores of the first pass are lower than those of three passes: a score is promising if its distance from 1 is at most
# this many times the distance of `sure_score`.
_SPREAD = 4.0

# If no face is found: maximum number of boxes of `Detector.lowered`, sides of their crops relative to the crop rule,
# maximum number of these crops that get more than two passes, and minimum score after two passes. Of 600 images of
# turned faces (the profiles of CFP, persons 401 to 425, also rolled, small and dark), 34 are missed without them and
# 22 with them.
_WEAK_BOXES, _WEAK_SIDES, _WEAK_TRIED, _WEAK_SCORE = 3, (1.0, 1.7), 3, 0.03
# Such a face is the best of several tries, so it needs a higher score: its distance from 1 may be at most this fraction
# of the distance of `Aligner.sure_score`. With 0.5, three more of the 600 are found, and one false face in 275 images
# without a face (negatives, first half).
_WEAK_DOUBT = 0.3
# The same for a face that was found in a rotated image. In 1,786 images of rolled faces such faces have scores of 0.959
# or more, and in 248 images without a face the only one has 0.923 (LFPW, first 70 % by name, CFP and negatives as
# above, these also enlarged three times). These figures and those above were measured with an earlier face score
# and a `sure_score` of 0.9.
ROTATED_DOUBT = 0.5

_ROTATIONS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, -90: cv2.ROTATE_90_CLOCKWISE}
TURNS = tuple(_ROTATIONS)
"""Degrees by which crops and images are rotated counterclockwise."""


def realigned(
    passes: Passes, images: Sequence[Image], aligned: Aligned, sure_score: float, *, ignored_below: float | None = None
) -> Aligned:
    """Align doubtful faces again: in further passes, then in crops that are rotated by 90, 180 and 270 degrees.

    Parameters
    ----------
    passes : Passes
        Passes of the regressor.
    images : sequence of ndarray (h, w, 3) uint8
        BGR.
    aligned : Aligned
        Faces that were detected in them.
    sure_score : float
        A face with a lower score is doubtful. The result of the best rotation replaces it if its score is above this
        value and above the score of the face.
    ignored_below : float or None
        Faces with a lower score stay as they are in an image that has a sure face: most are no faces, and a crowd has
        many.

    Returns
    -------
    Aligned
        In the same order.
    """
    doubtful = _doubtful(aligned, sure_score, ignored_below)
    aligned = _settled(passes, images, aligned, doubtful, sure_score)
    if doubtful.size:
        doubtful = _doubtful(aligned, sure_score, ignored_below)
    if not doubtful.size:
        return aligned
    face = np.repeat(doubtful, len(TURNS))
    tried = rows(aligned.targets, face)
    angles = tried.roi[:, 3] + np.tile(np.array(TURNS, dtype=np.float64), len(doubtful))
    angles = np.where(np.abs(angles) > 180, (angles + 180) % 360 - 180, angles)
    tried = tried._replace(roi=squares_from_boxes(tried.box, passes.rule, angles))
    first = passes.first(images, tried)
    likely = np.flatnonzero(first.score >= 1 - _SPREAD * (1 - sure_score))
    face, tried = face[likely], rows(tried, likely)
    last = passes.further(images, tried, rows(first, likely))
    targets, predicted = aligned
    for k in np.unique(face):
        own = np.flatnonzero(face == k)
        best = own[[int(last.score[own].argmax())]]
        if last.score[best[0]] > predicted.score[k] and last.score[best[0]] > sure_score:
            targets, predicted = (
                replaced(targets, k[None], rows(tried, best)),
                replaced(predicted, k[None], rows(last, best)),
            )
    return Aligned(targets, predicted)


def _settled(
    passes: Passes, images: Sequence[Image], aligned: Aligned, doubtful: NDArray[np.intp], sure_score: float
) -> Aligned:
    """Align doubtful faces in further passes, if the detector is sure enough of them."""
    if not doubtful.size:
        return aligned
    image, detected = aligned.targets.image, aligned.targets.score
    beside_sure = beside_any(image, aligned.predicted.score >= sure_score)
    which = doubtful[detected[doubtful] >= np.where(beside_sure[doubtful], _LIKELY_BOX, _LAST_BOX)]
    if not which.size:
        return aligned
    settled = passes.settled(images, *aligned.rows(which), sure_score)
    better = (detected[which] >= _LIKELY_BOX) | (settled.score >= sure_score)
    return aligned._replace(predicted=replaced(aligned.predicted, which[better], rows(settled, better)))


def _doubtful(aligned: Aligned, sure_score: float, ignored_below: float | None) -> NDArray[np.intp]:
    """Indices of the faces to align again."""
    targets, predicted = aligned
    sure = (predicted.score >= sure_score) & (roll_steps(targets.roi, predicted.roi) <= _MAX_ROLL)
    if ignored_below is None or sure.all():
        return np.flatnonzero(~sure)
    with_sure = beside_any(targets.image, sure)
    return np.flatnonzero(~sure & ((predicted.score >= ignored_below) | ~with_sure))


def weakly_detected(
    passes: Passes, images: Sequence[Image], index: int, detector: Detector, sure_score: float
) -> Aligned | None:
    """Align boxes whose scores are too low for a detection, on crops of two sizes and in several passes.

    The detector often recognises a turned head, but not its extent. Then its box has a low score and shows only a part.

    Parameters
    ----------
    passes : Passes
        Passes of the regressor.
    images : sequence of ndarray (h, w, 3) uint8
        BGR.
    index : int
        Index of the image.
    detector : Detector
        The detector, whose `lowered` gives boxes with lower scores; without `lowered`, there are none.
    sure_score : float
        See `Aligner`. A face needs a higher score, which is 0.3 times as far from 1.

    Returns
    -------
    Aligned or None
        None if the detector has no box.
    """
    lowered = detector.lowered
    found = None if lowered is None else lowered(images[index])
    if not found:
        return None
    boxes = detected(found[:_WEAK_BOXES], index, passes.rule)
    targets = joined([boxes._replace(roi=enlarged(boxes.roi, factor)) for factor in _WEAK_SIDES])
    first = passes(images, targets)
    tried = np.argsort(-first.score)[:_WEAK_TRIED]
    tried = tried[first.score[tried] >= _WEAK_SCORE]
    targets = rows(targets, tried)
    needed = 1 - _WEAK_DOUBT * (1 - sure_score)
    aligned = Aligned(targets, passes.settled(images, targets, rows(first, tried), needed))
    return _with_fitting_boxes(aligned.rows(aligned.predicted.score >= needed))


def upright_targets(
    detector: Callable[[Image], Detections],
    image: Image,
    index: int,
    rule: CropRule,
    faces: Aligned,
    sure_score: float,
) -> list[Targets]:
    """Detect faces in an image turned upright, if its sure faces are all rolled alike; without these faces.

    The detector finds upright faces best. In an image with a sure face that is upside down, it misses other faces.

    Parameters
    ----------
    detector, image, index, rule
        See `rotated_targets`.
    faces : Aligned
        Those of the image.
    sure_score : float
        See `Aligner`.
    """
    turns = turn_of_photo(faces, sure_score)
    return [unseen(promising(found), faces) for found in rotated_targets(detector, image, index, rule, turns)]


def turn_of_photo(faces: Aligned, sure_score: float) -> tuple[int, ...]:
    """Return the quarter turn that is nearest to the rolls of all sure faces; none if they do not agree, or for 0."""
    sure = faces.predicted.score >= sure_score
    nearest = np.round(faces.predicted.roi[sure, 3] / 90) * 90 % 360
    return tuple(angle for angle in TURNS if nearest.size and (nearest == angle % 360).all())


def rotated_targets(
    detector: Callable[[Image], Detections],
    image: Image,
    index: int,
    rule: CropRule,
    turns: Sequence[int] = TURNS,
) -> Iterator[Targets]:
    """Detect faces in an image rotated by quarter turns, and yield them in px of the image as it is.

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
    turns : sequence of {90, 180, -90}
        Degrees, counterclockwise.
    """
    for angle in turns:
        detections = detector(np.asarray(cv2.rotate(image, _ROTATIONS[angle])))
        yield detected(detections, index, rule, rotated=angle, size=image.shape[:2])


def unseen(targets: Targets, faces: Aligned) -> Targets:
    """Drop the targets whose boxes fit the landmarks of faces of the same image, because these are already aligned."""
    around = np.concatenate(_bounds(faces.predicted.landmarks), axis=1)
    overlap = box_iou(targets.box.astype(np.float64), around.astype(np.float64))
    return rows(targets, np.flatnonzero((overlap < _MIN_BOX_IOU).all(axis=1)))


def merged(faces: Aligned) -> Aligned:
    """Drop duplicates, whose landmarks are at the place of another face, and give each face a box that fits.

    The result is in order of the detection scores. The detector has dropped overlapping boxes, but other boxes may have
    led to the same face.
    """
    if len(faces.targets.score) < 2:
        return _with_fitting_boxes(faces)
    rotated = (faces.targets.roi[:, 3] != 0) | (faces.predicted.roi[:, 3] != 0)
    low, high = _bounds(faces.predicted.landmarks)
    size, centre = (high - low).max(axis=1), (low + high) / 2
    nearness = np.where(rotated[:, None] | rotated, _DUPLICATE, _UPRIGHT_DUPLICATE)
    distance = np.linalg.norm(centre[:, None] - centre, axis=2)
    duplicate = distance < nearness * np.maximum(size[:, None], size)
    if not rotated.any() and np.count_nonzero(duplicate) == len(duplicate):
        return _with_fitting_boxes(faces)
    kept: list[int] = []
    # of two equally likely alignments, the one of the likelier box is kept
    for k in np.lexsort((-faces.targets.score, -faces.predicted.score.round(2))).tolist():
        if not duplicate[k, kept].any():
            kept.append(k)
    kept.sort(key=lambda k: (-faces.targets.score[k], k))
    return _with_fitting_boxes(faces.rows(np.array(kept)))


def _with_fitting_boxes(faces: Aligned) -> Aligned:
    """The faces, with the box of the landmarks where their own shows a part or something else."""
    around = np.concatenate(_bounds(faces.predicted.landmarks), axis=1)
    poor = _own_iou(faces.targets.box, around) < _MIN_BOX_IOU
    if not poor.any():
        return faces
    return faces._replace(targets=faces.targets._replace(box=np.where(poor[:, None], around, faces.targets.box)))


def _own_iou(boxes: Floats, others: Floats) -> NDArray[np.float64]:
    """IoU (n,) of each box with the other one in its row; 0 if neither has an area."""
    # sides and areas of the largest boxes overflow in float32
    first, second = boxes.astype(np.float64), others.astype(np.float64)
    sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    common = sides.clip(min=0).prod(axis=1)
    union = box_area(first) + box_area(second) - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def _bounds(landmarks: Floats) -> tuple[Floats, Floats]:
    points = landmarks[:, :, :2]
    return points.min(axis=1), points.max(axis=1)
