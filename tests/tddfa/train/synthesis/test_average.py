import numpy as np

from tddfa.landmarks68 import MIRRORED
from tddfa.train.synthesis.average import mean_shape


def seen_from_the_eyes(model, shape):
    """Landmarks (68, 2) of a face at rest in front view, % of the distance of the outer eye corners, y down."""
    points = model.landmarks(shape, np.zeros(model.expression_count, np.float32))[:, :2] * (1, -1)
    return 100 * (points - points[[36, 45]].mean(axis=0)) / np.linalg.norm(points[45] - points[36])


def test_the_average_person_has_the_proportions_of_people(face_model):
    shape = mean_shape(face_model)
    assert np.abs(shape).max() < 2.5, "no unusual face"
    before = seen_from_the_eyes(face_model, np.zeros_like(shape))
    after = seen_from_the_eyes(face_model, shape)
    assert np.linalg.norm(before[54] - before[48]) > 63.5
    assert 57 < np.linalg.norm(after[54] - after[48]) < 61
    moved = after - before
    assert 1 < moved[27, 1] < 3, "the bridge of the nose is lower"
    assert -2 < moved[33, 1] < -0.5, "its base is higher"
    assert moved[57, 1] > 0.5, "the lower lip reaches further down"
    assert np.abs(moved[36:48]).max() < 0.8, "the eyes stay"


def test_it_is_as_symmetric_as_the_model(face_model):
    def skew(shape):
        points = seen_from_the_eyes(face_model, shape)
        return np.abs(points - points[MIRRORED] * (-1, 1)).mean()

    shape = mean_shape(face_model)
    assert skew(shape) < skew(np.zeros_like(shape)) + 0.1
