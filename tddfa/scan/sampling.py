"""Points of a scan, evenly spread: Poisson-disk sampling of a surface or of a cloud, and nearest neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tddfa import landmarks68
from tddfa.scan.mesh import Scan

Floats = NDArray[np.float64]
Points = tuple[Floats, NDArray[np.float32]]

# Fraction of the radius of the densest packing of discs that random ones reach.
_PACKING = 0.55
# How often the radius is reduced, each time by a little more than the number of points requires.
_SMALLER, _TRIALS = 0.98, 6
# A point that is at most this far from a mean inner landmark belongs to the inner face, mm.
_INNER_MM = 16.0


def random_points(scan: Scan, count: int, rng: np.random.Generator) -> Points:
    """Draw points (count, 3) of a scan and their normals, uniform over its surface; of a cloud, some of its points.

    A cloud of fewer points gives all of them, once.
    """
    if scan.is_cloud or not scan.areas.any():
        chosen = rng.permutation(len(scan.vertices))[:count]
        return scan.vertices[chosen], scan.normals[chosen]
    ends = np.cumsum(scan.areas)
    chosen = np.searchsorted(ends, rng.random(count) * ends[-1]).clip(max=len(ends) - 1)
    u, v = rng.random((2, count))
    outside = u + v > 1
    u[outside], v[outside] = 1 - u[outside], 1 - v[outside]
    weights = np.stack([1 - u - v, u, v], axis=1)
    corners = scan.triangles[chosen]
    points = np.einsum("nk,nki->ni", weights, scan.vertices[corners])
    normals = np.einsum("nk,nki->ni", weights.astype(np.float32), scan.normals[corners])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return points, np.asarray(normals / np.maximum(length, 1e-6), dtype=np.float32)


def evenly_spread(points: NDArray[np.floating], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Choose `count` of the points (n, 3) so that they are evenly spread: a Poisson-disk sample.

    Points get a random rank. In rounds, a point is taken if no point of a lower rank is nearer than the radius, and the
    points around it are dropped. The radius is reduced until `count` or a few more remain, of which some are dropped.

    Returns
    -------
    ndarray (min(count, n),) intp
    """
    if len(points) <= count:
        return rng.permutation(len(points))
    tree = cKDTree(points)
    # the area that each point stands for, from the distance of a few neighbours
    probe = points[rng.permutation(len(points))[:512]]
    eighth = tree.query(probe, k=min(9, len(points)))[0][:, -1]
    area = len(points) * np.pi * float(np.median(eighth**2)) / 8
    radius = _PACKING * np.sqrt(area / count * 2 / np.sqrt(3))
    for _ in range(_TRIALS):
        taken = _apart(tree, radius, rng.permutation(len(points)))
        fraction = np.count_nonzero(taken) / count
        if fraction >= 1:
            return np.asarray(rng.permutation(np.flatnonzero(taken))[:count])
        radius *= _SMALLER * np.sqrt(max(fraction, 0.25))
    # uneven points, some of them in heaps
    rest = rng.permutation(np.flatnonzero(~taken))[: count - np.count_nonzero(taken)]
    return np.asarray(rng.permutation(np.concatenate([np.flatnonzero(taken), rest])))


def _apart(tree: cKDTree, radius: float, rank: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Take points (n,) by rank, the lowest first, that are no nearer than `radius` to one that was taken."""
    first, second = tree.query_pairs(radius, output_type="ndarray").T
    swap = rank[first] > rank[second]
    first, second = np.where(swap, second, first), np.where(swap, first, second)
    undecided = np.ones(len(rank), dtype=bool)
    taken = np.zeros(len(rank), dtype=bool)
    while undecided.any():
        blocked = np.zeros(len(rank), dtype=bool)
        blocked[second] = True
        new = undecided & ~blocked
        taken |= new
        undecided &= ~new
        # what is near to a new point is dropped, and its pairs with it
        undecided[second[new[first]]] = False
        keep = undecided[first] & undecided[second]
        first, second = first[keep], second[keep]
    return taken


def neighbours(points: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """Indices (n, count) of the nearest other points, nearest first; where there are too few, the point itself."""
    wanted = min(count + 1, len(points))
    _, near = cKDTree(points).query(points, k=wanted)
    near = near.reshape(len(points), -1)[:, 1:]
    own = np.arange(len(points))[:, None]
    return np.concatenate([near, np.broadcast_to(own, (len(points), count - near.shape[1]))], axis=1, dtype=np.int64)


def near_face(
    points: Floats, mean: Floats, count: int, radius: float, inner: float, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Choose points around the face for the network: evenly spread, and denser near the inner landmarks.

    Parameters
    ----------
    points : ndarray (n, 3)
        Candidates, in the frame of the head, mm from the middle of the landmarks.
    mean : ndarray (68, 3)
        Mean landmarks.
    count : int
    radius : float
        No point is farther away, mm.
    inner : float
        Fraction of the points near the inner landmarks.

    Returns
    -------
    ndarray (k,) intp
        k is `count`, or smaller if there are fewer candidates.
    """
    within = np.linalg.norm(points, axis=1) < radius
    close = cKDTree(mean[landmarks68.INNER]).query(points, distance_upper_bound=_INNER_MM)[0] < _INNER_MM
    parts = [np.flatnonzero(close & within), np.flatnonzero(~close & within)]
    # where one part has too few points, the other has more
    wanted = min(len(parts[0]), max(round(inner * count), count - len(parts[1])))
    counts = [wanted, count - wanted]
    return np.concatenate(
        [
            part[evenly_spread(points[part], most, rng)] if len(part) and most else part[:0]
            for part, most in zip(parts, counts, strict=True)
        ]
    )
