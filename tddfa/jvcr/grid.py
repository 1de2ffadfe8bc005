"""Points of JVCR and the grids of its volumes.

A network predicts 71 points: the 68 landmarks, then the centres of the right eye, of the left eye and of the mouth.
They are in px of the crop (x right, y down, pixel centres at whole numbers; z towards the viewer, with a mean of 0 over
the 68 landmarks).

A volume (depth, side, side) covers the crop, and as far in depth as the crop is wide, half of it on each side of z = 0.
Its slices are ordered by z: the last one is the nearest to the viewer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared.arrays import checked
from tddfa.landmarks68 import COUNT

Floats = NDArray[np.float32]

POINT_COUNT = COUNT + 3

CENTRES = ((37, 38, 40, 41), (43, 44, 46, 47), (62, 66))
"""Landmarks whose mean is the centre of the right eye, of the left eye and of the mouth."""


def with_centres(landmarks: ArrayLike) -> Floats:
    """Append the centres of eyes and mouth to landmarks (..., 68, k): (..., 71, k).

    Examples
    --------
    >>> from tddfa.jvcr.grid import with_centres
    >>> with_centres(face.landmarks).shape
    (71, 3)
    """
    points = np.asarray(landmarks, dtype=np.float32)
    centres = [points[..., list(rows), :].mean(axis=-2, keepdims=True) for rows in CENTRES]
    return np.concatenate([points, *centres], axis=-2)


def voxel_map(size: int, side: int, depth: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Factor and offset (3,) that map x, y, z in px of a crop of `size` px to column, row and slice of a volume.

    Voxel centres are at whole numbers, as pixel centres are.

    Parameters
    ----------
    size : int
        Side of the crop, px.
    side, depth : int
        Shape (depth, side, side) of the volume.

    Examples
    --------
    >>> from tddfa.jvcr.grid import voxel_map
    >>> factor, offset = voxel_map(128, 32, 4)
    >>> ([63.5, 0, 0] * factor + offset).tolist()  # the middle of a row, the first px of a column, the middle slices
    [15.5, -0.375, 1.5]
    """
    factor = np.array([side / size, side / size, depth / size])
    return factor, np.array([0.5 * side / size - 0.5, 0.5 * side / size - 0.5, depth / 2 - 0.5])


def peak(volume: ArrayLike, size: int) -> Floats:
    """Find the point (3,) at the largest voxel of a volume (depth, side, side), in px of a crop of `size` px.

    Raises
    ------
    ValueError
        If the volume has another shape.

    Examples
    --------
    >>> import numpy as np
    >>> from tddfa.jvcr.grid import peak
    >>> volume = np.zeros((32, 32, 32), np.float32)
    >>> volume[20, 7, 9] = 1
    >>> peak(volume, 128).tolist()
    [37.5, 29.5, 18.0]
    """
    values = checked("volume", volume, (None, None, None), np.float32)
    if values.shape[1] != values.shape[2]:
        raise ValueError(f"volume: expected shape (depth, side, side), got {values.shape}")
    slices, row, column = np.unravel_index(int(values.argmax()), values.shape)
    factor, offset = voxel_map(size, values.shape[1], values.shape[0])
    return np.asarray((np.array([column, row, slices]) - offset) / factor, dtype=np.float32)
