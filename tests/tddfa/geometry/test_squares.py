import numpy as np
import pytest

from tddfa import Camera, Roi
from tddfa.geometry import squares

ROIS = [Roi(10, 20, 50), Roi(-5.5, 3, 80.25, 33), Roi(14, 22, 41), Roi(0, 0, 60, -170)]
TABLE = np.concatenate([roi.row for roi in ROIS])


def test_several_squares_are_those_of_each(rng):
    cameras = rng.normal(0, 30, (4, 3, 4)).astype(np.float32)
    folded = squares.fold(TABLE, cameras, 120)
    corners = squares.corners(TABLE)
    for k, roi in enumerate(ROIS):
        np.testing.assert_array_equal(folded[k], roi.fold(cameras[k], 120).matrix)
        np.testing.assert_array_equal(corners[k], roi.corners())
        np.testing.assert_array_equal(squares.unfold(TABLE, folded, 120)[k], roi.unfold(Camera(folded[k]), 120))
    others = TABLE[[2, 0, 0, 1]]
    expected = [roi.iou(ROIS[k]) for roi, k in zip(ROIS, (2, 0, 0, 1), strict=True)]
    np.testing.assert_array_equal(squares.iou(TABLE, others), expected)
    assert min(expected) > 0


def test_bounds_are_those_of_the_corners():
    corners = squares.corners(TABLE)
    expected = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    np.testing.assert_allclose(squares.bounds(TABLE), expected, rtol=1e-6, atol=1e-5)


def test_no_square():
    none = np.zeros((0, 4))
    assert squares.iou(none, none).shape == (0,)
    assert squares.fold(none, np.zeros((0, 3, 4), np.float32), 120).shape == (0, 3, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: squares.fold(TABLE, np.ones((1, 3, 4)), 120), r"cameras: expected shape \(4, 3, 4\), got \(1, 3, 4\)"),
        (lambda: squares.fold(TABLE[:, :3], np.ones((4, 3, 4)), 120), r"squares: expected shape \(4, 4\)"),
        (lambda: squares.unfold(TABLE, np.ones((5, 3, 4), np.float32), 120), r"cameras: expected shape \(4, 3, 4\)"),
        (lambda: ROIS[0].fold(np.ones((2, 4)), 120), r"cameras: expected shape \(1, 3, 4\), got \(1, 2, 4\)"),
        (lambda: squares.angles_of_crops(np.ones(6), np.ones(1), (10, 20)), r"seen: expected shape \(6,\)"),
        (lambda: squares.iou(TABLE, TABLE[:1]), r"second: expected shape \(4, 4\), got \(1, 4\)"),
        (lambda: squares.around_points(np.ones((2, 5, 1)), np.ones(2), 1, 1), r"points: expected shape"),
        (lambda: squares.around_points(np.ones((2, 5, 2)), np.ones(1), 1, 1), r"angles: expected shape \(2,\)"),
        (lambda: squares.bounds(TABLE[:, :2]), r"squares: expected shape \(4, 4\)"),
        (lambda: squares.offsets(TABLE[:, :2], 120), r"squares: expected shape \(4, 4\)"),
        (lambda: squares.rolls(np.ones((2, 2, 4), np.float32)), r"cameras: expected shape \(2, 3, 4\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(call, message):
    """The native loops would read and write beyond them."""
    with pytest.raises(ValueError, match=message):
        call()
