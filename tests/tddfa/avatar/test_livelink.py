import csv
import math

import numpy as np
import pytest

from tddfa.avatar import Performer, open_take
from tddfa.avatar.livelink import timecode
from tddfa.video import Frame

BLACK = np.zeros((400, 400, 3), np.uint8)


@pytest.fixture
def record(decoder, tmp_path):
    def write(frames, fps=30.0):
        path = tmp_path / "take.livelink.csv"
        with open_take(path, Performer(decoder, "none"), fps=fps) as take:
            for index, faces in enumerate(frames):
                take.add(Frame(BLACK, index, index / fps), faces)
        if not path.exists():
            return take, None
        with path.open(newline="") as file:
            return take, list(csv.DictReader(file))

    return write


def test_columns_are_those_of_pylivelinkface(record, face_with):
    blend_shape = pytest.importorskip("pylivelinkface").FaceBlendShape
    _, (row,) = record([[face_with()]])
    assert list(row) == ["Timecode", "BlendShapeCount", *(shape.name for shape in blend_shape)]
    assert len(blend_shape) == 61


def test_weights_and_angles(record, face_with):
    face = face_with(jawOpen=0.25, eyeLookOutLeft=0.5, angles=(20, -10, 5))
    _, (row,) = record([[face]])
    assert (row["Timecode"], row["BlendShapeCount"]) == ("00:00:00:00.000", "61")
    assert (float(row["JawOpen"]), float(row["EyeLookOutLeft"]), float(row["MouthPucker"])) == (0.25, 0.5, 0.0)
    head = [float(row[f"Head{angle}"]) for angle in ("Yaw", "Pitch", "Roll")]
    np.testing.assert_allclose(np.degrees(head), [20, -10, 5], atol=1.5)
    assert float(row["LeftEyeYaw"]) == pytest.approx(math.radians(15), abs=1e-3)
    assert float(row["RightEyeYaw"]) == pytest.approx(0, abs=1e-3)


def test_one_track_and_frames_without_it(record, face_with):
    frames = [[], [face_with(2, jawOpen=0.5), face_with(5)], [face_with(5)], [face_with(2)]]
    take, rows = record(frames)
    assert [row["BlendShapeCount"] for row in rows] == ["0", "61", "0", "61"]
    assert [row["JawOpen"] for row in rows] == ["", "0.500000", "", "0.000000"]
    assert take.others == {5}


def test_no_face_no_file(record):
    take, rows = record([[], []])
    assert (take.faces, rows) == (0, None)


@pytest.mark.parametrize(
    ("seconds", "fps", "text"),
    [
        (0, 60, "00:00:00:00.000"),
        (1 / 60, 60, "00:00:00:01.000"),
        (0.9999999, 30, "00:00:01:00.000"),
        (3725.5, 24, "01:02:05:12.000"),
        (2.02, 29.97, "00:00:02:00.599"),
    ],
)
def test_timecodes(seconds, fps, text):
    assert timecode(seconds, fps) == text
