"""Colours of a picture at points between its pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa.arrays import bounds

# OpenCV's remap takes pictures and maps with sides up to 32766 px.
_LONGEST = 32766
_ROW = 1024


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
    maps = np.ascontiguousarray(points[..., :2], dtype=np.float32)
    if max(image.shape[:2]) > _LONGEST:
        # only the part under the points is handed on
        low, high = bounds(maps.reshape(-1, 2))
        last = image.shape[1] - 1, image.shape[0] - 1
        (left, top), (right, bottom) = np.clip(low, 0, last).astype(int), np.clip(high, 0, last).astype(int)
        image = image[top : bottom + 2, left : right + 2]
        maps = maps - np.array([left, top], dtype=np.float32)
    if maps.ndim != 3 or max(maps.shape[:2]) > _LONGEST:
        flat = maps.reshape(-1, 2)
        maps = np.resize(flat, (-(-len(flat) // _ROW), _ROW, 2))
    samples = cv2.remap(image, maps, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    count = int(np.prod(shape))
    return np.asarray(samples.reshape(-1, 3)[:count].reshape(*shape, 3))
