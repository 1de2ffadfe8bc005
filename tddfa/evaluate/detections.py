"""Metrics of face detection: matching of detections with faces, precision, recall, average precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared.arrays import checked
from tddfa.geometry.boxes import box_area, box_iou

Floats = NDArray[np.float64]

SIZES: dict[str, tuple[float, float]] = {
    "all": (0.0, np.inf),
    "under-16": (0.0, 16.0),
    "16-48": (16.0, 48.0),
    "48-96": (48.0, 96.0),
    "over-96": (96.0, np.inf),
}
"""Half-open ranges of a face's size, the square root of its box's area, px."""


@dataclass(frozen=True, eq=False)
class Sample:
    """The detections of one image and its faces.

    Attributes
    ----------
    detected : ndarray (n, 4) float64
        Detections, x1, y1, x2, y2 in px.
    scores : ndarray (n,) float64
        Confidence of each detection.
    ground_truth : ndarray (m, 4) float64
        Faces.
    ignored : ndarray (m,) bool
        Faces that a detector may find or miss: neither is an error.
    """

    detected: Floats
    scores: Floats
    ground_truth: Floats
    ignored: NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Check the arrays against each other."""
        for name in ("detected", "ground_truth"):
            boxes = checked(f"Sample.{name}", np.reshape(getattr(self, name), (-1, 4)), (None, 4), np.float64)
            object.__setattr__(self, name, boxes)
        for name, boxes, dtype in (("scores", self.detected, np.float64), ("ignored", self.ground_truth, np.bool_)):
            object.__setattr__(self, name, checked(f"Sample.{name}", getattr(self, name), (len(boxes),), dtype))


@dataclass(frozen=True, eq=False)
class Matches:
    """Which detections of an image are correct.

    Attributes
    ----------
    scores : ndarray (n,) float64
        Scores of the detections that count, in descending order.
    correct : ndarray (n,) bool
        True where a detection is matched with a face.
    faces : int
        Number of faces that count.
    """

    scores: Floats
    correct: NDArray[np.bool_]
    faces: int


def match(sample: Sample, threshold: float, size: tuple[float, float] = SIZES["all"]) -> Matches:
    """Match detections with faces: greedily, by descending score, each face once.

    A detection is matched with the free face of highest IoU, if that is `threshold` or more. A detection that reaches
    the threshold only with ignored faces does not count. Faces outside the range of sizes are ignored, and so is an
    unmatched detection outside that range (the rule of COCO).

    Parameters
    ----------
    sample : Sample
        Detections and faces of an image.
    threshold : float
        Intersection over union, in (0, 1].
    size : (float, float)
        Half-open range of the square root of the area of a face's box, px.

    Raises
    ------
    ValueError
        If the threshold is out of range.

    Examples
    --------
    >>> detected = [[0, 0, 10, 10], [50, 50, 60, 60]]
    >>> match(Sample(detected, [0.9, 0.8], [[0, 0, 10, 9]], [False]), 0.5).correct
    array([ True, False])
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold: expected a number in (0, 1], got {threshold}")
    low, high = size
    face_size, detected_size = np.sqrt(box_area(sample.ground_truth)), np.sqrt(box_area(sample.detected))
    wanted = ~sample.ignored & (face_size >= low) & (face_size < high)
    order = np.argsort(-sample.scores, kind="stable")
    iou = box_iou(sample.detected, sample.ground_truth)
    free = wanted.copy()
    counts, correct = np.ones(len(order), dtype=np.bool_), np.zeros(len(order), dtype=np.bool_)
    for at, index in enumerate(order.tolist()):
        own = iou[index]
        candidates = np.flatnonzero(free & (own >= threshold))
        if len(candidates):
            free[candidates[np.argmax(own[candidates])]] = False
            correct[at] = True
        else:
            outside = not low <= detected_size[index] < high
            counts[at] = not (outside or (own[~wanted] >= threshold).any())
    return Matches(sample.scores[order][counts], correct[counts], int(wanted.sum()))


@dataclass(frozen=True)
class Precision:
    """Precision and recall over several images.

    Attributes
    ----------
    average : float
        Average precision, 0..1; NaN without faces.
    recall : float
        Fraction of the faces that are detected at any score.
    recall_at, precision_at : float
        Recall and precision of the detections above a given score.
    faces : int
        Number of faces.
    """

    average: float
    recall: float
    recall_at: float
    precision_at: float
    faces: int


def precision(matches: Sequence[Matches], score: float = 0.5) -> Precision:
    """Precision and recall of the detections in several images.

    Parameters
    ----------
    matches : sequence of Matches
        One per image.
    score : float
        `Precision.recall_at` and `Precision.precision_at` count the detections above this score.

    Examples
    --------
    >>> both = [Matches([0.9, 0.3], [True, True], 3), Matches([0.8], [False], 1)]
    >>> precision(both).recall, precision(both).precision_at
    (0.5, 0.5)
    """
    scores = np.concatenate([each.scores for each in matches] or [np.zeros(0)])
    correct = np.concatenate([each.correct for each in matches] or [np.zeros(0, dtype=np.bool_)])
    faces = sum(each.faces for each in matches)
    sure = correct[scores > score]
    return Precision(
        average=average_precision(scores, correct, faces),
        recall=float(correct.sum() / faces) if faces else float("nan"),
        recall_at=float(sure.sum() / faces) if faces else float("nan"),
        precision_at=float(sure.mean()) if len(sure) else float("nan"),
        faces=faces,
    )


def average_precision(scores: ArrayLike, correct: ArrayLike, faces: int) -> float:
    """Area under the envelope of the precision-recall curve, every step of recall counted (PASCAL VOC since 2010).

    The envelope is, at each recall, the highest precision at that recall or a higher one. Detections of equal score
    enter together, so that the result does not depend on the order of the images.

    Parameters
    ----------
    scores : array_like (n,)
        Scores of the detections.
    correct : array_like (n,) bool
        True where a detection is matched with a face.
    faces : int
        Number of faces.

    Returns
    -------
    float
        0..1; NaN without faces.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or dtype.

    Examples
    --------
    >>> average_precision([0.9, 0.8, 0.7], [True, False, True], faces=2)
    0.8333333333333333
    """
    values = checked("scores", scores, (None,), np.float64)
    right = checked("correct", correct, (len(values),), np.bool_)
    if not faces:
        return float("nan")
    order = np.argsort(-values, kind="stable")
    values, right = values[order], right[order]
    last_of_its_score = np.flatnonzero(np.append(values[1:] != values[:-1], np.ones(min(len(values), 1), dtype=bool)))
    hits = np.cumsum(right)[last_of_its_score]
    recall = hits / faces
    envelope = np.maximum.accumulate((hits / (last_of_its_score + 1))[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))
