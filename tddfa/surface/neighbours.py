"""The vertices around each vertex of a mesh."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import cached_by_arrays


class _Rings(NamedTuple):
    """Each vertex and the vertices around it, one list after the other; the start of each list and the last end."""

    vertices: NDArray[np.int32]
    starts: NDArray[np.int32]


def rings_of(triangles: NDArray[np.int32], count: int) -> _Rings:
    """The vertices around each of `count` vertices, at least one; those of the same triangles are computed once."""
    return _rings(triangles, count)


@cached_by_arrays(maxsize=4)
def _rings(triangles: NDArray[np.int32], count: int) -> _Rings:
    corners = triangles.astype(np.int64)
    here, there = corners[:, [0, 1, 2]].ravel(), corners[:, [1, 2, 0]].ravel()
    itself = np.arange(count)
    pairs = np.unique(np.concatenate([here, there, itself]) * count + np.concatenate([there, here, itself]))
    of, vertices = np.divmod(pairs, max(count, 1))
    return _Rings(vertices.astype(np.int32), np.searchsorted(of, np.arange(count + 1)).astype(np.int32))
