"""Contact sheet of the worst cases of a result: ground truth green, prediction red, name and error below each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa._shared import image_io
from tddfa.evaluate.result import Worst

Image = NDArray[np.uint8]

_TILE, _CAPTION, _GAP, _COLUMNS = 260, 40, 6, 6
_GROUND_TRUTH_COLOR, _PREDICTED_COLOR = (60, 200, 60), (50, 50, 235)
_PAPER, _INK, _OUTSIDE = 250, (40, 40, 40), 225
# Side of the shown square, by the longer side of the box of all points, and its minimum in px of the image.
_MARGIN, _SMALLEST = 1.5, 24.0
_FONT, _LINE = 0.42, 18
_MISSED = "missed by the detector"


def contact_sheet(worst: Sequence[Worst], data: Path, title: str = "", unit: str = "") -> Image:
    """Draw cases in the given order, six per row.

    Parameters
    ----------
    worst : sequence of Worst
        At least one; their paths are relative to `data`.
    data : path
        The data folder.
    title : str
        Heading, wrapped to the width of the sheet.
    unit : str
        Of the errors.

    Returns
    -------
    ndarray (h, w, 3) uint8
        BGR.

    Raises
    ------
    ValueError
        If there is no case, or if an image cannot be read.

    Examples
    --------
    >>> from tddfa._shared import image_io
    >>> _ = image_io.write(tmp / "a.jpg", image)
    >>> contact_sheet([Worst("a.jpg", 4.2, predicted=[[100.0, 80.0]])], tmp, unit="%").shape
    (312, 272, 3)
    """
    if not worst:
        raise ValueError("worst: expected at least one case, got none")
    columns = min(_COLUMNS, len(worst))
    rows = -(-len(worst) // columns)
    width, height = _TILE + _GAP, _TILE + _CAPTION + _GAP
    heads = _wrapped(title, columns * width - _GAP)
    head = _LINE * len(heads) + (_GAP if heads else 0)
    sheet = np.full((head + rows * height + _GAP, columns * width + _GAP, 3), _PAPER, dtype=np.uint8)
    for line, text in enumerate(heads):
        _write(sheet, text, _GAP + 2, _LINE * (line + 1) - 4)
    for i, case in enumerate(worst):
        top, left = head + (i // columns) * height + _GAP, (i % columns) * width + _GAP
        sheet[top : top + _TILE, left : left + _TILE] = _tile(case, data)
        error = _MISSED if case.caption == "missed" else case.caption or f"{case.error:.2f} {unit}".rstrip()
        for line, text in enumerate((_shortened(case.path), error)):
            _write(sheet, text, left + 2, top + _TILE + 15 + 17 * line)
    return sheet


def _write(sheet: Image, text: str, left: int, bottom: int) -> None:
    # OpenCV's font has ASCII only
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(sheet, plain, (left, bottom), cv2.FONT_HERSHEY_SIMPLEX, _FONT, _INK, 1, cv2.LINE_AA)


def _wrapped(text: str, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        fits = cv2.getTextSize(longer, cv2.FONT_HERSHEY_SIMPLEX, _FONT, 1)[0][0] <= width
        lines[-1:] = [longer] if fits or not lines else [lines[-1], word]
    return lines


def _shortened(path: str, max_length: int = 34) -> str:
    return path if len(path) <= max_length else f"...{path[3 - max_length :]}"


def _tile(case: Worst, data: Path) -> Image:
    image = image_io.read(data / case.path)
    points = np.array([*case.ground_truth, *case.predicted], dtype=np.float64).reshape(-1, 2)
    boxes = _boxes(np.array(case.ground_truth or case.predicted, dtype=np.float64).reshape(-1, 2)) is not None
    corner, side = _square(points, boxes, np.array(image.shape[1::-1], dtype=np.float64))
    scale = _TILE / side
    # only the part inside the square is warped, and smoothed first where it is reduced
    left, top = (max(int(edge), 0) for edge in corner)
    part = image[top : max(int(corner[1] + side) + 2, 0), left : max(int(corner[0] + side) + 2, 0)]
    if part.size and scale < 1:
        part = np.asarray(cv2.GaussianBlur(part, (0, 0), 0.4 / scale))
    shift = -0.5 - scale * corner
    tile: Image = np.full((_TILE, _TILE, 3), _OUTSIDE, dtype=np.uint8)
    if part.size:
        matrix = np.column_stack([scale * np.eye(2), shift + scale * np.array([left, top])])
        cv2.warpAffine(part, matrix, (_TILE, _TILE), dst=tile, borderMode=cv2.BORDER_TRANSPARENT)
    for marks, color in ((case.ground_truth, _GROUND_TRUTH_COLOR), (case.predicted, _PREDICTED_COLOR)):
        _draw(tile, np.array(marks, dtype=np.float64).reshape(-1, 2) * scale + shift, color)
    return tile


def _square(points: NDArray[np.float64], boxes: bool, size: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Upper left corner and side of the shown part of an image: around points, or all of it."""
    if boxes or not len(points):
        side = float(max(size.max(), _SMALLEST))
        return (size - 1 - side) / 2, side
    low, high = points.min(axis=0), points.max(axis=0)
    # distant points do not shrink the face to a dot
    side = float(np.clip(_MARGIN * (high - low).max(), _SMALLEST, 2 * max(size.max(), _SMALLEST)))
    return (low + high - side) / 2, side


def _boxes(points: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Points (4 n, 2) as the corners (n, 4, 2) of upright rectangles; None if they are not."""
    if not len(points) or len(points) % 4:
        return None
    corners = points.reshape(-1, 4, 2)
    x, y = corners[..., 0], corners[..., 1]
    upright = np.allclose(x[:, [0, 1]], x[:, [3, 2]]) and np.allclose(y[:, [0, 2]], y[:, [1, 3]])
    return corners if upright else None


def _draw(tile: Image, points: NDArray[np.float64], color: tuple[int, int, int]) -> None:
    # OpenCV takes eighths of px as 32-bit integers
    fixed = np.rint(8 * np.clip(points, -(10**6), 10**6)).astype(np.int32)
    boxes = _boxes(points)
    if boxes is not None:
        cv2.polylines(tile, list(fixed.reshape(-1, 4, 2)), True, color, 1, cv2.LINE_AA, shift=3)
        return
    for centre in fixed.tolist():
        cv2.circle(tile, centre, 14, color, -1, cv2.LINE_AA, shift=3)
