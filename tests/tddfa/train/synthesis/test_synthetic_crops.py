from __future__ import annotations

import numpy as np
import pytest

from tddfa.geometry.camera import Camera
from tddfa.train.data.crops import Crops
from tddfa.train.synthesis.synthetic_crops import synthetic_samples


def test_heads_and_their_ground_truth(made_crops, face_model, aligner):
    crops = Crops.open([made_crops])
    made = list(synthetic_samples(crops, 12, 4, face_model))
    again = list(synthetic_samples(crops, 3, 4, face_model))
    assert all((a.crop == b.crop).all() for a, b in zip(made, again, strict=False))
    yaw = np.array([Camera(sample.camera).euler_degrees().yaw for sample in made])
    assert np.ptp(yaw) > 60
    errors = []
    for sample in made:
        points = Camera(sample.camera).project(face_model.landmarks(sample.shape, sample.expression))[:, :2]
        low, high = points.min(axis=0), points.max(axis=0)
        assert (low + high) / 2 == pytest.approx((79.5, 79.5), abs=0.05)
        assert (high - low).max() == pytest.approx(160 / 1.75, rel=0.001)
        (face,) = aligner(sample.crop, boxes=np.array([[*low, *high]]))
        errors.append(np.linalg.norm(face.landmarks[:, :2] - points, axis=1).mean() / (high - low).max())
    # predictions of a network that was not trained on them are near the labels
    assert np.median(errors) < 0.08
