from dataclasses import replace

import numpy as np
import pytest

from tddfa.geometry.rotation import rotation_from_euler
from tddfa.model.eyeballs import Eyeballs


@pytest.fixture(scope="module")
def model(aligner):
    return aligner.face_model


def weights(model, **by_name):
    out = np.zeros(model.expression_count, np.float32)
    for name, weight in by_name.items():
        out[model.expression_names.index(name)] = weight
    return out


@pytest.mark.parametrize(
    ("shapes", "left", "right"),
    [
        ({}, (0, 0), (0, 0)),
        ({"eyeLookOutLeft": 1, "eyeLookInRight": 1}, (30, 0), (30, 0)),
        ({"eyeLookInLeft": 0.5, "eyeLookOutRight": 0.5}, (-15, 0), (-15, 0)),
        ({"eyeLookUpLeft": 1, "eyeLookDownRight": 1}, (0, 30), (0, -30)),
        ({"eyeBlinkLeft": 1, "jawOpen": 1, "eyeSquintRight": 1}, (0, 0), (0, 0)),
    ],
)
def test_angles_of_known_weights(model, shapes, left, right):
    gaze = Eyeballs(model).gaze(weights(model, **shapes))
    np.testing.assert_allclose([gaze.left, gaze.right], [left, right], atol=0.1)


def test_the_rotation_is_that_of_the_vertices(model):
    expression = weights(model, eyeLookOutLeft=0.6, eyeLookUpLeft=0.4)
    (left, _) = Eyeballs(model).rotations(expression)
    ball = np.flatnonzero(model.part == 1)
    shape = np.random.default_rng(0).normal(size=model.shape_count).astype(np.float32)
    still, turned = (model.vertices(shape, e)[ball].astype(float) for e in (weights(model), expression))
    still, turned = still - still.mean(axis=0), turned - turned.mean(axis=0)
    # a mixture of rotations shrinks the ball slightly
    scale = np.linalg.norm(turned) / np.linalg.norm(still)
    np.testing.assert_allclose(scale * still @ left.T, turned, atol=0.1)
    yaw, pitch = Eyeballs(model).gaze(expression).left
    np.testing.assert_allclose(left[:, 2], rotation_from_euler(yaw, pitch, 0)[:, 2], atol=1e-9)


def test_a_model_without_eyeballs(model):
    with pytest.raises(ValueError, match="face_model: expected a face model with eyeballs"):
        Eyeballs(replace(model, part=np.zeros_like(model.part)))
