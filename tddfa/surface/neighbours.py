"""The vertices around each vertex of a mesh, and the mean of their values."""

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


def rings_of(triangles: NDArray[np.int32], count: int) -> _Rings:
    """The vertices around each of `count` vertices, at least one; those of the same triangles are computed once."""
    return _rings(SameArray(triangles), count)


@lru_cache(maxsize=4)
def _rings(triangles: SameArray, count: int) -> _Rings:
    corners = triangles.array.astype(np.int64)
    here, there = corners[:, [0, 1, 2]].ravel(), corners[:, [1, 2, 0]].ravel()
    itself = np.arange(count)
    pairs = np.unique(np.concatenate([here, there, itself]) * count + np.concatenate([there, here, itself]))
    of, vertices = np.divmod(pairs, max(count, 1))
    return _Rings(vertices.astype(np.int32), np.searchsorted(of, np.arange(count + 1)).astype(np.int32))


def mean_around(values: Floats, triangles: NDArray[np.int32], of: NDArray[np.int64] | None = None) -> Floats:
    """The mean (n,) of the values of each vertex and those that share an edge with it; `of` selects vertices.

    Examples
    --------
    >>> mean_around(np.float32([5, 3, 4, 9]), np.int32([[0, 1, 2]])).tolist()
    [4.0, 4.0, 4.0, 9.0]
    """
    if not len(values):
        return values
    of = np.arange(len(values)) if of is None else of
    out = np.empty(len(of), dtype=np.float32)
    _texels.mean_around(*rings_of(triangles, len(values)), values, of, out)
    return out
