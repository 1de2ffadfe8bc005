"""Mirror images of points of a surface that is symmetric about x = 0, though its triangles are not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
Indices = NDArray[np.integer[Any]]

# Triangles near a mirror image that are tried.
_CANDIDATES = 16
# cm per unit of normal: sheets that lie on each other, as lips or the two sides of an ear, differ in their normals.
_NORMAL_WEIGHT = 0.3


@dataclass(frozen=True)
class MirrorImages:
    """For each vertex, the point of the surface at its mirror image in x = 0.

    Attributes
    ----------
    vertices : ndarray (n, 3) int
        Corners of the triangle that contains it.
    weights : ndarray (n, 3) float64
        Barycentric coordinates.
    distance : ndarray (n,) float64
        Between the mirror image and the surface.

    Examples
    --------
    >>> square = np.array([[-1.0, 0, 0], [1, 0, 0], [1, 1, 0], [-1, 1, 0]])
    >>> images = MirrorImages.of(square, np.array([[0, 1, 2], [0, 2, 3]]))
    >>> images(square[:, :1]).ravel().tolist()
    [1.0, -1.0, -1.0, 1.0]
    """

    vertices: Indices
    weights: Floats
    distance: Floats

    @classmethod
    def of(cls, points: Floats, triangles: Indices) -> MirrorImages:
        """Find the nearest points, on triangles that face the same way, of a surface with points (n, 3), all in use."""
        mirror = np.array([-1.0, 1, 1])
        corners = points[triangles]
        directions = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        vertex_directions = np.zeros_like(points)
        for axis in range(3):
            vertex_directions[:, axis] = np.bincount(
                triangles.ravel(), weights=np.repeat(directions[:, axis], 3), minlength=len(points)
            )
        here = np.column_stack([corners.mean(axis=1), _NORMAL_WEIGHT * _units(directions)])
        wanted = np.column_stack([points * mirror, _NORMAL_WEIGHT * _units(vertex_directions) * mirror])
        count = min(_CANDIDATES, len(triangles))
        _, near = cKDTree(here).query(wanted, k=count)
        near = near.reshape(len(points), count)
        weights = _nearest_on_triangles(np.repeat(wanted[:, :3], count, axis=0), corners[near.ravel()])
        at = np.einsum("kc,kcd->kd", weights, corners[near.ravel()]).reshape(len(points), count, 3)
        distance = np.linalg.norm(at - wanted[:, None, :3], axis=2)
        best = distance.argmin(axis=1)
        rows = np.arange(len(points))
        return cls(
            triangles[near[rows, best]], weights.reshape(len(points), count, 3)[rows, best], distance[rows, best]
        )

    def __call__(self, values: Floats) -> Floats:
        """Values (n, c) of the vertices at their mirror images."""
        return np.asarray(np.einsum("nk,nkc->nc", self.weights, values[self.vertices]))


def _units(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _nearest_on_triangles(points: Floats, corners: Floats) -> Floats:
    """Barycentric coordinates (k, 3) of the points of triangles (k, 3, 3) that are the nearest to points (k, 3)."""
    a, b, c = (corners[:, k] for k in range(3))
    first, second, to = b - a, c - a, points - a
    d11, d12, d22 = (np.einsum("kd,kd->k", x, y) for x, y in ((first, first), (first, second), (second, second)))
    d1, d2 = (np.einsum("kd,kd->k", x, to) for x in (first, second))
    denominator = np.maximum(d11 * d22 - d12 * d12, 1e-30)
    beta, gamma = (d22 * d1 - d12 * d2) / denominator, (d11 * d2 - d12 * d1) / denominator
    best = np.column_stack([1 - beta - gamma, beta, gamma])
    outside = np.flatnonzero((best < 0).any(axis=1))
    nearest = np.full(len(outside), np.inf)
    for one, other in ((0, 1), (1, 2), (2, 0)):
        start, end = corners[outside, one], corners[outside, other]
        along = np.einsum("kd,kd->k", points[outside] - start, end - start)
        along = np.clip(along / np.maximum(np.square(end - start).sum(axis=1), 1e-30), 0, 1)
        distance = np.linalg.norm(start + along[:, None] * (end - start) - points[outside], axis=1)
        closer = distance < nearest
        nearest[closer] = distance[closer]
        rows = outside[closer]
        best[rows] = 0
        best[rows, one], best[rows, other] = 1 - along[closer], along[closer]
    return best
