"""Face masks over photos."""

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from tddfa.train.data.face_masks import put_on_mask


@pytest.fixture(scope="module")
def face(aligner, root):
    image = cv2.imread(str(root / "examples/inputs/grace_hopper.jpg"))
    return image, aligner(image)[0].landmarks[:, :2]


@pytest.mark.parametrize("seed", range(8))
def test_a_mask_covers_mouth_and_chin_and_leaves_the_eyes(face, seed):
    image, landmarks = face
    before = image.copy()
    masked = put_on_mask(image, landmarks, np.random.default_rng(seed))
    assert np.array_equal(image, before) and masked.shape == image.shape and masked.dtype == np.uint8
    changed = (masked != image).any(axis=2)
    x, y = np.rint(landmarks).astype(int).T
    assert changed[y[48:68], x[48:68]].mean() > 0.95
    assert not changed[y[36:48], x[36:48]].any()
    size = np.ptp(landmarks, axis=0).max()
    assert 0.1 < changed.sum() / size**2 < 0.8


def test_masks_differ_and_come_again_with_their_seed(face):
    first, again, other = (put_on_mask(*face, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_profile_has_nose_and_mouth_covered(root, face):
    """Landmarks of a head turned by 80 degrees: nose and mouth are beside the jaw."""
    from tddfa.model.face_model import FaceModel

    model = FaceModel.load(root / "configs/open_face.npz")
    points = model.landmarks(np.zeros((1, model.shape_count)), np.zeros((1, model.expression_count)))[0]
    turned = points[:, 2] * np.sin(np.radians(80)) + points[:, 0] * np.cos(np.radians(80))
    flat = np.column_stack([turned, points[:, 1]]) * (1, -1)
    flat = 60 + 240 * (flat - flat.min(axis=0)) / np.ptp(flat, axis=0).max()
    image = np.full((360, 360, 3), 120, np.uint8)
    changed = (put_on_mask(image, flat, np.random.default_rng(3)) != image).any(axis=2)
    x, y = np.rint(flat).astype(int).T
    assert changed[y[48:68], x[48:68]].mean() > 0.9 and changed[y[33], x[33]]


@pytest.mark.parametrize("offset", [-5000.0, 5000.0])
def test_a_face_outside_the_image_changes_nothing(face, offset):
    image, landmarks = face
    assert np.array_equal(put_on_mask(image, landmarks + offset, np.random.default_rng(0)), image)


def test_the_network_is_less_confident_where_a_mask_is(face, aligner):
    image, landmarks = face
    before = aligner(image)[0].confidence
    after = aligner(put_on_mask(image, landmarks, np.random.default_rng(0)))[0].confidence
    assert (after[48:] < before[48:]).all() and after[48:].mean() < before[48:].mean() - 0.1
    assert (before - after)[48:].mean() > 1.25 * (before - after)[17:27].mean()


def test_a_face_without_a_size_gets_none():
    image = np.full((30, 40, 3), 90, np.uint8)
    assert np.array_equal(put_on_mask(image, np.full((68, 2), 15.0), np.random.default_rng(0)), image)
