"""Face masks painted over photos: hardly any face with known landmarks wears one, and people in crowds do."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Points = NDArray[np.floating]

# Cloth, BGR: light blue, white and black masks are the common ones; the others have any colour.
_COLORS = ((215, 195, 150), (238, 238, 235), (25, 25, 25))
# Place of the upper edge, 0 at the bridge of the nose and 1 at its tip; and the fraction of masks below the nose.
_TOP, _BELOW_NOSE = (0.1, 1.0), 0.1
# How far the cloth is outside the jaw and below the chin, as fractions of the face size.
_OUTSIDE, _BELOW = (0.0, 0.05), (0.0, 0.12)
# What is outside the jaw of a turned face: nostrils, outline of the mouth, chin. And the distance from nose to ear
# below which an ear is hidden, as a fraction of the other's.
_FRONT = [*range(31, 36), *range(48, 60), 7, 8, 9]
_HIDDEN = 0.65
# Distance between the ears below which the face is turned, as a fraction of the face size.
_TURNED = 0.6
_SHIFT = 4  # bits of the fraction of a pixel in OpenCV's polygons


def put_on_mask(image: Image, landmarks: Points, rng: np.random.Generator) -> Image:
    """Paint a face mask over nose, mouth and chin: plain or pleated cloth in the light of the face, with straps.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR; not changed.
    landmarks : ndarray (68, 2)
        Landmarks of the face, px; those of a turned face may be behind its outline.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray (h, w, 3) uint8

    Examples
    --------
    >>> import numpy as np
    >>> image = np.full((200, 200, 3), 128, np.uint8)
    >>> angle = np.linspace(0, 2 * np.pi, 68)
    >>> landmarks = 100 + 60 * np.column_stack([np.cos(angle), np.sin(angle)])
    >>> bool((put_on_mask(image, landmarks, np.random.default_rng(0)) != image).any())
    True
    """
    points = np.asarray(landmarks, dtype=np.float64)
    size = float(np.ptp(points, axis=0).max())
    if size < 1:
        return image
    outline, left, right = _outline(points, size, rng)
    edges = np.concatenate([outline, points[[0, 16]]])
    margin = 0.05 * size + 2
    first = np.clip(np.floor(edges.min(axis=0) - margin), 0, image.shape[1::-1]).astype(int)
    last = np.clip(np.ceil(edges.max(axis=0) + margin), 0, image.shape[1::-1]).astype(int)
    if (last - first < 2).any():
        return image
    image = image.copy()
    part = image[first[1] : last[1], first[0] : last[0]]
    coverage = np.zeros(part.shape[:2], dtype=np.uint8)
    away = np.linalg.norm(points[[0, 16]] - points[33], axis=1)
    ears = [
        pair
        for pair, seen in zip(((left, points[0]), (right, points[16])), away > _HIDDEN * away.max(), strict=True)
        if seen
    ]
    if len(ears) < 2 or np.linalg.norm(points[16] - points[0]) < _TURNED * size:
        # nose and mouth of a turned face are outside its jaw
        bulge = np.concatenate([outline, points[_FRONT]]).astype(np.float32)
        cv2.fillConvexPoly(coverage, _fixed(cv2.convexHull(bulge)[:, 0] - first), 255, cv2.LINE_AA, _SHIFT)
    else:
        cv2.fillPoly(coverage, [_fixed(outline - first)], 255, cv2.LINE_AA, _SHIFT)
    if rng.random() < 0.7:
        straps = [_fixed(np.stack(ends) - first) for ends in ears]
        cv2.polylines(coverage, straps, False, 255, max(round(0.012 * size), 1), cv2.LINE_AA, _SHIFT)
    alpha = coverage.astype(np.float32) / 255
    cloth = _cloth(part, points - first, size, rng)
    part[:] = cv2.blendLinear(cloth, np.ascontiguousarray(part), alpha, 1 - alpha)
    return image


def _outline(
    points: NDArray[np.float64], size: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Outline (n, 2) of the cloth, and its upper corners at the left and at the right side of the image's face."""
    below_nose = rng.random() < _BELOW_NOSE
    top = points[33] if below_nose else points[28] + rng.uniform(*_TOP) * (points[30] - points[28])
    down = points[8] - points[27]
    down = down / max(float(np.linalg.norm(down)), 1e-6)
    start = int(rng.integers(1, 4))
    jaw = points[start : 17 - start].copy()
    centre = jaw.mean(axis=0)
    outward = jaw - centre
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
    jaw += size * rng.uniform(*_OUTSIDE) * outward
    # most at the chin
    low = np.sin(np.linspace(0, np.pi, len(jaw))) ** 2
    jaw += size * rng.uniform(*_BELOW) * low[:, None] * down
    bend = rng.uniform(-0.03, 0.06) * size
    corners = jaw[0], jaw[-1]
    upper = [corners[1] + t * (top - corners[1]) + np.sin(np.pi * t) * bend * down for t in (0.25, 0.5, 0.75)]
    upper += [top]
    upper += [top + t * (corners[0] - top) + np.sin(np.pi * t) * bend * down for t in (0.25, 0.5, 0.75)]
    return np.concatenate([jaw, np.array(upper)]), corners[0], corners[1]


def _cloth(part: Image, points: NDArray[np.float64], size: float, rng: np.random.Generator) -> Image:
    """Cloth over a part of the image: its colour, in the light of the face, with folds."""
    height, width = part.shape[:2]
    pick = int(rng.integers(5))
    color = np.array(_COLORS[pick], dtype=np.float64) if pick < len(_COLORS) else rng.uniform(0, 255, 3)
    color = color + rng.uniform(0, 0.8) * (color.mean() - color) + rng.normal(0, 8, 3)
    # light: the face's own, blurred until its features are gone, against its mean
    grey = cv2.cvtColor(np.ascontiguousarray(part), cv2.COLOR_BGR2GRAY).astype(np.float32)
    smooth = cv2.GaussianBlur(grey, (0, 0), max(0.12 * size, 1.0))
    light = (smooth / max(float(smooth.mean()), 1.0)) ** rng.uniform(0.3, 1.0)
    light *= np.clip(float(grey.mean()) / 120, 0.3, 1.3) ** rng.uniform(0.5, 1.0)
    # folds across the face, and a fall-off from its middle to its sides
    across = points[14] - points[2]
    across = across / max(float(np.linalg.norm(across)), 1e-6)
    down = np.array([-across[1], across[0]])
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    u = ((x - points[33, 0]) * across[0] + (y - points[33, 1]) * across[1]) / size
    v = ((x - points[33, 0]) * down[0] + (y - points[33, 1]) * down[1]) / size
    if rng.random() < 0.6:
        period = rng.uniform(0.08, 0.2)
        light *= 1 + rng.uniform(0.02, 0.12) * np.sin(2 * np.pi * (v + 0.15 * u * u) / period + rng.uniform(0, 6))
    light *= 1 - rng.uniform(0, 0.8) * u * u
    return np.clip(light[..., None] * color, 0, 255).astype(np.uint8)


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.asarray(np.rint(points * (1 << _SHIFT)), dtype=np.int32)
