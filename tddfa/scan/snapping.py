"""Stage 2 on the original surface: landmarks on vertices of the scan, with Euclidean or with geodesic distances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from tddfa.scan.decoding import GAMMA
from tddfa.scan.mesh import Scan

Floats = NDArray[np.float64]

SNAPS = ("geodesic", "euclidean", "none")
"""Distances of the refinement; ``none`` leaves the landmarks where the heat has them."""

# Candidates of a landmark: a denser surface is thinned to so many.
_MAX_CANDIDATES = 1500
# Vertices whose triangles are searched for the nearest point of a surface.
_NEAREST = 8
# Neighbours that a point of a cloud is joined to, and vertices that a sampled point is joined to.
_CLOUD_NEIGHBOURS, _JOINTS = 8, 3


class Surface:
    """The vertices near the face, for the refinement.

    Parameters
    ----------
    scan : Scan
        In any unit and frame.
    geodesic : bool
        Measure along the surface.
    """

    def __init__(self, scan: Scan, geodesic: bool) -> None:
        self.vertices = scan.vertices
        self.tree = cKDTree(scan.vertices)
        self.geodesic = geodesic
        self.edges = _edges(scan, self.tree) if geodesic else np.zeros((0, 2), np.int64)
        order = np.argsort(self.edges[:, 0], kind="stable")
        self.edges = self.edges[order]
        self.first = np.searchsorted(self.edges[:, 0], np.arange(len(scan.vertices) + 1))

    def refined(self, middle: Floats, around: Floats, heat: Floats, sigma: float) -> Floats:
        """Choose the vertex whose Gaussian fits the heat best.

        Parameters
        ----------
        middle : ndarray (3,)
            The decoded landmark.
        around, heat : ndarray (k, 3), (k,)
            The hottest points, and their heat.
        sigma : float
            Standard deviation of the heat.
        """
        reach = GAMMA * float(np.linalg.norm(around - middle, axis=1).max(initial=0))
        nearest, at = self.tree.query(middle)
        reach = max(min(reach, 6 * sigma), float(nearest))
        index = np.array(sorted({*self.tree.query_ball_point(middle, reach), int(at)}))
        if len(index) > _MAX_CANDIDATES and not self.geodesic:
            index = index[:: len(index) // _MAX_CANDIDATES]
        candidates = self.vertices[index]
        away = np.linalg.norm(candidates[:, None] - around, axis=2)
        if self.geodesic:
            along = self._along(middle, reach, index, around)
            away = np.where(np.isfinite(along), np.maximum(along, away), np.inf)
            if not np.isfinite(away).any():
                away = np.linalg.norm(candidates[:, None] - around, axis=2)
        misfit = ((np.exp(-(away**2) / (2 * sigma**2)) - heat) ** 2).sum(axis=1)
        return np.asarray(candidates[np.argmin(misfit)])

    def _along(self, middle: Floats, reach: float, index: NDArray[np.intp], around: Floats) -> Floats:
        """Length (m, k) of the shortest paths from the hottest points to candidates, along edges."""
        # a path may leave the neighbourhood a little
        wide = np.array(sorted(self.tree.query_ball_point(middle, 1.4 * reach)), dtype=np.int64)
        if len(wide) > 4 * _MAX_CANDIDATES:
            return np.zeros((len(index), len(around)))  # so dense that the neighbourhood is nearly flat
        number = np.full(len(self.vertices), -1, dtype=np.int64) if len(wide) else np.zeros(0, np.int64)
        number[wide] = np.arange(len(wide))
        starts, ends = self.first[wide], self.first[wide + 1]
        rows = np.concatenate([np.arange(a, b) for a, b in zip(starts, ends, strict=True)] or [np.zeros(0, np.int64)])
        pairs = number[self.edges[rows.astype(np.int64)]]
        pairs = pairs[(pairs >= 0).all(axis=1)]
        lengths = np.linalg.norm(self.vertices[wide[pairs[:, 0]]] - self.vertices[wide[pairs[:, 1]]], axis=1)
        # the hottest points are on triangles, not at vertices
        joints = min(_JOINTS, len(wide))
        to_vertex, joined = cKDTree(self.vertices[wide]).query(around, k=joints)
        own = np.repeat(np.arange(len(around)) + len(wide), joints)
        count = len(wide) + len(around)
        graph = coo_matrix(
            (
                np.concatenate([lengths, to_vertex.reshape(-1)]) + 1e-12,
                (np.concatenate([pairs[:, 0], own]), np.concatenate([pairs[:, 1], joined.reshape(-1)])),
            ),
            shape=(count, count),
        ).tocsr()
        found = dijkstra(graph, directed=False, indices=np.arange(len(wide), count))
        return np.asarray(found[:, number[index]].T)


def nearest_on_surface(scan: Scan, points: Floats) -> Floats:
    """The nearest points (k, 3) of a scan: on the triangles around the nearest vertices; of a cloud, the vertices.

    Examples
    --------
    >>> from tddfa.scan.snapping import nearest_on_surface
    >>> corner = Scan([[0, 0, 0], [4, 0, 0], [0, 4, 0]], [[0, 1, 2]])
    >>> nearest_on_surface(corner, np.array([[1, 1, 5], [-3, 1, 0], [9, 0, 0]])).tolist()
    [[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [4.0, 0.0, 0.0]]
    """
    count = min(_NEAREST, len(scan.vertices))
    near = cKDTree(scan.vertices).query(points, k=count)[1].reshape(len(points), count)
    found = scan.vertices[near[:, 0]]
    searched = np.flatnonzero(np.isin(scan.triangles, near).any(axis=1))
    for k, point in enumerate(points):
        corners = scan.vertices[scan.triangles[searched[np.isin(scan.triangles[searched], near[k]).any(axis=1)]]]
        if len(corners):
            each = _nearest_of_triangles(corners, point)
            found[k] = each[np.linalg.norm(each - point, axis=1).argmin()]
    return found


def _nearest_of_triangles(corners: Floats, point: Floats) -> Floats:
    """The nearest point (t, 3) of each triangle (t, 3, 3) to a point: on an edge, or inside."""
    following = corners[:, [1, 2, 0]]
    edges, away = following - corners, point - corners
    along = np.einsum("tki,tki->tk", edges, away) / np.maximum(np.square(edges).sum(axis=2), 1e-300)
    on_edges = corners + along.clip(0, 1)[..., None] * edges
    best = np.square(on_edges - point).sum(axis=2).argmin(axis=1)
    found = on_edges[np.arange(len(corners)), best]
    normals = np.cross(edges[:, 0], edges[:, 1])
    inside = (np.einsum("tki,ti->tk", np.cross(edges, away), normals) >= 0).all(axis=1) & normals.any(axis=1)
    height = np.einsum("ti,ti->t", away[:, 0], normals) / np.maximum(np.square(normals).sum(axis=1), 1e-300)
    return np.asarray(np.where(inside[:, None], point - height[:, None] * normals, found))


def _edges(scan: Scan, tree: cKDTree) -> NDArray[np.int64]:
    """Pairs of vertices (e, 2), each once a direction: edges, and across the edges that two triangles share.

    With these, paths along edges are hardly longer than the shortest paths of the surface.
    """
    if scan.is_cloud:
        count = min(_CLOUD_NEIGHBOURS + 1, len(scan.vertices))
        near = tree.query(scan.vertices, k=count)[1].reshape(len(scan.vertices), count)[:, 1:]
        own = np.broadcast_to(np.arange(len(near))[:, None], near.shape)
        pairs = np.column_stack([own.reshape(-1), near.reshape(-1)]).astype(np.int64)
        return np.concatenate([pairs, pairs[:, ::-1]])
    triangles = scan.triangles.astype(np.int64)
    sides = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    opposite = np.concatenate([triangles[:, 2], triangles[:, 0], triangles[:, 1]])
    sides.sort(axis=1)
    keys = sides[:, 0] * len(scan.vertices) + sides[:, 1]
    order = np.argsort(keys, kind="stable")
    shared = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    across = np.column_stack([opposite[order[shared]], opposite[order[shared + 1]]])
    pairs = np.concatenate([sides[np.unique(keys, return_index=True)[1]], across])
    return np.concatenate([pairs, pairs[:, ::-1]])
