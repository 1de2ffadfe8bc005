"""Colours of a picture at points between its pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# OpenCV's remap takes pictures and maps with sides up to 32767 px.
_LONGEST = 32767
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
    x = np.clip(points[..., 0], 0, image.shape[1] - 1).reshape(-1)
    y = np.clip(points[..., 1], 0, image.shape[0] - 1).reshape(-1)
    if max(image.shape[:2]) > _LONGEST:
        left, top = int(x.min()), int(y.min())
        image = image[top : int(y.max()) + 2, left : int(x.max()) + 2]
        x, y = x - left, y - top
    rows = -(-len(x) // _ROW)
    map_x, map_y = (np.resize(values, (rows, _ROW)) for values in (x, y))
    samples = cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(samples.reshape(-1, 3)[: len(x)].reshape(*shape, 3))
