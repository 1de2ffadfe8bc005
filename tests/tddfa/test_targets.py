import numpy as np
import pytest

from tddfa import CropRule, Roi
from tddfa.targets import given_boxes, given_rois

RULE = CropRule(size=24, box_shift_y=0.1, box_scale=1.2, landmark_scale=1.5)
IMAGE = np.zeros((80, 100, 3), np.uint8)
BOX = [10, 20, 50, 60]


@pytest.mark.parametrize("boxes", [[BOX, [1, 2, 3]], [BOX, None], [[1, 2], [[3], 4]]])
def test_rows_of_several_lengths_are_named(boxes):
    with pytest.raises(ValueError, match=r"boxes: expected rows of 4 or 5 numbers, got \[\["):
        given_boxes(0, IMAGE, boxes, RULE)


def test_boxes_and_squares_may_come_from_a_generator():
    targets = given_boxes(0, IMAGE, (box for box in (BOX, BOX)), RULE)
    np.testing.assert_array_equal(targets.box, [BOX, BOX])
    squares = given_rois(0, (Roi(left, 0, 5) for left in (1, 2)))
    np.testing.assert_array_equal(squares.roi, [[1, 0, 5, 0], [2, 0, 5, 0]])
    assert len(given_rois(0, iter(())).score) == 0


@pytest.mark.parametrize("roi", [Roi(2e6, 0, 5), Roi(0, -2e6, 5), Roi(0, 0, 2e6), Roi(1e300, 0, 1)])
def test_squares_far_beyond_any_image_are_refused(roi):
    with pytest.raises(ValueError, match=r"rois: expected left, top and side within 1e\+06 px of the image, got Roi"):
        given_rois(0, [Roi(0, 0, 5), roi])
    assert len(given_rois(0, [Roi(-1e6, 1e6, 1e6)]).score) == 1
