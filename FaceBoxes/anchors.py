"""Prior boxes of FaceBoxes, with the densification of its section 3.2 (Zhang et al., IJCB 2017)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# step of a feature map, and the sizes of its square priors with their densification: n x n priors a cell
_MAPS: tuple[tuple[int, tuple[tuple[int, int], ...]], ...] = (
    (32, ((32, 4), (64, 2), (128, 1))),
    (64, ((256, 1),)),
    (128, ((512, 1),)),
)
# variances of the centre's and of the size's offsets
CENTER_VARIANCE, SIZE_VARIANCE = 0.1, 0.2


@lru_cache(maxsize=8)
def priors(height: int, width: int) -> NDArray[np.float32]:
    """Prior boxes of a picture, in the order of the network's outputs.

    Parameters
    ----------
    height, width : int
        Size of the network's input, px.

    Returns
    -------
    ndarray (n, 3) float32, read-only
        Centre x, centre y and side in px. Cached by size: the frames of a video share one array.
    """
    maps = []
    for step, sizes in _MAPS:
        rows, columns = -(-height // step), -(-width // step)
        cells = []
        for size, density in sizes:
            # a single prior sits in the middle of its cell, dense ones start at the cell's corner
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
    """Boxes from priors (n, 3) and the network's offsets (n, 4); x1, y1, x2, y2 (n, 4) in px."""
    center = prior[:, :2] + offsets[:, :2] * (CENTER_VARIANCE * prior[:, 2:])
    half = 0.5 * prior[:, 2:] * np.exp(SIZE_VARIANCE * offsets[:, 2:])
    return np.concatenate([center - half, center + half], axis=1)
