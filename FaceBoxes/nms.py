"""Non-maximum suppression: the interface with checks, and a reference implementation in NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

try:
    from FaceBoxes import _nms
except ImportError as error:
    raise ImportError("the compiled extensions are missing: run ./build.sh or pip install -e .") from error


def _arguments(
    xyxy: ArrayLike, scores: ArrayLike, threshold: float, max_boxes: int
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
    if max_boxes < 0:
        raise ValueError(f"max_boxes: expected 0 or more, got {max_boxes}")
    return boxes, np.argsort(-values, kind="stable").astype(np.int32)


def nms(xyxy: ArrayLike, scores: ArrayLike, threshold: float, max_boxes: int) -> NDArray[np.int32]:
    """Suppress boxes that overlap better ones (greedy non-maximum suppression).

    Widths and heights include both border pixels (``x2 - x1 + 1``), and a box is suppressed at an overlap of exactly
    `threshold`, as in the released FaceBoxes.

    Parameters
    ----------
    xyxy : array_like (n, 4)
        Boxes, px.
    scores : array_like (n,)
        Higher is better; boxes of equal score keep their order.
    threshold : float
        Intersection over union, in (0, 1], from which the worse box is suppressed.
    max_boxes : int
        Maximum number of boxes that are kept.

    Returns
    -------
    ndarray (k,) int32
        Indices of the boxes that are kept, best first.

    Raises
    ------
    ValueError
        If a shape is wrong, a number is out of range, or a value is not finite.

    Examples
    --------
    >>> nms([[0, 0, 9, 9], [1, 0, 10, 9], [20, 0, 29, 9]], [0.8, 0.9, 0.7], threshold=0.3, max_boxes=10)
    array([1, 2], dtype=int32)
    """
    boxes, order = _arguments(xyxy, scores, threshold, max_boxes)
    if max_boxes == 0:
        return order[:0]
    kept = np.empty(len(order), dtype=np.int32)
    return kept[: _nms.nms(boxes, order, threshold, min(max_boxes, len(order)), kept)]


def nms_reference(xyxy: ArrayLike, scores: ArrayLike, threshold: float, max_boxes: int) -> NDArray[np.int32]:
    """Do what `nms` does, in NumPy: slower, and simple to read."""
    boxes, order = _arguments(xyxy, scores, threshold, max_boxes)
    kept: list[int] = []
    with np.errstate(over="ignore", invalid="ignore"):  # areas of huge boxes
        area = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
        while len(order) and len(kept) < max_boxes:
            best, order = order[0], order[1:]
            kept.append(int(best))
            low = np.maximum(boxes[best, :2], boxes[order, :2])
            high = np.minimum(boxes[best, 2:], boxes[order, 2:])
            sides = high - low + 1
            overlap = sides.prod(axis=1)
            # a box whose corners are swapped has no area, and overlaps none
            large = overlap >= np.float32(threshold) * (area[best] + area[order] - overlap)
            order = order[~((sides > 0).all(axis=1) & large)]
    return np.array(kept, dtype=np.int32)
