from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tddfa.cli import main
from tddfa.model.mirror import mirrored_landmarks
from tddfa.train.data.crops import Crops
from tddfa.train.data.samples import Sample, write_samples
from tddfa.train.labels import refit
from tddfa.train.labels.refit import inner_labels, labelled_landmarks, predicted_landmarks, refitted


def prepare(*arguments):
    return main(["train", "prepare", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def heads(made_samples, tmp_path_factory, face_model):
    """Six rendered heads."""
    folder = tmp_path_factory.mktemp("heads")
    write_samples(folder, made_samples, face_model)
    return Crops.open([folder])


def narrowed(labels, model):
    """Landmarks with the jaw 6 % nearer to the middle."""
    target = labelled_landmarks(labels, model)
    middle = target[:, [27, 8]].mean(axis=1, keepdims=True)
    seen = target.copy()
    seen[:, :17] = middle + 0.94 * (target[:, :17] - middle)
    return seen


def test_the_jaw_moves_to_its_prediction_and_the_rest_stays(heads, face_model, monkeypatch):
    front = heads.take(np.abs(heads.yaw()) < 11)
    target, seen = labelled_landmarks(front.labels, face_model), narrowed(front.labels, face_model)
    monkeypatch.setattr(refit, "predicted_landmarks", lambda *_: seen)
    labels = refitted(front, None, face_model)
    again = labelled_landmarks(labels, face_model)
    away = np.linalg.norm(again - seen, axis=2)[:, :17].mean(axis=1)
    before = np.linalg.norm(target - seen, axis=2)[:, :17].mean(axis=1)
    assert len(front) == 3
    assert (away < 0.6 * before).all()
    assert np.linalg.norm(again - target, axis=2)[:, 17:].mean(axis=1).max() < 0.7  # px of a face of about 90
    assert (labels.expression == front.labels.expression).all()
    assert (labels.camera == front.labels.camera).all()
    # in depth, the jaw stays where it was
    depth = [
        np.einsum("nj,nkj->nk", front.labels.camera[:, 2, :3], face_model.landmarks(s, front.labels.expression))
        for s in (labels.shape, front.labels.shape)
    ]
    assert np.abs(depth[0] - depth[1])[:, :17].mean() < 1.0


def test_faces_turned_too_far_change_by_the_mean(heads, face_model, monkeypatch):
    monkeypatch.setattr(refit, "predicted_landmarks", lambda some, *_: narrowed(some.labels, face_model))
    change = refitted(heads, None, face_model).shape - heads.labels.shape
    turned = np.abs(heads.yaw()) >= 22
    assert turned.sum() == 2
    mean = change[np.abs(heads.yaw()) < 12].mean(axis=0)
    for each in change[turned]:
        assert each @ mean / (mean @ mean) == pytest.approx(1, abs=0.15)
    none = np.zeros((2, 17, 2))
    camera = heads.labels.camera[turned]
    assert refit.shape_changes(camera, none + 9.0, np.zeros(2), face_model) == pytest.approx(np.zeros((2, 40)))


def test_a_jaw_that_is_right_moves_nothing(heads, face_model, monkeypatch):
    monkeypatch.setattr(refit, "predicted_landmarks", lambda crops, *_: labelled_landmarks(crops.labels, face_model))
    assert refitted(heads, None, face_model).shape == pytest.approx(heads.labels.shape, abs=1e-4)


def test_rows_without_parameters_stay(made_crops, face_model, monkeypatch):
    crops = Crops.open([made_crops])
    monkeypatch.setattr(refit, "predicted_landmarks", lambda some, *_: labelled_landmarks(some.labels, face_model) + 5)
    labels = refitted(crops, None, face_model)
    changed = np.abs(labels.shape - crops.labels.shape).max(axis=1) > 0
    assert changed.tolist() == [True] * 6 + [False] * 2


def test_predicted_landmarks_are_near_the_labels(heads, aligner, face_model):
    target = labelled_landmarks(heads.labels, face_model)
    seen = predicted_landmarks(heads, aligner.regressor, face_model)
    size = np.sqrt(np.prod(np.ptp(target, axis=1), axis=1))
    error = np.linalg.norm(seen - target, axis=2).mean(axis=1) / size
    assert error.max() < 0.09
    assert np.median(error) < 0.04


def test_a_flipped_crop_has_mirrored_landmarks(made_samples, aligner, face_model, tmp_path):
    first = made_samples[1]
    flip = np.diag([-1.0, 1.0, 1.0]).astype(np.float32)
    camera = np.column_stack([flip @ first.camera[:, :3] @ flip, flip @ first.camera[:, 3] + [159, 0, 0]])
    mirrored = Sample(first.crop[:, ::-1].copy(), "m", camera.astype(np.float32), first.shape * 0, first.expression * 0)
    straight = Sample(first.crop, "s", first.camera, first.shape * 0, first.expression * 0)
    write_samples(tmp_path, [straight, mirrored], face_model)
    seen = predicted_landmarks(Crops.open([tmp_path]), aligner.regressor, face_model)
    assert np.abs(seen[1] - mirrored_landmarks(seen[0], 160)).mean() < 0.5


def test_only_the_inner_face_is_known(made_crops, face_model):
    labels = Crops.open([made_crops]).labels
    inner = inner_labels(labels, face_model)
    assert not inner.has_params.any()
    assert np.isnan(inner.landmarks[:6, :17]).all()
    assert inner.landmarks[:6, 17:] == pytest.approx(labelled_landmarks(labels, face_model)[:6, 17:])
    # what had landmarks keeps them
    assert inner.landmarks[6:] == pytest.approx(labels.landmarks[6:], nan_ok=True)
    kept = inner_labels(replace(labels, validation=np.ones(len(labels), dtype=bool)), face_model)
    assert (kept.has_params == labels.has_params).all()


@pytest.mark.parametrize("kind", ["inner", "refitted"])
def test_command(made_crops, tmp_path, capsys, kind):
    assert prepare(kind, tmp_path / "out", "--crops", made_crops) == 0
    assert "8 crops" in capsys.readouterr().out
    before, after = Crops.open([made_crops]), Crops.open([tmp_path / "out"])
    assert after.jpeg(3) == before.jpeg(3)
    assert after.labels.has_params.tolist() == ([False] * 8 if kind == "inner" else [True] * 6 + [False] * 2)
    moved = np.abs(after.labels.shape - before.labels.shape).max(axis=1) > 0
    assert moved.tolist() == [kind == "refitted"] * 6 + [False] * 2
