"""Matching of prior boxes against a plain oracle, offsets against the detector's own decoding, a teacher's targets."""

from __future__ import annotations

import numpy as np
import pytest

from FaceBoxes.anchors import decode, priors
from tddfa.train.detector.matching import (
    NO_FACE,
    THRESHOLD,
    Targets,
    corners,
    distilled_targets,
    encode,
    match,
    targets,
)


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def by_hand(prior, boxes, threshold):
    """SSD's matching, one pair after the other."""
    table = [[iou((x - s / 2, y - s / 2, x + s / 2, y + s / 2), box) for box in boxes] for x, y, s in prior.tolist()]
    owner = []
    for row in table:
        best = max(range(len(boxes)), key=lambda k: (row[k], -k))
        owner.append(best if row[best] >= threshold else NO_FACE)
    for k in range(len(boxes)):
        column = [row[k] for row in table]
        if max(column) > 0:
            owner[column.index(max(column))] = k
    return owner


def some_boxes(rng, count, size):
    side = np.exp(rng.uniform(np.log(8), np.log(300), (count, 1))) * np.exp(rng.normal(0, 0.2, (count, 2)))
    centre = rng.uniform(0, 1, (count, 2)) * size
    return np.concatenate([centre - side / 2, centre + side / 2], axis=1)


@pytest.mark.parametrize("seed", range(6))
def test_matching_is_that_of_the_plain_oracle(seed):
    rng = np.random.default_rng(seed)
    prior = priors(96, 160)
    boxes = some_boxes(rng, 1 + 2 * seed, (160, 96))
    assert match(prior, boxes).tolist() == by_hand(prior, boxes.tolist(), THRESHOLD)


def test_every_face_in_the_image_has_a_prior(rng):
    prior = priors(320, 320)
    # smaller than the smallest prior, and far longer than wide: no prior overlaps these by the threshold
    boxes = np.array([[100.0, 100, 106, 106], [200, 40, 210, 240]])
    owner = match(prior, boxes)
    assert [(owner == k).sum() for k in (0, 1)] == [1, 1]
    assert (match(prior, some_boxes(rng, 4, (320, 320))) != NO_FACE).any()


def test_nothing_to_match():
    prior = priors(64, 64)
    assert (match(prior, np.zeros((0, 4))) == NO_FACE).all()
    assert (match(prior, [[900.0, 900, 950, 950]]) == NO_FACE).all()  # outside of all priors
    with pytest.raises(ValueError, match=r"threshold: expected a number in \(0, 1\], got 0"):
        match(prior, [[0, 0, 9, 9]], 0)


def test_decode_inverts_encode(rng):
    prior = priors(128, 160)
    boxes = some_boxes(rng, len(prior), (160, 128))
    np.testing.assert_allclose(decode(prior, encode(prior, boxes)), boxes, atol=2e-3)


def test_encode_of_a_prior_itself_is_zero():
    prior = priors(64, 64)
    assert np.abs(encode(prior, corners(prior))).max() < 1e-6


def test_a_box_without_an_area_gives_finite_offsets():
    assert np.isfinite(encode(priors(32, 32)[:1], [[5.0, 5, 5, 5]])).all()


def test_targets_of_a_face_lead_back_to_it():
    prior, box = priors(320, 320), np.array([[90.0, 60, 190, 180]])
    known = targets(prior, box)
    assert known.scores.sum() >= 1 and known.score_known.all()
    assert (known.box_known == (known.scores == 1)).all()
    np.testing.assert_allclose(
        decode(prior[known.box_known], known.offsets[known.box_known]), box.repeat(known.box_known.sum(), 0), atol=1e-3
    )


def test_ignored_faces_neither_count_nor_are_learnt():
    prior = priors(320, 320)
    boxes = np.array([[90.0, 60, 190, 180], [220, 200, 300, 300]])
    known = targets(prior, boxes, [False, True])
    alone = match(prior, boxes[1:]) == 0
    assert not known.score_known[alone].any() and not known.scores[alone].any()
    assert known.score_known[~alone].all()
    assert (known.scores == targets(prior, boxes[:1]).scores).all()


def test_targets_check_their_shapes():
    with pytest.raises(ValueError, match=r"Targets\.offsets: expected shape \(3, 4\), got \(2, 4\)"):
        Targets(np.zeros(3), np.zeros((2, 4)), np.ones(3, bool), np.ones(3, bool))


class TestTaught:
    prior = priors(160, 160)
    boxes = np.array([[20.0, 20, 60, 65], [90, 90, 140, 150]])

    def teach(self, scores, exact=False, empty=None, small=False):
        owner = match(self.prior, self.boxes)
        none = np.zeros(len(self.prior), dtype=bool)
        offsets = np.full((len(self.prior), 4), 0.25)
        result = distilled_targets(
            targets(self.prior, self.boxes),
            owner,
            scores,
            offsets,
            none | exact,
            none if empty is None else empty,
            none | small,
        )
        return result, owner

    def test_a_face_the_teacher_detected_keeps_its_soft_scores(self):
        scores = np.full(len(self.prior), 0.02)
        owner = match(self.prior, self.boxes)
        scores[np.flatnonzero(owner == 0)[0]] = 0.9
        result, _ = self.teach(scores)
        np.testing.assert_allclose(result.scores[owner == 0], scores[owner == 0], rtol=1e-6)

    def test_a_face_the_teacher_missed_is_positive(self):
        result, owner = self.teach(np.full(len(self.prior), 0.3))
        assert (result.scores[owner != NO_FACE] == 1).all()
        np.testing.assert_allclose(result.scores[owner == NO_FACE], 0.3, rtol=1e-6)

    def test_a_small_face_that_the_teacher_missed_does_not_count(self):
        for score, score_known in ((0.3, False), (0.7, True)):
            result, owner = self.teach(np.full(len(self.prior), score), small=True)
            assert (result.score_known[owner != NO_FACE] == score_known).all() and result.score_known[
                owner == NO_FACE
            ].all()

    def test_where_there_is_no_face_the_teacher_is_wrong(self):
        empty = match(self.prior, self.boxes) == NO_FACE
        result, _ = self.teach(np.full(len(self.prior), 0.8), empty=empty)
        assert not result.scores[empty].any() and not result.box_known[empty].any()
        np.testing.assert_allclose(result.scores[~empty], 0.8, rtol=1e-6)

    def test_annotated_boxes_are_kept_and_derived_ones_are_the_teachers(self):
        known = targets(self.prior, self.boxes)
        for exact in (True, False):
            result, owner = self.teach(np.full(len(self.prior), 0.8), exact=exact)
            mine = owner != NO_FACE
            wanted = known.offsets[mine] if exact else np.full((mine.sum(), 4), 0.25)
            np.testing.assert_allclose(result.offsets[mine], wanted)
            assert result.box_known.all() and (result.offsets[~mine] == 0.25).all()

    def test_a_teacher_alone(self):
        scores = np.linspace(0, 1, len(self.prior))
        nothing = targets(self.prior, np.zeros((0, 4)))
        none = np.zeros(len(self.prior), dtype=bool)
        offsets = np.ones((len(self.prior), 4))
        result = distilled_targets(nothing, np.full(len(self.prior), NO_FACE), scores, offsets, none, none, none)
        np.testing.assert_allclose(result.scores, scores, rtol=1e-6)
        assert (result.box_known == (scores >= 0.5)).all()
