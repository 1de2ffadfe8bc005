"""Targets of a detector's prior boxes for an image whose faces are known: matching, scores and offsets.

The strategy is that of SSD (Liu et al., ECCV 2016, section 2.2) with the threshold of FaceBoxes (Zhang et al., IJCB
2017, section 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from FaceBoxes.anchors import CENTER_VARIANCE, SIZE_VARIANCE
from tddfa._shared.arrays import checked
from tddfa.geometry.boxes import box_iou

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

THRESHOLD = 0.35
"""Intersection over union from which a prior box is matched with a face (FaceBoxes, section 3.3)."""
SURE = 0.5
"""Score from which a target is positive, and from which a teacher has detected a face."""
NO_FACE = -1
"""Result of `match` for a prior box without a face."""


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets of the network for an image, by prior box.

    Attributes
    ----------
    scores : ndarray (n,) float32
        Face probability, 0..1.
    offsets : ndarray (n, 4) float32
        From the prior boxes to the faces, divided by their variances.
    score_known : ndarray (n,) bool
        Whether the score is known.
    box_known : ndarray (n,) bool
        Whether the offsets are known.
    """

    scores: Floats
    offsets: Floats
    score_known: Flags
    box_known: Flags

    def __post_init__(self) -> None:
        """Check the arrays against each other."""
        n = len(np.asarray(self.scores))
        for name, shape, dtype in (
            ("scores", (n,), np.float32),
            ("offsets", (n, 4), np.float32),
            ("score_known", (n,), np.bool_),
            ("box_known", (n,), np.bool_),
        ):
            object.__setattr__(self, name, checked(f"Targets.{name}", getattr(self, name), shape, dtype))


def corners(prior: Floats) -> NDArray[np.float64]:
    """Convert prior boxes from centre and side (n, 3) to x1, y1, x2, y2 (n, 4)."""
    centre, half = prior[:, :2].astype(np.float64), prior[:, 2:].astype(np.float64) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def encode(prior: Floats, xyxy: ArrayLike) -> Floats:
    """Compute offsets (n, 4) from prior boxes (n, 3) to boxes x1, y1, x2, y2 (n, 4), the inverse of `anchors.decode`.

    A side shorter than 1 px is taken as 1 px.
    """
    boxes = checked("xyxy", xyxy, (len(prior), 4), np.float64)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    size = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
    side = prior[:, 2:].astype(np.float64)
    offsets = np.concatenate(
        [(centre - prior[:, :2]) / (CENTER_VARIANCE * side), np.log(size / side) / SIZE_VARIANCE], axis=1
    )
    return offsets.astype(np.float32)


def match(prior: Floats, xyxy: ArrayLike, threshold: float = THRESHOLD) -> NDArray[np.intp]:
    """Match each prior box with a box.

    A prior box is matched with the box of highest IoU, if that is `threshold` or more. Besides, each box is matched
    with the prior box of highest IoU, so that every face has one; if a prior box is the best of several boxes, the
    last of them gets it.

    Parameters
    ----------
    prior : ndarray (n, 3) float32
        `FaceBoxes.anchors.priors`.
    xyxy : array_like (m, 4)
        Boxes, px.
    threshold : float
        Intersection over union, in (0, 1].

    Returns
    -------
    ndarray (n,) int
        Row of `xyxy`, or -1.

    Raises
    ------
    ValueError
        If a shape or a number is out of range.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold: expected a number in (0, 1], got {threshold}")
    boxes = checked("xyxy", np.reshape(xyxy, (-1, 4)), (None, 4), np.float64)
    owner = np.full(len(prior), NO_FACE, dtype=np.intp)
    if not len(boxes) or not len(prior):
        return owner
    overlap = box_iou(corners(prior), boxes)
    best = overlap.argmax(axis=1)
    near = overlap[np.arange(len(prior)), best] >= threshold
    owner[near] = best[near]
    best_prior, overlapped = overlap.argmax(axis=0), overlap.max(axis=0) > 0
    owner[best_prior[overlapped]] = np.flatnonzero(overlapped)
    return owner


def targets(
    prior: Floats,
    xyxy: ArrayLike,
    ignored: ArrayLike | None = None,
    threshold: float = THRESHOLD,
) -> Targets:
    """Compute the targets of an image all of whose faces are known.

    Parameters
    ----------
    prior : ndarray (n, 3) float32
        `FaceBoxes.anchors.priors` of the image's size.
    xyxy : array_like (m, 4)
        Boxes of its faces, px.
    ignored : array_like (m,) bool, optional
        Faces that may be detected or missed: their prior boxes do not count.
    threshold : float
        See `match`.
    """
    boxes = np.reshape(np.asarray(xyxy, dtype=np.float64), (-1, 4))
    unsure = checked("ignored", np.zeros(len(boxes), bool) if ignored is None else ignored, (len(boxes),), np.bool_)
    sure = boxes[~unsure]
    owner = match(prior, sure, threshold)
    mine = owner != NO_FACE
    offsets = np.zeros((len(prior), 4), dtype=np.float32)
    offsets[mine] = encode(prior[mine], sure[owner[mine]])
    score_known = mine | (match(prior, boxes[unsure], threshold) == NO_FACE)
    return Targets(mine.astype(np.float32), offsets, score_known, mine)


def distilled_targets(
    known: Targets,
    owner: NDArray[np.intp],
    scores: ArrayLike,
    offsets: ArrayLike,
    exact: Flags,
    empty: Flags,
    small: Flags,
) -> Targets:
    """Compute targets from a teacher's scores and offsets, corrected by the labels of the image.

    Where the teacher detected a labelled face, its soft scores are kept: they rank the prior boxes of that face. A
    labelled face that the teacher missed gets the scores of `known`. If such a face is small, its prior boxes do not
    count, because targets for invisible faces teach false detections.

    Parameters
    ----------
    known : Targets
        Targets of the labelled faces.
    owner : ndarray (n,) int
        Labelled face of each prior box, or -1 (`match`).
    scores, offsets : array_like (n,), (n, 4)
        Prediction of the teacher for the same prior boxes.
    exact : ndarray (n,) bool
        Prior boxes whose labelled offsets are kept. Elsewhere the offsets of a teacher that detected the face are
        preferred: they follow the box convention of its training data.
    empty : ndarray (n,) bool
        Prior boxes without a face by the labels: detections of the teacher there are false.
    small : ndarray (n,) bool
        Prior boxes whose labelled face is small.
    """
    n = len(known.scores)
    score, place = checked("scores", scores, (n,)), checked("offsets", offsets, (n, 4))
    owner, exact = checked("owner", owner, (n,), np.intp), checked("exact", exact, (n,), np.bool_)
    empty, small = checked("empty", empty, (n,), np.bool_), checked("small", small, (n,), np.bool_)
    surest = np.zeros(owner.max(initial=NO_FACE) + 2)  # the last is for priors without a face
    np.maximum.at(surest, owner, score)
    missed = (owner != NO_FACE) & (surest[owner] < SURE)
    detected = (score >= SURE) & ~empty
    from_teacher = detected & ~(known.box_known & exact)
    return Targets(
        np.where(missed, np.maximum(score, known.scores), np.where(empty, 0, score)),
        np.where(from_teacher[:, None], place, known.offsets),
        known.score_known & ~(missed & small),
        known.box_known | from_teacher,
    )
