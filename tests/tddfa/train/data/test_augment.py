from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from tddfa.train.data import augment
from tddfa.train.data.augment import Augment, change_pixels, place

SPOTS = np.array([(50, 60), (110, 62), (80, 85), (62, 112), (97, 110)], np.float32)


@pytest.fixture
def landmarks():
    points = np.full((68, 2), np.nan, np.float32)
    points[: len(SPOTS)] = SPOTS
    return points


@pytest.fixture
def spots():
    """A crop with a soft spot at each landmark, each of its own colour channel and brightness."""
    y, x = np.mgrid[:160, :160]
    image = np.zeros((160, 160, 3), np.float64)
    for i, (at_x, at_y) in enumerate(SPOTS):
        image[..., i % 3] += 250 * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * 3.0**2))
    return image.clip(0, 255).astype(np.uint8)


def spot_near(image, channel, near):
    """Centre of the light around a point."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    light = image[..., channel] * (np.hypot(x - near[0], y - near[1]) < 14)
    return np.array([(x * light).sum(), (y * light).sum()]) / light.sum()


def test_without_augmentation_the_crop_rule_places_the_crop(landmarks, rng):
    placement = place(landmarks, 160, Augment.none(), rng, False)
    placed = placement.points(SPOTS)
    low, high = placed.min(axis=0), placed.max(axis=0)
    assert (high - low).max() == pytest.approx(120 / 1.25, abs=1e-3)
    assert (low + high) / 2 == pytest.approx((59.5, 59.5), abs=1e-3)
    assert placement.border == cv2.BORDER_CONSTANT


@pytest.mark.parametrize("flipped", [False, True])
def test_pixels_and_labels_move_together(landmarks, spots, rng, flipped):
    landmarks = landmarks.copy()
    own = np.flatnonzero(np.isfinite(landmarks).all(axis=1))
    if flipped:
        landmarks[:, 0] = 159 - landmarks[:, 0]
    for _ in range(20):
        placement = place(landmarks, 160, Augment(roll_fraction=1.0, shift=0.05), rng, flipped)
        image, points = placement.crop(spots), placement.points(landmarks)
        for i in own:
            inside = (points[i] > 14).all() and (points[i] < 105).all()
            if inside:
                assert spot_near(image, i % 3, points[i]) == pytest.approx(points[i], abs=0.15)


def test_the_camera_moves_as_points_do(landmarks, rng):
    camera = rng.normal(0, 5, (3, 4)).astype(np.float32)
    model = np.column_stack([rng.normal(0, 5, (7, 3)), np.ones(7)])
    for _ in range(5):
        placement = place(landmarks, 160, Augment(roll_fraction=1.0), rng, False)
        placed = model @ placement.camera(camera).T
        assert placed[:, :2] == pytest.approx(placement.points(model @ camera[:2].T), abs=1e-3)
        assert placed[:, 2] == pytest.approx(placement.scale * (model @ camera[2]), abs=1e-3)


def test_range_of_shift_and_scale(landmarks, rng):
    sides, offs = [], []
    for _ in range(300):
        placement = place(landmarks, 160, Augment(roll_fraction=0), rng, False)
        sides.append(120 / placement.scale / (1.25 * 60))
        offs.append((placement.points(np.array([[80, 86]])) - 59.5) / 120)
    assert 0.84 <= min(sides) < 0.87
    assert 1.2 < max(sides) <= 1.25
    assert 0.08 < np.abs(offs).max() <= 0.1001


def test_without_a_face_the_centre_is_cropped(rng):
    placement = place(np.full((68, 2), np.nan, np.float32), 160, Augment.none(), rng, False)
    assert placement.scale == pytest.approx(120 / (1.25 / 1.75 * 160))
    assert placement.points(np.array([[79.5, 79.5]])) == pytest.approx(np.array([[59.5, 59.5]]), abs=1e-4)


@pytest.mark.parametrize("name", ["occlude", "light", "color", "blur", "low_resolution", "noise"])
def test_each_change_keeps_size_and_type(astronaut, name):
    crop = np.ascontiguousarray(astronaut[60:180, 160:280])
    out = [getattr(augment, name)(crop.copy(), np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert all(image.shape == crop.shape and image.dtype == np.uint8 for image in out)
    assert (out[0] == out[1]).all()
    assert (out[0] != out[2]).any()
    assert (out[0] != crop).any()


def test_all_changes_many_times(astronaut):
    crop = np.ascontiguousarray(astronaut[60:180, 160:280])
    shares = dict.fromkeys(
        ("color", "grayscale", "lighting", "occlusion", "blur", "low_resolution", "noise", "jpeg"), 1.0
    )
    for seed in range(40):
        out = change_pixels(crop.copy(), Augment(**shares), np.random.default_rng(seed), texture=astronaut)
        assert out.shape == crop.shape
        assert out.dtype == np.uint8
        assert np.abs(np.ptp(out.astype(int), axis=2)).mean() < 6 + np.ptp(crop.astype(int), axis=2).mean()


def test_grey_has_no_colour(astronaut):
    out = augment.color(astronaut[:50, :50].copy(), np.random.default_rng(0), grey=True)
    assert np.ptp(out.astype(int), axis=2).max() <= 1


def test_no_augmentation_changes_nothing(astronaut, rng):
    crop = astronaut[:120, :120].copy()
    assert (change_pixels(crop.copy(), Augment.none(), rng) == crop).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flip": 1.5}, "Augment.flip: expected a probability"),
        ({"shift": -1}, "Augment.shift"),
        ({"max_roll": 500}, "Augment.max_roll"),
        ({"scale": (1.2, 1.0)}, "Augment.scale"),
        ({"scale": (0.0, 1.0)}, "Augment.scale"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Augment(**options)


def test_wide_crops_have_limits_of_their_own():
    landmarks = np.random.default_rng(0).uniform(40, 120, (68, 2)).astype(np.float32)
    near = replace(Augment.none(), shift=0.02, scale=(0.99, 1.01))
    wide = replace(near, wide_fraction=0.5, wide_shift=0.3, wide_scale=(0.6, 1.6))

    def scales(augment):
        rng = np.random.default_rng(1)
        return np.array([place(landmarks, 160, augment, rng, False).scale for _ in range(300)])

    middle = np.median(scales(near))
    assert np.abs(scales(near) / middle - 1).max() < 0.015
    far = np.abs(scales(wide) / middle - 1) > 0.02
    assert 0.35 < far.mean() < 0.6
    assert middle / 1.6 * 0.99 < scales(wide).min() < 0.8 * middle and 1.3 * middle < scales(wide).max() < middle / 0.59
    with pytest.raises(ValueError, match=r"Augment.wide_scale: expected a minimum and maximum factor over 0"):
        replace(near, wide_scale=(2, 1))
    with pytest.raises(ValueError, match=r"Augment.wide_fraction: expected a probability"):
        replace(near, wide_fraction=2)
