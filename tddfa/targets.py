"""Faces to align, as a table: from detections, from boxes or from squares that the caller gives."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from FaceBoxes import Detections
from tddfa._shared.arrays import checked
from tddfa.crop import squares_from_boxes, squares_of_detections
from tddfa.geometry.squares import Squares, bounds
from tddfa.model.config import CropRule
from tddfa.passes import Floats, Image, Targets
from tddfa.types import Roi

_MAX_PX = 1e6  # no photo is so large; numbers far beyond overflow


def detected(
    detections: Detections, index: int, rule: CropRule, *, rotated: int = 0, size: tuple[int, int] = (0, 0)
) -> Targets:
    """Return the faces that were detected in an image.

    Parameters
    ----------
    detections : Detections
        In px of the image that the detector took.
    index : int
        Index of the image.
    rule : CropRule
        The crops that the regressor was trained on.
    rotated : {0, 90, 180, -90}
        Degrees by which the image was rotated counterclockwise for the detector: the roll of faces that it saw upright.
    size : (int, int)
        Height and width of the image as it is.
    """
    boxes, points = detections.xyxy, detections.points
    if rotated:
        corners = _turned_back(boxes.reshape(-1, 2, 2), rotated, size)
        boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        points = None if points is None else _turned_back(points, rotated, size)
    return as_targets(index, boxes, detections.scores, squares_of_detections(boxes, points, rule, rotated), points)


def as_targets(
    index: int, boxes: Floats, scores: Floats | NDArray[np.float64], rois: Squares, points: Floats | None = None
) -> Targets:
    """Return the faces of one image; without `points`, these are NaN."""
    count = len(boxes)
    five = np.full((count, 5, 2), np.nan, dtype=np.float32) if points is None else points
    return Targets(np.full(count, index, dtype=np.int64), boxes, np.asarray(scores, dtype=np.float64), rois, five)


def given_boxes(index: int, image: Image, boxes: ArrayLike, rule: CropRule) -> Targets:
    """Return the faces of one image in boxes (n, 4) or, with scores, (n, 5).

    Raises
    ------
    ValueError
        If a box does not fit this image; the message says why.
    """
    rows = _box_rows(boxes)
    _check_boxes(rows[:, :4], image)
    scores = rows[:, 4] if rows.shape[1] == 5 else np.ones(len(rows))
    if len(scores) and not (scores.min() >= 0 and scores.max() <= 1):
        raise ValueError(f"boxes: expected scores from 0 to 1, got {scores.min():g} to {scores.max():g}")
    return as_targets(index, rows[:, :4].copy(), scores, squares_from_boxes(rows[:, :4], rule, np.zeros(len(rows))))


def given_rois(index: int, rois: Iterable[Roi]) -> Targets:
    """Return the faces of one image in squares, which are their boxes too.

    Raises
    ------
    TypeError
        If `rois` is no sequence of `Roi`.
    ValueError
        If a square is far beyond any image.
    """
    if not isinstance(rois, Iterable):
        raise TypeError(f"rois: expected a sequence of Roi, got {type(rois).__name__}")
    rois = list(rois)  # a generator can be read only once
    for roi in rois:
        if not isinstance(roi, Roi):
            raise TypeError(f"rois: expected Roi, got {type(roi).__name__}")
        if max(abs(roi.left), abs(roi.top), roi.side) > _MAX_PX:
            raise ValueError(f"rois: expected left, top and side within {_MAX_PX:g} px of the image, got {roi}")
    squares = squares_of(rois)
    return as_targets(index, bounds(squares), np.ones(len(rois)), squares)


def squares_of(rois: Iterable[Roi]) -> Squares:
    """Return squares as a table (n, 4)."""
    return np.array([(roi.left, roi.top, roi.side, roi.angle) for roi in rois]).reshape(-1, 4)


def _turned_back(points: Floats, rotated: int, size: tuple[int, int]) -> Floats:
    """Points (..., 2) in an image that was rotated counterclockwise, in px of the image (height, width) as it was."""
    x, y = points[..., 0], points[..., 1]
    right, bottom = size[1] - 1, size[0] - 1
    back = {90: (right - y, x), 180: (right - x, bottom - y), -90: (y, bottom - x)}
    return np.stack(back[rotated], axis=-1).astype(np.float32)


def _box_rows(boxes: ArrayLike) -> Floats:
    if isinstance(boxes, Iterator):
        boxes = list(boxes)
    try:
        rows = np.asarray(boxes)
    except ValueError:  # rows of several lengths
        raise ValueError(f"boxes: expected rows of 4 or 5 numbers, got {reprlib.repr(boxes)}") from None
    if rows.size == 0:
        return np.zeros((0, 4), dtype=np.float32)
    width = 5 if rows.ndim == 2 and rows.shape[1] == 5 else 4
    return checked("boxes", rows, (None, width))


def _check_boxes(boxes: Floats, image: Image) -> None:
    """Refuse a box of fractions of the image, one without an area, and one that does not overlap the image."""
    height, width = image.shape[:2]
    for box in boxes.tolist():
        x1, y1, x2, y2 = box
        if min(box) >= 0 and max(box) <= 1 and max(height, width) > 1:
            raise ValueError(
                f"boxes: expected px, got {_text(box)}; if these are fractions of the image, "
                f"multiply x by {width} and y by {height}"
            )
        if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
            raise ValueError(f"boxes: expected a part of the image of {width} x {height} px, got {_text(box)}")
        if max(map(abs, box)) > _MAX_PX:
            raise ValueError(f"boxes: expected edges within {_MAX_PX:g} px of the image, got {_text(box)}")
        if x2 <= x1 or y2 <= y1:
            raise ValueError(f"box: expected x1 < x2 and y1 < y2, got {_text(box)}")


def _text(box: list[float]) -> str:
    return " ".join(f"{edge:g}" for edge in box)
