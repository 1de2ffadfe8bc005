"""A face model in the making: plain arrays that each step reads and replaces."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared.npz import read_npz

MAX_BYTES = 1 << 28
_FIELDS = ("mean", "shape_basis", "expression_basis", "triangles", "uv", "part")


@dataclass(frozen=True, eq=False)
class Draft:
    """A linear face model whose parts may still change.

    Attributes
    ----------
    mean : ndarray (n, 3) float32
        Mean face, cm; x to the subject's left, y up, z out of the face.
    shape_basis, expression_basis : ndarray (s, n, 3), (e, n, 3) float16
        Offsets of each coefficient.
    triangles : ndarray (m, 3) int32
        Counter-clockwise from outside.
    uv : ndarray (n, 2) float32
        Texture coordinates in 0..1, v up.
    part : ndarray (n,) uint8
        `FACE`, `LEFT_EYE`, `RIGHT_EYE` or `INNER_MOUTH`.
    extra : dict of str to ndarray
        All other arrays of the file.
    """

    mean: NDArray[np.float32]
    shape_basis: NDArray[np.float16]
    expression_basis: NDArray[np.float16]
    triangles: NDArray[np.int32]
    uv: NDArray[np.float32]
    part: NDArray[np.uint8]
    extra: dict[str, NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Draft:
        """Read a face model's file; errors as of `tddfa.FaceModel.load`."""
        arrays: dict[str, Any] = dict(read_npz(Path(path), MAX_BYTES))
        fields = {name: arrays.pop(name) for name in _FIELDS}
        return cls(**fields, extra=arrays)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by the names that they have in the file."""
        return {**{name: getattr(self, name) for name in _FIELDS}, **self.extra}

    def expression(self, name: str) -> int:
        """Row of `expression_basis` of a named expression."""
        return self.extra["expression_names"].tolist().index(name)

    def marked(self, name: str, vertices: ArrayLike) -> Draft:
        """Add vertices to a region, which is made if it does not exist yet."""
        known = self.extra.get(name, np.zeros(0, dtype=np.int32))
        region = np.union1d(known, np.asarray(vertices)).astype(np.int32)
        return replace(self, extra={**self.extra, name: region})

    def with_blended_vertices(self, sources: ArrayLike, weights: ArrayLike, part: ArrayLike) -> Draft:
        """Append vertices that are weighted means of existing ones: position, both bases, and uv.

        Parameters
        ----------
        sources : array_like (k, j) int
            Vertices that each new vertex is made of.
        weights : array_like (k, j) float
            Their weights.
        part : array_like (k,) int
            Part of each new vertex.
        """
        index, w = np.asarray(sources, dtype=np.intp), np.asarray(weights, dtype=np.float64)[..., None]

        def blended(values: NDArray[Any], dtype: Any) -> NDArray[Any]:
            return (values[index].astype(np.float64) * w).sum(axis=1).astype(dtype)

        def appended(basis: NDArray[np.float16]) -> NDArray[np.float16]:
            return np.stack([np.concatenate([row, blended(row, np.float16)]) for row in basis])

        return replace(
            self,
            mean=np.concatenate([self.mean, blended(self.mean, np.float32)]),
            shape_basis=appended(self.shape_basis),
            expression_basis=appended(self.expression_basis),
            uv=np.concatenate([self.uv, blended(self.uv, np.float32)]),
            part=np.concatenate([self.part, np.asarray(part, dtype=np.uint8)]),
        )


def boundary_loops(triangles: NDArray[np.int32]) -> list[NDArray[np.intp]]:
    """Closed loops of edges that belong to one triangle only, longest first, in the direction of the triangles."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]).astype(np.int64)
    count = int(triangles.max()) + 1 if triangles.size else 0
    open_edges = edges[~np.isin(edges[:, 0] * count + edges[:, 1], edges[:, 1] * count + edges[:, 0])]
    following = dict(open_edges.tolist())
    loops, seen = [], set()
    for start in sorted(following):
        loop, vertex = [], start
        while vertex not in seen and vertex in following:
            seen.add(vertex)
            loop.append(vertex)
            vertex = following[vertex]
        if loop:
            loops.append(np.array(loop, dtype=np.intp))
    return sorted(loops, key=lambda loop: (-len(loop), int(loop[0])))
