"""A prior of landmarks: where a scan has a hole, it estimates a landmark from the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tddfa.model.face_model import FaceModel
from tddfa.scan.head import MM
from tddfa.scan.similarity import Similarity, fit_similarity

Floats = NDArray[np.float64]

# Standard deviation of the shape coefficients, and of the expression weights.
_SHAPE, _EXPRESSION = 1.0, 0.3
# What the face model does not explain, and errors of the landmarks, mm.
_REST = 3.0
_STEPS = 3


@dataclass(frozen=True, eq=False)
class LandmarkPrior:
    """Landmarks of faces: ``mean + basis @ z``, with z of standard deviation 1.

    Attributes
    ----------
    mean : ndarray (68, 3)
        mm, from their middle.
    basis : ndarray (k, 68, 3)
        mm.
    """

    mean: Floats
    basis: Floats

    @classmethod
    def of(cls, model: FaceModel) -> LandmarkPrior:
        """The prior of a face model."""
        mm = MM.get(model.unit, 1.0)
        zero = np.zeros(model.shape_count, np.float32), np.zeros(model.expression_count, np.float32)
        mean = model.landmarks(*zero).astype(np.float64) * mm
        count = model.shape_count + model.expression_count
        rows = np.eye(count, dtype=np.float32)
        basis = model.landmarks(rows[:, : model.shape_count], rows[:, model.shape_count :]).astype(np.float64) * mm
        basis -= mean
        basis[: model.shape_count] *= _SHAPE
        basis[model.shape_count :] *= _EXPRESSION
        return cls(mean - mean.mean(axis=0), basis)

    def completed(self, landmarks: Floats, weights: Floats) -> tuple[Similarity, Floats]:
        """Fit the prior to landmarks of which some are uncertain.

        Parameters
        ----------
        landmarks : ndarray (68, 3)
            In any frame.
        weights : ndarray (68,)
            1 for a landmark that is known as well as the network can know it, 0 for one that is unknown.

        Returns
        -------
        similarity : Similarity
            Frame of the head, mm, to that of the landmarks.
        fitted : ndarray (68, 3)
            In the frame of the landmarks.
        """
        shape = self.mean
        similarity = fit_similarity(shape, landmarks, weights + 1e-3)
        flat = self.basis.reshape(len(self.basis), -1)
        rows = np.repeat(weights, 3) / _REST**2
        normal = (flat * rows) @ flat.T + np.eye(len(flat))
        for _ in range(_STEPS):
            away = similarity.inverse(landmarks) - self.mean
            z = np.linalg.solve(normal, (flat * rows) @ away.reshape(-1))
            shape = self.mean + np.tensordot(z, self.basis, axes=1)
            similarity = fit_similarity(shape, landmarks, weights + 1e-3)
        return similarity, similarity(shape)
