"""Colours of a picture at points between its pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from Sim3DR import empty

# OpenCV's remap takes pictures and maps with sides up to 32766 px.
_LONGEST = 32766
_ROW = 1024
_PART = 16384


def sample(image: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Bilinear samples of a picture; the border's colour beyond it.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        The picture.
    points : ndarray (..., 2 or more) float32
        x and y in px, pixel centres at whole numbers; what follows them is ignored.

    Returns
    -------
    ndarray (..., 3) uint8
    """
    shape = points.shape[:-1]
    if not points.size:
        return np.zeros((*shape, 3), dtype=np.uint8)
    if max(image.shape[:2]) > _LONGEST:
        return _sample_in_parts(image, points.reshape(-1, points.shape[-1])[:, :2]).reshape(*shape, 3)
    maps = np.ascontiguousarray(points[..., :2], dtype=np.float32)
    if maps.ndim != 3 or max(maps.shape[:2]) > _LONGEST:
        flat = maps.reshape(-1, 2)
        maps = np.resize(flat, (-(-len(flat) // _ROW), _ROW, 2))
    samples = empty((*maps.shape[:2], 3), np.uint8)
    cv2.remap(image, maps, None, cv2.INTER_LINEAR, dst=samples, borderMode=cv2.BORDER_REPLICATE)
    count = int(np.prod(shape))
    return np.asarray(samples.reshape(-1, 3)[:count].reshape(*shape, 3))


def _sample_in_parts(image: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Sample a picture that is too wide or too high for OpenCV: the points (n, 2) of each part of it together."""
    last = np.array([image.shape[1] - 1, image.shape[0] - 1], dtype=np.float32)
    points = np.clip(points, 0, last)
    parts = (points // _PART).astype(np.int64)
    samples = np.empty((len(points), 3), dtype=np.uint8)
    for column, row in np.unique(parts, axis=0):
        chosen = (parts[:, 0] == column) & (parts[:, 1] == row)
        left, top = column * _PART, row * _PART
        # a pixel more on the far side: a point between two parts lies on both
        part = image[top : top + _PART + 1, left : left + _PART + 1]
        samples[chosen] = sample(part, points[chosen] - np.array([left, top], dtype=np.float32))
    return samples
