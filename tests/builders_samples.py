"""What the tests of rendered training crops measure on them."""

from __future__ import annotations

import numpy as np
import pytest

from tddfa.geometry.camera import Camera


def errors_of(samples, face_model, aligner):
    """Distances of an aligner's landmarks from the labels, by the face's size; and that each crop is centred."""
    errors = []
    for sample in samples:
        points = Camera(sample.camera).project(face_model.landmarks(sample.shape, sample.expression))[:, :2]
        low, high = points.min(axis=0), points.max(axis=0)
        assert (low + high) / 2 == pytest.approx((79.5, 79.5), abs=0.05)
        assert (high - low).max() == pytest.approx(160 / 1.75, rel=0.001)
        (face,) = aligner(sample.crop, boxes=np.array([[*low, *high]]))
        errors.append(np.linalg.norm(face.landmarks[:, :2] - points, axis=1).mean() / (high - low).max())
    return errors
