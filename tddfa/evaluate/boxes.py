"""Boxes against boxes: overlaps, which detection found which face, average precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared.arrays import checked

Floats = NDArray[np.float64]

SIZES: dict[str, tuple[float, float]] = {
    "all": (0.0, np.inf),
    "under-16": (0.0, 16.0),
    "16-48": (16.0, 48.0),
    "48-96": (48.0, 96.0),
    "over-96": (96.0, np.inf),
}
"""Ranges of a face's size, the square root of its box's area, px: from the first on, up to below the second."""


def overlaps(first: ArrayLike, second: ArrayLike) -> Floats:
    """Intersection over union (n, m) of boxes x1, y1, x2, y2 (n, 4) and (m, 4); edges are lines, without a px to add.

    A box without an area overlaps nothing.
    """
    a = checked("first", first, (None, 4), np.float64)[:, None]
    b = checked("second", second, (None, 4), np.float64)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.clip(sides, 0, None).prod(axis=-1)
    union = areas(a) + areas(b) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def areas(boxes: Floats) -> Floats:
    """Areas of boxes (..., 4); 0 of one that is turned over."""
    return np.asarray(np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(axis=-1))


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture: what was found in it, and what is there.

    Attributes
    ----------
    found : ndarray (n, 4) float64
        Detections, x1, y1, x2, y2 in px.
    scores : ndarray (n,) float64
        The higher, the surer.
    truth : ndarray (m, 4) float64
        Faces.
    ignored : ndarray (m,) bool
        Faces that need not be found, and are no mistake if they are.
    """

    found: Floats
    scores: Floats
    truth: Floats
    ignored: NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Check the arrays against each other."""
        found = checked("Sample.found", np.reshape(self.found, (-1, 4)), (None, 4), np.float64)
        truth = checked("Sample.truth", np.reshape(self.truth, (-1, 4)), (None, 4), np.float64)
        object.__setattr__(self, "found", found)
        object.__setattr__(self, "truth", truth)
        object.__setattr__(self, "scores", checked("Sample.scores", self.scores, (len(found),), np.float64))
        object.__setattr__(self, "ignored", checked("Sample.ignored", self.ignored, (len(truth),), np.bool_))


@dataclass(frozen=True, eq=False)
class Verdict:
    """What became of the detections of a picture.

    Attributes
    ----------
    scores : ndarray (n,) float64
        Of the detections that count, best first.
    correct : ndarray (n,) bool
        Whether each found a face.
    faces : int
        Faces that were to be found.
    """

    scores: Floats
    correct: NDArray[np.bool_]
    faces: int


def judge(sample: Sample, threshold: float, size: tuple[float, float] = SIZES["all"]) -> Verdict:
    """Tell which detections found a face: greedily, best score first, each face once.

    A detection takes the face it overlaps most among those that are free and that it overlaps by `threshold` or more.
    One that finds only an ignored face, which any number may, counts neither way. Faces outside of the range of sizes
    are ignored, and so is a detection that finds nothing and is itself outside of it: COCO's rule.

    Parameters
    ----------
    sample : Sample
        A picture.
    threshold : float
        Intersection over union, in (0, 1].
    size : (float, float)
        Range of the square root of the area of a face's box, px; the second is out of it.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold: expected a number in (0, 1], got {threshold}")
    low, high = size
    truth_size, found_size = np.sqrt(areas(sample.truth)), np.sqrt(areas(sample.found))
    wanted = ~sample.ignored & (truth_size >= low) & (truth_size < high)
    order = np.argsort(-sample.scores, kind="stable")
    overlap = overlaps(sample.found, sample.truth)
    free = wanted.copy()
    counts, correct = np.ones(len(order), dtype=np.bool_), np.zeros(len(order), dtype=np.bool_)
    for at, index in enumerate(order.tolist()):
        own = overlap[index]
        candidates = np.flatnonzero(free & (own >= threshold))
        if len(candidates):
            free[candidates[np.argmax(own[candidates])]] = False
            correct[at] = True
        else:
            outside = not low <= found_size[index] < high
            counts[at] = not (outside or (own[~wanted] >= threshold).any())
    return Verdict(sample.scores[order][counts], correct[counts], int(wanted.sum()))


@dataclass(frozen=True)
class Precision:
    """How well the faces of some pictures were found.

    Attributes
    ----------
    average : float
        Average precision, 0..1; NaN where there is no face.
    recall : float
        Share of the faces that were found at all.
    recall_at, precision_at : float
        Recall and precision of the detections from a score on.
    faces : int
        Faces there are.
    """

    average: float
    recall: float
    recall_at: float
    precision_at: float
    faces: int


def precision(verdicts: Sequence[Verdict], score: float = 0.5) -> Precision:
    """Put the pictures together; `score` is the one from which `recall_at` and `precision_at` count detections."""
    scores = np.concatenate([verdict.scores for verdict in verdicts] or [np.zeros(0)])
    correct = np.concatenate([verdict.correct for verdict in verdicts] or [np.zeros(0, dtype=np.bool_)])
    faces = sum(verdict.faces for verdict in verdicts)
    sure = correct[scores > score]
    return Precision(
        average=average_precision(scores, correct, faces),
        recall=float(correct.sum() / faces) if faces else float("nan"),
        recall_at=float(sure.sum() / faces) if faces else float("nan"),
        precision_at=float(sure.mean()) if len(sure) else float("nan"),
        faces=faces,
    )


def average_precision(scores: ArrayLike, correct: ArrayLike, faces: int) -> float:
    """Area under the envelope of precision over recall (PASCAL VOC from 2010 on): every step of recall counts.

    The envelope is, at each recall, the best precision at that recall or a higher one. Detections of one score enter
    together, so that the order of the pictures does not matter.

    Parameters
    ----------
    scores : array_like (n,)
        Of the detections.
    correct : array_like (n,) bool
        Whether each found a face that no surer one had found.
    faces : int
        Faces there are.

    Returns
    -------
    float
        0..1; NaN without faces.
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
