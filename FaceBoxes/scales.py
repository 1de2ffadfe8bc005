"""The views of an image that the detector's network takes: the whole image, a small copy, tiles, close-ups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

# Small images are enlarged at most this much.
_MAX_ENLARGEMENT = 2.0
# A small copy is of use only if its sides are less than half of those of the whole view.
_MIN_SMALL_SHRINK = 2.0
# Side of the smallest face that the small view adds, px of the whole view, which detects the smaller ones better.
_MIN_SMALL_FACE = 192
# Images that would be shrunk more than this are tiled.
_MAX_SHRINK = 2.0
# Scale between two levels of tiles. A face too large for the overlap has 64 px or more at the next level, and
# 32 px or more in a whole view that follows directly.
_LEVEL_SHRINK = 3.0
# Overlap of neighbouring tiles, px: a smaller face is whole in at least one of them.
_OVERLAP = 192
WORTH = 0.5
"""Score from which a small face in the whole view is worth a close-up, relative to the minimum score of the result."""
# The same for images that are not shrunk: their small faces have more pixels, and larger scores.
_WORTH_AS_IT_IS = 0.8
# Faces under this size, px of the whole view, are also detected in a close-up: a tile at this many times its scale, of
# at most this height times width. Boxes of more px do not count there: the whole view detects them better.
_SMALL_FACE, _CLOSER, _CLOSE_UP_AREA, _MAX_CLOSE_UP_FACE = 24, 2.0, 262_144, 64
_CLOSE_UP_OVERLAP = 96
# Up to so many faces get a window of this side each, px of the close-up, in place of tiles; a face that is this far
# inside another one's window needs none.
_FEW, _WINDOW, _INSIDE = 12, 192, 40
# Networks pad a view to sides that are multiples of this, px: a thinner view costs as much as one of this height.
_PADDED = 32
# No face is found in an image whose shorter side is less, px: its tiles are not read.
_MIN_TILED_SIDE = 8
# A box that comes this close to the seam is cut by it, px.
_SEAM = 4


@dataclass(frozen=True, eq=False)
class View:
    """An input of the network, and where it is in the image.

    Attributes
    ----------
    pixels : ndarray (h, w, 3) uint8, C-contiguous
        Input of the network.
    scale : float
        Pixels of the view per pixel of the image.
    left, top : float
        Position in the scaled image, px of the view.
    seams : (bool, bool, bool, bool)
        Whether the left, top, right and bottom border is inside the image.
    min_side, max_side : float
        Longer side of the smallest and the largest box that counts, px of the view.
    """

    pixels: NDArray[np.uint8]
    scale: float
    left: float = 0
    top: float = 0
    seams: tuple[bool, bool, bool, bool] = (False, False, False, False)
    min_side: float = 0.0
    max_side: float = np.inf

    @property
    def counts_all(self) -> bool:
        """Whether every box counts."""
        return not self.min_side and self.max_side == np.inf and not any(self.seams)

    def counts(self, xyxy: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether boxes (n, 4), px of the view, have a size that counts and are not cut by a seam."""
        height, width = self.pixels.shape[:2]
        inner = [[_SEAM, _SEAM], [width - _SEAM, height - _SEAM]]
        low, high = np.where(np.reshape(self.seams, (2, 2)), inner, [[-np.inf], [np.inf]])
        side = (xyxy[:, 2:] - xyxy[:, :2]).max(axis=1, initial=-np.inf)
        sized = (side >= self.min_side) & (side <= self.max_side)
        kept: NDArray[np.bool_] = sized & (xyxy[:, :2] >= low).all(axis=1) & (xyxy[:, 2:] <= high).all(axis=1)
        return kept

    def to_image(self, xy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (n, 4) or points (..., 2), px of the view, in px of the image."""
        if self.left or self.top:
            xy = xy + np.array([self.left, self.top] * (xy.shape[-1] // 2), dtype=np.float32)
        return xy if self.scale == 1 else xy / np.float32(self.scale)


@dataclass(frozen=True)
class Scales:
    """Sizes of the views of an image.

    Parameters
    ----------
    max_height, max_width : int
        The whole view is shrunk to at most this height, then to at most this width; the aspect ratio is kept.
    max_area : int or None
        Limit of its height times width, px, in place of the two sides.
    min_area : int or None
        A smaller whole view is enlarged to this height times width, px, at most twice its sides. None enlarges none.
    small_area : int or None
        Height times width of the small view, px. It is left out if it is more than half as wide as the whole view.
    tiles : bool
        Whether an image that would be shrunk more than twice is also read in overlapping tiles at its own resolution,
        and small faces of other images in close-ups.

    Examples
    --------
    >>> scales = Scales(max_height=720, max_width=1080)
    >>> scales.whole_size(1000, 1000)
    (720, 720)
    """

    max_height: int = 720
    max_width: int = 1080
    max_area: int | None = None
    min_area: int | None = None
    small_area: int | None = None
    tiles: bool = False

    def scale(self, height: int, width: int) -> float:
        """Scale of the whole view, at most 2."""
        enlargement = 0.0 if self.min_area is None else (self.min_area / (height * width)) ** 0.5
        if enlargement <= 1 and self.max_area is None:
            return min(min(1.0, self.max_height / height), self.max_width / width)
        if enlargement > 1:
            scale = min(enlargement, _MAX_ENLARGEMENT)
        else:
            scale = min(1.0, (self._max_area / (height * width)) ** 0.5)
        short, long = sorted((height, width))
        if short * scale < _PADDED < long * scale:
            scale = min(scale, max(self._max_area, _PADDED**2) / (_PADDED * long))
        return float(scale)

    @property
    def _max_area(self) -> int:
        """Limit of height times width of the whole view, px."""
        return self.max_area or self.max_height * self.max_width

    def whole_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the whole view, px."""
        return _scaled(height, width, self.scale(height, width))

    def views(self, image: NDArray[np.uint8]) -> Iterator[View]:
        """Yield the views of an image one after the other: the whole, the small one, then the tiles."""
        whole = self.scale(*image.shape[:2])
        yield (view := _view(image, image, whole, cv2.INTER_LINEAR))
        height, width = view.pixels.shape[:2]
        if self.small_area is not None and height * width > _MIN_SMALL_SHRINK**2 * self.small_area:
            shrink = (self.small_area / (height * width)) ** 0.5
            # from the whole view, which is faster than from the image; INTER_AREA would take longer than the network
            small = _view(view.pixels, image, whole * shrink, cv2.INTER_LINEAR)
            yield replace(small, min_side=_MIN_SMALL_FACE * shrink)
        scale = 1.0
        while self.tiles and whole * _MAX_SHRINK < scale and min(image.shape[:2]) >= _MIN_TILED_SIDE:
            level = _view(image, image, scale, cv2.INTER_AREA)
            # tiles that are smaller would overlap almost entirely
            yield from _tiles(level, max(self._max_area, _CLOSE_UP_AREA), _OVERLAP)
            scale /= _LEVEL_SHRINK

    def close_ups(
        self, image: NDArray[np.uint8], xyxy: NDArray[np.float32], scores: NDArray[np.float32], min_score: float
    ) -> Iterator[View]:
        """Yield enlarged views around the small ones of the boxes (n, 4) that the whole view gave, px of the image.

        A box gets a close-up if its score is at least `WORTH` times the minimum score of the result. If the whole view
        was not shrunk, it needs a higher score. There are no close-ups if the image has been tiled.
        """
        whole = self.scale(*image.shape[:2])
        if not self.tiles or not len(xyxy) or whole * _MAX_SHRINK < 1:
            return
        worth = min_score * (WORTH if whole < 1 else _WORTH_AS_IT_IS)
        small = ((xyxy[:, 2:] - xyxy[:, :2]).max(axis=1) * whole < _SMALL_FACE) & (scores >= worth)
        if not small.any():
            return
        scale = max(1.0, _CLOSER * whole) if whole >= 1 else 1.0
        centres = (xyxy[small, :2] + xyxy[small, 2:]).astype(np.float64) / 2
        if len(centres) <= _FEW:
            yield from _windows(image, scale, centres)
            return
        centres = centres * scale
        level = _view(image, image, scale, cv2.INTER_LINEAR)
        for view in _tiles(level, _CLOSE_UP_AREA, _CLOSE_UP_OVERLAP):
            inside = centres - [view.left, view.top]
            if ((inside >= 0) & (inside < view.pixels.shape[1::-1])).all(axis=1).any():
                yield replace(view, max_side=_MAX_CLOSE_UP_FACE)


def _scaled(height: int, width: int, scale: float) -> tuple[int, int]:
    return max(1, int(scale * height)), max(1, int(scale * width))


def _view(source: NDArray[np.uint8], image: NDArray[np.uint8], scale: float, interpolation: int) -> View:
    """Resize `source`, a copy of the image at some size, to a scale of the image."""
    height, width = _scaled(image.shape[0], image.shape[1], scale)
    if (height, width) != source.shape[:2]:
        source = np.asarray(cv2.resize(source, (width, height), interpolation=interpolation))
    return View(source, scale)


def _windows(image: NDArray[np.uint8], scale: float, centres: NDArray[np.float64]) -> Iterator[View]:
    """Cut square windows around points (n, 2), px of the image, and scale them."""
    size = np.array(image.shape[1::-1])
    side = int(-(-_WINDOW // scale))
    done: list[NDArray[np.intp]] = []
    for centre in centres:
        if any(np.abs(centre - (corner + side / 2)).max() < side / 2 - _INSIDE / scale for corner in done):
            continue
        corner = np.clip((centre - side / 2).astype(np.intp), 0, np.maximum(size - side, 0))
        done.append(corner)
        left, top = corner.tolist()
        part = image[top : top + side, left : left + side]
        seams = (left > 0, top > 0, left + side < size[0], top + side < size[1])
        pixels = np.ascontiguousarray(part if scale == 1 else cv2.resize(part, None, fx=scale, fy=scale))
        yield View(pixels, scale, left * scale, top * scale, seams, max_side=_MAX_CLOSE_UP_FACE)


def _tiles(level: View, area: int, overlap: int) -> Iterator[View]:
    """Cut a view into tiles of equal size, at most `area` px each, that overlap by `overlap` px or more."""
    height, width = level.pixels.shape[:2]
    side = max(int(area**0.5), 1)
    rows = height if height <= side else area // max(width, _PADDED) if width <= side else side
    columns = width if width <= side else area // max(height, _PADDED) if height <= side else side
    for top, left in product(_starts(height, rows, overlap), _starts(width, columns, overlap)):
        pixels = np.ascontiguousarray(level.pixels[top : top + rows, left : left + columns])
        seams = (left > 0, top > 0, left + columns < width, top + rows < height)
        yield View(pixels, level.scale, left, top, seams)


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    """First px of each tile: evenly spread from one end to the other, with at least the overlap between two."""
    if tile >= length:
        return [0]
    step = max(tile - overlap, tile // 2, 1)
    count = -(-(length - tile) // step) + 1
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]
