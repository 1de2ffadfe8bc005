from itertools import pairwise

import numpy as np
import pytest

from tddfa.evaluate.boxes import SIZES, Sample, Verdict, average_precision, judge, overlaps, precision


def sample(found=(), scores=None, truth=(), ignored=None):
    return Sample(
        np.array(found, float),
        np.linspace(0.9, 0.1, len(found)) if scores is None else np.array(scores, float),
        np.array(truth, float),
        np.zeros(len(truth), bool) if ignored is None else np.array(ignored, bool),
    )


def test_overlap_is_the_share_of_pixels(rng):
    corners = rng.integers(0, 20, (12, 2, 2))
    boxes = np.sort(corners, axis=1).reshape(-1, 4)

    def pixels(box):
        mask = np.zeros((20, 20), bool)
        mask[box[1] : box[3], box[0] : box[2]] = True
        return mask

    for i, a in enumerate(boxes):
        for j, b in enumerate(boxes):
            union = (pixels(a) | pixels(b)).sum()
            expected = (pixels(a) & pixels(b)).sum() / union if union else 0
            assert np.isclose(overlaps(boxes, boxes)[i, j], expected)


def test_a_box_turned_over_overlaps_nothing():
    assert overlaps([[10, 10, 0, 0]], [[0, 0, 10, 10], [10, 10, 0, 0]]).tolist() == [[0, 0]]


def test_average_precision_by_hand():
    # right, wrong, right, wrong, right of four faces: recall 1/4, 2/4, 3/4 at precision 1, 2/3, 3/5
    scores, correct = [0.9, 0.8, 0.7, 0.6, 0.5], [1, 0, 1, 0, 1]
    assert np.isclose(average_precision(scores, correct, 4), (1 + 2 / 3 + 3 / 5) / 4)
    # wrong first: the envelope lifts the early precision to the best that comes later
    assert np.isclose(average_precision([0.9, 0.8, 0.7], [0, 1, 1], 2), 2 / 3)
    assert average_precision([0.9, 0.8], [1, 1], 2) == 1
    assert average_precision([], [], 3) == 0
    assert np.isnan(average_precision([], [], 0))


def test_average_precision_against_another_way_to_it(rng):
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


def test_each_face_is_found_once_and_by_the_surest():
    verdict = judge(sample([[0, 0, 10, 10], [0, 0, 10, 9]], [0.6, 0.8], [[0, 0, 10, 10]]), 0.5)
    assert verdict.scores.tolist() == [0.8, 0.6]
    assert verdict.correct.tolist() == [True, False]
    assert verdict.faces == 1


def test_a_detection_takes_the_free_face_that_it_overlaps_most():
    truth = [[0, 0, 10, 10], [2, 0, 12, 10]]
    verdict = judge(sample([[1.5, 0, 11.5, 10], [1.5, 0, 11.5, 10], [0, 0, 10, 10]], truth=truth), 0.5)
    # the second box comes too late for its best face, and takes the other; nothing is left for the third
    assert verdict.correct.tolist() == [True, True, False]


def test_the_threshold_itself_counts():
    half = sample([[0, 0, 10, 5]], truth=[[0, 0, 10, 10]])
    assert judge(half, 0.5).correct.tolist() == [True]
    assert judge(half, 0.51).correct.tolist() == [False]
    for threshold in (0, 1.1):
        with pytest.raises(ValueError, match="threshold"):
            judge(half, threshold)


def test_an_ignored_face_counts_neither_way():
    boxes = [[0, 0, 10, 10], [0, 0, 10, 9], [30, 30, 40, 40]]
    verdict = judge(sample(boxes, truth=[[0, 0, 10, 10]], ignored=[True]), 0.5)
    assert verdict.faces == 0
    assert verdict.correct.tolist() == [False]  # that of the third, which found nothing at all


def test_a_real_face_is_taken_before_an_ignored_one():
    both = sample([[0, 0, 10, 10]], truth=[[0, 0, 10, 10], [0, 0, 10, 8]], ignored=[True, False])
    assert judge(both, 0.5).correct.tolist() == [True]


def test_sizes():
    boxes = [[0, 0, 10, 10], [100, 0, 120, 20], [200, 0, 300, 100], [400, 0, 440, 40]]
    everything = sample(boxes, truth=boxes[:3])
    by_size = {name: judge(everything, 0.5, limits) for name, limits in SIZES.items()}
    assert {name: verdict.faces for name, verdict in by_size.items()} == {
        "all": 3, "under-16": 1, "16-48": 1, "48-96": 0, "over-96": 1,
    }  # fmt: skip
    # the false one is 40 px large, and speaks against no other size
    assert {name: verdict.correct.tolist() for name, verdict in by_size.items()} == {
        "all": [True, True, True, False], "under-16": [True], "16-48": [True, False], "48-96": [], "over-96": [True],
    }  # fmt: skip


def test_the_ranges_of_sizes_leave_no_gap():
    ranges = [limits for name, limits in SIZES.items() if name != "all"]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == np.inf
    assert all(upper == lower for (_, upper), (lower, _) in pairwise(ranges))


def test_pictures_together():
    first = Verdict(np.array([0.9, 0.3]), np.array([True, True]), 3)
    second = Verdict(np.array([0.8]), np.array([False]), 1)
    found = precision([first, second], score=0.5)
    assert (found.recall, found.recall_at, found.precision_at, found.faces) == (0.5, 0.25, 0.5, 4)
    assert np.isclose(found.average, (1 + 2 / 3) / 4)


def test_nobody_there_and_nothing_found():
    nothing = precision([judge(sample(), 0.5)])
    assert np.isnan([nothing.average, nothing.recall, nothing.precision_at]).all()
    false = precision([judge(sample([[0, 0, 9, 9]]), 0.5)])
    assert np.isnan(false.average)
    assert false.precision_at == 0
    missed = precision([judge(sample(truth=[[0, 0, 9, 9]]), 0.5)])
    assert (missed.average, missed.recall) == (0, 0)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"Sample.scores"):
        sample([[0, 0, 1, 1]], [0.5, 0.4])
    with pytest.raises(ValueError, match="finite"):
        sample([[0, 0, np.nan, 1]])
