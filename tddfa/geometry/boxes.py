"""Areas and overlaps of boxes x1, y1, x2, y2, px. Edges are lines: the width is x2 - x1."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared.arrays import checked

Floats = NDArray[np.float64]


def box_area(boxes: ArrayLike) -> Floats:
    """Areas of boxes.

    Parameters
    ----------
    boxes : array_like (..., 4)
        x1, y1, x2, y2.

    Returns
    -------
    ndarray (...) float64
        Square px; 0 of a box whose second corner is not below and to the right of the first.

    Examples
    --------
    >>> box_area([[0, 0, 10, 5], [10, 5, 0, 0]])
    array([50.,  0.])
    """
    corners = np.asarray(boxes, dtype=np.float64)
    return np.asarray(np.clip(corners[..., 2:] - corners[..., :2], 0, None).prod(axis=-1))


def box_around(points: NDArray[np.floating]) -> Floats:
    """Box x1, y1, x2, y2 around points (n, 2).

    Examples
    --------
    >>> box_around(np.array([[3.0, 1.0], [2.0, 5.0]])).tolist()
    [2.0, 1.0, 3.0, 5.0]
    """
    return np.concatenate([points.min(axis=0), points.max(axis=0)]).astype(np.float64)


def box_iou(first: ArrayLike, second: ArrayLike) -> Floats:
    """Intersection over union of each pair of boxes.

    Parameters
    ----------
    first, second : array_like (n, 4), (m, 4)
        x1, y1, x2, y2.

    Returns
    -------
    ndarray (n, m) float64
        0..1; 0 of a box without an area.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or dtype.

    Examples
    --------
    >>> box_iou([[0, 0, 10, 10]], [[0, 0, 10, 10], [0, 0, 10, 5], [20, 20, 30, 30]])
    array([[1. , 0.5, 0. ]])
    """
    a = checked("first", first, (None, 4), np.float64).T[..., None]
    b = checked("second", second, (None, 4), np.float64).T[:, None]
    # column by column: a product along an axis of two numbers is slow
    across = np.minimum(a[2], b[2]) - np.maximum(a[0], b[0])
    down = np.minimum(a[3], b[3]) - np.maximum(a[1], b[1])
    intersection = across.clip(min=0) * down.clip(min=0)
    union = box_area(a[..., 0].T)[:, None] + box_area(b[:, 0].T) - intersection
    return np.asarray(np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0))
