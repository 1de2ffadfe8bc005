from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tddfa.bench.face_landmarker import LandmarkedFace
from tddfa.datasets.cfp import POINTS_68
from tddfa.evaluate.benchmarks import hard_cases
from tddfa.evaluate.benchmarks.hard_cases import cfp, closed_eyes, crop_robustness, identity
from tddfa.evaluate.metrics import box_length
from tddfa.evaluate.result import DataMissing, Setup
from tddfa.geometry.camera import Camera
from tddfa.model.config import CropRule
from tddfa.types import Face, Params, Roi


@dataclass
class Scripted:
    """Replaces `tddfa.Aligner`: faces by the brightness of an image."""

    given: dict[int, Face] = field(default_factory=dict)
    detected: dict[int, list[Face]] = field(default_factory=dict)
    names: tuple[str, ...] = closed_eyes.BLINKS
    crop: CropRule = CropRule(120, 0.1, 1.2, 1.25)  # noqa: RUF009

    @property
    def face_model(self):
        return SimpleNamespace(landmark_offsets={"300w": 0}, convention="300w", expression_names=self.names)

    @property
    def decoder(self):
        return SimpleNamespace(
            landmarks=lambda face, convention=None: face.landmarks,
            expression=lambda face: dict(zip(self.names, face.params.expression.tolist(), strict=True)),
        )

    def __call__(self, image, *, rois=None):
        number = round(float(image[..., 0].mean()) / 10)
        return self.detected[number] if rois is None else [self.given[number]]


def made_face(landmarks, yaw=0.0, shape=(1.0, 0.0), blink=(0.0, 0.0)):
    sine, cosine = np.sin(np.radians(yaw)), np.cos(np.radians(yaw))
    rotation = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]]) * np.array([[1], [-1], [1]])
    camera = Camera(np.column_stack([rotation, np.zeros(3)]).astype(np.float32))
    points = np.zeros((68, 3), np.float32)
    points[:, :2] = landmarks
    params = Params(camera.matrix, np.array(shape, np.float32), np.array(blink, np.float32))
    return Face(np.zeros(4, np.float32), 1.0, Roi(0, 0, 10), params, camera, points)


@pytest.fixture
def photos(tmp_path):
    """Writes photos of CFP, 100 px, of brightness 10 k; returns the landmarks that fit in the image that is read."""
    landmarks = np.random.default_rng(3).uniform(20, 80, (68, 2))
    landmarks[0, 0], landmarks[33, 0] = 15, 85

    def write(names):
        folder = tmp_path / "cfp"
        folder.mkdir()
        for number, name in enumerate(names):
            assert cv2.imwrite(str(folder / f"{name}.jpg"), np.full((100, 100, 3), 10 * number, np.uint8))
        points = np.tile(landmarks[list(POINTS_68)], (len(names), 1, 1)).astype(np.float32)
        np.savez(folder / "cfp.npz", names=np.array(names), points=points, profile=["profile" in n for n in names])
        return landmarks + 40

    return write


def test_error_yaw_and_missed_faces_of_turned_faces(tmp_path, photos):
    right = photos(["426_profile_01", "426_profile_02", "426_frontal_01", "425_profile_01"])
    aligner = Scripted()
    aligner.given = {0: made_face(right + np.array([3, 4]), yaw=-50), 1: made_face(right, yaw=20), 2: made_face(right)}
    aligner.detected = {0: [made_face(right + 500), made_face(right + np.array([0, 1]))], 1: [], 2: [made_face(right)]}
    result = cfp.evaluate(Setup(tmp_path, aligner))
    length = box_length(right[list(POINTS_68)])
    assert result.settings == {"split": "report", "persons": 1, "images": 3}
    assert result.value("profile.points") == pytest.approx(100 * 5 / length / 2, rel=1e-5)
    assert result.value("profile.detector") == pytest.approx(100 / length, rel=1e-5)
    assert (result.value("profile.missed"), result.value("frontal.missed")) == (1, 0)
    assert result.value("frontal.points") == pytest.approx(0, abs=1e-5)
    assert result.value("profile.yaw.median") == pytest.approx(35) and result.value("profile.yaw.45-75") == 50
    # the contact sheet shows the file, which has no border
    worst = result.worst[0]
    assert np.array(worst.predicted) - np.array(right + np.array([3, 4]) - 40) == pytest.approx(0, abs=0.01)
    assert Path(worst.path).name == "426_profile_01.jpg"


def test_the_peer_is_measured_on_the_faces_that_it_finds(tmp_path, photos, monkeypatch):
    right = photos(["426_profile_01", "426_profile_02", "426_profile_03"])
    faces = {k: made_face(right + np.array([0, 2 * k])) for k in range(3)}
    aligner = Scripted(faces, {k: [face] for k, face in faces.items()})
    monkeypatch.setattr(cfp, "landmarks_68", lambda points: points[:68])

    def peer(image):
        offset = {0: [6, 8], 1: None, 2: [900, 900]}[round(float(image[..., 0].mean()) / 10)]
        return None if offset is None else LandmarkedFace(right + offset, {})

    result = cfp.evaluate(Setup(tmp_path, aligner), peer=peer)
    length = box_length(right[list(POINTS_68)])
    assert result.value("profile.peer") == pytest.approx(1000 / length)
    assert result.value("profile.peer.missed") == 2
    assert result.value("profile.points.peer_found") == pytest.approx(0, abs=1e-5)
    assert result.value("profile.points") == pytest.approx(200 / length, rel=1e-5)


def test_identity_by_the_cosine_of_the_shape(tmp_path, photos):
    right = photos(["426_profile_01", "426_profile_02", "427_profile_01", "427_frontal_01"])
    shapes = [(1, 0), (2, 0.1), (0, 1), (1, 0)]
    aligner = Scripted({k: made_face(right, shape=shape) for k, shape in enumerate(shapes)})
    result = identity.evaluate(Setup(tmp_path, aligner))
    assert result.value("cosine.auc.profile") == 1
    # the frontal photo looks like the other person's: 0 of 2
    assert result.value("cosine.auc.mixed") == 0
    assert result.value("cosine.auc.all") == pytest.approx((3 + 0) / (2 * 4) + 0.25 * 0, abs=0.13)
    assert result.value("cosine.auc.frontal") is None


def test_identity_limits_persons_not_photos(tmp_path, photos):
    right = photos(["426_profile_01", "426_profile_02", "427_profile_01", "428_profile_01"])
    aligner = Scripted({k: made_face(right, shape=(k, 1)) for k in range(4)})
    assert identity.evaluate(Setup(tmp_path, aligner, limit=1)).settings["images"] == 2


def test_identity_standardises_the_coefficients(tmp_path, photos):
    right = photos(["426_profile_01", "426_profile_02", "427_profile_01", "427_profile_02"])
    shapes = [(1000, 1), (1001, 1.1), (1000.5, -1), (1000.4, -1.1)]
    aligner = Scripted({k: made_face(right, shape=shape) for k, shape in enumerate(shapes)})
    result = identity.evaluate(Setup(tmp_path, aligner))
    assert result.value("standardised.auc.all") > 0.7


@pytest.fixture
def eyes(tmp_path, shape_68):
    """Photos of closed eyes (brightness 0 to 4) and of open ones (5 to 9); by the splits, all are reported."""
    for name, first in (("cew", 0), ("lfpw", 5)):
        (tmp_path / name).mkdir()
        for k in range(5):
            path = tmp_path / name / f"{k}.png"
            assert cv2.imwrite(str(path), np.full((50, 50, 3), 10 * (first + k), np.uint8))
            lines = "\n".join(f"{x} {y}" for x, y in shape_68[:, :2])
            path.with_suffix(".pts").write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")
    return tmp_path


def test_closed_and_open_eyes(eyes, monkeypatch, shape_68):
    monkeypatch.setattr(hard_cases, "_LFPW", {"report": (0, 1)})
    monkeypatch.setattr(hard_cases, "_CLOSED", {"report": (0, 1)})
    closed = [(1, 1), (0.9, 0.5), (0.6, 0.5), (0.3, 0.1), None]
    opened = [(0, 0), (0.1, 0), (0.1, 0), (0.2, 0.2), (0.56, 0.6)]
    points = shape_68[:, :2]
    shut = points.copy()
    for low, high in ((41, 37), (40, 38), (47, 43), (46, 44)):
        shut[low] = shut[high]
    aligner = Scripted()
    for k, blink in enumerate([*closed, *opened]):
        aligner.given[k] = made_face(points if k >= 5 else shut, blink=blink or (1, 1))
        aligner.detected[k] = [] if blink is None else [aligner.given[k]]
    result = closed_eyes.evaluate(Setup(eyes, aligner))
    assert (result.value("given.blink.closed"), result.value("given.ear.auc")) == (80, 1)
    assert (result.value("detector.blink.closed"), result.value("detector.blink.open")) == (60, 20)
    # 0.58 of an open eye is exceeded by two of the closed
    assert result.value("detector.blink.closed.safe") == 40
    assert result.value("detector.blink.auc") == pytest.approx((5 + 5 + 4 + 4 + 0.5) / 25)
    assert result.value("detector.ear.auc") == pytest.approx(20 / 25)
    assert (result.value("detector.closed.missed"), result.value("detector.open.missed")) == (1, 0)
    assert [case.path for case in result.worst] == [f"cew/{k}.png" for k in (3, 2, 1, 0, 4)]


def test_models_without_names_have_no_blink(eyes, monkeypatch, shape_68):
    monkeypatch.setattr(hard_cases, "_LFPW", {"report": (0, 1)})
    monkeypatch.setattr(hard_cases, "_CLOSED", {"report": (0, 1)})
    face = made_face(shape_68[:, :2])
    aligner = Scripted(dict.fromkeys(range(10), face), {k: [face] for k in range(10)}, names=())
    result = closed_eyes.evaluate(Setup(eyes, aligner))
    assert result.value("detector.blink.auc") is None and result.value("detector.blink.closed") is None
    assert result.value("detector.ear.auc") == 0.5
    assert "no weight of a blink" in result.notes[0]


def test_the_peer_of_closed_eyes(eyes, monkeypatch, shape_68):
    monkeypatch.setattr(hard_cases, "_LFPW", {"report": (0, 1)})
    monkeypatch.setattr(hard_cases, "_CLOSED", {"report": (0, 1)})
    monkeypatch.setattr(closed_eyes, "landmarks_68", lambda points: points[:68])
    face = made_face(shape_68[:, :2])
    aligner = Scripted(dict.fromkeys(range(10), face), {k: [face] for k in range(10)})

    def peer(image):
        weight = 0.8 if image.mean() < 45 else 0.1
        return LandmarkedFace(shape_68, dict.fromkeys(closed_eyes.BLINKS, weight))

    result = closed_eyes.evaluate(Setup(eyes, aligner), peer=peer)
    assert (result.value("peer.blink.auc"), result.value("peer.blink.closed.safe")) == (1, 100)


def test_splits_do_not_overlap():
    paths = [Path(f"{k:03d}") for k in range(200)]
    for part in (hard_cases.part_of_lfpw, hard_cases.part_of_closed):
        report, choose = part(paths, "report"), part(paths, "choose")
        assert report and choose and not set(report) & set(choose)
        assert report[-1] == paths[-1] and min(report + choose) >= paths[120]
    assert len(hard_cases.part_of_lfpw(paths, "report")) == 60 and len(hard_cases.part_of_closed(paths, "report")) == 40


def test_inaccurate_crops_cost_accuracy(tmp_path, aligner, astronaut, monkeypatch):
    monkeypatch.setattr(crop_robustness, "_CROPS", 4)
    monkeypatch.setattr(hard_cases, "_LFPW", {"report": (0, 1)})
    (tmp_path / "lfpw").mkdir()
    assert cv2.imwrite(str(tmp_path / "lfpw/a.png"), astronaut)
    (face,) = aligner(astronaut)
    lines = "\n".join(f"{x} {y}" for x, y in face.landmarks[:, :2].astype(float) + 1)
    (tmp_path / "lfpw/a.pts").write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")
    result = crop_robustness.evaluate(Setup(tmp_path, aligner))
    assert 0 < result.value("all.right") < result.value("first.off") < 15
    assert result.value("first.off") == pytest.approx(
        result.value("first.right") * (1 + result.value("first.rise") / 100), rel=1e-4
    )
    assert result.value("all.lost") == 0
    assert result.value("all.off") < result.value("first.off")
    assert crop_robustness.evaluate(Setup(tmp_path, aligner)).figures == result.figures


def test_halves_are_mirrored():
    mirror = crop_robustness.MIRRORED[crop_robustness.RIGHT_HALF]
    both = set(crop_robustness.RIGHT_HALF) & set(mirror)
    assert both == {8, 27, 28, 29, 30, 33, 51, 57, 62, 66}
    assert set(crop_robustness.RIGHT_HALF) | set(mirror) == set(range(68))


@pytest.mark.parametrize("module", [cfp, identity, closed_eyes, crop_robustness])
def test_missing_data(tmp_path, module, aligner):
    with pytest.raises(DataMissing, match="expected DIR/"):
        module.evaluate(Setup(tmp_path, aligner))
