import itertools

import numpy as np
import pytest

from FaceBoxes import Anchors
from FaceBoxes.anchors import decode, decode_points, decode_rotations, priors


def by_loops(height, width):
    """The priors as the paper describes them, one at a time."""
    result = []
    for step, sizes in ((32, (32, 64, 128)), (64, (256,)), (128, (512,))):
        for i, j in itertools.product(range(int(np.ceil(height / step))), range(int(np.ceil(width / step)))):
            for size in sizes:
                offsets = {32: (0, 0.25, 0.5, 0.75), 64: (0, 0.5)}.get(size, (0.5,))
                for dy, dx in itertools.product(offsets, offsets):
                    result.append(((j + dx) * step, (i + dy) * step, size))
    return np.array(result, dtype=np.float32)


@pytest.mark.parametrize("size", [(1, 1), (32, 32), (33, 64), (300, 129), (128, 128), (720, 1080)])
def test_agrees_with_loops(size):
    np.testing.assert_array_equal(priors(*size), by_loops(*size))


def test_count_at_a_known_size():
    assert len(priors(524, 1080)) == 12336


def test_it_is_cached_and_read_only():
    assert priors(64, 64) is priors(64, 64)
    with pytest.raises(ValueError):
        priors(64, 64)[0] = 0


def test_decode_moves_and_scales_a_prior():
    box = decode(np.array([[50, 60, 20]], np.float32), np.array([[1, -2, 0, 5 * np.log(2)]], np.float32))
    # centre (50 + 1 * 0.1 * 20, 60 - 2 * 0.1 * 20), width 20, height 20 * exp(0.2 * 5 ln 2) = 40
    np.testing.assert_allclose(box, [[42, 36, 62, 76]], rtol=1e-6)


def test_decode_without_offsets_gives_the_prior():
    prior = priors(128, 128)
    boxes = decode(prior, np.zeros((len(prior), 4), np.float32))
    np.testing.assert_allclose((boxes[:, :2] + boxes[:, 2:]) / 2, prior[:, :2], atol=1e-4)
    np.testing.assert_allclose(boxes[:, 2] - boxes[:, 0], prior[:, 2], atol=1e-4)


FINER = ((16, ((16, 2), (24.5, 1))), (32, ((64, 1),)))


def test_another_layout_has_its_own_priors():
    anchors = Anchors(FINER)
    prior = anchors.priors(40, 50)  # 3 x 4 cells of 5 priors, and 2 x 2 of one
    assert prior.shape == (3 * 4 * 5 + 2 * 2, 3)
    np.testing.assert_array_equal(prior[:5], [[0, 0, 16], [8, 0, 16], [0, 8, 16], [8, 8, 16], [8, 8, 24.5]])
    np.testing.assert_array_equal(prior[5 * 4], [0, 16, 16])  # the second row of cells
    np.testing.assert_array_equal(prior[-4:], [[16, 16, 64], [48, 16, 64], [16, 48, 64], [48, 48, 64]])
    assert anchors.priors(40, 50) is prior
    assert len(priors(40, 50)) != len(prior), "two layouts shared the cache"


def test_a_network_that_pads_the_image_has_priors_there_too():
    anchors = Anchors(FINER, multiple=32)
    assert np.array_equal(anchors.priors(40, 50), Anchors(FINER).priors(64, 64))
    assert np.array_equal(anchors.priors(64, 96), Anchors(FINER).priors(64, 96))


@pytest.mark.parametrize("multiple", [1, 32])
def test_a_layout_survives_the_metadata(multiple):
    anchors = Anchors(FINER, multiple)
    assert Anchors.from_metadata({"model": "x", "anchors": anchors.to_json()}) == anchors
    assert Anchors.from_metadata({"priors": "FaceBoxes: steps 32, ..."}) == Anchors()


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "[[16]]", "[[16, []]]", "[[16, [[16]]]]", "[[0, [[16, 1]]]]", "[[16, [[-1, 1]]]]",
     "[[16, [[16, 0]]]]", '[["16", [[16, 1]]]]', "[[16, [[16, 1.5]]]]", "[[16, [[true, 1]]]]", "[[16, [[NaN, 1]]]]",
     '{"maps": [[16, [[16, 1]]]]}', '{"maps": [[16, [[16, 1]]]], "multiple": 0}'],
)  # fmt: skip
def test_bad_metadata_is_named(text):
    with pytest.raises(ValueError, match=r"metadata anchors: expected \[\[stride.*got"):
        Anchors.from_metadata({"anchors": text})


def test_decode_points_scales_with_the_prior():
    values = np.arange(-5, 5, dtype=np.float32)[None]
    points = decode_points(np.array([[50, 60, 20]], np.float32), values)
    # centre + value * 0.1 * 20
    np.testing.assert_allclose(points, [[[40, 52], [44, 56], [48, 60], [52, 64], [56, 68]]], rtol=1e-6)
    assert decode_points(np.zeros((0, 3), np.float32), np.zeros((0, 10), np.float32)).shape == (0, 5, 2)


def test_decoded_rotations_are_orthonormal_and_finite(rng):
    numbers = np.concatenate([rng.normal(size=(40, 6)), np.zeros((1, 6))]).astype(np.float32)
    rotations = decode_rotations(numbers)
    assert rotations.shape == (41, 3, 3) and np.isfinite(rotations).all()
    np.testing.assert_allclose(
        rotations[:40] @ rotations[:40].transpose(0, 2, 1), np.tile(np.eye(3), (40, 1, 1)), atol=1e-5
    )
    np.testing.assert_allclose(np.linalg.det(rotations[:40]), 1, atol=1e-5)
    first = numbers[:40, :3] / np.linalg.norm(numbers[:40, :3], axis=1, keepdims=True)
    np.testing.assert_allclose(rotations[:40, :, 0], first, atol=1e-5)
    assert decode_rotations(np.zeros((0, 6), np.float32)).shape == (0, 3, 3)


@pytest.mark.parametrize("layout", ["[[1,[[16,1]]]]", "[[4,[[16,2],[16,2]]]]", "[[32,[[32,16],[32,16]]]]"])
def test_more_priors_than_pixels_are_refused(layout):
    with pytest.raises(ValueError, match="prior boxes per px of the image"):
        Anchors.from_metadata({"anchors": layout})
