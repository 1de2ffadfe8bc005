"""Generated data sets, and an aligner with given predictions, so that every error is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tddfa.crop import roi_from_landmarks
from tddfa.evaluate.result import Setup
from tddfa.model.assets import config_path
from tddfa.model.config import CropRule
from tddfa.model.face_model import FaceModel
from tddfa.types import Face, Roi


@cache
def mean_landmarks():
    """Landmarks (68, 3) of the open face model's mean face."""
    model = FaceModel.load(config_path("open_mb05").with_name("open_face.npz"))
    return model.landmarks(np.zeros(model.shape_count, np.float32), np.zeros(model.expression_count, np.float32))


@dataclass
class Scripted:
    """Replaces `tddfa.Aligner`: the first pixel of an image is its number."""

    given: dict[int, Face] = field(default_factory=dict)
    detected: dict[int, list[Face]] = field(default_factory=dict)
    crop: CropRule = CropRule(120, 0.1, 1.2, 1.25)  # noqa: RUF009
    rois: dict[int, Roi] = field(default_factory=dict)
    device: str = "cpu"
    # offset of all points
    conventions: dict[str, list[float]] = field(default_factory=lambda: {"300w": [0, 0, 0]})

    @property
    def face_model(self):
        return SimpleNamespace(
            landmark_offsets=self.conventions,
            convention=next(iter(self.conventions)),
            landmark_offset=lambda name: np.array(self.conventions[name], np.float32),
            shape_count=0,
            expression_count=0,
            landmarks=lambda *_: mean_landmarks(),
        )

    @property
    def decoder(self):
        return SimpleNamespace(landmarks=self.landmarks, convention=self.face_model.convention)

    def landmarks(self, face, convention=None):
        return face.landmarks + np.array(self.conventions[convention or self.face_model.convention], np.float32)

    def __call__(self, image, *, boxes=None, rois=None):
        number = int(image[0, 0, 0])
        if rois is None:
            return self.detected[number]
        (self.rois[number],) = rois
        return [self.given[number]]


@pytest.fixture
def scripted():
    return Scripted()


@pytest.fixture(scope="session")
def write_image():
    """Writes an image that `Scripted` knows by its number."""

    def write(path, number, size=(200, 200)):
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.full((*size, 3), number, dtype=np.uint8))

    return write


@pytest.fixture(scope="session")
def shape_68(aligner):
    """Landmarks (68, 3) of the mean face, px, about (100, 100), 100 px high."""
    model = aligner.face_model
    points = model.landmarks(np.zeros(model.shape_count, np.float32), np.zeros(model.expression_count, np.float32))
    points = points.astype(np.float64) * [1, -1, 1]
    points -= (points.min(axis=0) + points.max(axis=0)) / 2
    return points * 100 / np.ptp(points[:, 1]) + [100, 100, 0]


@pytest.fixture
def setup(tmp_path, scripted):
    return Setup(tmp_path, scripted)


@pytest.fixture(scope="session")
def roi_rule():
    return roi_from_landmarks
