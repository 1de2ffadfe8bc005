"""Known rotations of a scripted detector give known errors, at both sizes."""

import numpy as np
import pytest
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from tddfa import Detections, Detector
from tddfa.evaluate.benchmarks import detector_pose
from tddfa.evaluate.result import DataMissing

YAWS = (10, 45, -70, 120)


@pytest.fixture
def made(tmp_path, write_image, shape_68):
    for i, yaw in enumerate(YAWS):
        path = tmp_path / f"AFLW2000/image{i:05}.png"
        write_image(path, 10 * i)
        savemat(
            path.with_suffix(".mat"), {"pt3d_68": shape_68.T, "Pose_Para": np.radians([[5.0, yaw, 3.0, 0, 0, 0, 0]])}
        )
    return tmp_path


def rotation(yaw, pitch, roll):
    return Rotation.from_euler("XYZ", [-pitch, -yaw, -roll], degrees=True).as_matrix()


def script(shape_68):
    """A detector that is 4 degrees off in pitch, 2 more and without the second face on shrunk images."""
    x1, y1 = shape_68[:, :2].min(axis=0)
    x2, y2 = shape_68[:, :2].max(axis=0)

    def detect(image):
        number, scale = int(image[0, 0, 0]) // 10, image.shape[0] / 200
        if number == 1 and scale < 1:
            return Detections(np.zeros((0, 4)), np.zeros(0), rotations=np.zeros((0, 3, 3)))
        box = np.array([x1, y1, x2, y2]) * scale
        right = rotation(YAWS[number], 9 + 2 * (scale < 1), 3)
        # a likelier face elsewhere does not count
        return Detections([box + 500, box], [0.9, 0.8], rotations=[np.eye(3), right])

    return Detector(detect)


def test_known_errors_come_out(made, setup, scripted, shape_68):
    scripted.detector = script(shape_68)
    result = detector_pose.evaluate(setup)
    assert result.value("left_out") == 1
    assert [result.value(f"native.{name}") for name in ("yaw", "pitch", "roll")] == pytest.approx([0, 4, 0], abs=1e-3)
    assert [result.value(f"small.{name}") for name in ("yaw", "pitch", "roll")] == pytest.approx([0, 6, 0], abs=1e-3)
    assert result.value("native.mean") == pytest.approx(4 / 3, abs=1e-3)
    assert result.value("native.missed") == 0 and result.value("small.missed") == 1


def test_a_detector_without_rotations_is_named(made, setup, scripted, shape_68):
    found = Detections([[0, 0, 50, 50]], [0.9])
    scripted.detector = Detector(lambda image: found)
    with pytest.raises(DataMissing, match="predicts no rotations"):
        detector_pose.evaluate(setup)
