"""Predictions of a teacher: several scales, one file per folder, damaged files."""

from __future__ import annotations

import numpy as np
import pytest

from FaceBoxes import Detections
from tddfa.detector.poses import points_of_landmarks
from tddfa.geometry.camera import Camera
from tddfa.train.detector.predictions import (
    PredictionsError,
    predict,
    read_predictions,
    with_rotations,
    write_predictions,
)
from tddfa.types import Face, Params, Roi


def square(image):
    """A detector of a white square, which sees it only from 20 to 60 px."""
    y, x = np.nonzero(image[..., 0] > 127)
    if not len(x) or not 20 <= np.ptp(x) + 1 <= 60:
        return Detections(np.empty((0, 4)), [], np.empty((0, 5, 2)))
    box = [x.min(), y.min(), x.max() + 1, y.max() + 1]
    return Detections([box], [0.9], np.tile([[(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]], (5, 1))[None])


@pytest.mark.parametrize("side", [12, 40, 110])
def test_faces_of_any_size_are_found_where_they_are(side):
    image = np.zeros((160, 200, 3), dtype=np.uint8)
    image[20 : 20 + side, 30 : 30 + side] = 255
    faces = predict(square, image)
    assert len(faces) == 1
    # landmarks count from the centre of the first px
    np.testing.assert_allclose(faces.xyxy[0], np.array([30, 20, 30 + side, 20 + side]) - 0.5, atol=2)
    np.testing.assert_allclose(faces.points[0], [[29.5 + side / 2, 19.5 + side / 2]] * 5, atol=2)


def test_a_teacher_without_points_is_refused():
    with pytest.raises(ValueError, match="predicts five points"):
        predict(lambda _: Detections([[0, 0, 4, 4]], [0.9]), np.zeros((40, 40, 3), np.uint8))


# x and y of a model are those of an image, but for the direction of y
UPRIGHT, ROLLED = np.diag([1.0, -1.0, 1.0]), np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def aligned(left, score, rows=UPRIGHT):
    """A face of 40 x 40 px, and its camera's rotation."""
    landmarks = np.stack(np.meshgrid(np.linspace(left, left + 40, 17), np.linspace(10, 50, 4), 0), axis=-1)
    camera = Camera(np.concatenate([20 * rows, np.zeros((3, 1))], axis=1))
    params = Params(np.zeros((3, 4)), np.zeros(1), np.zeros(1))
    return Face(np.array([left, 10, left + 40, 50]), score, Roi(left, 10, 40), params, camera, landmarks.reshape(68, 3))


def test_a_face_takes_rotation_and_points_of_its_sure_alignment():
    found = Detections([[8, 8, 52, 52], [108, 8, 152, 52], [208, 8, 252, 52]], [0.9] * 3, np.zeros((3, 5, 2)))
    faces = [aligned(110, 0.95, ROLLED), aligned(10, 0.9), aligned(210, 0.5), aligned(400, 0.99)]
    both = with_rotations(found, faces)
    np.testing.assert_allclose(both.rotations[:2], [np.eye(3), faces[0].camera.rotation], atol=1e-6)
    assert not np.allclose(faces[0].camera.rotation, np.eye(3))
    np.testing.assert_allclose(both.points[1], points_of_landmarks(faces[0].landmarks[:, :2]), atol=1e-4)
    assert np.isnan(both.rotations[2]).all() and not both.points[2].any()
    assert np.isnan(with_rotations(found, []).rotations).all() and not len(with_rotations(found[[]], faces))


def test_a_file_gives_what_was_written(tmp_path):
    rotations = np.stack([np.eye(3), np.full((3, 3), np.nan)])
    one = Detections([[1, 2, 30, 40], [5, 5, 9, 9]], [0.9, 0.4], np.arange(20).reshape(2, 5, 2), rotations)
    empty = Detections(np.empty((0, 4)), [], np.empty((0, 5, 2)))
    path = write_predictions(tmp_path / "p.npz", [("a.jpg", one), ("b.jpg", empty), ("c.jpg", one[:1])])
    np.testing.assert_array_equal(read_predictions(path)["a.jpg"].rotations, one.rotations)
    read = read_predictions(path)
    assert list(read) == ["a.jpg", "b.jpg", "c.jpg"] and [len(faces) for faces in read.values()] == [2, 0, 1]
    assert (read["a.jpg"].points == one.points).all() and (read["c.jpg"].xyxy == one.xyxy[:1]).all()
    assert read_predictions(write_predictions(tmp_path / "none.npz", [])) == {}


def test_a_file_without_rotations_is_read(tmp_path):
    path = write_predictions(tmp_path / "p.npz", [("a", Detections([[1, 2, 3, 4]], [0.9], np.ones((1, 5, 2))))])
    with np.load(path) as arrays:
        np.savez(path, **{key: arrays[key] for key in ("name", "count", "xyxy", "scores", "points")})
    faces = read_predictions(path)["a"]
    assert faces.rotations.shape == (1, 3, 3) and np.isnan(faces.rotations).all() and (faces.points == 1).all()


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "p.npz"
    with pytest.raises(FileNotFoundError, match=r"p\.npz: no such file"):
        read_predictions(path)
    good = {"name": np.array(["a"]), "count": np.array([1])}
    good |= {"xyxy": np.zeros((1, 4)), "scores": np.zeros(1), "points": np.zeros((1, 5, 2))}
    for change, message in (
        ({"count": np.array([2])}, "expected 2 faces, got 1"),
        ({"count": np.array([-1])}, "expected names and counts"),
        ({"points": np.zeros((1, 4, 2))}, r"points: expected shape \(1, 5, 2\)"),
    ):
        np.savez(path, **(good | change))
        with pytest.raises(PredictionsError, match=message):
            read_predictions(path)
    path.write_bytes(b"no archive")
    with pytest.raises(PredictionsError, match=r"p\.npz: not a file of predictions"):
        read_predictions(path)
