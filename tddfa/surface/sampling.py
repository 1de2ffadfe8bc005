"""Colours of an image between its pixels, and smooth continuation where colours are unknown."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from Sim3DR import empty
from tddfa.surface import _texels

# OpenCV's remap takes images and maps with sides up to 32766 px.
_LONGEST = 32766
# px; OpenCV's maps are whole numbers of 1/32 px, which overflow somewhere beyond: the point is at the other border.
_FAR = 1e6
_ROW = 1024
_PART = 16384


def sample(image: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Sample an image bilinearly. Points outside of it get the colour of the border.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        The image.
    points : ndarray (..., 2 or more) float32
        x and y in px, pixel centres at whole numbers; further columns are ignored.

    Returns
    -------
    ndarray (..., 3) uint8

    Examples
    --------
    >>> two_pixels = np.uint8([[[0, 0, 0], [100, 200, 40]]])
    >>> sample(two_pixels, np.float32([[0.5, 0], [9, 9]])).tolist()
    [[50, 100, 20], [100, 200, 40]]
    """
    shape = points.shape[:-1]
    if not points.size:
        return np.zeros((*shape, 3), dtype=np.uint8)
    if max(image.shape[:2]) > _LONGEST:
        return _sample_in_parts(image, points.reshape(-1, points.shape[-1])[:, :2]).reshape(*shape, 3)
    maps = np.clip(points[..., :2], -_FAR, _FAR, dtype=np.float32)
    if maps.ndim != 3 or max(maps.shape[:2]) > _LONGEST:
        flat = maps.reshape(-1, 2)
        maps = np.resize(flat, (-(-len(flat) // _ROW), _ROW, 2))
    samples = empty((*maps.shape[:2], 3), np.uint8)
    cv2.remap(image, maps, None, cv2.INTER_LINEAR, dst=samples, borderMode=cv2.BORDER_REPLICATE)
    count = int(np.prod(shape))
    return np.asarray(samples.reshape(-1, 3)[:count].reshape(*shape, 3))


def push_pull(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Continue colours smoothly where they are unknown (push-pull; Gortler et al., SIGGRAPH 1996).

    Parameters
    ----------
    values : ndarray (h, w, 4) float32
        Three channels multiplied by their weight, then the weight: 1 where they are known, 0 where they are not.

    Returns
    -------
    ndarray (h, w, 3) float32
        The channels where the weight is 1; elsewhere a smooth continuation of them.

    Examples
    --------
    >>> values = np.zeros((1, 2, 4), np.float32)
    >>> values[0, 0] = 50, 60, 70, 1
    >>> push_pull(values)[0, 1].tolist()
    [50.0, 60.0, 70.0]
    """
    out = np.empty((*values.shape[:2], 3), dtype=np.float32)
    _texels.push_pull(values, out)
    return out


def _sample_in_parts(image: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Sample an image that exceeds OpenCV's limit: the points (n, 2) of each part of it together."""
    last = np.array([image.shape[1] - 1, image.shape[0] - 1], dtype=np.float32)
    points = np.clip(points, 0, last)
    parts = (points // _PART).astype(np.int64)
    samples = np.empty((len(points), 3), dtype=np.uint8)
    for column, row in np.unique(parts, axis=0):
        chosen = (parts[:, 0] == column) & (parts[:, 1] == row)
        left, top = column * _PART, row * _PART
        # one pixel of overlap: a point between two parts needs pixels of both
        part = image[top : top + _PART + 1, left : left + _PART + 1]
        samples[chosen] = sample(part, points[chosen] - np.array([left, top], dtype=np.float32))
    return samples
