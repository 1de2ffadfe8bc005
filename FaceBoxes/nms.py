"""Non-maximum suppression: the checked interface, and a reference in NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

try:
    from FaceBoxes import _nms
except ImportError as error:
    raise ImportError("the compiled extensions are missing: run ./build.sh or pip install -e .") from error


def _arguments(
    xyxy: ArrayLike, scores: ArrayLike, threshold: float, keep_at_most: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    boxes = np.ascontiguousarray(xyxy, dtype=np.float32)
    values = np.asarray(scores, dtype=np.float32)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"xyxy: expected shape (n, 4), got {boxes.shape}")
    if values.shape != (len(boxes),):
        raise ValueError(f"scores: expected shape ({len(boxes)},), got {values.shape}")
    if not np.isfinite(boxes).all() or not np.isfinite(values).all():
        raise ValueError("xyxy, scores: expected finite values, got NaN or infinity")
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold: expected a number in (0, 1], got {threshold}")
    if keep_at_most < 0:
        raise ValueError(f"keep_at_most: expected 0 or more, got {keep_at_most}")
    return boxes, np.argsort(-values, kind="stable").astype(np.int32)


def nms(xyxy: ArrayLike, scores: ArrayLike, threshold: float, keep_at_most: int) -> NDArray[np.int32]:
    """Greedy non-maximum suppression.

    Widths and heights count both border pixels (``x2 - x1 + 1``), and a box goes at an overlap of exactly
    `threshold`, as in the released FaceBoxes.

    Parameters
    ----------
    xyxy : array_like (n, 4)
        Boxes, px.
    scores : array_like (n,)
        The higher the better; of equal ones the first comes first.
    threshold : float
        Intersection over union, in (0, 1], from which the worse box goes.
    keep_at_most : int
        Stop after so many boxes.

    Returns
    -------
    ndarray (k,) int32
        Indices of the boxes that stay, best first.

    Raises
    ------
    ValueError
        If a shape or a number is out of range, or a value is not finite.
    """
    boxes, order = _arguments(xyxy, scores, threshold, keep_at_most)
    if keep_at_most == 0:
        return order[:0]
    kept = np.empty(len(order), dtype=np.int32)
    return kept[: _nms.nms(boxes, order, threshold, keep_at_most, kept)]


def nms_reference(xyxy: ArrayLike, scores: ArrayLike, threshold: float, keep_at_most: int) -> NDArray[np.int32]:
    """Do what `nms` does, in NumPy: slower, and plain to read."""
    boxes, order = _arguments(xyxy, scores, threshold, keep_at_most)
    area = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    kept: list[int] = []
    while len(order) and len(kept) < keep_at_most:
        best, order = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:], boxes[order, 2:])
        overlap = np.maximum(high - low + 1, 0).prod(axis=1)
        order = order[overlap < np.float32(threshold) * (area[best] + area[order] - overlap)]
    return np.array(kept, dtype=np.int32)
