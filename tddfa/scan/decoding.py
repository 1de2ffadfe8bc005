"""Stage 2 of 2S-SGCN: from heat at points to landmarks, by three methods, and a refinement on the mesh."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared.arrays import checked

Floats = NDArray[np.float64]

TOP = 7
"""Number of hottest points from which a landmark is decoded."""

SIGMA = 0.03
"""Standard deviation of the heat of a landmark, normalised units."""

GAMMA = 5.0
"""Search radius of the refinement around a decoded point, as a multiple of the spread of its hottest points."""


def hottest(heat: ArrayLike, count: int = TOP) -> NDArray[np.intp]:
    """Indices (count, l) of the `count` hottest points of heat (n, l), in descending order; n of them if n is smaller.

    Examples
    --------
    >>> hottest([[0.1], [0.9], [0.5]], count=2)
    array([[1],
           [2]])
    """
    values = checked("heat", heat, (None, None), np.float64)
    if not len(values):
        raise ValueError("heat: expected at least one point, got none")
    count = min(count, len(values))
    best = np.argpartition(-values, count - 1, axis=0)[:count]
    # by index among equal values, so that the result does not depend on the partition
    best = np.sort(best, axis=0)
    order = np.argsort(-np.take_along_axis(values, best, axis=0), axis=0, kind="stable")
    return np.take_along_axis(best, order, axis=0)


def decode(points: ArrayLike, heat: ArrayLike, top: int = TOP) -> dict[str, Floats]:
    """Decode landmarks from heat maps, by three methods.

    Parameters
    ----------
    points : array_like (n, 3)
        Points of the scan.
    heat : array_like (n, l)
        Likelihood of each landmark at each point; negative heat counts as 0.
    top : int
        Number of hottest points that are averaged.

    Returns
    -------
    dict of str to ndarray (l, 3)
        ``gd``, the hottest point; ``tkd``, the mean of the `top` hottest; ``pd``, their mean weighted by heat.

    Examples
    --------
    >>> decode([[0, 0, 0], [1, 0, 0]], [[1], [3]])["pd"]
    array([[0.75, 0.  , 0.  ]])
    """
    where = checked("points", points, (None, 3), np.float64)
    values = checked("heat", heat, (len(where), None), np.float64)
    best = hottest(values, top)
    around = where[best]
    weights = np.clip(np.take_along_axis(values, best, axis=0), 0, None)
    # without any heat, all points have the same weight
    weights = np.where(weights.sum(axis=0) > 0, weights, 1.0)
    return {
        "gd": around[0],
        "tkd": around.mean(axis=0),
        "pd": np.einsum("kl,kli->li", weights / weights.sum(axis=0), around),
    }


def refine(vertices: ArrayLike, points: ArrayLike, heat: ArrayLike) -> Floats:
    """Refine decoded landmarks to vertices of a mesh: the second stage of 2S-SGCN, "MSE over mesh".

    Candidates are the vertices within `GAMMA` times the largest distance of the `TOP` hottest points from the ``pd``
    point, else the nearest vertex. The result is the candidate whose Gaussian (`SIGMA`) has the smallest squared error
    to the heat at those points. Distances are Euclidean.

    Parameters
    ----------
    vertices : array_like (v, 3)
        Of the mesh, in the normalised units of `points`.
    points, heat : array_like (n, 3), (n, l)
        As in `decode`.

    Returns
    -------
    ndarray (l, 3) float64
        In the same units.

    Examples
    --------
    >>> refine([[0, 0, 0], [0.01, 0, 0]], [[0.009, 0, 0]], [[1.0]])
    array([[0.01, 0.  , 0.  ]])
    """
    mesh = checked("vertices", vertices, (None, 3), np.float64)
    if not len(mesh):
        raise ValueError("vertices: expected at least one, got none")
    where, values = np.asarray(points, dtype=np.float64), np.asarray(heat, dtype=np.float64)
    middle = decode(where, values)["pd"]
    best = hottest(values)
    refined = np.empty_like(middle)
    for landmark, (centre, index) in enumerate(zip(middle, best.T, strict=True)):
        top = where[index]
        reach = GAMMA * np.linalg.norm(top - centre, axis=1).max()
        away = np.linalg.norm(mesh - centre, axis=1)
        candidates = mesh[away <= max(reach, away.min())]
        squared = ((candidates[:, None] - top) ** 2).sum(axis=-1)
        misfit = ((np.exp(-squared / (2 * SIGMA**2)) - values[index, landmark]) ** 2).sum(axis=1)
        refined[landmark] = candidates[np.argmin(misfit)]
    return refined
