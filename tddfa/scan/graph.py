"""The graph of a scan, as the network takes it: points with normals, their neighbours, super nodes and their cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tddfa.scan.sampling import evenly_spread, neighbours

NEIGHBOURS, SUPERS, FEATURES = 32, 68, 13
"""Neighbours of each point in the local graph, super nodes, and numbers of each point that the network takes."""

_FEW = 8


@dataclass(frozen=True, eq=False)
class Graph:
    """Graph of n points.

    Attributes
    ----------
    features : ndarray (n, 13) float32
        Position, in units of the network, normal, and seven numbers that no rotation changes (`invariants`).
    neighbours : ndarray (n, 32) int64
        Nearest other points.
    supers : ndarray (68,) int64
        The points that are super nodes.
    cells : ndarray (n,) int64
        The super node that is nearest to each point.
    """

    features: NDArray[np.float32]
    neighbours: NDArray[np.int64]
    supers: NDArray[np.int64]
    cells: NDArray[np.int64]


def make_graph(
    points: NDArray[np.floating],
    normals: NDArray[np.floating],
    near: NDArray[np.int64] | None = None,
    at: NDArray[np.floating] | None = None,
) -> Graph:
    """Make the graph of points.

    Parameters
    ----------
    points, normals : ndarray (n, 3)
    near : ndarray (n, 32) int64, optional
        Neighbours of the points, if they are known.
    at : ndarray (68, 3), optional
        The super nodes are the points nearest to these: mean landmarks. By default, they are evenly spread.
    """
    if at is None:
        supers = evenly_spread(points, SUPERS, np.random.default_rng(0))
        supers = np.resize(supers, SUPERS)
    else:
        supers = cKDTree(points).query(at)[1]
    near = neighbours(points, NEIGHBOURS) if near is None else near
    return Graph(
        np.concatenate([points, normals, invariants(points, normals, near)], axis=1, dtype=np.float32),
        near,
        supers.astype(np.int64),
        cKDTree(points[supers]).query(points)[1].astype(np.int64),
    )


def invariants(
    points: NDArray[np.floating], normals: NDArray[np.floating], near: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Compute seven numbers (n, 7) of each point that no rotation changes.

    Three are curvatures: the height of neighbours over the tangent plane, divided by their distance, for few
    neighbours, for all, and for the neighbours of these. Two are the agreement of normals, with few neighbours and with
    all. Two are distances from the middle of the points, along the normal and in total.
    """
    points, normals = points.astype(np.float32), normals.astype(np.float32)
    moves = points[near] - points[:, None]
    heights = np.matmul(moves, normals[:, :, None])[..., 0]
    distances = np.sqrt(np.einsum("nki,nki->nk", moves, moves)) + np.float32(1e-9)
    around = moves.mean(axis=1) + points
    wider = around[near].mean(axis=1) - points
    agree = np.matmul(normals[near], normals[:, :, None])[..., 0]
    from_middle = points - points.mean(axis=0)
    return np.column_stack(
        [
            3 * heights[:, :_FEW].mean(axis=1) / distances[:, :_FEW].mean(axis=1),
            3 * heights.mean(axis=1) / distances.mean(axis=1),
            3 * np.einsum("ni,ni->n", wider, normals) / distances.mean(axis=1),
            agree[:, :_FEW].mean(axis=1),
            agree.mean(axis=1),
            np.einsum("ni,ni->n", from_middle, normals),
            np.linalg.norm(from_middle, axis=1),
        ]
    )
