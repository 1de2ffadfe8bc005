"""Rotation of the eyeballs of a face model, from its expression weights."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tddfa.geometry.gaze import Direction, Gaze
from tddfa.model.face_model import FaceModel

# `FaceModel.part` of the left and the right eyeball
_PARTS = (1, 2)


class Eyeballs:
    """The rotations of both eyeballs: those nearest to how their vertices are displaced (Kabsch 1976).

    Parameters
    ----------
    model : FaceModel
        With eyeballs, as the open face model.

    Raises
    ------
    ValueError
        If the face model has no eyeballs.

    Examples
    --------
    >>> from tddfa.model.eyeballs import Eyeballs
    >>> model = aligner.decoder.face_model
    >>> weights = np.zeros(55, np.float32)
    >>> weights[model.expression_names.index("eyeLookOutLeft")] = 1
    >>> [round(angle, 1) + 0.0 for angle in Eyeballs(model).gaze(weights).left]
    [30.0, 0.0]
    """

    def __init__(self, model: FaceModel) -> None:
        balls = [np.flatnonzero(model.part == part) for part in _PARTS]
        if not all(len(ball) for ball in balls):
            raise ValueError("face_model: expected a face model with eyeballs, got one without")
        # how the vertices of a ball at rest correlate (3, 3) with those of the same ball under an expression: linear
        # in the weights. The shape of a person moves a ball, but does not turn it.
        self._rest = np.empty((2, 3, 3))
        self._changes = np.empty((2, 3, 3, model.expression_count))
        expression = model.basis[model.shape_count :]
        for side, ball in enumerate(balls):
            at = model.mean[ball].astype(np.float64)
            at -= at.mean(axis=0)
            self._rest[side] = at.T @ at
            self._changes[side] = np.einsum("na,env->vae", at, expression[:, ball].astype(np.float64))

    def rotations(self, expression: NDArray[np.floating]) -> NDArray[np.float64]:
        """Rotations (2, 3, 3) of the left and the right eyeball in the model's frame, for expression weights (e,)."""
        u, _, vt = np.linalg.svd(np.swapaxes(self._rest, 1, 2) + self._changes @ expression)
        handed = np.linalg.det(u @ vt)
        u[:, :, 2] *= handed[:, None]
        return np.asarray(u @ vt)

    def gaze(self, expression: NDArray[np.floating]) -> Gaze:
        """Directions of gaze for expression weights (e,)."""
        left, right = (
            Direction(math.degrees(math.atan2(x, z)), math.degrees(math.atan2(y, math.hypot(x, z))))
            for x, y, z in self.rotations(expression)[:, :, 2].tolist()
        )
        return Gaze(left, right)
