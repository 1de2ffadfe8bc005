import pickle

import numpy as np
import pytest

from FaceBoxes import Detections


def faces(n, points=True):
    values = np.arange(n, dtype=np.float32)
    return Detections(
        np.repeat(values[:, None], 4, axis=1),
        values / 10,
        np.tile(values[:, None, None], (1, 5, 2)) if points else None,
    )


@pytest.mark.parametrize(
    ("xyxy", "scores", "points", "name"),
    [
        (np.zeros((2, 3)), np.zeros(2), None, "xyxy"),
        (np.zeros((3, 4)), np.zeros(2), None, "scores"),
        (np.zeros((2, 4)), np.zeros(2), np.zeros((2, 10)), "points"),
        (np.zeros((2, 4)), np.zeros(2), np.zeros((3, 5, 2)), "points"),
    ],
)
def test_shapes_are_checked(xyxy, scores, points, name):
    with pytest.raises(ValueError, match=rf"Detections\.{name}: expected shape"):
        Detections(xyxy, scores, points)


def test_arrays_become_float32_and_contiguous():
    found = Detections(np.zeros((4, 2)).T, [0.5, 0.4], np.zeros((2, 5, 2), int)[:, ::-1])
    assert all(a.dtype == np.float32 and a.flags.c_contiguous for a in (found.xyxy, found.scores, found.points))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [([2, 0], [2, 0]), ([True, False, True], [0, 2]), (slice(1, None), [1, 2]), (1, [1]), ([], []), (-1, [2])],
)
def test_faces_are_selected_with_all_they_have(rows, expected):
    chosen = faces(3)[rows]
    np.testing.assert_allclose(chosen.scores, np.array(expected) / 10)
    assert chosen.xyxy[:, 0].tolist() == chosen.points[:, 4, 1].tolist() == expected
    assert faces(3, points=False)[rows].points is None


def test_concatenation_keeps_the_order_and_drops_points_that_a_part_lacks():
    both = Detections.concatenate([faces(2), faces(3)])
    assert both.xyxy[:, 0].tolist() == both.points[:, 0, 0].tolist() == [0, 1, 0, 1, 2]
    assert Detections.concatenate([faces(2), faces(3, points=False)]).points is None


@pytest.mark.parametrize("rows", [[2, 0], [False, True, True], slice(0, 2), slice(None, None, -2), slice(3, None, -1)])
def test_a_part_has_contiguous_arrays_of_its_faces(rows):
    every = faces(3)
    part = every[rows]
    for name in ("xyxy", "scores", "points"):
        value = getattr(part, name)
        np.testing.assert_array_equal(value, getattr(every, name)[rows])
        assert value.flags.c_contiguous and value.dtype == np.float32
    assert part.rotations is None and len(part) == len(part.scores)


def test_rows_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"rows: expected shape \(k,\), got \(1, 2\)"):
        faces(3)[[[0, 1]]]
    with pytest.raises(IndexError):
        faces(3)[[5]]


def test_they_can_be_pickled():
    again = pickle.loads(pickle.dumps(faces(2)))
    np.testing.assert_array_equal(again.points, faces(2).points)


def test_faces_with_numbers_that_are_none_are_left_out():
    boxes, points = np.zeros((4, 4)), np.zeros((4, 5, 2))
    boxes[1, 2], points[2, 4, 1] = np.nan, np.inf
    found = Detections(boxes, [0.9, 0.8, 0.7, np.nan], points).finite()
    assert found.scores.tolist() == [np.float32(0.9)]
    whole = Detections(boxes[:1], [0.9], points[:1])
    assert whole.finite() is whole
    assert len(Detections(np.zeros((0, 4)), [], np.zeros((0, 5, 2))).finite()) == 0


def test_empty_lists_are_no_faces():
    none = Detections(xyxy=[], scores=[], points=[], rotations=[])
    assert (len(none), none.xyxy.shape, none.points.shape, none.rotations.shape) == (0, (0, 4), (0, 5, 2), (0, 3, 3))
