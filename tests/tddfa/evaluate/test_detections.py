from itertools import pairwise

import numpy as np
import pytest

from tddfa.evaluate.detections import SIZES, Matches, Sample, average_precision, match, precision


def sample(detected=(), scores=None, ground_truth=(), ignored=None):
    return Sample(
        np.array(detected, float),
        np.linspace(0.9, 0.1, len(detected)) if scores is None else np.array(scores, float),
        np.array(ground_truth, float),
        np.zeros(len(ground_truth), bool) if ignored is None else np.array(ignored, bool),
    )


def test_average_precision_by_hand():
    # right, wrong, right, wrong, right of four faces: recall 1/4, 2/4, 3/4 at precision 1, 2/3, 3/5
    scores, correct = [0.9, 0.8, 0.7, 0.6, 0.5], [1, 0, 1, 0, 1]
    assert np.isclose(average_precision(scores, correct, 4), (1 + 2 / 3 + 3 / 5) / 4)
    # wrong first: the envelope lifts the early precision to the best that comes later
    assert np.isclose(average_precision([0.9, 0.8, 0.7], [0, 1, 1], 2), 2 / 3)
    assert average_precision([0.9, 0.8], [1, 1], 2) == 1
    assert average_precision([], [], 3) == 0
    assert np.isnan(average_precision([], [], 0))


def test_average_precision_equals_an_independent_computation(rng):
    for _ in range(20):
        count = int(rng.integers(1, 60))
        scores, correct = rng.permutation(count) / count, rng.random(count) < 0.4
        faces = int(correct.sum() + rng.integers(1, 10))
        order = np.argsort(-scores)
        # at each level of recall the best precision of any cut that reaches it
        cuts = [(correct[order[:k]].sum(), correct[order[:k]].mean()) for k in range(1, count + 1)]
        expected = sum(
            max((p for hits, p in cuts if hits >= level), default=0) / faces for level in range(1, faces + 1)
        )
        assert np.isclose(average_precision(scores, correct, faces), expected)


def test_the_order_of_equal_scores_does_not_matter(rng):
    scores, correct = np.array([0.9, 0.5, 0.5, 0.5, 0.1]), np.array([1, 0, 1, 0, 1], bool)
    values = set()
    for _ in range(10):
        order = rng.permutation(5)
        values.add(round(average_precision(scores[order], correct[order], 4), 12))
    assert len(values) == 1


def test_each_face_is_matched_once_by_the_highest_score():
    matches = match(sample([[0, 0, 10, 10], [0, 0, 10, 9]], [0.6, 0.8], [[0, 0, 10, 10]]), 0.5)
    assert matches.scores.tolist() == [0.8, 0.6]
    assert matches.correct.tolist() == [True, False]
    assert matches.faces == 1


def test_a_detection_is_matched_with_the_free_face_of_highest_iou():
    faces = [[0, 0, 10, 10], [2, 0, 12, 10]]
    matches = match(sample([[1.5, 0, 11.5, 10], [1.5, 0, 11.5, 10], [0, 0, 10, 10]], ground_truth=faces), 0.5)
    # the best face of the second detection is taken, so it is matched with the other; none is left for the third
    assert matches.correct.tolist() == [True, True, False]


def test_the_threshold_itself_counts():
    half = sample([[0, 0, 10, 5]], ground_truth=[[0, 0, 10, 10]])
    assert match(half, 0.5).correct.tolist() == [True]
    assert match(half, 0.51).correct.tolist() == [False]
    for threshold in (0, 1.1):
        with pytest.raises(ValueError, match="threshold"):
            match(half, threshold)


def test_an_ignored_face_counts_neither_way():
    boxes = [[0, 0, 10, 10], [0, 0, 10, 9], [30, 30, 40, 40]]
    matches = match(sample(boxes, ground_truth=[[0, 0, 10, 10]], ignored=[True]), 0.5)
    assert matches.faces == 0
    assert matches.correct.tolist() == [False]  # the third, which matches nothing


def test_other_faces_are_matched_before_ignored_ones():
    both = sample([[0, 0, 10, 10]], ground_truth=[[0, 0, 10, 10], [0, 0, 10, 8]], ignored=[True, False])
    assert match(both, 0.5).correct.tolist() == [True]


def test_sizes():
    boxes = [[0, 0, 10, 10], [100, 0, 120, 20], [200, 0, 300, 100], [400, 0, 440, 40]]
    everything = sample(boxes, ground_truth=boxes[:3])
    by_size = {name: match(everything, 0.5, limits) for name, limits in SIZES.items()}
    assert {name: matches.faces for name, matches in by_size.items()} == {
        "all": 3,
        "under-16": 1,
        "16-48": 1,
        "48-96": 0,
        "over-96": 1,
    }
    # the false detection is 40 px large, and counts in no other size
    assert {name: matches.correct.tolist() for name, matches in by_size.items()} == {
        "all": [True, True, True, False],
        "under-16": [True],
        "16-48": [True, False],
        "48-96": [],
        "over-96": [True],
    }


def test_the_ranges_of_sizes_leave_no_gap():
    ranges = [limits for name, limits in SIZES.items() if name != "all"]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == np.inf
    assert all(upper == lower for (_, upper), (lower, _) in pairwise(ranges))


def test_precision_over_several_images():
    first = Matches(np.array([0.9, 0.3]), np.array([True, True]), 3)
    second = Matches(np.array([0.8]), np.array([False]), 1)
    actual = precision([first, second], score=0.5)
    assert (actual.recall, actual.recall_at, actual.precision_at, actual.faces) == (0.5, 0.25, 0.5, 4)
    assert np.isclose(actual.average, (1 + 2 / 3) / 4)


def test_no_face_and_no_detection():
    nothing = precision([match(sample(), 0.5)])
    assert np.isnan([nothing.average, nothing.recall, nothing.precision_at]).all()
    false = precision([match(sample([[0, 0, 9, 9]]), 0.5)])
    assert np.isnan(false.average)
    assert false.precision_at == 0
    missed = precision([match(sample(ground_truth=[[0, 0, 9, 9]]), 0.5)])
    assert (missed.average, missed.recall) == (0, 0)


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"Sample.scores"):
        sample([[0, 0, 1, 1]], [0.5, 0.4])
    with pytest.raises(ValueError, match="finite"):
        sample([[0, 0, np.nan, 1]])
