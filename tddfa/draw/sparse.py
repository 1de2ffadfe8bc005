"""Draw the 68 landmarks: those that the camera sees as full dots, hidden ones as faded rings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import checked_image
from tddfa.draw._common import SHADOW, Image, checked_items, dot_radius, face_size, line_width
from tddfa.landmarks68 import CLOSED_PARTS, JAW, PARTS
from tddfa.types import Face

_EYES = (PARTS["right_eye"], PARTS["left_eye"])
# BGR
_PART_COLORS = {
    "jaw": (240, 236, 228),
    "right_brow": (120, 200, 255),
    "left_brow": (120, 200, 255),
    "nose_bridge": (170, 235, 190),
    "nose_tip": (170, 235, 190),
    "right_eye": (255, 220, 110),
    "left_eye": (255, 220, 110),
    "outer_lips": (170, 150, 255),
    "inner_lips": (170, 150, 255),
}
_DOT = (250, 250, 250)
# px: on a smaller face, dots and the dark rim of the lines would cover the eyes; only lines are drawn.
_DOTTED_FROM = 60
# A face smaller than this, px, is drawn enlarged, up to this factor, and averaged: fine lines leave the eyes visible.
_ENLARGED_UNDER, _MAX_FACTOR = 330, 4
# px of an enlarged drawing: a thinner line would vanish when it is averaged
_MIN_WIDTH = 2
# Opacity of what is hidden, and confidence of the network under which a landmark counts as hidden.
_FADED, _UNSURE = 0.4, 0.3
# OpenCV draws at fractions of a pixel if coordinates are scaled by a power of two: here 1/16 px.
_SHIFT = 4


class _Sketch(NamedTuple):
    """A part of the image to draw on, the landmarks (68, 2) in 1/16 px of it, and sizes in its px."""

    canvas: Image
    points: NDArray[np.int32]
    width: int
    radius: float
    rim: int

    def width_of(self, part: str) -> int:
        """Width of the lines of a part, px: fine around the eyes of a face that is too small for dots."""
        return self.width if self.radius or PARTS[part] not in _EYES else 1


def landmarks(image: Image, faces: Sequence[Face]) -> Image:
    """Draw the 68 landmarks, connected by the parts of the face (``2d_sparse``).

    Landmarks that are hidden (`Face.visible`) or have a confidence under 0.3 are drawn as rings, with faded lines to
    them. If a face has neither attribute, all of its landmarks are drawn as visible. The hidden side of the jaw is not
    drawn where it would cross the face.

    Examples
    --------
    >>> drawn = landmarks(image, [face])
    >>> drawn.shape == image.shape
    True
    """
    out = checked_image("image", image).copy()
    for face in checked_items("faces", faces, Face):
        points = np.clip(face.landmarks[:, :2], -1e6, 1e6)
        size = face_size(face.landmarks)
        width, radius = line_width(size), dot_radius(size)
        region = _region(out, points, reach=int(radius + width) + 3)
        if region is None:
            continue
        left, top = region
        window = out[top, left]
        factor = int(np.clip(np.ceil(_ENLARGED_UNDER / max(size, 1.0)), 1, _MAX_FACTOR))
        canvas = window
        if factor > 1:
            width = max(_MIN_WIDTH, line_width(factor * size))
            canvas = cv2.resize(window, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
        placed = (points - (left.start, top.start) + 0.5) * factor - 0.5
        rim = 1 if size >= _DOTTED_FROM else 0
        sixteenths = np.rint(placed * 2**_SHIFT).astype(np.int32)
        sketch = _Sketch(np.asarray(canvas), sixteenths, width, factor * radius if size >= _DOTTED_FROM else 0.0, rim)
        seen = _seen(face)
        if not seen.all():
            _draw_hidden(sketch, seen)
        _draw_seen(sketch, seen)
        if factor > 1:
            window[:] = cv2.resize(sketch.canvas, window.shape[1::-1], interpolation=cv2.INTER_AREA)
    return out


def _region(image: Image, points: NDArray[np.float32], reach: int) -> tuple[slice, slice] | None:
    """Columns and rows of an image that drawings at these points may change; None if there are none."""
    low = np.floor(points.min(axis=0)).astype(int) - reach
    high = np.ceil(points.max(axis=0)).astype(int) + reach + 1
    left, top = np.maximum(low, 0).tolist()
    right, bottom = np.minimum(high, image.shape[1::-1]).tolist()
    return (slice(left, right), slice(top, bottom)) if left < right and top < bottom else None


def _seen(face: Face) -> NDArray[np.bool_]:
    seen = np.ones(len(face.landmarks), dtype=bool) if face.visible is None else face.visible
    return seen if face.confidence is None else seen & (face.confidence >= _UNSURE)


def _lines(seen: NDArray[np.bool_], name: str) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Both ends (k, 2) of each line of a part, and whether both are seen (k,)."""
    ends = np.arange(len(seen))[PARTS[name]]
    pairs = np.column_stack([ends, np.roll(ends, -1)])[: None if name in CLOSED_PARTS else -1]
    return pairs, np.asarray(seen[pairs].all(axis=1))


def _draw_seen(sketch: _Sketch, seen: NDArray[np.bool_]) -> None:
    strokes = []
    for name, color in _PART_COLORS.items():
        pairs, both = _lines(seen, name)
        if both.all():
            strokes.append(([sketch.points[PARTS[name]]], name in CLOSED_PARTS, color, sketch.width_of(name)))
        elif both.any():
            strokes.append((list(sketch.points[pairs[both]]), False, color, sketch.width_of(name)))
    if sketch.rim:
        for lines, closed, _, width in strokes:
            cv2.polylines(sketch.canvas, lines, closed, SHADOW, width + 2 * sketch.rim, cv2.LINE_AA, _SHIFT)
    for lines, closed, color, width in strokes:
        cv2.polylines(sketch.canvas, lines, closed, color, width, cv2.LINE_AA, _SHIFT)
    for point in sketch.points[seen].tolist() if sketch.radius else ():
        if sketch.rim:
            outer = round((sketch.radius + 0.8 * sketch.rim) * 2**_SHIFT)
            cv2.circle(sketch.canvas, point, outer, SHADOW, -1, cv2.LINE_AA, _SHIFT)
        cv2.circle(sketch.canvas, point, round(sketch.radius * 2**_SHIFT), _DOT, -1, cv2.LINE_AA, _SHIFT)


def _draw_hidden(sketch: _Sketch, seen: NDArray[np.bool_]) -> None:
    faded = sketch.canvas.copy()
    face = cv2.convexHull(sketch.points[seen].astype(np.float32)) if seen.any() else None
    rings = []
    for name, color in _PART_COLORS.items():
        pairs, both = _lines(seen, name)
        lines, centers = sketch.points[pairs[~both]], sketch.points[PARTS[name]][~seen[PARTS[name]]]
        if PARTS[name] == JAW and face is not None:
            # in a turned face, the far side of the jaw is behind nose, mouth and cheek
            lines = lines[_outside(face, lines.mean(axis=1))]
            outside = _outside(face, centers)
            _draw_rings(sketch, faded, centers[~outside], color)
            centers = centers[outside]
        if len(lines):
            cv2.polylines(faded, list(lines), False, color, sketch.width_of(name), cv2.LINE_AA, _SHIFT)
        rings.append((centers, color))
    cv2.addWeighted(faded, _FADED, sketch.canvas, 1 - _FADED, 0, dst=sketch.canvas)
    for centers, color in rings:
        _draw_rings(sketch, sketch.canvas, centers, color)


def _outside(face: NDArray[np.float32], points: NDArray[Any]) -> NDArray[np.bool_]:
    inside = [cv2.pointPolygonTest(face, point, False) >= 0 for point in points.astype(float).tolist()]
    return ~np.array(inside, dtype=bool)


def _draw_rings(sketch: _Sketch, canvas: Image, centers: NDArray[np.int32], color: tuple[int, int, int]) -> None:
    radius, width = round(1.5 * sketch.radius * 2**_SHIFT), max(1, round(0.6 * sketch.radius))
    for center in centers.tolist() if sketch.radius else ():
        if sketch.rim:
            cv2.circle(canvas, center, radius, SHADOW, width + 2 * sketch.rim, cv2.LINE_AA, _SHIFT)
        cv2.circle(canvas, center, radius, color, width, cv2.LINE_AA, _SHIFT)
