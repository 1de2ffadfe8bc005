"""A face model of 68 points without a surface, for networks that predict only points.

Its coefficients are the offsets of the points from the mean face. So it represents any points exactly, and cameras,
smoothing and landmark conventions work as with a surface.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tddfa.landmarks68 import BROWS, COUNT, EYES, JAW, MIRRORED, MOUTH, NOSE
from tddfa.model.face_model import FaceModel

Floats = NDArray[np.float64]

# How much a group of landmarks says about the pose of the head: mouth and jaw move with the expression.
_POSE_WEIGHTS = ((JAW, 0.3), (BROWS, 0.5), (NOSE, 1.0), (EYES, 1.0), (MOUTH, 0.2))
_MIRROR = np.array([-1.0, 1.0, 1.0])
_DOWN = np.array([1.0, -1.0, 1.0])


def landmark_model(model: FaceModel) -> FaceModel:
    """Make a face model of the 68 points of another face model, with the same unit and landmark conventions.

    The points are expression coefficients, because they move with the expression: `x`, `y` and `z` of each, in the
    model's unit.

    Examples
    --------
    >>> from tddfa.jvcr.landmark_model import landmark_model
    >>> points = landmark_model(aligner.face_model)
    >>> points.mean.shape, points.shape_count, points.expression_count, points.has_surface
    ((68, 3), 0, 204, False)
    """
    zeros = np.zeros(model.shape_count, np.float32), np.zeros(model.expression_count, np.float32)
    mean = model.landmarks(*zeros)
    mean = (mean + mean[MIRRORED] * _MIRROR) / 2
    index = np.repeat(np.arange(COUNT, dtype=np.int32)[:, None], 3, axis=1)
    weights = np.zeros((COUNT, 3), dtype=np.float32)
    weights[:, 0] = 1
    eyes = range(*EYES.indices(COUNT))
    names = [f"{'eye' if i in eyes else 'point'}_{i}_{axis}" for i in range(COUNT) for axis in "xyz"]
    other = np.zeros((3 * COUNT, 3 * COUNT), dtype=np.float32)
    rows = np.arange(COUNT)
    for axis, sign in enumerate(_MIRROR):
        other[3 * rows + axis, 3 * MIRRORED + axis] = sign
    return FaceModel(
        mean=mean.astype(np.float32),
        basis=np.eye(3 * COUNT, dtype=np.float32).reshape(-1, COUNT, 3),
        shape_count=0,
        triangles=np.zeros((0, 3), dtype=np.int32),
        landmark_triangles=index,
        landmark_weights=weights,
        uv=None,
        part=np.zeros(COUNT, dtype=np.uint8),
        regions={},
        expression_names=tuple(names),
        expression_range=None,
        unit=model.unit,
        licence=model.licence,
        convention=model.convention,
        landmark_offsets=model.landmark_offsets,
        mirror_shape=np.zeros((0, 0), dtype=np.float32),
        mirror_expression=other,
    )


def cameras_of(points: NDArray[np.floating], mean: NDArray[np.floating]) -> Floats:
    """Cameras (n, 3, 4) that bring a mean face (68, 3) as near as possible to points (n, 68, 3), px.

    A similarity by weighted least squares (Umeyama, 1991): eyes and nose count more than the parts that move.

    Examples
    --------
    >>> import numpy as np
    >>> from tddfa import Camera
    >>> from tddfa.jvcr.landmark_model import cameras_of, landmark_model
    >>> mean = landmark_model(aligner.face_model).mean
    >>> camera = Camera.from_pose(20, -10, 5, scale=8, translation=(60, 60, 0))
    >>> bool(np.allclose(cameras_of(camera.project(mean)[None], mean)[0], camera.matrix, atol=1e-3))
    True
    """
    weights = np.empty(COUNT)
    for part, value in _POSE_WEIGHTS:
        weights[part] = value
    weights /= weights.sum()
    own = np.asarray(mean, dtype=np.float64)
    # image px with y up, so that a rotation is left
    seen = np.asarray(points, dtype=np.float64) * _DOWN
    own_centre, centre = weights @ own, np.einsum("k,nkc->nc", weights, seen)
    away, other = own - own_centre, seen - centre[:, None]
    u, singular, vt = np.linalg.svd(np.einsum("k,nki,kj->nij", weights, other, away))
    sign = np.sign(np.linalg.det(u @ vt))
    u[:, :, 2] *= sign[:, None]
    singular[:, 2] *= sign
    scale = np.maximum(singular.sum(axis=1) / (weights @ np.square(away).sum(axis=1)), 1e-6)
    linear = scale[:, None, None] * (u @ vt)
    offset = centre - linear @ own_centre
    return np.asarray(np.concatenate([linear, offset[:, :, None]], axis=2) * _DOWN[:, None])
