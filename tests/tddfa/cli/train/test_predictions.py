"""``tddfa train predictions``: a teacher's faces of a folder of images or of crops, in the file the training reads."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from FaceBoxes import Detections
from tddfa.aligner import Aligner
from tddfa.cli import main
from tddfa.detector import Detector
from tddfa.geometry.camera import Camera
from tddfa.train.detector.predictions import read_predictions
from tddfa.types import Face, Params, Roi


def brightest(image):
    """Detector of bright squares."""
    y, x = np.nonzero(image[..., 0] > 127)
    if not len(x):
        return Detections(np.empty((0, 4)), [], np.empty((0, 5, 2)))
    box = [x.min(), y.min(), x.max() + 1, y.max() + 1]
    return Detections([box], [0.8], np.tile([[box[0], box[1]]], (5, 1))[None])


class Adjustable:
    """A detector with a minimum score, as `Detector.with_options` sets it."""

    score = 0.3

    def with_options(self, **options):
        assert options == {"score": 0.3}
        return brightest


@pytest.fixture
def teacher(monkeypatch):
    monkeypatch.setattr(Detector, "load", classmethod(lambda cls, *_, **__: Adjustable()))


def test_images_of_a_folder(tmp_path, teacher, capsys):
    (tmp_path / "in/deep").mkdir(parents=True)
    image = np.zeros((60, 80, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "in/a.png"), image)
    image[20:40, 30:50] = 255
    cv2.imwrite(str(tmp_path / "in/deep/b.png"), image)
    assert main(["train", "predictions", str(tmp_path / "in"), str(tmp_path / "out.npz")]) == 0
    assert "1 faces in 2 images" in capsys.readouterr().out
    faces = read_predictions(tmp_path / "out.npz")
    assert list(faces) == ["a.png", "b.png"] and len(faces["a.png"]) == 0
    np.testing.assert_allclose(faces["b.png"].xyxy, [[29.5, 19.5, 49.5, 39.5]], atol=1)


def test_an_aligner_adds_rotations(tmp_path, teacher, monkeypatch):
    image = np.zeros((60, 80, 3), dtype=np.uint8)
    image[20:40, 30:50] = 255
    cv2.imwrite(str(tmp_path / "a.png"), image)
    loaded = []

    def load(config, threads):
        loaded.append(config)
        landmarks = np.stack(np.meshgrid(np.linspace(30, 50, 17), np.linspace(20, 40, 4), 0), axis=-1).reshape(68, 3)
        upright = Camera(np.column_stack([np.diag([9.0, -9.0, 9.0]), np.zeros(3)]))
        params = Params(np.zeros((3, 4)), np.zeros(1), np.zeros(1))
        return lambda image: [Face(np.array([30, 20, 50, 40]), 0.95, Roi(30, 20, 20), params, upright, landmarks)]

    monkeypatch.setattr(Aligner, "load", load)
    assert main(["train", "predictions", str(tmp_path), str(tmp_path / "o.npz"), "--aligner", "open_mb05"]) == 0
    np.testing.assert_allclose(read_predictions(tmp_path / "o.npz")["a.png"].rotations, np.eye(3)[None], atol=1e-6)
    assert loaded == ["open_mb05"]


def test_crops_are_named_by_their_number(tmp_path, teacher):
    from tddfa.train.data.shards import Labels, write_shard

    done, data = cv2.imencode(".jpg", np.zeros((160, 160, 3), dtype=np.uint8))
    assert done
    write_shard(
        tmp_path / "in", [data.tobytes()] * 2, Labels.of(np.zeros((2, 3, 4)), np.zeros((2, 1)), np.zeros((2, 1)), "x")
    )
    assert main(["train", "predictions", str(tmp_path / "in"), str(tmp_path / "out.npz")]) == 0
    assert list(read_predictions(tmp_path / "out.npz")) == ["000000.jpg", "000001.jpg"]


def test_a_folder_without_images_is_named(tmp_path, teacher, capsys):
    assert main(["train", "predictions", str(tmp_path), str(tmp_path / "out.npz")]) == 1
    assert "expected images" in capsys.readouterr().err and not (tmp_path / "out.npz").exists()
