import numpy as np
import pytest

from FaceBoxes.nms import nms, nms_reference


def random_boxes(rng, count, spread=200.0):
    corner = rng.uniform(-20, spread, (count, 2))
    size = rng.uniform(1, 60, (count, 2))
    return np.hstack([corner, corner + size]).astype(np.float32), rng.uniform(0, 1, count).astype(np.float32)


@pytest.mark.parametrize("count", [0, 1, 2, 50, 1000])
@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.7, 1.0])
def test_agrees_with_numpy(rng, count, threshold):
    xyxy, scores = random_boxes(rng, count)
    kept = nms(xyxy, scores, threshold, 10**6)
    np.testing.assert_array_equal(kept, nms_reference(xyxy, scores, threshold, 10**6))
    assert count == 0 or 0 < len(kept) <= count


@pytest.mark.parametrize("count", [2, 20, 300])
def test_agrees_with_numpy_on_boxes_that_are_none(rng, count):
    """Corners that are swapped, boxes without a size, and numbers whose areas overflow."""
    for spread in (5.0, 60.0, 1e20, 3e38):
        xyxy = rng.uniform(-spread / 2, spread / 2, (count, 4)).astype(np.float32)
        xyxy[::5, 2:] = xyxy[::5, :2]
        scores = rng.uniform(0, 1, count)
        for threshold in (0.1, 0.5, 1.0):
            kept = nms(xyxy, scores, threshold, count)
            np.testing.assert_array_equal(kept, nms_reference(xyxy, scores, threshold, count))


@pytest.mark.parametrize("function", [nms, nms_reference])
class TestBoth:
    def test_a_limit_beyond_the_numbers_of_c_is_none(self, function):
        assert function([[0, 0, 9, 9], [20, 0, 29, 9]], [0.9, 0.8], 0.5, 10**30).tolist() == [0, 1]

    def test_a_box_is_suppressed_at_exactly_the_threshold(self, function):
        # 10 x 10 and 10 x 5 pixels (borders counted): the overlap of 50 is half of the union of 100
        xyxy = [[0, 0, 9, 9], [0, 0, 9, 4]]
        assert function(xyxy, [0.9, 0.8], 0.5, 10).tolist() == [0]
        assert function(xyxy, [0.9, 0.8], 0.5001, 10).tolist() == [0, 1]

    def test_both_border_pixels_count(self, function):
        # they share the column x = 10 only because pixels have a width
        xyxy = [[0, 0, 10, 10], [10, 0, 20, 10]]
        assert function(xyxy, [0.9, 0.8], 0.047, 10).tolist() == [0]

    def test_best_first_and_stable(self, function):
        xyxy = [[i * 100, 0, i * 100 + 10, 10] for i in range(4)]
        assert function(xyxy, [0.5, 0.9, 0.5, 0.7], 0.3, 10).tolist() == [1, 3, 0, 2]

    def test_the_number_of_boxes_is_limited(self, function):
        xyxy = [[i * 100, 0, i * 100 + 10, 10] for i in range(4)]
        assert function(xyxy, [0.5, 0.9, 0.6, 0.7], 0.3, 2).tolist() == [1, 3]
        assert len(function(xyxy, [0.5, 0.9, 0.6, 0.7], 0.3, 0)) == 0

    def test_a_suppressed_box_suppresses_none(self, function):
        xyxy = [[0, 0, 99, 9], [40, 0, 139, 9], [80, 0, 179, 9]]
        assert function(xyxy, [0.9, 0.8, 0.7], 0.3, 10).tolist() == [0, 2]

    @pytest.mark.parametrize(
        ("xyxy", "scores", "threshold", "keep", "name"),
        [
            ([[0, 0, 1]], [1], 0.3, 1, "xyxy"),
            ([[0, 0, 1, 1]], [1, 2], 0.3, 1, "scores"),
            ([[0, 0, np.nan, 1]], [1], 0.3, 1, "finite"),
            ([[0, 0, 1, 1]], [np.inf], 0.3, 1, "finite"),
            ([[0, 0, 1, 1]], [1], 0.0, 1, "threshold"),
            ([[0, 0, 1, 1]], [1], 1.5, 1, "threshold"),
            ([[0, 0, 1, 1]], [1], 0.3, -1, "max_boxes"),
        ],
    )
    def test_bad_arguments_are_named(self, function, xyxy, scores, threshold, keep, name):
        with pytest.raises(ValueError, match=name):
            function(xyxy, scores, threshold, keep)

    def test_read_only_float64_and_strided_input(self, function, rng):
        xyxy, scores = random_boxes(rng, 40)
        expected = function(xyxy, scores, 0.3, 40)
        wide = np.repeat(xyxy.astype(np.float64), 2, axis=0)[::2]
        wide.setflags(write=False)
        np.testing.assert_array_equal(function(wide, scores[::1], 0.3, 40), expected)
