"""Triangulation: 3D points from several views with known cameras, and their projections.

A camera is a matrix (3, 4), or the first two rows of an affine one (2, 4): ``u, v = (P @ (x, y, z, 1))[:2] / w`` with w
the third component, which is 1 of an affine camera. u and v are px, pixel centres at whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared.arrays import checked

Floats = NDArray[np.float64]

SOURCES = 4
"""Number of views that `consistency` triangulates from."""

# Ratio of the smallest to the largest singular value of a point's equations below which the views leave its depth open.
_SAME_VIEW = 1e-6


def matrices(cameras: ArrayLike) -> Floats:
    """Cameras (v, 3, 4) or (v, 2, 4) as (v, 3, 4): affine ones get their third row, 0 0 0 1.

    Raises
    ------
    TypeError, ValueError
        If the argument has the wrong type, shape or dtype.
    """
    array = np.asarray(cameras)
    if array.ndim == 3 and array.shape[1] == 2:
        affine = checked("cameras", array, (None, 2, 4), np.float64)
        last = np.broadcast_to(np.array([0.0, 0, 0, 1]), (len(affine), 1, 4))
        return np.concatenate([affine, last], axis=1)
    return checked("cameras", array, (None, 3, 4), np.float64)


def project(cameras: ArrayLike, points: ArrayLike) -> Floats:
    """Project points (n, 3) by cameras (v, 3, 4) or (v, 2, 4) to px (v, n, 2).

    Examples
    --------
    >>> from tddfa.geometry.triangulation import project
    >>> affine = [[10, 0, 0, 50], [0, -10, 0, 60]]
    >>> project([affine], [[1, 2, 3]]).tolist()
    [[[60.0, 40.0]]]
    """
    homogeneous = np.einsum("vij,nj->vni", matrices(cameras)[..., :3], checked("points", points, (None, 3), np.float64))
    homogeneous += matrices(cameras)[:, None, :, 3]
    return np.asarray(homogeneous[..., :2] / homogeneous[..., 2:])


def triangulate(cameras: ArrayLike, points: ArrayLike) -> Floats:
    """Points in space from their projections in several views: the direct linear transform, by least squares.

    Each view gives a point two linear equations, ``(P1 - u P3) X = 0`` and ``(P2 - v P3) X = 0`` (Hartley and
    Zisserman, Multiple View Geometry, 12.2, the inhomogeneous method). For affine cameras the solution is the one of
    least squared reprojection error; for perspective ones each view is weighted by its distance from the point.

    Parameters
    ----------
    cameras : array_like (v, 3, 4) or (v, 2, 4)
        At least two, from different directions.
    points : array_like (v, n, 2)
        px.

    Returns
    -------
    ndarray (n, 3) float64
        In the unit of the cameras' space.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or dtype, or if the views do not determine the depth.

    Examples
    --------
    >>> from tddfa.geometry.triangulation import project, triangulate
    >>> front, side = [[10, 0, 0, 50], [0, -10, 0, 60]], [[0, 0, 10, 50], [0, -10, 0, 60]]
    >>> triangulate([front, side], project([front, side], [[1, 2, 3]])).round(6).tolist()
    [[1.0, 2.0, 3.0]]
    """
    projections = matrices(cameras)
    if len(projections) < 2:
        raise ValueError(f"cameras: expected two views or more, got {len(projections)}")
    seen = checked("points", points, (len(projections), None, 2), np.float64)
    # the length of the third row scales the residual; that of a pinhole camera is made 1
    directions = np.linalg.norm(projections[:, 2, :3], axis=1)
    scales = np.where(directions > 0, directions, projections[:, 2, 3])
    if not scales.all():
        raise ValueError("cameras: expected third rows that are not all 0, got one of zeros")
    projections = projections / scales[:, None, None]
    equations = projections[:, None, :2] - seen[..., None] * projections[:, None, 2:]
    equations = equations.transpose(1, 0, 2, 3).reshape(seen.shape[1], 2 * len(projections), 4)
    u, singular, vt = np.linalg.svd(equations[..., :3], full_matrices=False)
    if (singular[:, -1] <= _SAME_VIEW * singular[:, 0]).any():
        raise ValueError("cameras: expected views from different directions, got some that do not determine the depth")
    along = np.einsum("nij,ni->nj", u, -equations[..., 3]) / singular
    return np.asarray(np.einsum("nji,nj->ni", vt, along))


@dataclass(frozen=True, eq=False)
class Consistency:
    """How well the points predicted in several views of one object agree.

    Attributes
    ----------
    points : ndarray (q, n, 3) float64
        Triangulated from each set of views.
    reprojection, reprojection_targets : float
        Distance between the projections of the points and the predicted points, % of the views' sizes. The first is
        over all views. The second is over the views that the points are not triangulated from; NaN if there are none.
    spread : float
        RMS distance of the sets' points from their mean, in the unit of the cameras' space.
    """

    points: Floats
    reprojection: float
    reprojection_targets: float
    spread: float


def consistency(
    cameras: ArrayLike, points: ArrayLike, sizes: ArrayLike, sets: int, rng: np.random.Generator
) -> Consistency:
    """Measure how well the points predicted in several views agree. It needs no ground truth.

    Parameters
    ----------
    cameras : array_like (v, 3, 4) or (v, 2, 4)
        At least `SOURCES`.
    points : array_like (v, n, 2)
        The predicted points of each view, px.
    sizes : array_like (v,)
        Sizes of the object in the views, px.
    sets : int
        Number of sets of `SOURCES` views to triangulate from.
    rng : numpy.random.Generator
        Draws the sets.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or dtype, or if the views do not determine the depth.
    """
    projections = matrices(cameras)
    if len(projections) < SOURCES:
        raise ValueError(f"cameras: expected {SOURCES} or more, got {len(projections)}")
    if sets < 1:
        raise ValueError(f"sets: expected 1 or more, got {sets}")
    predicted = checked("points", points, (len(projections), None, 2), np.float64)
    lengths = checked("sizes", sizes, (len(projections),), np.float64)
    chosen = np.array([rng.choice(len(projections), SOURCES, replace=False) for _ in range(sets)])
    solid = np.array([triangulate(projections[four], predicted[four]) for four in chosen])
    off = np.array([np.linalg.norm(project(projections, each) - predicted, axis=-1).mean(axis=-1) for each in solid])
    relative = 100 * off / lengths
    target = np.ones(off.shape, dtype=np.bool_)
    target[np.arange(sets)[:, None], chosen] = False
    spread = np.linalg.norm(solid - solid.mean(axis=0), axis=-1)
    return Consistency(
        solid,
        float(relative.mean()),
        float(relative[target].mean()) if target.any() else float("nan"),
        float(np.sqrt((spread**2).mean(axis=0)).mean()),
    )


def pinhole(camera_to_world: ArrayLike, intrinsics: ArrayLike, image_size: tuple[int, int]) -> Floats:
    """Matrix (3, 4) of a pinhole camera in the format of EG3D.

    Parameters
    ----------
    camera_to_world : array_like (4, 4)
        OpenCV's camera frame (x right, y down, z away from the camera) to the world.
    intrinsics : array_like (3, 3)
        In fractions of the image: 0 is its left or top edge, 1 its right or bottom edge.
    image_size : tuple of int
        Height and width, px.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or dtype, or if `camera_to_world` cannot be inverted.

    Examples
    --------
    >>> import numpy as np
    >>> from tddfa.geometry.triangulation import pinhole
    >>> pinhole(np.eye(4), [[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]], (100, 100))[0].tolist()
    [100.0, 0.0, 49.5, 0.0]
    """
    pose = checked("camera_to_world", camera_to_world, (4, 4), np.float64)
    normalized = checked("intrinsics", intrinsics, (3, 3), np.float64)
    height, width = image_size
    if height < 1 or width < 1:
        raise ValueError(f"image_size: expected height and width of 1 px or more, got {image_size}")
    if abs(np.linalg.det(pose)) < 1e-12:
        raise ValueError("camera_to_world: expected a matrix that can be inverted, got a singular one")
    # an edge lies half a px before the first pixel's centre
    to_pixels = np.array([[width, 0, -0.5], [0, height, -0.5], [0, 0, 1]])
    return np.asarray(to_pixels @ normalized @ np.linalg.inv(pose)[:3])
