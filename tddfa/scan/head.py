"""The frame of the head: the mean landmarks, in mm, x to the subject's left, y up, z out of the face."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tddfa.model.face_model import FaceModel
from tddfa.scan.mesh import Scan

MM = {"cm": 10.0, "um": 1e-3, "mm": 1.0, "m": 1000.0}
"""mm in a unit of length."""


def mean_landmarks(model: FaceModel) -> NDArray[np.float64]:
    """The landmarks (68, 3) of the mean face, from their middle.

    Examples
    --------
    >>> from tddfa.scan.head import mean_landmarks
    >>> bool(100 < np.ptp(mean_landmarks(aligner.face_model)[:, 0]) < 200)
    True
    """
    zero = np.zeros(model.shape_count, np.float32), np.zeros(model.expression_count, np.float32)
    landmarks = model.landmarks(*zero).astype(np.float64) * MM.get(model.unit, 1.0)
    return np.asarray(landmarks - landmarks.mean(axis=0))


@lru_cache(maxsize=4)
def mean_surface(model: FaceModel, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points (k, 3) of the front of the mean face, in the frame of the head, and their normals; k is at most `count`.

    Examples
    --------
    >>> from tddfa.scan.head import mean_surface
    >>> points, normals = mean_surface(aligner.face_model, 200)
    >>> points.shape, bool((normals[:, 2] > 0).mean() > 0.8)
    ((200, 3), True)
    """
    front = np.random.default_rng(0).permutation(np.flatnonzero(model.front & (model.part == 0)))[:count]
    normals = Scan(model.mean.astype(np.float64), model.triangles).normals[front]
    zero = np.zeros(model.shape_count, np.float32), np.zeros(model.expression_count, np.float32)
    middle = model.landmarks(*zero).astype(np.float64).mean(axis=0)
    return (model.mean[front] - middle) * MM.get(model.unit, 1.0), normals.astype(np.float64)
