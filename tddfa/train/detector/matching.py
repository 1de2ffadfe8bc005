"""What a detector's prior boxes should say of a picture whose faces are known: which prior is whose, and where it lies.

The strategy is SSD's (Liu et al., 2016, section 2.2) with FaceBoxes' threshold (Zhang et al., 2017, section 3.3).
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
"""Intersection over union from which a prior box is a face's (FaceBoxes, section 3.3)."""
SURE = 0.5
"""Score from which a target is a face's, and a teacher has seen one."""
NOBODY = -1
"""What `match` says of a prior box that is no face's."""


@dataclass(frozen=True, eq=False)
class Targets:
    """What the network should say of a picture, by prior box.

    Attributes
    ----------
    scores : ndarray (n,) float32
        Face probability, 0..1.
    offsets : ndarray (n, 4) float32
        Divided by their variances.
    counts : ndarray (n,) bool
        Whether the score is known.
    placed : ndarray (n,) bool
        Whether the offsets are known.
    """

    scores: Floats
    offsets: Floats
    counts: Flags
    placed: Flags

    def __post_init__(self) -> None:
        """Check the arrays against each other."""
        n = len(np.asarray(self.scores))
        for name, shape, dtype in (
            ("scores", (n,), np.float32), ("offsets", (n, 4), np.float32), ("counts", (n,), np.bool_),
            ("placed", (n,), np.bool_),
        ):  # fmt: skip
            object.__setattr__(self, name, checked(f"Targets.{name}", getattr(self, name), shape, dtype))


def corners(prior: Floats) -> NDArray[np.float64]:
    """Prior boxes, centre and side (n, 3), as x1, y1, x2, y2 (n, 4)."""
    centre, half = prior[:, :2].astype(np.float64), prior[:, 2:].astype(np.float64) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def encode(prior: Floats, xyxy: ArrayLike) -> Floats:
    """Offsets (n, 4) from prior boxes (n, 3) to boxes x1, y1, x2, y2 (n, 4): what `FaceBoxes.anchors.decode` undoes.

    A side under 1 px counts as one.
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
    """Tell which box each prior box is of.

    It is of the box it overlaps most, by `threshold` or more. Besides, each box has the prior that overlaps it most, so
    that no face is without one; where one prior is the best of several boxes, the last of them has it.

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
    owner = np.full(len(prior), NOBODY, dtype=np.intp)
    if not len(boxes) or not len(prior):
        return owner
    overlap = box_iou(corners(prior), boxes)
    best = overlap.argmax(axis=1)
    near = overlap[np.arange(len(prior)), best] >= threshold
    owner[near] = best[near]
    own, seen = overlap.argmax(axis=0), overlap.max(axis=0) > 0
    owner[own[seen]] = np.flatnonzero(seen)
    return owner


def targets(
    prior: Floats,
    xyxy: ArrayLike,
    ignored: ArrayLike | None = None,
    threshold: float = THRESHOLD,
) -> Targets:
    """Targets of a picture all of whose faces are known.

    Parameters
    ----------
    prior : ndarray (n, 3) float32
        `FaceBoxes.anchors.priors` of the picture's size.
    xyxy : array_like (m, 4)
        Boxes of its faces, px.
    ignored : array_like (m,) bool, optional
        Faces that may be found or not: their priors do not count.
    threshold : float
        See `match`.
    """
    boxes = np.reshape(np.asarray(xyxy, dtype=np.float64), (-1, 4))
    unsure = checked("ignored", np.zeros(len(boxes), bool) if ignored is None else ignored, (len(boxes),), np.bool_)
    sure = boxes[~unsure]
    owner = match(prior, sure, threshold)
    mine = owner != NOBODY
    offsets = np.zeros((len(prior), 4), dtype=np.float32)
    offsets[mine] = encode(prior[mine], sure[owner[mine]])
    counts = mine | (match(prior, boxes[unsure], threshold) == NOBODY)
    return Targets(mine.astype(np.float32), offsets, counts, mine)


def taught(
    known: Targets,
    owner: NDArray[np.intp],
    scores: ArrayLike,
    offsets: ArrayLike,
    exact: Flags,
    empty: Flags,
    small: Flags,
) -> Targets:
    """Targets of a teacher's scores and offsets, corrected by what is known of the picture.

    Where the teacher saw a known face, its soft scores stay: they tell a good prior of that face from a poor one. A
    known face that it missed has the scores of `known`; if it is small, too, it may be found or not: to insist on what
    cannot be seen teaches to see faces everywhere.

    Parameters
    ----------
    known : Targets
        Of the faces whose boxes are known.
    owner : ndarray (n,) int
        Which known face a prior is of, or -1 (`match`).
    scores, offsets : array_like (n,), (n, 4)
        The teacher's, for the same prior boxes.
    exact : ndarray (n,) bool
        Priors whose known offsets stand. Elsewhere those of a teacher that saw the face come first: they say how the
        data it was trained on draw boxes.
    empty : ndarray (n,) bool
        Priors that are known to hold no face: what the teacher sees there is a mistake.
    small : ndarray (n,) bool
        Priors whose known face is small.
    """
    n = len(known.scores)
    score, place = checked("scores", scores, (n,)), checked("offsets", offsets, (n, 4))
    owner, exact = checked("owner", owner, (n,), np.intp), checked("exact", exact, (n,), np.bool_)
    empty, small = checked("empty", empty, (n,), np.bool_), checked("small", small, (n,), np.bool_)
    surest = np.zeros(owner.max(initial=NOBODY) + 2)  # the last is nobody's
    np.maximum.at(surest, owner, score)
    missed = (owner != NOBODY) & (surest[owner] < SURE)
    seen = (score >= SURE) & ~empty
    from_teacher = seen & ~(known.placed & exact)
    return Targets(
        np.where(missed, np.maximum(score, known.scores), np.where(empty, 0, score)),
        np.where(from_teacher[:, None], place, known.offsets),
        known.counts & ~(missed & small),
        known.placed | from_teacher,
    )
