"""Matching of prior boxes against a plain oracle."""

from __future__ import annotations

import numpy as np
import pytest

from FaceBoxes.anchors import Anchors
from tddfa.train.detector.matching import NO_FACE, THRESHOLD, match

priors = Anchors().priors


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
