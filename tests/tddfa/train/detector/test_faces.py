"""Faces as ellipses: their boxes, and how they move with an image, against dense outlines and NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from tddfa.crop import roll_of_points
from tddfa.geometry.rotation import rotation_from_euler
from tddfa.train.detector.faces import Faces

UPRIGHT = np.array([[40.0, 50], [60, 50], [50, 62], [43, 74], [57, 74]])


def similarity(scale, degrees, flip=False, offset=(0.0, 0.0)):
    a = np.radians(degrees)
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return np.column_stack([scale * turn @ np.diag([-1.0 if flip else 1.0, 1]), offset])


def outline(ellipse, count=3600):
    x, y, width, height, roll = ellipse
    t = np.linspace(0, 2 * np.pi, count)
    own = np.stack([width / 2 * np.cos(t), height / 2 * np.sin(t)], axis=1)
    return own @ np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]]) + (x, y)


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 135, 180, 271])
def test_the_box_is_that_of_the_ellipse(degrees):
    faces = Faces([[50, 60, 30, 44, np.radians(degrees)]], np.full((1, 5, 2), np.nan), [False])
    points = outline(faces.ellipses[0])
    np.testing.assert_allclose(faces.xyxy[0], [*points.min(axis=0), *points.max(axis=0)], atol=1e-4)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("degrees", [0, 37, -120, 180])
def test_outline_and_points_move_with_the_image(degrees, flip):
    matrix = similarity(1.7, degrees, flip, (12, -5))
    faces = Faces([[50, 62, 30, 44, 0.3]], UPRIGHT[None], [False])
    moved = faces.moved(matrix)
    wanted = outline(faces.ellipses[0]) @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(moved.xyxy[0], [*wanted.min(axis=0), *wanted.max(axis=0)], atol=1e-3)
    assert moved.size[0] == pytest.approx(1.7 * faces.size[0])
    # the face's right eye stays its right eye only if the image is not flipped
    order = [1, 0, 2, 4, 3] if flip else range(5)
    np.testing.assert_allclose(moved.points[0], (UPRIGHT @ matrix[:, :2].T + matrix[:, 2])[list(order)], atol=1e-9)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("degrees", [0, 37, -120, 180])
def test_rotations_move_with_the_image(degrees, flip, rng):
    matrix = similarity(1.7, degrees, flip)
    rotation, head = rotation_from_euler(35, -20, 15), rng.normal(size=(20, 3))

    def seen(rotation, points):
        return (points @ rotation.T)[:, :2] * [1, -1]

    faces = Faces([[50, 62, 30, 44, 0.3]], UPRIGHT[None], [False], rotation[None])
    (moved,) = faces.moved(matrix).rotations
    # the flipped head is a mirrored one
    mirrored = head * [-1, 1, 1] if flip else head
    np.testing.assert_allclose(1.7 * seen(moved, mirrored), seen(rotation, head) @ matrix[:, :2].T, atol=1e-9)
    assert np.linalg.det(moved) == pytest.approx(1)


@pytest.mark.parametrize("degrees", [0, 25, 90, -135, 179])
def test_the_roll_of_points_and_of_a_moved_face_agree(degrees):
    matrix = similarity(2.0, degrees)
    moved = Faces.of_boxes([[30, 40, 70, 90]], UPRIGHT[None]).moved(matrix)
    measured = np.degrees(roll_of_points(moved.points)[0])
    assert (measured - degrees + 180) % 360 - 180 == pytest.approx(0, abs=1e-6)
    assert np.degrees(moved.ellipses[0, 4]) == pytest.approx(measured, abs=1e-6)


def test_an_upright_box_is_kept_and_one_of_a_rolled_face_keeps_its_area():
    box = [[30.0, 40, 70, 90]]
    np.testing.assert_allclose(Faces.of_boxes(box, UPRIGHT[None]).xyxy, box)
    np.testing.assert_allclose(Faces.of_boxes(box).xyxy, box)
    rolled = UPRIGHT @ similarity(1, 60)[:, :2].T
    faces = Faces.of_boxes(box, rolled[None])
    assert faces.ellipses[0, 2] * faces.ellipses[0, 3] == pytest.approx(40 * 50)
    assert faces.ellipses[0, 2] < faces.ellipses[0, 3]


def test_parts_are_joined_and_taken():
    faces = Faces.joined(Faces.none(), Faces.of_boxes([[0, 0, 10, 10], [5, 5, 25, 35]], ignored=[False, True]))
    assert len(faces) == 2 and faces.take(faces.ignored).xyxy.tolist() == [[5, 5, 25, 35]]
    assert faces.ignoring([True, False]).ignored.all()
    assert faces.shifted(3, -1).xyxy[0].tolist() == [3, -1, 13, 9]
    assert faces.rotations.shape == (2, 3, 3) and np.isnan(faces.rotations).all()
    with pytest.raises(ValueError, match="expected equal numbers of ellipses, points and ignored, got 1, 0 and 1"):
        Faces(np.zeros((1, 5)), np.zeros((0, 5, 2)), [False])
