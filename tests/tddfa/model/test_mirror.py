from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from tddfa.geometry.camera import Camera
from tddfa.landmarks68 import MIRRORED
from tddfa.model.mirror import Mirror, mirrored_camera, mirrored_landmarks


@pytest.fixture(scope="module")
def face_model(aligner):
    return aligner.face_model


@pytest.fixture(scope="module")
def mirror(face_model):
    return Mirror.of(face_model)


@pytest.fixture
def faces(rng):
    shape = rng.normal(0, 1, (5, 40)).astype(np.float32)
    expression = (rng.uniform(0, 1, (5, 55)) * (rng.random((5, 55)) < 0.2)).astype(np.float32)
    return shape, expression


def test_landmarks_swap_with_their_mirror_images(face_model):
    assert MIRRORED[MIRRORED].tolist() == list(range(68))
    mean = face_model.landmarks(np.zeros(40, np.float32), np.zeros(55, np.float32))
    off = np.abs(mean[MIRRORED] * (-1, 1, 1) - mean)
    assert off.max() < 0.15  # cm: the mesh is not quite symmetric
    assert off.mean() < 0.01


def test_twice_is_the_same_face(mirror, faces):
    again = mirror.coefficients(*mirror.coefficients(*faces))
    assert again[0] == pytest.approx(faces[0], abs=1e-5)
    assert (again[1] == faces[1]).all()


def test_the_surface_is_turned_over(mirror, faces, face_model):
    """Each vertex of the mirrored face is on the reflected surface of the face."""
    face = face_model.vertices(*faces) * np.array([-1, 1, 1], np.float32)
    turned = face_model.vertices(*mirror.coefficients(*faces))
    spacing = 0.2  # cm between vertices
    for own, other in zip(face, turned, strict=True):
        distance, _ = cKDTree(own).query(other)
        assert distance.mean() < 0.5 * spacing
        assert np.percentile(distance, 99.5) < 1.5 * spacing
    own = face_model.landmarks(*faces)[:, MIRRORED] * (-1, 1, 1)
    assert np.abs(own - face_model.landmarks(*mirror.coefficients(*faces))).mean() < 0.01


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("browDownLeft", "browDownRight"), ("jawLeft", "jawRight"), ("mouthLeft", "mouthRight"),
        ("eyeLookInLeft", "eyeLookInRight"), ("eyeBlinkRight", "eyeBlinkLeft"), ("jawOpen", "jawOpen"),
    ],
)  # fmt: skip
def test_expressions_swap_by_name(mirror, face_model, name, other):
    names = face_model.expression_names
    weights = np.zeros(55, np.float32)
    weights[names.index(name)] = 0.7
    _, turned = mirror.coefficients(np.zeros(40, np.float32), weights)
    assert {names[i]: turned[i] for i in np.flatnonzero(turned)} == {other: np.float32(0.7)}


def test_a_model_with_one_eye(face_model, mirror, faces):
    part = np.where(face_model.part == 2, 0, face_model.part).astype(np.uint8)
    found = face_model.landmarks(*Mirror.of(replace(face_model, part=part)).coefficients(*faces))
    assert np.abs(found - face_model.landmarks(*mirror.coefficients(*faces))).mean() < 0.02  # cm


def test_without_names_expressions_are_fitted(face_model, mirror, faces):
    nameless = replace(face_model, expression_names=tuple(f"expression_{i}" for i in range(55)))
    shape, expression = faces
    found = face_model.landmarks(*Mirror.of(nameless).coefficients(shape, expression))
    assert np.abs(found - face_model.landmarks(*mirror.coefficients(shape, expression))).mean() < 0.02


def test_a_name_without_its_other_side_is_told(face_model):
    names = tuple("jawAside" if name == "jawLeft" else name for name in face_model.expression_names)
    with pytest.raises(ValueError, match="expected 'jawLeft' beside 'jawRight'"):
        Mirror.of(replace(face_model, expression_names=names, mirror_shape=None))


def test_the_camera_of_the_flipped_image(rng):
    camera = Camera.from_pose(25, -10, 15, 7, (70, 85, 3))
    points = rng.normal(0, 5, (20, 3)).astype(np.float32)
    seen = camera.project(points)
    turned = Camera(mirrored_camera(camera.matrix, 160)).project(points * np.array([-1, 1, 1], np.float32))
    assert turned[:, 0] == pytest.approx(159 - seen[:, 0], abs=1e-4)
    assert turned[:, 1:] == pytest.approx(seen[:, 1:], abs=1e-4)
    assert Camera(mirrored_camera(camera.matrix, 160)).euler_degrees() == pytest.approx((-25, -10, -15), abs=1e-4)


def test_unknown_landmarks_stay_unknown_on_the_other_side():
    points = np.zeros((68, 2), np.float32)
    points[36] = np.nan
    turned = mirrored_landmarks(points, 160)
    assert np.flatnonzero(np.isnan(turned).any(axis=1)).tolist() == [45]
    assert (turned[0] == (159, 0)).all()


def test_offsets_that_move_nothing_and_copies_of_others_keep_their_coefficients(face_model):
    basis = face_model.basis.copy()
    basis[3] = 0
    basis[5] = basis[4]
    changed = replace(face_model, basis=basis, mirror_shape=None, mirror_expression=None)
    mirror = Mirror.of(changed)
    shape = np.zeros((1, 40), np.float32)
    shape[0, [0, 7]] = 1, -1
    there, _ = mirror.coefficients(shape, np.zeros((1, 55), np.float32))
    back, _ = mirror.coefficients(there, np.zeros((1, 55), np.float32))
    assert np.isfinite(there).all()
    vertices = changed.vertices(back[0], np.zeros(55, np.float32))
    np.testing.assert_allclose(vertices, changed.vertices(shape[0], np.zeros(55, np.float32)), atol=0.05)
