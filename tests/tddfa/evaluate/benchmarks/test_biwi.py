import numpy as np
import pytest

from builders import make_face
from tddfa._shared import image_io
from tddfa.evaluate.benchmarks import biwi
from tddfa.evaluate.result import DataMissing, Setup
from tddfa.geometry.camera import Camera
from tddfa.synthetic import Head, State, render


def in_opencv(yaw, pitch, roll):
    """Head to camera in OpenCV's frame, from angles about fixed z, x, y (img2pose), written out."""
    y, x, z = np.radians([-yaw, -pitch, roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return about_y @ about_x @ about_z


def write_pose(path, rotation):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [" ".join(f"{v:.6f}" for v in row) + " " for row in rotation]
    path.write_text("\n".join([*lines, "", "12.3 -4.5 900.1 ", ""]))


POSES = ((0, 0, 0), (30, 10, -20), (-50, 20, 10))


@pytest.fixture
def made(tmp_path, scripted, write_image, shape_68):
    """Three frames of two people: predicted exactly, with an error of 5 degrees in yaw, and missed."""
    for i, (yaw, pitch, roll) in enumerate(POSES):
        stem = tmp_path / f"hpdb/{1 + i // 2:02}/frame_{3 + i:05}"
        write_pose(stem.with_name(f"{stem.name}_pose.txt"), in_opencv(yaw, pitch, roll))
        write_image(stem.with_name(f"{stem.name}_rgb.png"), i)
        right = make_face(
            landmarks=shape_68, camera=Camera.from_pose(yaw + (5 if i == 1 else 0), pitch, roll), score=0.95
        )
        doubtful = make_face(landmarks=shape_68, score=0.8)
        aside = make_face(landmarks=np.add(shape_68, [60, 0, 0]), score=0.99)
        scripted.detected[i] = [] if i == 2 else [aside, doubtful, right]
    return tmp_path


def test_known_errors_come_out(made, setup):
    result = biwi.evaluate(setup)
    assert result.value("missed") == 1
    assert result.value("pose.zxy.yaw") == pytest.approx(2.5, abs=1e-3)
    for name in ("pitch", "roll"):
        assert result.value(f"pose.zxy.{name}") == pytest.approx(0, abs=1e-3)
    assert result.value("pose.zxy.mean") == pytest.approx(2.5 / 3, abs=1e-3)
    assert result.value("rotation") == pytest.approx(2.5, abs=1e-3)
    assert 2 < result.value("pose.xyz.yaw") < 3
    assert result.items[1]["zxy.yaw.label"] == pytest.approx(30, abs=1e-3)
    assert result.items[2]["zxy.yaw"] is None
    assert [case.caption for case in result.worst] == ["", "", "missed"]


def test_without_a_high_score_the_highest_is_taken(made, setup, scripted, shape_68):
    away = make_face(landmarks=np.add(shape_68, [60, 0, 0]), camera=Camera.from_pose(*POSES[0]), score=0.7)
    scripted.detected[0] = [away, make_face(landmarks=shape_68, camera=Camera.from_pose(80, 0, 0), score=0.6)]
    assert biwi.evaluate(setup).items[0]["rotation"] == pytest.approx(0, abs=1e-3)


def test_only_images_in_the_list_are_used(made, setup):
    (made / "BIWI_annotations.txt").write_text("../../datasets/BIWI/01/frame_00004_rgb.png 7.6 3.2 -1.5\n")
    result = biwi.evaluate(setup)
    assert [item["image"] for item in result.items] == ["hpdb/01/frame_00004_rgb.png"]
    (made / "BIWI_annotations.txt").write_text("01/frame_09999_rgb.png\n")
    with pytest.raises(ValueError, match=r"BIWI_annotations.txt: expected images in"):
        biwi.evaluate(setup)


def test_missing_data_are_named(setup):
    with pytest.raises(DataMissing, match=r"frame_\*_pose.txt"):
        biwi.evaluate(setup)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "got 0"),
        ("1 0 0\n0 1 0\n0 0 x\n\n1 2 3", "expected numbers"),
        ("2 0 0\n0 1 0\n0 0 1\n\n1 2 3", "expected a rotation"),
        ("1 0 0\n0 1 0\n0 0 -1\n\n1 2 3", "expected a rotation"),
        ("1 0 0\n0 1 0\n0 0 nan\n\n1 2 3", "finite"),
    ],
)
def test_damaged_poses_are_named(made, setup, content, message):
    (made / "hpdb/01/frame_00004_pose.txt").write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        biwi.evaluate(setup)
    assert "frame_00004_pose.txt" in str(caught.value)


def test_rendered_heads(tmp_path, aligner, astronaut):
    """The real aligner on heads at known angles: a wrong sign or order would cause errors of 50 degrees."""
    head = Head.from_photo(astronaut, aligner, size=256)
    for i, angles in enumerate(((0, 0, 0), (35, 10, -15), (-35, -10, 15))):
        image, _ = render((480, 640), [(head, State(*angles, size=150, x=320, y=240))])
        image_io.write(tmp_path / f"01/frame_{i:05}_rgb.png", image)
        write_pose(tmp_path / f"01/frame_{i:05}_pose.txt", in_opencv(*angles))
    result = biwi.evaluate(Setup(tmp_path, aligner))
    assert result.value("missed") == 0
    for name in ("pose.zxy.yaw", "pose.zxy.pitch", "pose.zxy.roll", "pose.xyz.mean", "rotation"):
        assert result.value(name) < 6
