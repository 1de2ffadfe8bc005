from dataclasses import replace

import numpy as np
import pytest

from tddfa.bench.face_landmarker import LandmarkedFace
from tddfa.cli import main
from tddfa.geometry.camera import Camera
from tddfa.landmarks68 import INNER, JAW
from tddfa.model.mirror import mirrored_landmarks
from tddfa.train.data.crops import Crops
from tddfa.train.labels import blended
from tddfa.train.labels.blended import Offsets, known_landmarks, relabelled
from tddfa.train.labels.refit import labelled_landmarks


def faces(model, count=40, seed=0):
    """Landmarks (n, 68, 2) of faces of any roll and size."""
    rng = np.random.default_rng(seed)
    flat = model.landmarks(np.zeros(model.shape_count, np.float32), np.zeros(model.expression_count, np.float32))
    cameras = [
        Camera.from_pose(
            rng.uniform(-15, 15), rng.uniform(-10, 10), rng.uniform(-60, 60), rng.uniform(5, 12), (80, 80, 0)
        )
        for _ in range(count)
    ]
    return np.stack([camera.project(flat)[:, :2] for camera in cameras]).astype(np.float64)


def test_offsets_turn_and_grow_with_the_face(face_model):
    truth = faces(face_model)
    offsets = Offsets(np.random.default_rng(1).normal(0, 0.03, (68, 2)))
    offsets = replace(offsets, values=(offsets.values + offsets.values[list(blended.MIRRORED)] * [-1, 1]) / 2)
    # what `removed` takes away of landmarks that are off by much less than their size
    moved = truth + (truth - offsets.removed(truth))
    measured = Offsets.measure(moved, truth)
    assert measured.values == pytest.approx(offsets.values, abs=1e-9)
    # the frame of moved landmarks is that of the true ones but for a few per cent of the offset
    assert np.abs(measured.removed(moved) - truth).max() < 0.12 * np.abs(moved - truth).max()


def test_offsets_are_the_same_for_mirrored_faces(face_model):
    truth = faces(face_model)
    predicted = truth + np.random.default_rng(2).normal(0, 1, truth.shape) + [1.5, 0.5]
    mirrored = [np.stack([mirrored_landmarks(each, 160) for each in points]) for points in (predicted, truth)]
    one, other = Offsets.measure(predicted, truth), Offsets.measure(*mirrored)
    assert one.values == pytest.approx(other.values, abs=1e-9)


def test_unknown_landmarks_do_not_count(face_model):
    truth = faces(face_model)
    truth[3, 30] = np.nan
    truth[:, JAW] = np.nan
    measured = Offsets.measure(np.nan_to_num(truth) + np.array([0, 2]), truth).values
    assert np.isfinite(measured).all() and (measured[JAW] == 0).all()
    truth[:, 30] = np.nan
    with pytest.raises(ValueError, match="truth: expected each landmark inside the face"):
        Offsets.measure(np.nan_to_num(truth), truth)


@pytest.fixture(scope="module")
def crops(made_crops):
    return Crops.open([made_crops])


def test_centred_labels_lie_where_they_are_seen(crops, face_model):
    labels = crops.take(crops.labels.has_params).labels
    own = known_landmarks(labels, face_model)
    rng = np.random.default_rng(0)
    moved = blended.centred(labels, own + rng.normal([-0.7, 0.4], 0.01, own.shape), face_model)
    after = known_landmarks(moved, face_model)
    assert (after - own)[..., 0].mean() == pytest.approx(-0.7, abs=0.1)
    assert (after - own)[..., 1] == pytest.approx(0, abs=1e-4)
    # the shift is the same fraction of each face
    shift = (after - own)[..., 0].mean(axis=1) / np.ptp(own[:, INNER], axis=1).max(axis=1)
    assert np.ptp(shift) < 1e-3 * np.abs(shift).max()


def test_landmarks_beside_unknown_ones_are_kept(crops, face_model):
    labels = crops.labels
    partly = labels.landmarks.copy()
    partly[6, 30] = np.nan
    own = known_landmarks(labels, face_model)
    moved = blended.centred(replace(labels, landmarks=partly), own + 1, face_model)
    np.testing.assert_array_equal(moved.landmarks[6], partly[6])
    assert (moved.camera - labels.camera)[:6, 0, 3] == pytest.approx(1, abs=0.2)


def test_labels_between_network_and_teacher(crops, face_model):
    labels = crops.labels
    own = labelled_landmarks(labels, face_model).astype(np.float64)
    yaw = np.array([0, 5, 30, -30, 50, -60, 0, 0.0])
    below = np.array([0.0, 1.0])
    predicted, taught = own + below, own - below
    taught[1] = np.nan
    after, fitted = blended.blended(labels, predicted, taught, yaw, face_model)
    expected = labels.has_params & labels.face & (np.abs(yaw) < 45)
    expected[1] = False
    assert fitted.tolist() == expected.tolist() and fitted.any() and not fitted.all()
    up = (after.landmarks - own)[fitted][:, INNER, 1].mean(axis=1)
    weight = 0.6 * np.clip((45 - np.abs(yaw[fitted])) / 25, 0, 1)
    assert up == pytest.approx(1 - 2 * weight, abs=1e-3)
    fits = labelled_landmarks(after, face_model)
    assert np.abs(fits - after.landmarks)[fitted].mean() < 0.25
    assert after.landmarks[fitted][:, JAW] == pytest.approx(fits[fitted][:, JAW], abs=1e-3)
    assert (after.camera[~fitted] == labels.camera[~fitted]).all()
    assert np.isnan(after.landmarks[1]).all() == np.isnan(labels.landmarks[1]).all()


def test_a_teacher_that_sees_another_face_does_not_count(crops, face_model):
    own = labelled_landmarks(crops.labels, face_model).astype(np.float64)
    _, fitted = blended.blended(crops.labels, own, own + 20, np.zeros(len(own)), face_model)
    assert not fitted.any()


class Teacher:
    """Sees the labelled faces `offset` px aside; none in crops of `blind` rows."""

    def __init__(self, crops, model, offset, blind=()):
        labels, self.faces = crops.labels, {}
        for row in np.flatnonzero(labels.has_params):
            if row not in blind:
                points = Camera(labels.camera[row]).project(
                    model.points("mediapipe", labels.shape[row], labels.expression[row])
                )
                self.faces[crops.image(row).tobytes()] = points + np.array([*offset, 0])

    def __call__(self, image):
        border = (image.shape[1] - 160) // 2
        points = self.faces.get(np.ascontiguousarray(image[border:-border, border:-border]).tobytes())
        return None if points is None else LandmarkedFace(points + np.array([border, border, 0]), {})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def test_what_is_always_off_in_the_same_way_moves_nothing(crops, aligner, face_model):
    def run(offset):
        teacher = Teacher(crops, face_model, offset, blind=[2])
        return relabelled(crops, crops, aligner.regressor, face_model, teacher)

    (labels, report), (others, _) = run((0, 0)), run((0, -2))
    frontal = crops.labels.has_params & (np.abs(crops.yaw()) < 20)
    frontal[2] = False
    assert report.fitted >= frontal.sum() > 0
    assert set(report.errors) == {"network", "teacher", "blend"} and 0 < max(report.errors.values()) < 5
    one, other = (labelled_landmarks(each, face_model)[frontal][:, INNER] for each in (labels, others))
    assert np.abs(one - other).mean() < 0.3
    assert (labels.shape[2] == crops.labels.shape[2]).all()


def test_no_frontal_face_to_calibrate_on(crops, aligner, face_model):
    truth = crops.take(~crops.labels.has_params)
    with pytest.raises(ValueError, match="truth: expected frontal faces"):
        relabelled(crops, truth, aligner.regressor, face_model, Teacher(crops, face_model, (0, 0)))


def test_commands(made_crops, crops, face_model, tmp_path, capsys, monkeypatch):
    label = ["train", "label"]
    assert main([*label, "centred", str(made_crops), str(tmp_path / "centred")]) == 0
    assert "8 crops, labels moved by" in capsys.readouterr().out
    after = Crops.open([tmp_path / "centred"])
    assert after.jpeg(3) == crops.jpeg(3) and (after.labels.camera[:6, 0, 3] != crops.labels.camera[:6, 0, 3]).all()
    peer = ["--peer-mediapipe", "python", "--face-landmarker", str(tmp_path / "model.task")]
    assert main([*label, "blended", str(made_crops), str(tmp_path / "blended"), *peer]) == 2
    assert "blended: expected --truth FOLDER" in capsys.readouterr().err
    assert main([*label, "blended", str(made_crops), str(tmp_path / "blended"), "--truth", str(made_crops)]) == 2
    assert "blended: expected --peer-mediapipe PYTHON" in capsys.readouterr().err
    (tmp_path / "model.task").touch()
    teacher = Teacher(crops, face_model, (1, 0))
    monkeypatch.setattr("tddfa.bench.face_landmarker.FaceLandmarker", lambda *_: teacher)
    done = main([*label, "blended", str(made_crops), str(tmp_path / "blended"), "--truth", str(made_crops), *peer])
    printed = capsys.readouterr().out
    assert done == 0 and "fitted anew" in printed and "teacher" in printed
    assert len(Crops.open([tmp_path / "blended"])) == 8
