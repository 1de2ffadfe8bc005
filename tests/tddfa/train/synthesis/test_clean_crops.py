from __future__ import annotations

from itertools import islice

import numpy as np
from builders_samples import errors_of

from tddfa.geometry.camera import Camera
from tddfa.synthetic.paint import painted_head
from tddfa.train.synthesis.clean_crops import _lips_together, clean_samples


def test_heads_and_their_ground_truth(face_model, aligner):
    made = list(clean_samples(36, 5, face_model))
    again = list(islice(clean_samples(36, 5, face_model), 3))
    assert all((a.crop == b.crop).all() for a, b in zip(made, again, strict=False))
    faces = [sample for sample in made if sample.face]
    assert 0 < len(made) - len(faces) < 9
    assert np.ptp([Camera(sample.camera).euler_degrees().yaw for sample in faces]) > 60
    # predictions of a network that was trained on photos are near the labels
    assert np.median(errors_of(faces, face_model, aligner)) < 0.06


def test_views_of_a_head_are_one_person(face_model):
    made = list(clean_samples(12, 1, face_model))
    shapes = [sample.shape for sample in made if sample.face]
    assert len({shape.tobytes() for shape in shapes}) == 3
    for name in {sample.person for sample in made if sample.face and sample.person}:
        assert len({sample.shape.tobytes() for sample in made if sample.face and sample.person == name}) == 1
    assert not any(sample.person for sample in made if sample.validation)


def test_lips_that_are_nearly_closed_meet(face_model):
    """Those of the mean of the model, and of most heads, leave a gap that people mark on no photo."""
    rng = np.random.default_rng(0)
    still = np.zeros(face_model.expression_count, np.float32)
    for seed in range(6):
        head = painted_head(face_model, seed, size=64)
        for left_open in (0.0, 0.05):
            landmarks = face_model.landmarks(head.shape, _lips_together(head, still, left_open))
            gap = (landmarks[61:64, 1] - landmarks[[67, 66, 65], 1]).mean() / head.bust.scale
            assert abs(gap - left_open) < 0.02
        wide = still.copy()
        wide[face_model.expression_names.index("jawOpen")] = rng.uniform(0.3, 1)
        np.testing.assert_array_equal(_lips_together(head, wide, 0.0), wide)
