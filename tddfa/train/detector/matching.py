"""Matching of a detector's prior boxes with the faces of an image.

The strategy is that of SSD (Liu et al., ECCV 2016, section 2.2) with the threshold of FaceBoxes (Zhang et al., IJCB
2017, section 3.3).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared.arrays import checked
from tddfa.geometry.boxes import box_iou

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

THRESHOLD = 0.35
"""Intersection over union from which a prior box is matched with a face (FaceBoxes, section 3.3)."""
NO_FACE = -1
"""Result of `match` for a prior box without a face."""


def corners(prior: Floats) -> NDArray[np.float64]:
    """Convert prior boxes from centre and side (n, 3) to x1, y1, x2, y2 (n, 4)."""
    centre, half = prior[:, :2].astype(np.float64), prior[:, 2:].astype(np.float64) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def match(prior: Floats, xyxy: ArrayLike, threshold: float = THRESHOLD) -> NDArray[np.intp]:
    """Match each prior box with a box.

    A prior box is matched with the box of highest IoU, if that is `threshold` or more. Besides, each box is matched
    with the prior box of highest IoU, so that every face has one; if a prior box is the best of several boxes, the
    last of them gets it.

    Parameters
    ----------
    prior : ndarray (n, 3) float32
        `FaceBoxes.anchors.Anchors.priors`.
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
