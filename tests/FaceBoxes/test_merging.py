import numpy as np
import pytest

from FaceBoxes import Detections, merging
from FaceBoxes.merging import is_part, with_mean_poses

FACE = [100, 100, 200, 240]


@pytest.mark.parametrize(
    ("box", "part"),
    [
        ([115, 140, 145, 165], True),  # an eye
        ([125, 200, 175, 230], True),  # a mouth
        ([70, 190, 125, 240], False),  # at the border of the face, most of it outside
        ([150, 110, 250, 250], False),  # a neighbour that overlaps
        ([115, 110, 200, 230], True),  # without the brow and an ear
        ([130, 110, 220, 230], False),  # another face, as large as that and not inside
        ([102, 102, 198, 235], False),  # the same face: left to the suppression
        ([300, 100, 330, 130], False),  # elsewhere
    ],
)
def test_parts_of_a_face(box, part):
    assert is_part([FACE, box], [0.8, 0.9]).tolist() == [False, part]


def test_an_uncertain_box_around_a_face_does_not_drop_it():
    around = [0, 0, 400, 500]
    assert is_part([FACE, around], [0.9, 0.3]).tolist() == [False, False]
    assert is_part([FACE, around], [0.4, 0.45]).tolist() == [False, False]
    assert is_part([FACE, around], [0.9, 0.6]).tolist() == [True, False]


def test_no_boxes_and_boxes_without_area():
    assert is_part(np.zeros((0, 4)), np.zeros(0)).tolist() == []
    assert is_part([[10, 10, 5, 5]], [0.5]).tolist() == [False]


def test_huge_boxes_are_no_parts():
    boxes = [[-3e38, -3e38, 3e38, 3e38], [-2e38, 0, 2e38, 0], [10, 10, 5, 5], [-1e30, -1e30, 1e30, 1e30]]
    assert not is_part(boxes, np.ones(4))[:1].any()


def test_many_boxes_are_compared_in_chunks(monkeypatch, rng):
    corner, size = rng.uniform(0, 300, (200, 2)), rng.uniform(5, 100, (200, 2))
    boxes, scores = np.concatenate([corner, corner + size], axis=1), rng.uniform(0.2, 1, 200)
    expected = is_part(boxes, scores)
    assert 20 < expected.sum() < 180
    monkeypatch.setattr(merging, "_CHUNK", 7)
    np.testing.assert_array_equal(is_part(boxes, scores), expected)


def rolled(degrees):
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])


def test_a_box_takes_the_mean_pose_of_those_that_agree(monkeypatch):
    boxes = [FACE, [102, 100, 200, 240], [140, 120, 260, 280], [400, 100, 500, 240]]
    points = np.arange(4.0)[:, None, None] * np.ones((4, 5, 2))
    found = Detections(boxes, [0.5, 0.5, 0.9, 0.7], points, [rolled(angle) for angle in (10, 30, 80, 50)])
    monkeypatch.setattr(merging, "_CHUNK", 1)
    faces = with_mean_poses(found[[2, 0]], found)
    np.testing.assert_allclose(faces.rotations, [rolled(80), rolled(20)], atol=1e-6)
    np.testing.assert_allclose(faces.points[:, 0, 0], [2, 0.5], atol=1e-6)
    assert faces.xyxy.tolist() == [boxes[2], boxes[0]]
    surer = Detections(boxes, [0.9, 0.3, 0.1, 0.1], points, found.rotations)
    np.testing.assert_allclose(with_mean_poses(surer[:1], surer).points, 0.1, atol=1e-6)


def test_a_box_without_an_area_or_a_score_keeps_its_pose():
    boxes = [[5, 5, 5, 5], [0, 0, 3e38, 3e38], [1, 1, 2, 2]]
    found = Detections(boxes, [0, 0.5, 0.5], rotations=[rolled(angle) for angle in (10, 20, 30)])
    np.testing.assert_allclose(with_mean_poses(found[:2], found).rotations, found.rotations[:2], atol=1e-6)
