"""JVCR's volumes of voxels over the crop, and its points from three sides, on one sheet per face."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import checked, checked_image
from tddfa.draw._common import Image
from tddfa.landmarks68 import COUNT, GROUPS, contours

Floats = NDArray[np.float32]

# px: side of the large tiles and of the small ones, four of which take the width of three large ones; gap; caption.
_LARGE, _GAP, _CAPTION = 384, 16, 34
_COLUMNS = 4
_SMALL = (3 * _LARGE + 2 * _GAP - (_COLUMNS - 1) * _GAP) // _COLUMNS
_WIDTH = 3 * _LARGE + 4 * _GAP
_PAPER, _INK, _FAINT = (255, 255, 255), (40, 40, 40), (215, 215, 215)
# BGR of a group of landmarks, dark enough for white paper.
_COLORS = {
    "jaw": (160, 110, 60),
    "brows": (60, 130, 40),
    "eyes": (190, 60, 40),
    "nose": (30, 130, 220),
    "lips": (60, 40, 200),
}
# Slices of a deep volume are joined to this many tiles.
_TILES = 8
# Of x and y of a view: coordinate and sign. Image y is down.
_VIEWS = (("front", (0, 1), (1, 1)), ("from the subject's left", (2, 1), (-1, 1)), ("from above", (0, 2), (1, 1)))
_FACTOR = 2  # lines are drawn enlarged, and averaged


def volumes(crop: Image, volumes: Sequence[Floats], points: Floats) -> Image:
    """Draw the volumes that were predicted for a crop, and its points, as one sheet (``volume``).

    The sheet shows four parts: the crop with the points; each volume over the crop, as its maximum along the line of
    sight; the slices of the last volume, from the farthest to the nearest, merged to eight; and the points from three
    sides.

    Parameters
    ----------
    crop : ndarray (size, size, 3) uint8
        BGR.
    volumes : sequence of ndarray (depth, side, side)
        See `tddfa.jvcr.grid`; values are about 0 to 1.
    points : ndarray (68, 3)
        px of the crop.

    Returns
    -------
    ndarray (h, 1216, 3) uint8
        BGR.

    Raises
    ------
    ValueError
        If an argument has the wrong type, shape or dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from tddfa.draw.volumes import volumes
    >>> crop = np.zeros((128, 128, 3), np.uint8)
    >>> sheet = volumes(crop, [np.zeros((1, 32, 32)), np.zeros((32, 32, 32))], face.landmarks)
    >>> sheet.shape[1]
    1216
    """
    crop = checked_image("crop", crop)
    grids = [checked(f"volumes[{i}]", grid, (None, None, None)) for i, grid in enumerate(volumes)]
    if not grids:
        raise ValueError("volumes: expected at least one, got none")
    landmarks = checked("points", points, (COUNT, 3))
    large = cv2.resize(crop, (_LARGE, _LARGE), interpolation=cv2.INTER_CUBIC)
    first = [("68 landmarks", _with_points(large, landmarks, len(crop)))]
    first += [
        (_shape_text(grid) + ", largest value along z" * (len(grid) > 1), _over(large, grid.max(axis=0)))
        for grid in grids
    ]
    last = grids[-1]
    small = cv2.resize(crop, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA)
    parts = np.array_split(np.arange(len(last)), min(_TILES, len(last)))
    slices = [(_slices_text(part, len(last)), _over(small, last[part].max(axis=0))) for part in parts]
    rows = [*_rows(first, 3)]
    if len(last) > 1:
        rows += _rows(slices, _COLUMNS)
    rows += _rows([(name, _view(landmarks, *axes)) for name, *axes in _VIEWS], 3)
    gap = np.full((_GAP, _WIDTH, 3), 255, dtype=np.uint8)
    return np.vstack([gap, *[part for row in rows for part in (row, gap)]])


def _shape_text(grid: Floats) -> str:
    depth, height, width = grid.shape
    return f"volume {width} x {height} x {depth}"


def _slices_text(part: NDArray[np.intp], depth: int) -> str:
    first, last = int(part[0]) + 1, int(part[-1]) + 1
    where = " (far)" * (first == 1) + " (near)" * (last == depth)
    return (f"slice {first}" if first == last else f"slices {first} to {last}") + where


def _rows(tiles: Sequence[tuple[str, Image]], columns: int) -> list[Image]:
    """Rows of tiles of one size, each with its caption above."""
    rows = []
    for start in range(0, len(tiles), columns):
        part = tiles[start : start + columns]
        side = part[0][1].shape[0]
        row = np.full((_CAPTION + side, _WIDTH, 3), 255, dtype=np.uint8)
        for i, (caption, tile) in enumerate(part):
            left = _GAP + i * (side + _GAP)
            row[_CAPTION:, left : left + side] = tile
            at = (left, _CAPTION - 10)
            cv2.putText(row, caption, at, cv2.FONT_HERSHEY_SIMPLEX, 0.56, _INK, 1, cv2.LINE_AA)
        rows.append(row)
    return rows


def _over(image: Image, heat: Floats) -> Image:
    """The heat of voxels over a grey image: none, yellow, red."""
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR).astype(np.float32)
    values = cv2.resize(heat.clip(0, 1), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)[..., None]
    color = np.concatenate([np.full_like(values, 20), 230 * (1 - 0.85 * values), np.full_like(values, 255)], axis=2)
    alpha = 0.9 * values
    return np.asarray(np.clip(0.75 * gray * (1 - alpha) + color * alpha, 0, 255), dtype=np.uint8)


def _with_points(image: Image, points: Floats, size: int) -> Image:
    scale = len(image) / size
    out = np.repeat(np.repeat(image, _FACTOR, axis=0), _FACTOR, axis=1)
    _lines(out, (points[:, :2] + 0.5) * scale * _FACTOR - 0.5, 2 * _FACTOR, light=True)
    return np.asarray(cv2.resize(out, image.shape[1::-1], interpolation=cv2.INTER_AREA))


def _view(points: Floats, axes: tuple[int, int], signs: tuple[int, int]) -> Image:
    """The points from one side, in one scale for all sides, with a grid."""
    side = _FACTOR * _LARGE
    out = np.full((side, side, 3), 250, dtype=np.uint8)
    for at in np.linspace(0, side - 1, 9):
        for a, b in (((at, 0), (at, side)), ((0, at), (side, at))):
            cv2.line(out, _px(a), _px(b), _FAINT, _FACTOR)
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    extent = float(np.ptp(points, axis=0).max())
    flat = (points - centre)[:, axes] * signs * (0.82 * side / max(extent, 1e-6)) + side / 2
    _lines(out, flat, 2 * _FACTOR)
    cv2.rectangle(out, (0, 0), (side - 1, side - 1), _FAINT, 2 * _FACTOR)
    return np.asarray(cv2.resize(out, (_LARGE, _LARGE), interpolation=cv2.INTER_AREA))


def _lines(out: Image, points: NDArray[np.floating], thickness: int, *, light: bool = False) -> None:
    """Draw the lines of the parts of the face, and dots, in place."""
    for group, color in _COLORS.items():
        shown = tuple(min(255, round(90 + 0.9 * value)) for value in color) if light else color
        for line in contours(points, *GROUPS[group]).values():
            cv2.polylines(out, [np.rint(line).astype(np.int32)], False, shown, thickness, cv2.LINE_AA)
            for point in line:
                cv2.circle(out, _px(point), 2 * thickness, shown, -1, cv2.LINE_AA)


def _px(point: Sequence[float] | NDArray[np.floating]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))
