"""Prior boxes of FaceBoxes, with the anchor densification of section 3.2 (Zhang et al., IJCB 2017)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# stride of a feature map, and the sizes of its square priors with their densification: n x n priors per cell
_MAPS: tuple[tuple[int, tuple[tuple[int, int], ...]], ...] = (
    (32, ((32, 4), (64, 2), (128, 1))),
    (64, ((256, 1),)),
    (128, ((512, 1),)),
)
# variances of the offsets of centre and size
CENTER_VARIANCE, SIZE_VARIANCE = 0.1, 0.2


@lru_cache(maxsize=8)
def priors(height: int, width: int) -> NDArray[np.float32]:
    """Compute the prior boxes of an image, in the order of the network's outputs.

    Parameters
    ----------
    height, width : int
        Size of the network's input, px.

    Returns
    -------
    ndarray (n, 3) float32, read-only
        Centre x, centre y and side in px. Cached by size: the frames of a video share one array.

    Examples
    --------
    >>> priors(32, 32).shape
    (23, 3)
    """
    maps = []
    for step, sizes in _MAPS:
        rows, columns = -(-height // step), -(-width // step)
        cells = []
        for size, density in sizes:
            # a single prior is centred in its cell, dense ones start at the corner of the cell
            within = np.arange(density) / density if density > 1 else np.array([0.5])
            y, x = np.meshgrid(within, within, indexing="ij")
            cells.append(np.column_stack([x.ravel(), y.ravel(), np.full(x.size, size / step)]))
        template = np.concatenate(cells)
        i, j = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
        corner = np.stack([j, i, np.zeros_like(i)], axis=-1).reshape(-1, 1, 3)
        maps.append(((corner + template) * step).reshape(-1, 3))
    result = np.concatenate(maps).astype(np.float32)
    result.setflags(write=False)
    return result


def decode(prior: NDArray[np.float32], offsets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Decode the network's offsets.

    Parameters
    ----------
    prior : ndarray (n, 3) float32
        The prior boxes, see `priors`.
    offsets : ndarray (n, 4) float32
        The network's offsets of centre and size.

    Returns
    -------
    ndarray (n, 4) float32
        Boxes: x1, y1, x2, y2, px.

    Examples
    --------
    >>> decode(np.float32([[50, 60, 20]]), np.zeros((1, 4), np.float32)).tolist()
    [[40.0, 50.0, 60.0, 70.0]]
    """
    center = prior[:, :2] + offsets[:, :2] * (CENTER_VARIANCE * prior[:, 2:])
    half = 0.5 * prior[:, 2:] * np.exp(SIZE_VARIANCE * offsets[:, 2:])
    return np.concatenate([center - half, center + half], axis=1)
