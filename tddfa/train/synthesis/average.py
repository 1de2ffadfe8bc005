"""The average person, who is not the mean of the face model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tddfa.landmarks68 import JAW, MIRRORED, OUTER_EYE_CORNERS
from tddfa.model.face_model import FaceModel

Floats = NDArray[np.float64]

# Width of the mouth at rest over the distance of the outer eye corners: between the 0.64 of the face model's mean and
# what is measured on people, 0.57 and 0.55 in the two groups of doi:10.1186/s40902-019-0191-7 (table 9).
_MOUTH_WIDTH = 0.59
# How far landmarks of the left half of an average person are from those of the face model's mean: outwards and down, %
# of the distance of the outer eye corners, as seen from the middle of the eyes. The model has a longer nose, higher
# brows and a thinner lower lip than people. Differences of means: labels of 50 frontal photos (LFPW, 60 to 70 % by
# name, by which trainings are chosen) against rendered heads of the same pitch. Brows and the bridge of the nose are
# moved by half to two thirds of it: with all of it, `open_mb05` puts rendered brows 1 % above their landmarks.
_OFFSETS = {
    8: (0.0, 3.0), 13: (-1.0, 0.0), 16: (-2.0, 0.0),
    22: (0.4, 1.0), 23: (0.8, 1.0), 24: (0.9, 0.8), 25: (1.0, 0.8), 26: (0.8, 0.7),
    27: (0.0, 2.0), 28: (0.0, 1.2), 29: (0.0, 0.6), 30: (0.0, -0.3), 33: (0.0, -1.2), 34: (0.0, -1.3), 35: (0.0, -2.0),
    42: (0.0, 0.0), 43: (0.0, 0.0), 44: (0.0, 0.0), 45: (0.0, 0.0), 46: (0.0, 0.0), 47: (0.0, 0.0),
    51: (0.0, -0.7), 52: (0.0, -0.9), 53: (0.0, -1.0), 54: (0.0, -0.3), 55: (0.0, 1.7), 56: (0.0, 1.3), 57: (0.0, 1.2),
    62: (0.0, -0.6), 63: (0.0, -0.8), 64: (0.0, -0.1), 65: (0.0, -0.6), 66: (0.0, -0.9),
}  # fmt: skip
_MOUTH = slice(48, 68)
_JAW_WEIGHT = 0.15  # people mark the jaw where its outline is, not at one place of the face
_STIFFNESS = 0.08  # weight of the coefficients against the offsets


def mean_shape(model: FaceModel) -> NDArray[np.float32]:
    """Shape coefficients (s,) of an average person.

    Least squares on the landmarks in front view, with a small weight on the coefficients.

    Examples
    --------
    >>> from tddfa.train.synthesis.average import mean_shape
    >>> mean_shape(aligner.face_model).shape
    (40,)
    """
    still = np.zeros(model.expression_count, np.float32)
    mean = model.landmarks(np.zeros(model.shape_count, np.float32), still)
    basis = np.stack([model.landmarks(unit, still) - mean for unit in np.eye(model.shape_count, dtype=np.float32)])
    right, left = OUTER_EYE_CORNERS
    eyes = float(mean[left, 0] - mean[right, 0])
    wanted, weights = _wanted(mean, eyes)
    # offsets as seen from the middle of the eyes, at the distance of their outer corners
    middle = (mean[right] + mean[left])[:2] / 2
    rows = (basis - (basis[:, [right]] + basis[:, [left]]) / 2)[..., :2]
    rows = rows - ((basis[:, left, 0] - basis[:, right, 0]) / eyes)[:, None, None] * (mean[:, :2] - middle)
    matrix, target = (rows * weights).reshape(model.shape_count, -1), (wanted * weights).ravel()
    products = matrix @ matrix.T
    stiffness = _STIFFNESS * np.trace(products) / model.shape_count
    return np.linalg.solve(products + stiffness * np.eye(model.shape_count), matrix @ target).astype(np.float32)


def _wanted(mean: NDArray[np.float32], eyes: float) -> tuple[Floats, Floats]:
    """Offsets (68, 2) of the landmarks in front view, and the square roots (68, 1) of their weights."""
    wanted, weights = np.zeros((68, 2)), np.zeros((68, 1))
    for landmark, (outwards, down) in _OFFSETS.items():
        wanted[landmark] = np.array([outwards, -down]) * eyes / 100
        wanted[MIRRORED[landmark]] = wanted[landmark] * (-1, 1)
        weights[[landmark, MIRRORED[landmark]]] = 1
    weights[JAW] *= np.sqrt(_JAW_WEIGHT)
    width = float(mean[54, 0] - mean[48, 0])
    wanted[_MOUTH, 0] += (_MOUTH_WIDTH * eyes / width - 1) * mean[_MOUTH, 0]
    return wanted, weights
