import numpy as np
import pytest

from FaceBoxes import merging
from FaceBoxes.merging import is_part

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


def test_many_boxes_are_compared_in_chunks(monkeypatch, rng):
    corner, size = rng.uniform(0, 300, (200, 2)), rng.uniform(5, 100, (200, 2))
    boxes, scores = np.concatenate([corner, corner + size], axis=1), rng.uniform(0.2, 1, 200)
    expected = is_part(boxes, scores)
    assert 20 < expected.sum() < 180
    monkeypatch.setattr(merging, "_CHUNK", 7)
    np.testing.assert_array_equal(is_part(boxes, scores), expected)
