from __future__ import annotations

import numpy as np
from builders_samples import errors_of

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
    # predictions of a network that was not trained on them are near the labels
    assert np.median(errors_of(made, face_model, aligner)) < 0.08
