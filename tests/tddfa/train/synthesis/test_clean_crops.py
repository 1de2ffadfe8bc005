from __future__ import annotations

from itertools import islice

import numpy as np
from builders_samples import errors_of

from tddfa.geometry.camera import Camera
from tddfa.train.synthesis.clean_crops import clean_samples, mean_shape


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


def test_the_average_person_has_a_narrower_mouth_than_the_model(face_model):
    def proportions(shape):
        points = face_model.landmarks(shape, np.zeros(face_model.expression_count, np.float32))
        eyes = np.linalg.norm(points[45] - points[36])
        return np.linalg.norm(points[54] - points[48]) / eyes, (points - points.mean(0)) / eyes

    before, first = proportions(np.zeros(face_model.shape_count, np.float32))
    after, moved = proportions(mean_shape(face_model))
    assert before > 0.635
    assert 0.57 < after < 0.61
    assert np.abs(moved - first)[:48].max() < 0.03  # the rest of the face stays
