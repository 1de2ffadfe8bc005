"""Functions of 3DDFA_V2's ``utils.functions`` that scripts import: squares around faces, and crops of them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared.arrays import checked, checked_image
from tddfa.compat.config import CROP
from tddfa.crop import roi_from_box, roi_from_landmarks
from tddfa.types import Roi


def roi_box(roi: Roi) -> list[float]:
    """Left, top, right, bottom of a square."""
    return [roi.left, roi.top, roi.left + roi.side, roi.top + roi.side]


def get_suffix(filename: str | os.PathLike[str]) -> str:
    """``utils.functions.get_suffix``: the suffix of a file's name, with its dot.

    Examples
    --------
    >>> get_suffix("photos/emma.jpg"), get_suffix("photos/emma")
    ('.jpg', '')
    """
    return Path(filename).suffix


def parse_roi_box_from_bbox(bbox: ArrayLike) -> list[float]:
    """``utils.functions.parse_roi_box_from_bbox``: the square that is cropped for a detected box, x1, y1, x2, y2.

    Examples
    --------
    >>> [round(edge, 2) for edge in parse_roi_box_from_bbox([100, 100, 200, 200])]
    [71.0, 85.0, 229.0, 243.0]
    """
    return roi_box(roi_from_box(np.asarray(bbox).reshape(-1)[:4], CROP))


def parse_roi_box_from_landmark(pts: ArrayLike) -> list[float]:
    """``utils.functions.parse_roi_box_from_landmark``: the square that is cropped for landmarks (2 or 3, n).

    Examples
    --------
    >>> [round(edge, 2) for edge in parse_roi_box_from_landmark([[100, 200], [100, 200]])]
    [79.29, 79.29, 220.71, 220.71]
    """
    return roi_box(roi_from_landmarks(np.asarray(pts)[:2].T, CROP))


def calc_hypotenuse(pts: ArrayLike) -> float:
    """``utils.functions.calc_hypotenuse``: a third of the diagonal of the square around points (2 or 3, n).

    Examples
    --------
    >>> round(calc_hypotenuse([[100, 200], [100, 200]]), 2)
    47.14
    """
    points = np.asarray(pts, dtype=np.float64)[:2]
    return float(np.sqrt(2) * np.ptp(points, axis=1).max() / 3)


def crop_img(img: NDArray[np.uint8], roi_box: ArrayLike) -> NDArray[np.uint8]:
    """``utils.functions.crop_img``: the part of an image in a box, whose edges are rounded; black outside the image.

    Examples
    --------
    >>> crop_img(image, [-10.2, 20, 89.6, 120]).shape
    (100, 100, 3)
    """
    checked_image("img", img)
    edges = checked("roi_box", roi_box, (4,), np.float64)
    left, top, right, bottom = (round(edge) for edge in edges.tolist())
    if not (0 < right - left <= _LARGEST and 0 < bottom - top <= _LARGEST):
        wanted = f"left < right and top < bottom, sides of at most {_LARGEST} px"
        raise ValueError(f"roi_box: expected {wanted}, got {edges.tolist()}")
    out = np.zeros((bottom - top, right - left, 3), dtype=np.uint8)
    height, width = img.shape[:2]
    rows, columns = slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width))
    part = img[rows, columns]
    if part.size:
        out[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = part
    return out


# Longest side of a crop, px: it is allocated whatever the size of the image.
_LARGEST = 20_000
