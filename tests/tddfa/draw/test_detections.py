import numpy as np
import pytest

from FaceBoxes import Detections
from tddfa import draw
from tddfa.draw.detections import _BOX, _POINTS

GREY = np.full((200, 300, 3), 90, np.uint8)
POINTS = np.float32([[[120, 90], [160, 90], [140, 110], [125, 130], [155, 130]]])


def changed(image):
    return np.abs(image.astype(int) - GREY).max(axis=2) > 20


def test_the_box_is_where_it_was_found():
    drawn = draw.boxes(GREY, Detections([[100, 60, 180, 160]], [0.5]), labels=[""])
    rows, columns = np.nonzero(np.abs(drawn.astype(int) - _BOX).max(axis=2) < 60)
    assert abs(columns.min() - 100) <= 1 and abs(columns.max() - 180) <= 1
    assert abs(rows.min() - 60) <= 1 and abs(rows.max() - 160) <= 1
    assert (drawn[80:140, 110:170] == GREY[80:140, 110:170]).all(), "the face itself is covered"


def test_each_point_has_its_color():
    drawn = draw.boxes(GREY, Detections([[100, 60, 180, 160]], [0.5], POINTS))
    for (x, y), color in zip(POINTS[0].astype(int), _POINTS, strict=True):
        assert (drawn[y, x] == color).all()


def test_scores_and_labels_differ():
    found = Detections([[100, 60, 180, 160]], [0.5])
    plain, other = draw.boxes(GREY, found), draw.boxes(GREY, found, labels=["7:  0.50"])
    np.testing.assert_array_equal(plain, draw.boxes(GREY, found, labels=["0.50"]))
    assert (plain != other).any()
    assert changed(plain)[40:60, 100:140].any(), "the label is over the upper edge"


@pytest.mark.parametrize(
    "box", [[-500, -400, 900, 800], [-50, -50, 10, 10], [290, 190, 400, 400], [1e7, 1e7, 2e7, 2e7], [10, 10, 11, 11]]
)
def test_boxes_that_leave_the_image(box):
    for image in (GREY, GREY[:1, :1], GREY[:3]):
        drawn = draw.boxes(image, Detections([box], [0.5], POINTS))
        assert drawn.shape == image.shape


def test_no_face_and_bad_arguments():
    nothing = Detections(np.zeros((0, 4)), [])
    drawn = draw.boxes(GREY, nothing)
    np.testing.assert_array_equal(drawn, GREY)
    assert drawn is not GREY
    with pytest.raises(ValueError, match="labels: expected one for each of 0 faces, got 1"):
        draw.boxes(GREY, nothing, labels=["a"])
    with pytest.raises(TypeError, match="image: expected"):
        draw.boxes(None, nothing)
    for values in ({"xyxy": [[0, 0, np.nan, 9]]}, {"scores": [np.inf]}):
        found = Detections(**{"xyxy": [[0, 0, 9, 9]], "scores": [0.5]} | values)
        with pytest.raises(ValueError, match="found: expected finite detections"):
            draw.boxes(GREY, found)
