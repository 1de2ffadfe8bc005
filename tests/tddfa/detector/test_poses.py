"""Poses from boxes and rotations: a known head is found again, and a crowd agrees with one head at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from FaceBoxes import Detections
from tddfa import Camera, Detector, Intrinsics
from tddfa.detector.poses import HeadPoses, boxes_of_ellipses, ellipses_of_landmarks, points_of_landmarks
from tddfa.geometry.rotation import VIEW_TO_CAMERA, rotation_from_euler
from tddfa.geometry.six_dof import from_weak_perspective

ANGLES = [(0, 0, 0), (35, 10, -5), (-70, -20, 25), (10, 30, 120), (0, 0, 180)]


@pytest.fixture(scope="module")
def poses(aligner):
    return HeadPoses.of_model(aligner.face_model)


def detected(poses, angles, scale=7.0, at=(200.0, 150.0)):
    """Boxes and rotations of mean faces in known poses, as a perfect detector gives them."""
    cameras = [Camera.from_pose(*each, scale=scale, translation=(*at, 0)) for each in angles]
    landmarks = np.stack([camera.project(poses.landmarks.astype(np.float32))[:, :2] for camera in cameras])
    boxes = boxes_of_ellipses(ellipses_of_landmarks(landmarks))
    return Detections(boxes, np.ones(len(boxes)), rotations=np.stack([camera.rotation for camera in cameras])), cameras


def test_known_heads_are_found_again(poses):
    found, cameras = detected(poses, ANGLES)
    for matrix, camera in zip(poses.cameras(found), cameras, strict=True):
        np.testing.assert_allclose(matrix[:, :3], camera.matrix[:, :3], atol=2e-3)
        np.testing.assert_allclose(matrix[:2, 3], camera.matrix[:2, 3], atol=0.05)


def test_positions_are_those_of_a_pose_solved_head_by_head(poses):
    found, cameras = detected(poses, ANGLES, scale=4.0, at=(420.0, 80.0))
    intrinsics = Intrinsics.from_field_of_view(60, (480, 640))
    for place, camera in zip(poses.translations(found, intrinsics), cameras, strict=True):
        solved = from_weak_perspective(camera.matrix, poses.landmarks, intrinsics)
        assert np.linalg.norm(place - solved.translation) < 0.03 * solved.distance


def test_a_head_in_the_middle_stands_where_its_size_says(poses):
    found, _ = detected(poses, [(0, 0, 0)], scale=8.0, at=(320.0, 240.0))
    intrinsics = Intrinsics.centered(800, (481, 641))
    (place,) = poses.translations(found, intrinsics)
    middle = poses.landmarks.mean(axis=0)
    # the landmarks' centre is at f / scale = 100 cm
    assert (place + VIEW_TO_CAMERA @ middle)[2] == pytest.approx(100, rel=1e-3)


def test_an_ellipse_turns_with_its_landmarks(poses):
    frontal = poses.landmarks[:, :2] * [1, -1]
    width, height, roll = ellipses_of_landmarks(frontal)[2:]
    assert roll == pytest.approx(0, abs=0.02) and 0.8 < width / height < 1
    turn = rotation_from_euler(0, 0, -50)[:2, :2]
    turned = ellipses_of_landmarks(frontal @ turn.T)
    assert np.degrees(turned[4] - roll) == pytest.approx(50, abs=1e-6) or np.degrees(turned[4] - roll) == pytest.approx(
        -50
    )
    np.testing.assert_allclose(turned[2:4], (width, height))


def test_points_of_landmarks():
    landmarks = np.zeros((2, 68, 2))
    landmarks[:, 36:42] = np.arange(6)[:, None]
    landmarks[:, [30, 48, 54]] = [[7, 8], [1, 2], [3, 4]]
    points = points_of_landmarks(landmarks)
    assert points.shape == (2, 5, 2)
    np.testing.assert_allclose(points[1], [[2.5, 2.5], [0, 0], [7, 8], [1, 2], [3, 4]])


def test_no_head(poses):
    none = Detections(np.zeros((0, 4)), np.zeros(0), rotations=np.zeros((0, 3, 3)))
    assert poses.cameras(none).shape == (0, 3, 4)
    assert poses.translations(none, Intrinsics.assumed((48, 64))).shape == (0, 3)


def test_a_detector_without_rotations_is_named(poses, aligner):
    with pytest.raises(ValueError, match="this detector predicts no poses"):
        poses.cameras(Detections([[0, 0, 9, 9]], [1.0]))
    with pytest.raises(ValueError, match="detector: expected one"):
        type(aligner)(aligner.regressor, aligner.decoder).detect_poses(np.zeros((9, 9, 3), np.uint8))


def test_a_detector_gives_positions(poses):
    found, _ = detected(poses, ANGLES[:3])
    detector = Detector(lambda image: found, head_poses=poses)
    image = np.zeros((300, 400, 3), np.uint8)
    given = detector(image)
    assert given.translations.shape == (3, 3) and (given.translations[:, 2] > 0).all()
    near = detector(image, intrinsics=Intrinsics.from_field_of_view(100, (300, 400)))
    assert (near.translations[:, 2] < given.translations[:, 2]).all()
    assert given[given.scores > 2].translations.shape == (0, 3)
    assert detector.with_options().head_poses is poses


def test_faces_of_average_shape(aligner, poses):
    found, cameras = detected(poses, ANGLES[:2])
    faces = aligner.decoder.posed(replace(found, points=np.zeros((2, 5, 2))), (300, 400))
    for face, camera in zip(faces, cameras, strict=True):
        np.testing.assert_allclose(face.camera.matrix[:2], camera.matrix[:2], atol=0.05)
        np.testing.assert_allclose(face.camera.euler_degrees(), camera.euler_degrees(), atol=0.01)
        assert not face.params.shape.any() and not face.params.expression.any()
        rule = aligner.crop
        np.testing.assert_allclose(
            face.roi.fold(face.params.camera, rule.size).matrix, face.camera.matrix, atol=1e-3
        )  # fmt: skip
