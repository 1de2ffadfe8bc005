"""Faces as objects of supervision, drawn and filtered by the real library."""

import subprocess
import sys

import numpy as np
import pytest

from builders import make_face
from tddfa import Camera, landmarks68

sv = pytest.importorskip("supervision")

from tddfa.integrations.supervision import EDGES, detections, key_points  # noqa: E402  (supervision may be missing)

GRID = np.stack([20 + 20 * (np.arange(68) % 12), 20 + 20 * (np.arange(68) // 12)], axis=1)
"""Landmarks (68, 2) that are far apart, so that each can be seen in a drawing."""


def turned(yaw, pitch=0, roll=0, **options):
    return make_face(camera=Camera.from_pose(yaw, pitch, roll), **options)


class TestDetections:
    def test_boxes_scores_and_pose_are_those_of_the_faces(self):
        found = detections([turned(30, -10, 5, box=[1, 2, 30, 40], score=0.75), turned(-60, box=[5, 6, 7, 8])])
        np.testing.assert_array_equal(found.xyxy, np.float32([[1, 2, 30, 40], [5, 6, 7, 8]]))
        np.testing.assert_array_equal(found.confidence, np.float32([0.75, 1]))
        assert found.class_id.tolist() == [0, 0]
        assert found["class_name"].tolist() == ["face", "face"]
        angles = np.stack([found["yaw"], found["pitch"], found["roll"]], axis=1)
        np.testing.assert_allclose(angles, [[30, -10, 5], [-60, 0, 0]], atol=1e-3)

    def test_supervision_filters_by_pose(self):
        kept = detections([turned(30), turned(-60), turned(10)])
        kept = kept[np.abs(kept["yaw"]) < 45]
        np.testing.assert_allclose(kept["yaw"], [30, 10], atol=1e-3)

    def test_track_ids(self):
        assert detections([make_face()]).tracker_id is None
        assert detections([make_face(track_id=7), make_face(), make_face(track_id=0)]).tracker_id.tolist() == [7, -1, 0]

    def test_no_faces_are_no_detections(self):
        found = detections([])
        assert found.is_empty()
        assert found.xyxy.shape == (0, 4)
        image = np.zeros((40, 40, 3), np.uint8)
        assert not sv.LabelAnnotator().annotate(image, found).any()
        assert len(sv.Detections.merge([found, detections([make_face()])])) == 1

    def test_boxes_and_names_are_drawn(self):
        image = np.zeros((100, 100, 3), np.uint8)
        found = detections([make_face(box=[20, 40, 80, 90], track_id=3)])
        drawn = sv.BoxAnnotator(thickness=1).annotate(image.copy(), found)
        assert drawn[40, 20:80].any(axis=1).all()
        assert not drawn[60, 40].any()
        label = sv.LabelAnnotator(text_scale=0.3, text_padding=1)
        named = label.annotate(image.copy(), found)
        np.testing.assert_array_equal(named, label.annotate(image.copy(), found, labels=["face"]))
        assert named.any()


class TestKeyPoints:
    def test_landmarks_scores_and_pose_are_those_of_the_faces(self):
        faces = [turned(20, landmarks=GRID, score=0.5), turned(-20, landmarks=GRID + 3)]
        points = key_points(faces)
        np.testing.assert_array_equal(points.xy, np.float32([GRID, GRID + 3]))
        assert points.xy.dtype == np.float32
        np.testing.assert_array_equal(points.detection_confidence, np.float32([0.5, 1]))
        assert points.data["class_name"].tolist() == ["face", "face"]
        np.testing.assert_allclose(points.data["yaw"], [20, -20], atol=1e-3)
        assert points.visible is None
        assert points.keypoint_confidence is None
        assert "tracker_id" not in points.data

    def test_visibility_and_confidence_are_kept(self):
        visible, confidence = np.arange(68) % 3 > 0, np.linspace(0, 1, 68, dtype=np.float32)
        points = key_points([make_face(visible=visible, confidence=confidence, track_id=4)])
        np.testing.assert_array_equal(points.visible, visible[None])
        np.testing.assert_array_equal(points.keypoint_confidence, confidence[None])
        assert points.data["tracker_id"].tolist() == [4]

    def test_what_one_face_does_not_know_is_known_of_none(self):
        one = make_face(visible=np.ones(68, bool), confidence=np.ones(68))
        points = key_points([one, make_face()])
        assert points.visible is None
        assert points.keypoint_confidence is None

    def test_no_faces_are_no_key_points(self):
        points = key_points([])
        assert points.is_empty()
        assert points.xy.shape == (0, 68, 2)
        assert len(points.as_detections()) == 0

    def test_only_visible_landmarks_are_drawn(self):
        visible = np.arange(68) % 3 > 0
        drawn = sv.VertexAnnotator(color=sv.Color.WHITE, radius=3).annotate(
            np.zeros((180, 280, 3), np.uint8), key_points([make_face(landmarks=GRID, visible=visible)])
        )
        np.testing.assert_array_equal(drawn[GRID[:, 1], GRID[:, 0]].any(axis=1), visible)

    def test_the_box_around_them(self):
        box = key_points([make_face(landmarks=GRID, score=0.5)]).as_detections()
        np.testing.assert_array_equal(box.xyxy, np.float32([[20, 20, 240, 120]]))
        assert box.confidence.tolist() == [0.5]


def test_edges_are_the_contours_of_the_parts():
    pairs = {(first - 1, second - 1) for first, second in EDGES}
    assert len(pairs) == len(EDGES) == 68 - len(landmarks68.PARTS) + len(landmarks68.CLOSED_PARTS)
    assert {(0, 1), (41, 36), (67, 60)} <= pairs
    assert not {(16, 17), (35, 36), (59, 60)} & pairs  # from one part to the next
    drawn = sv.EdgeAnnotator(color=sv.Color.WHITE, thickness=1, edges=EDGES).annotate(
        np.zeros((180, 280, 3), np.uint8), key_points([make_face(landmarks=GRID)])
    )
    middles = (GRID[:-1] + GRID[1:]) // 2
    joined = [i for i in range(67) if i % 12 != 11 and drawn[middles[i, 1], middles[i, 0]].any()]
    assert joined == [i for i in range(67) if i % 12 != 11 and (i, i + 1) in pairs]


@pytest.mark.parametrize("function", [detections, key_points])
@pytest.mark.parametrize(
    ("faces", "message"),
    [
        (make_face(), "faces: expected a list of Face, got Face"),
        ([make_face(), {"box": [1, 2, 3, 4]}], r"faces\[1\]: expected a Face, got dict"),
    ],
)
def test_other_input_is_refused(function, faces, message):
    with pytest.raises(TypeError, match=message):
        function(faces)


def test_without_the_package_the_message_names_it():
    code = "import sys\nsys.modules['supervision'] = None\nimport tddfa.integrations.supervision"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    message = "tddfa.integrations.supervision needs supervision>=0.30: pip install 'supervision>=0.30'"
    assert done.stderr.splitlines()[-1] == f"ImportError: {message}"
