"""Scenes: labels follow the pixels through every crop, a seed always gives the same."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from FaceBoxes.anchors import Anchors
from tddfa.geometry.boxes import box_iou
from tddfa.train.data.augment import Augment
from tddfa.train.detector.data import LabelledImage
from tddfa.train.detector.faces import Faces
from tddfa.train.detector.scenes import Layout, Scene, Scenes, cover_mouth, mosaic, scene_targets, window

BOX = [70.0, 50, 110, 100]
UNKNOWN = np.full((1, 5, 2), np.nan)
STILL = {"random_window_fraction": 0.0, "roll_fraction": 0.0, "max_roll": 0.0, "mask_fraction": 0.0}


def boxed(*boxes, ignored=False):
    """A white box on black."""
    image = np.zeros((160, 200, 3), dtype=np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[int(y1) : int(y2) + 1, int(x1) : int(x2) + 1] = 255
    return LabelledImage(image, Faces.of_boxes(boxes, ignored=[ignored] * len(boxes)))


def lit(image):
    y, x = np.nonzero(image[..., 0] > 127)
    return np.array([x.min(), y.min(), x.max(), y.max()])


@pytest.mark.parametrize("seed", range(12))
def test_the_box_follows_its_pixels(seed):
    layout = Layout(face_size=(0.2, 0.5), **STILL)
    rng = np.random.default_rng(seed)
    for _ in range(30):
        scene = window(boxed(BOX), 128, layout, rng)
        box = scene.faces.xyxy[0]
        beyond = scene.image[[0, -1]].max() > 0 or scene.image[:, [0, -1]].max() > 0  # a room, a colour
        if (box > 3).all() and (box < 124).all() and not beyond:
            np.testing.assert_allclose(lit(scene.image), box, atol=1.2)
            return
    pytest.fail("no window with the whole face on black")


def test_ellipse_and_points_rotate_with_the_image():
    ellipse, points = [100, 80, 40, 60, 0.4], np.array([[97.0, 68], [109, 70], [100, 80], [91, 93], [102, 94]])
    image = np.zeros((160, 200, 3), dtype=np.uint8)
    cv2.ellipse(image, ((100, 80), (40, 60), np.degrees(0.4)), (255, 255, 255), -1)
    for x, y in points.astype(int):
        cv2.circle(image, (x, y), 3, (255, 0, 0), -1)
    photo = LabelledImage(image, Faces([ellipse], points[None], [False]))
    layout = Layout(face_size=(0.5, 0.6), random_window_fraction=0, roll_fraction=1, max_roll=180, mask_fraction=0)
    checked = 0
    for seed in range(60):
        scene = window(photo, 160, layout, np.random.default_rng(seed))
        if scene.image[[0, -1]].any() or scene.image[:, [0, -1]].any():
            continue
        faces = scene.faces
        assert box_iou(lit(scene.image)[None] + [[-0.5, -0.5, 0.5, 0.5]], faces.xyxy)[0, 0] > 0.9
        for x, y in np.rint(faces.points[0]).astype(int):
            assert scene.image[y, x].tolist() == [255, 0, 0]
        checked += 1
    assert checked > 5


def test_large_images_are_reduced_without_aliasing():
    # a fine chequer is grey from afar; sampled at single pixels it would stay black and white
    image = np.zeros((800, 800, 3), dtype=np.uint8)
    image[::2, 1::2] = image[1::2, ::2] = 255
    photo = LabelledImage(image, Faces.of_boxes([[200.0, 200, 600, 600]]))
    scene = window(photo, 64, Layout(face_size=(0.5, 0.5), **STILL), np.random.default_rng(0))
    x1, y1, x2, y2 = np.clip(scene.faces.xyxy[0], 4, 60).astype(int)
    middle = scene.image[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2]
    assert middle.size and np.ptp(middle) <= 2 and abs(int(middle.mean()) - 127) <= 2


def test_faces_that_are_too_small_or_truncated_are_ignored():
    small, cut, outside = [80.0, 80, 82, 82], [-40.0, 60, 10, 100], [-90.0, 0, -50, 30]
    layout = Layout(face_size=(0.999, 1.0), flip=0, **STILL)
    photo = LabelledImage(
        np.zeros((160, 200, 3), np.uint8), Faces.of_boxes([[40.0, 40, 120, 120], small, cut, outside])
    )
    every = [window(photo, 80, layout, np.random.default_rng(seed)).faces for seed in range(12)]
    chosen = [faces for faces in every if len(faces) and abs(faces.size[0] - 80) < 1]  # around the first face
    assert chosen
    for faces in chosen:
        assert not faces.ignored[0] and faces.ignored[1:].all() and len(faces) < 4


def test_a_face_larger_than_the_window_counts():
    photo = LabelledImage(np.full((160, 200, 3), 9, np.uint8), Faces.of_boxes([BOX]))
    faces = window(photo, 96, Layout(face_size=(1.2, 1.2), **STILL), np.random.default_rng(0)).faces
    assert faces.size[0] > 96 and not faces.ignored[0]


def test_ignored_faces_stay_ignored():
    faces = window(boxed(BOX, ignored=True), 96, Layout(**STILL), np.random.default_rng(0)).faces
    assert faces.ignored.all()


def test_a_photo_surrounds_small_images():
    behind = np.full((90, 120, 3), (10, 20, 30), dtype=np.uint8)
    layout = Layout(face_size=(0.05, 0.05), **STILL)
    corners = [
        window(boxed(BOX), 320, layout, np.random.default_rng(seed), behind).image[0, 0].tolist() for seed in range(20)
    ]
    assert corners.count([10, 20, 30]) >= 5


def test_a_covered_mouth_leaves_the_eyes():
    image = np.zeros((100, 100, 3), dtype=np.uint8)
    points = np.array([[35.0, 40], [65, 40], [50, 55], [40, 70], [60, 70]])
    for seed in range(5):
        covered = image.copy()
        cover_mouth(covered, points, np.random.default_rng(seed))
        assert covered[70, 40].any() and covered[70, 60].any()
        assert not covered[40, 35].any() and not covered[40, 65].any()


def test_a_mosaic_moves_its_faces():
    def cell(value):
        return Scene(np.full((40, 40, 3), value, np.uint8), Faces.of_boxes([[5.0, 6, 25, 30]], ignored=[value == 3]))

    scene = mosaic([cell(value) for value in (1, 2, 3, 4)], 2, 81)
    assert scene.image.shape == (81, 81, 3) and not scene.image[80].any()
    assert [int(scene.image[y, x, 0]) for y, x in ((0, 0), (0, 79), (79, 0), (79, 79))] == [1, 2, 3, 4]
    assert scene.faces.xyxy.tolist() == [[5, 6, 25, 30], [45, 6, 65, 30], [5, 46, 25, 70], [45, 46, 65, 70]]
    assert scene.faces.ignored.tolist() == [False, False, True, False]
    with pytest.raises(ValueError, match=r"scenes\[0\]: expected 30 x 30 px"):
        mosaic([cell(1)], 2, 60)


def test_targets_lead_back_to_the_faces():
    anchors = Anchors(((16, ((26, 1), (42, 1))),))
    faces = Faces.joined(
        Faces([[40, 50, 24, 30, 0.0]], np.arange(10.0).reshape(1, 5, 2), [False], np.eye(3)[None]),
        Faces.of_boxes([[80.0, 80, 120, 122]], ignored=[True]),
    )
    face, ignored, boxes, points, rotations = scene_targets(Scene(np.zeros((128, 128, 3), np.uint8), faces), anchors)
    prior = anchors.priors(128, 128)
    assert face.any() and ignored.any() and not (face & ignored).any()
    assert np.hypot(*(prior[face, :2] - (40, 50)).T).max() < 20
    assert np.hypot(*(prior[ignored, :2] - (100, 101)).T).max() < 20
    np.testing.assert_allclose(boxes, np.tile(faces.xyxy[0], (face.sum(), 1)))
    np.testing.assert_allclose(points, np.tile(np.arange(10.0), (face.sum(), 1)))
    np.testing.assert_allclose(rotations, np.tile(np.eye(3), (face.sum(), 1, 1)))


class Photos:
    def __init__(self, count=3):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return boxed(BOX)


def made(seed=0, **keys):
    still = Augment(occlusion=0, noise=0, low_resolution=0)
    return Scenes([(Photos(), 1.0)], 4, Layout(size=96, **keys), still, Anchors(), seed)


def test_a_number_always_gives_the_same_batch():
    first, again, other, another = made().batch(5), made().batch(5), made().batch(6), made(seed=1).batch(5)
    for name in ("images", "face", "ignored", "boxes"):
        assert (getattr(first, name) == getattr(again, name)).all()
    assert (first.images != other.images).any() and (first.images != another.images).any()
    assert first.images.shape == (4, 96, 96, 3) and first.face.shape == (4, len(Anchors().priors(96, 96)))
    assert len(first.boxes) == len(first.points) == first.face.sum()


def test_a_batch_may_have_fewer_and_larger_scenes():
    sizes = {made(large_fraction=0.5).batch(number).images.shape for number in range(12)}
    assert sizes == {(4, 96, 96, 3), (1, 192, 192, 3)}


def test_mosaics_have_many_faces():
    single, many = (made(mosaic_fraction=part, max_cells=4, random_window_fraction=0).batch(0) for part in (0, 1))
    assert many.face.sum() > single.face.sum()


def test_a_number_out_of_range_names_the_key():
    for keys, message in (
        ({"size": 8}, "size: expected 32 px or more, got 8"),
        ({"face_size": (0.5, 0.1)}, "face_size: expected minimum and maximum"),
        ({"mosaic_fraction": 2}, r"mosaic_fraction: expected 0\.\.1, got 2"),
        ({"large_fraction": -1}, r"large_fraction: expected 0\.\.1, got -1"),
        ({"max_roll": 200}, r"max_roll: expected 0\.\.180"),
        ({"max_cells": 1}, "max_cells: expected 2 or more"),
    ):
        with pytest.raises(ValueError, match=message):
            Layout(**keys)
    with pytest.raises(ValueError, match="sources: expected at least one"):
        Scenes([(Photos(0), 1.0)], 1, Layout(), Augment.none(), Anchors())
    with pytest.raises(ValueError, match=r"augment\.noise: expected 0"):
        Scenes([(Photos(), 1.0)], 1, Layout(), Augment(), Anchors())
