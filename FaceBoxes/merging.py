"""Merge the boxes of a face: drop boxes of its parts, and average the poses of boxes that agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from FaceBoxes.anchors import decode_rotations
from FaceBoxes.detections import Detections

# A box is a part of a face if this fraction of its area is inside the box of the face, and its area is less than this
# fraction of that of the face. The second row is for half a face; chosen on LFPW, 60-70 % by name.
PARTS = ((0.6, 0.5), (0.9, 0.75))
# The score of the face is at least this, and at least this fraction of that of the part.
MIN_SCORE = MIN_SCORE_RATIO = 0.5

# Boxes of at least this IoU show one face in the same way. Chosen on LFPW, 60-70 % by name, and CFP, persons 401-425.
AGREEING = 0.7

# Boxes that are compared with all others at once: bounds the memory.
_CHUNK = 256


def is_part(xyxy: ArrayLike, scores: ArrayLike) -> NDArray[np.bool_]:
    """Find the boxes that are parts of another box: an eye or a mouth inside a face.

    Overlapping faces are not parts of each other: each has most of its area outside the other, or both have about the
    same size.

    Parameters
    ----------
    xyxy : array_like (n, 4)
        Boxes, px.
    scores : array_like (n,)
        Higher is better.

    Returns
    -------
    ndarray (n,) bool

    Examples
    --------
    >>> face, eye, neighbour = [0, 0, 90, 120], [10, 30, 40, 60], [60, 20, 150, 140]
    >>> is_part([face, eye, neighbour], [0.8, 0.9, 0.7])
    array([False,  True, False])
    """
    boxes = np.asarray(xyxy, dtype=np.float32).reshape(-1, 4)
    parts = np.zeros(len(boxes), dtype=np.bool_)
    if len(boxes) < 2:
        return parts
    values = np.asarray(scores, dtype=np.float32)
    low, high = boxes[:, :2], boxes[:, 2:]
    with np.errstate(over="ignore", invalid="ignore"):  # areas of huge boxes, which are infinite
        area = (high - low).clip(min=0).prod(axis=1)
        for start in range(0, len(boxes), _CHUNK):
            rows = slice(start, start + _CHUNK)
            common = np.minimum(high[rows, None], high) - np.maximum(low[rows, None], low)
            common_area, own = common.clip(min=0).prod(axis=2), area[rows, None]
            sure = (values >= MIN_SCORE) & (values >= MIN_SCORE_RATIO * values[rows, None])
            for inside, ratio in PARTS:
                parts[rows] |= (sure & (common_area >= inside * own) & (own < ratio * area)).any(axis=1)
    return parts


def with_mean_poses(faces: Detections, found: Detections) -> Detections:
    """Give each face the mean points and rotation of the boxes that agree with its own.

    The network predicts a face many times, once for each prior box that it overlaps. The errors differ, so the mean is
    more accurate than the prediction of the best box. Weights are the squares of the scores.

    Parameters
    ----------
    faces : Detections
        The boxes that were kept. Without rotations, nothing changes.
    found : Detections
        All boxes, before their suppression.

    Examples
    --------
    >>> turned = [[[0, -1, 0], [1, 0, 0], [0, 0, 1]]]
    >>> found = Detections([[0, 0, 90, 90], [1, 0, 90, 90]], [0.8, 0.8], rotations=np.append([np.eye(3)], turned, 0))
    >>> with_mean_poses(found[:1], found).rotations[0, :2, 0].round(2)
    array([0.71, 0.71], dtype=float32)
    """
    if faces.rotations is None or found.rotations is None:
        return faces
    matrices, points = faces.rotations.reshape(-1, 9).copy(), faces.points
    if points is not None:
        points = points.reshape(-1, 10).copy()
    squared = found.scores * found.scores
    for start in range(0, len(faces), _CHUNK):
        rows = slice(start, start + _CHUNK)
        weights = (_iou(faces.xyxy[rows], found.xyxy) >= AGREEING) * squared
        total = weights.sum(axis=1, keepdims=True)
        total[total == 0] = np.inf  # a box without an area agrees with none, and keeps its own
        for values, every in ((matrices, found.rotations), (points, found.points)):
            if values is not None and every is not None:
                kept = values[rows] * (total == np.inf)
                values[rows] = weights @ every.reshape(len(found), -1) / total + kept
    columns = np.concatenate([matrices[:, ::3], matrices[:, 1::3]], axis=1)
    return replace(
        faces, points=None if points is None else points.reshape(-1, 5, 2), rotations=decode_rotations(columns)
    )


def _iou(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union (n, m) of boxes (n, 4) and (m, 4)."""
    with np.errstate(over="ignore", invalid="ignore"):  # areas of huge boxes, which agree with none
        common = np.minimum(first[:, None, 2:], second[:, 2:]) - np.maximum(first[:, None, :2], second[:, :2])
        area = common.clip(min=0).prod(axis=2)
        own, other = ((boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(axis=1) for boxes in (first, second))
        union = own[:, None] + other - area
        return np.divide(area, union, out=np.zeros_like(area), where=union > 0)
