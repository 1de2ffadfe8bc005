import numpy as np
import pytest

from tddfa.geometry.camera import Camera
from tddfa.jvcr.landmark_model import cameras_of, landmark_model
from tddfa.landmarks68 import MIRRORED
from tddfa.model.assets import config_path
from tddfa.model.face_model import FaceModel
from tddfa.model.mirror import Mirror


@pytest.fixture(scope="module")
def open_model():
    return FaceModel.load(config_path("open_mb05").with_name("open_face.npz"))


@pytest.fixture(scope="module")
def model(open_model):
    return landmark_model(open_model)


def test_any_points_are_held_exactly(model):
    offsets = np.random.default_rng(0).normal(size=(68, 3)).astype(np.float32)
    points = model.landmarks(np.zeros(0, np.float32), offsets.reshape(-1))
    assert np.allclose(points, model.mean + offsets, atol=1e-5)


def test_the_mirror_swaps_sides(model):
    offsets = np.random.default_rng(0).normal(size=(68, 3)).astype(np.float32)
    _, other = Mirror.of(model).coefficients(np.zeros(0, np.float32), offsets.reshape(-1))
    points = model.landmarks(np.zeros(0, np.float32), offsets.reshape(-1))
    mirrored = model.landmarks(np.zeros(0, np.float32), other)
    assert np.allclose(mirrored, points[MIRRORED] * [-1, 1, 1], atol=1e-5)


@pytest.mark.parametrize("angles", [(0, 0, 0), (60, 10, -20), (-85, 0, 30), (10, -50, 170)])
def test_the_pose_of_the_mean_face_is_found(model, angles):
    camera = Camera.from_pose(*angles, scale=7, translation=(50, 40, 3))
    found = Camera(cameras_of(camera.project(model.mean)[None], model.mean)[0])
    assert np.allclose(found.matrix, camera.matrix, atol=1e-2)
    assert np.allclose(found.euler_degrees(), angles, atol=0.1)


def test_the_pose_of_other_faces_is_near_theirs(open_model, model):
    """Faces with another shape and an open mouth, whose pose is that of the face model, within a few degrees."""
    rng = np.random.default_rng(1)
    expression = np.zeros((20, open_model.expression_count), np.float32)
    expression[:, open_model.expression_names.index("jawOpen")] = rng.uniform(0, 0.8, 20)
    points = open_model.landmarks(rng.normal(0, 1, (20, open_model.shape_count)).astype(np.float32), expression)
    errors = []
    for own in points:
        angles = rng.uniform(-40, 40, 3)
        camera = Camera.from_pose(*angles, scale=7)
        found = Camera(cameras_of(camera.project(own)[None], model.mean)[0])
        errors.append(np.abs(np.subtract(found.euler_degrees(), angles)).mean())
    assert np.mean(errors) < 3


def test_landmark_conventions_and_unit_stay(open_model, model):
    assert model.unit == open_model.unit
    assert sorted(model.landmark_offsets) == sorted(open_model.landmark_offsets)
    assert not model.has_surface
    assert open_model.has_surface
