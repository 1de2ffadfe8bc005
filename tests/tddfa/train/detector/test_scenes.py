"""Scenes: labels follow the pixels through every cut, mosaics keep what is known, a seed always gives the same."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from FaceBoxes.anchors import decode, priors
from tddfa.geometry.boxes import box_iou
from tddfa.train.data.augment import Augment
from tddfa.train.detector.data import LabelledImage, box_of_landmarks
from tddfa.train.detector.scenes import Layout, Scene, Scenes, mosaic, scene_targets, window

BOX = np.array([[70.0, 50], [110, 100]])


def labelled(image=None, faces=(BOX,), exact=True, complete=True, ignored=False):
    """A white box on black, with other labels on request."""
    if image is None:
        image = np.zeros((160, 200, 3), dtype=np.uint8)
        for face in faces:
            (x1, y1), (x2, y2) = face.min(axis=0).astype(int), face.max(axis=0).astype(int)
            image[y1 : y2 + 1, x1 : x2 + 1] = 255
    return LabelledImage(image, tuple(faces), exact, np.full(len(faces), ignored), complete)


def lit(image):
    y, x = np.nonzero(image[..., 0] > 127)
    return np.array([x.min(), y.min(), x.max(), y.max()])


@pytest.mark.parametrize("seed", range(12))
def test_the_box_follows_its_pixels(seed):
    layout = Layout(face_size=(0.2, 0.5), random_window_fraction=0, roll_fraction=0)
    rng = np.random.default_rng(seed)
    for _ in range(20):
        scene = window(labelled(), 128, layout, rng)
        inside = (scene.xyxy[0] > 3).all() and (scene.xyxy[0] < 124).all()
        beyond = scene.image[[0, -1]].max() > 0 or scene.image[:, [0, -1]].max() > 0  # a room, a colour
        if inside and not beyond:
            np.testing.assert_allclose(lit(scene.image), scene.xyxy[0], atol=1.2)
            return
    pytest.fail("no window with the whole face on black")


def test_landmarks_rotate_with_the_image():
    points = np.array([[90.0, 40], [120, 60], [80, 110], [70, 70]])
    image = np.zeros((160, 200, 3), dtype=np.uint8)
    for x, y in points.astype(int):
        image[y - 3 : y + 4, x - 3 : x + 4] = 255
    layout = Layout(face_size=(0.5, 0.6), random_window_fraction=0, roll_fraction=1, max_roll=90)
    checked = 0
    for seed in range(60):
        scene = window(labelled(image, (points,), exact=False), 160, layout, np.random.default_rng(seed))
        border = np.concatenate([scene.image[[0, -1]].ravel(), scene.image[:, [0, -1]].ravel()])
        marks = cv2.connectedComponents((scene.image[..., 0] > 127).astype(np.uint8))[0] - 1
        if border.any() or marks != len(points):
            continue
        known = lit(scene.image).astype(float)
        # marks reach 3 px beyond their points, more where they are turned
        around = box_of_landmarks(known.reshape(2, 2))
        assert box_iou(scene.xyxy, around[None])[0, 0] > 0.75
        checked += 1
    assert checked > 5


def test_large_images_are_reduced_without_aliasing():
    # a fine chequer is grey from afar; sampled at single pixels it would stay black and white
    image = np.zeros((800, 800, 3), dtype=np.uint8)
    image[::2, 1::2] = image[1::2, ::2] = 255
    face = np.array([[200.0, 200], [600, 600]])
    scene = window(
        labelled(image, (face,)), 64, Layout(face_size=(0.5, 0.5), random_window_fraction=0), np.random.default_rng(0)
    )
    x1, y1, x2, y2 = np.clip(scene.xyxy[0], 4, 60).astype(int)
    middle = scene.image[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2]
    assert middle.size and np.ptp(middle) <= 2 and abs(int(middle.mean()) - 127) <= 2


def test_faces_that_are_too_small_or_truncated_are_ignored():
    small, cut = np.array([[80.0, 80], [82, 82]]), np.array([[-40.0, 60], [20, 100]])
    outside = np.array([[-90.0, 0], [-50, 30]])
    layout = Layout(face_size=(0.999, 1.0), random_window_fraction=0, roll_fraction=0, flip=0)
    faces = (np.array([[40.0, 40], [120, 120]]), small, cut, outside)
    scene = window(labelled(faces=faces, ignored=False), 80, layout, np.random.default_rng(4))
    assert not scene.ignored[0] and scene.ignored[1:].all() and len(scene.xyxy) < 4


def test_ignored_faces_stay_ignored_and_get_no_window():
    scene = window(labelled(ignored=True), 96, Layout(random_window_fraction=0), np.random.default_rng(0))
    assert scene.ignored.all() and len(scene.complete) == 1


def test_a_mosaic_moves_boxes_and_complete_parts():
    def cell(value, complete):
        known = np.array([[0, 0, 40, 40]] if complete else []).reshape(-1, 4).astype(float)
        return Scene(
            np.full((40, 40, 3), value, dtype=np.uint8), np.array([[5.0, 6, 25, 30]]), np.array([value == 3]),
            np.array([complete]), known,
        )  # fmt: skip

    scene = mosaic([cell(1, True), cell(2, False), cell(3, True), cell(4, False)], 2, 81)
    assert scene.image.shape == (81, 81, 3) and not scene.image[80].any()
    assert [int(scene.image[y, x, 0]) for y, x in ((0, 0), (0, 79), (79, 0), (79, 79))] == [1, 2, 3, 4]
    assert scene.xyxy.tolist() == [[5, 6, 25, 30], [45, 6, 65, 30], [5, 46, 25, 70], [45, 46, 65, 70]]
    assert scene.ignored.tolist() == [False, False, True, False] and scene.exact.tolist() == [True, False, True, False]
    assert scene.complete.tolist() == [[0, 0, 40, 40], [0, 40, 40, 80]]
    with pytest.raises(ValueError, match=r"scenes\[0\]: expected 30 x 30 px"):
        mosaic([cell(1, True)], 2, 60)


def test_without_a_teacher_only_labelled_parts_count():
    left = Scene(
        np.zeros((128, 128, 3), dtype=np.uint8), np.array([[20.0, 20, 50, 50], [80, 80, 115, 120]]), np.zeros(2, bool),
        np.ones(2, bool), np.array([[0.0, 0, 64, 128]]),
    )  # fmt: skip
    known, prior = scene_targets(left, None), priors(128, 128)
    assert known.score_known[prior[:, 0] < 64].all()
    right = prior[:, 0] >= 64
    assert (known.score_known[right] == known.box_known[right]).all() and known.box_known[right].any()


def test_a_teacher_labels_the_rest_and_is_wrong_where_there_is_no_face():
    scene = Scene(
        np.zeros((128, 128, 3), dtype=np.uint8), np.array([[20.0, 20, 50, 50]]), np.zeros(1, bool), np.ones(1, bool),
        np.array([[0.0, 0, 64, 128]]),
    )  # fmt: skip
    prior = priors(128, 128)
    known = scene_targets(scene, lambda image: (np.full(len(prior), 0.9), np.zeros((len(prior), 4))))
    assert known.score_known.all()
    assert (known.scores[prior[:, 0] >= 64] == np.float32(0.9)).all()
    far = (prior[:, 0] < 64) & (prior[:, 1] > 100) & (prior[:, 2] == 32)
    assert far.any() and not known.scores[far].any()
    boxes = decode(prior, known.offsets).astype(float)
    assert (known.box_known & (box_iou(scene.xyxy, boxes)[0] > 0.99)).any()  # the drawn box stands


class Pictures:
    def __init__(self, count=3):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return labelled()


def made(seed=0, **keys):
    still = Augment(occlusion=0, noise=0, low_resolution=0)
    return Scenes([(Pictures(), 1.0)], 3, Layout(size=96, **keys), still, seed)


def test_a_number_always_gives_the_same_batch():
    first, again, other, another = made().batch(5), made().batch(5), made().batch(6), made(seed=1).batch(5)
    for name in ("images", "scores", "offsets", "score_known", "box_known"):
        assert (getattr(first, name) == getattr(again, name)).all()
    assert (first.images != other.images).any() and (first.images != another.images).any()
    assert first.images.shape == (3, 96, 96, 3) and first.scores.shape == (3, len(priors(96, 96)))


def test_mosaics_have_many_faces():
    single, many = (made(mosaic_fraction=share, max_cells=4, random_window_fraction=0).batch(0) for share in (0, 1))
    assert many.box_known.sum() > single.box_known.sum()


def test_a_number_out_of_range_names_the_key():
    for keys, message in (
        ({"size": 8}, "size: expected 32 px or more, got 8"),
        ({"face_size": (0.5, 0.1)}, "face_size: expected least and largest"),
        ({"mosaic_fraction": 2}, r"mosaic_fraction: expected 0\.\.1, got 2"),
        ({"max_roll": 200}, r"max_roll: expected 0\.\.180"),
        ({"max_cells": 1}, "max_cells: expected 2 or more"),
    ):
        with pytest.raises(ValueError, match=message):
            Layout(**keys)
    with pytest.raises(ValueError, match="sources: expected at least one"):
        Scenes([(Pictures(0), 1.0)], 1, Layout(), Augment.none())
    with pytest.raises(ValueError, match=r"augment\.noise: expected 0"):
        Scenes([(Pictures(), 1.0)], 1, Layout(), Augment())
