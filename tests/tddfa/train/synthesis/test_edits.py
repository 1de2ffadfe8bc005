from __future__ import annotations

import cv2
import numpy as np
import pytest

from tddfa.geometry.camera import Camera
from tddfa.train.data.crops import Crops
from tddfa.train.synthesis.edits import another_expression, edit, edited_samples


def weights(model, **named):
    out = np.zeros(model.expression_count, np.float32)
    for name, value in named.items():
        out[model.expression_names.index(name)] = value
    return out


def polygon(points, grow=0):
    mask = np.zeros((160, 160), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points).astype(np.int32)), 1)
    return cv2.dilate(mask, np.ones((2 * grow + 1,) * 2, np.uint8)) > 0 if grow else mask > 0


@pytest.fixture(scope="module")
def head(rendered_head, face_model):
    sample = rendered_head((8, 0, 5), seed=4)
    points = Camera(sample.camera).project(face_model.landmarks(sample.shape, sample.expression))[:, :2]
    return sample, points


def edited(head, model, after, seed=0):
    sample, _ = head
    rng = np.random.default_rng(seed)
    return edit(sample.crop, sample.camera, sample.shape, sample.expression, after, model, rng).astype(int)


def test_a_closed_eye_is_skin_and_the_rest_stays(head, face_model):
    sample, points = head
    image = edited(head, face_model, weights(face_model, eyeBlinkLeft=1))
    left, right = points[42:48], points[36:42]
    changed = np.abs(image - sample.crop).max(axis=2)
    assert (changed[~polygon(left, 14)] <= 2).all()
    eye = polygon(left)
    assert changed[eye].mean() > 15
    # the bright white and the dark pupil are gone
    closed = weights(face_model, eyeBlinkLeft=1, eyeBlinkRight=1)
    both = edited(head, face_model, closed)
    for points_of_eye in (left, right):
        region = cv2.erode(polygon(points_of_eye).view(np.uint8), np.ones((3, 3), np.uint8)) > 0
        upper = region & (np.mgrid[:160, :160][0] < points_of_eye[:, 1].mean())
        assert np.ptp(both[upper].mean(axis=1)) < 0.7 * np.ptp(sample.crop[upper].astype(int).mean(axis=1))


def test_an_opened_mouth_is_dark_inside_and_the_jaw_drops(head, face_model):
    sample, points = head
    after = weights(face_model, jawOpen=0.8)
    moved = Camera(sample.camera).project(face_model.landmarks(sample.shape, after))[:, :2]
    assert moved[8, 1] > points[8, 1] + 5
    mouth = polygon(moved[60:68])
    means = [edited(head, face_model, after, seed)[mouth].mean() for seed in range(6)]
    assert min(means) < 0.6 * sample.crop[mouth].mean()
    assert max(means) < 1.3 * sample.crop[mouth].mean()
    # below the old chin there is skin now, where clothes or neck were
    image = edited(head, face_model, after)
    chin = np.rint(moved[8] - (0, 4)).astype(int)
    cheek = np.rint((points[2] + points[31]) / 2).astype(int)
    skin, there = image[cheek[1], cheek[0]], image[chin[1], chin[0]]
    assert np.abs(skin - there).max() < 90


def test_the_same_expression_gives_the_same_image(head, face_model):
    sample, _ = head
    assert (edited(head, face_model, sample.expression) == sample.crop).all()


def test_expressions_are_plausible(face_model):
    names = face_model.expression_names
    counts = np.zeros(len(names))
    for seed in range(300):
        before = np.random.default_rng(seed).uniform(0, 1.2, len(names)).astype(np.float32)
        after = another_expression(before, names, np.random.default_rng(seed))
        assert (after == another_expression(before, names, np.random.default_rng(seed))).all()
        assert after.min() >= 0
        assert after.max() <= 1
        assert (after != before.clip(0, 1)).any()
        counts += after != before.clip(0, 1)
    closed = names.index("eyeBlinkLeft")
    assert counts[closed] > 80
    assert counts[names.index("jawOpen")] > 80
    assert counts[names.index("browInnerUpRight")] > 80


def test_samples(made_crops, face_model):
    crops = Crops.open([made_crops])
    made = list(edited_samples(crops, 5, 2, face_model))
    again = list(edited_samples(crops, 5, 2, face_model))
    for sample, other in zip(made, again, strict=True):
        assert (sample.crop == other.crop).all()
        assert sample.crop.shape == (160, 160, 3)
        assert sample.source == "edited-made"
        assert any((sample.camera == camera).all() for camera in crops.labels.camera)
