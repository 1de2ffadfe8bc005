"""Merge the boxes of several views of an image: a whole face wins over its parts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# A box is a part of a face if this fraction of its area is inside the box of the face, and its area is less than this
# fraction of that of the face. The second row is for half a face; chosen on LFPW, 60-70 % by name.
PARTS = ((0.6, 0.5), (0.9, 0.75))
# The score of the face is at least this, and at least this fraction of that of the part.
MIN_SCORE = MIN_SCORE_RATIO = 0.5

# Boxes that are compared with all others at once: bounds the memory.
_CHUNK = 256


def is_part(xyxy: ArrayLike, scores: ArrayLike) -> NDArray[np.bool_]:
    """Tell which boxes are parts of another one: an eye or a mouth inside a face.

    Faces that overlap are no parts of each other, for each has most of its area outside the other, or is of about the
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
    area = (high - low).clip(min=0).prod(axis=1)
    for start in range(0, len(boxes), _CHUNK):
        rows = slice(start, start + _CHUNK)
        common = np.minimum(high[rows, None], high) - np.maximum(low[rows, None], low)
        common_area, own = common.clip(min=0).prod(axis=2), area[rows, None]
        sure = (values >= MIN_SCORE) & (values >= MIN_SCORE_RATIO * values[rows, None])
        for inside, ratio in PARTS:
            parts[rows] |= (sure & (common_area >= inside * own) & (own < ratio * area)).any(axis=1)
    return parts
