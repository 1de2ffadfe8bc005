import numpy as np

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
