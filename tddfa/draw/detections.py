"""Draw what a detector has found: boxes, scores and five points."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from FaceBoxes import Detections
from tddfa._shared.arrays import checked_image
from tddfa.draw.labels import Labels, Place

Image = NDArray[np.uint8]

# BGR
_BOX, _SHADOW = (110, 230, 80), (40, 30, 24)
# right eye, left eye, nose tip, right and left mouth corner: warm is the right of the face
_POINTS = ((90, 130, 255), (255, 180, 80), (250, 250, 250), (60, 80, 235), (235, 120, 40))
# 1/16 px: OpenCV draws at fractions of a pixel if coordinates are scaled by a power of two
_SHIFT = 4


def boxes(image: Image, found: Detections, *, labels: Sequence[str] | None = None) -> Image:
    """Draw the boxes, scores and five points of faces (``box``).

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    found : Detections
        The detections of the image. Their five points are drawn if there are any.
    labels : sequence of str, optional
        Text for each face; None writes the scores. A label that finds no room beside others is left out.

    Returns
    -------
    ndarray (h, w, 3) uint8
        A new image.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or dtype.

    Examples
    --------
    >>> from tddfa import Detector, draw
    >>> found = Detector.load("open_mb05", device="cpu")(image)
    >>> draw.boxes(image, found).shape == image.shape
    True
    """
    out = checked_image("image", image).copy()
    if not isinstance(found, Detections):
        raise TypeError(f"found: expected Detections, got {type(found).__name__}")
    other = len(found) - len(found.finite())
    if other:
        raise ValueError(f"found: expected finite detections, got {other} of {len(found)} that are not; see finite()")
    texts = [f"{score:.2f}" for score in found.scores] if labels is None else list(labels)
    if len(texts) != len(found):
        raise ValueError(f"labels: expected one for each of {len(found)} faces, got {len(texts)}")
    # a box may be larger than the image, but lines and points need not
    sides = (found.xyxy[:, 2:] - found.xyxy[:, :2]).max(axis=1, initial=0).clip(0, max(out.shape[:2]))
    order = np.argsort(-sides, kind="stable").tolist()  # small faces over large ones
    for k in order:
        width = max(1, round(float(sides[k]) / 150))
        low, high = (_fixed(corner) for corner in found.xyxy[k].reshape(2, 2))
        for color, thickness in ((_SHADOW, width + 2), (_BOX, width)):
            cv2.rectangle(out, low, high, color, thickness, cv2.LINE_AA, _SHIFT)
    for k in order:
        if found.points is not None:
            _draw_points(out, found.points[k], max(1.2, float(sides[k]) / 50))
    written = Labels(out)
    for k in order:
        left, top, _, bottom = found.xyxy[k].tolist()
        places = [Place(left, top, True), Place(left, bottom, False)]
        written.write([texts[k]], places, min(max(float(sides[k]) / 260, 0.3), 2.0))
    return out


def _fixed(xy: NDArray[np.float32]) -> tuple[int, int]:
    x, y = np.rint(np.clip(xy, -1e6, 1e6) * (1 << _SHIFT)).astype(int).tolist()
    return x, y


def _draw_points(out: Image, points: NDArray[np.float32], radius: float) -> None:
    for point, color in zip(points, _POINTS, strict=True):
        for size, shade in ((radius + 1, _SHADOW), (radius, color)):
            cv2.circle(out, _fixed(point), round(size * (1 << _SHIFT)), shade, -1, cv2.LINE_AA, _SHIFT)
