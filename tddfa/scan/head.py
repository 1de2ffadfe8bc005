"""The frame of the head: the mean landmarks, in mm, x to the subject's left, y up, z out of the face."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tddfa.model.face_model import FaceModel

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
