"""The smallest value and the mean of values around each vertex of a mesh."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import SameArray
from tddfa.surface import _texels

Floats = NDArray[np.float32]


class _Rings(NamedTuple):
    """The vertices around each vertex, and itself, one after the other; where those of each begin, and the last end."""

    vertices: NDArray[np.int32]
    starts: NDArray[np.int32]


@lru_cache(maxsize=4)
def _rings(triangles: SameArray, count: int) -> _Rings:
    corners = triangles.array.astype(np.int64)
    here, there = corners[:, [0, 1, 2]].ravel(), corners[:, [1, 2, 0]].ravel()
    itself = np.arange(count)
    pairs = np.unique(np.concatenate([here, there, itself]) * count + np.concatenate([there, here, itself]))
    of, vertices = np.divmod(pairs, max(count, 1))
    return _Rings(vertices.astype(np.int32), np.searchsorted(of, np.arange(count + 1)).astype(np.int32))


def smallest_around(values: Floats, triangles: NDArray[np.int32]) -> Floats:
    """The smallest value (n,) of each vertex and those that share an edge with it.

    Examples
    --------
    >>> smallest_around(np.float32([5, 3, 4, 9]), np.int32([[0, 1, 2]])).tolist()
    [3.0, 3.0, 3.0, 9.0]
    """
    if not len(values):
        return values
    out = np.empty_like(values)
    _texels.smallest_around(*_rings(SameArray(triangles), len(values)), values, out)
    return out


def mean_around(values: Floats, triangles: NDArray[np.int32]) -> Floats:
    """The mean (n,) of the values of each vertex and those that share an edge with it.

    Examples
    --------
    >>> mean_around(np.float32([5, 3, 4, 9]), np.int32([[0, 1, 2]])).tolist()
    [4.0, 4.0, 4.0, 9.0]
    """
    if not len(values):
        return values
    out = np.empty_like(values)
    _texels.mean_around(*_rings(SameArray(triangles), len(values)), values, out)
    return out
