"""Decoding in native code: the numbers of the NumPy functions, and no box of numbers that are none."""

from __future__ import annotations

import numpy as np
import pytest

from FaceBoxes.anchors import Anchors, decode, decode_points, decode_rotations
from FaceBoxes.decoding import decoded

PRIOR = Anchors(((16, ((24, 1), (40, 1))),)).priors(96, 128)


@pytest.fixture
def outputs(rng):
    shapes = {"scores": (), "offsets": (4,), "points": (10,), "rotations": (6,)}
    made = {name: rng.normal(0, 2, (1, len(PRIOR), *shape)).astype(np.float32) for name, shape in shapes.items()}
    made["rotations"][0, 3] = 0  # no direction at all
    made["rotations"][0, 4, 3:] = 2 * made["rotations"][0, 4, :3]  # parallel columns
    return {**made, "scores": rng.random((1, len(PRIOR))).astype(np.float32)}


def test_boxes_points_and_rotations_are_those_of_numpy(outputs):
    outputs["scores"][0, 3:5] = 0.9
    rows = np.flatnonzero(outputs["scores"][0] > 0.5)
    found = decoded(PRIOR, outputs, 0.5)
    assert 0 < len(rows) < len(PRIOR) and np.array_equal(found.scores, outputs["scores"][0, rows])
    np.testing.assert_allclose(found.xyxy, decode(PRIOR[rows], outputs["offsets"][0, rows]), atol=1e-4)
    np.testing.assert_allclose(found.points, decode_points(PRIOR[rows], outputs["points"][0, rows]), atol=1e-4)
    np.testing.assert_allclose(found.rotations, decode_rotations(outputs["rotations"][0, rows]), atol=1e-6)


@pytest.mark.parametrize("left_out", [("points",), ("rotations",), ("points", "rotations")])
def test_a_network_may_have_boxes_alone(outputs, left_out):
    every = decoded(PRIOR, outputs, 0.5)
    found = decoded(PRIOR, {name: value for name, value in outputs.items() if name not in left_out}, 0.5)
    assert np.array_equal(found.xyxy, every.xyxy)
    assert (found.points is None, found.rotations is None) == ("points" in left_out, "rotations" in left_out)


@pytest.mark.parametrize("name", ["scores", "offsets", "points", "rotations"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_give_no_box(outputs, name, value):
    outputs["scores"][:] = 0.9
    outputs[name].reshape(len(PRIOR), -1)[5, -1] = value
    found = decoded(PRIOR, outputs, 0.5)
    assert len(found) == len(PRIOR) - 1
    assert all(np.isfinite(array).all() for array in (found.xyxy, found.scores, found.points, found.rotations))
    np.testing.assert_allclose(found.xyxy[5], decode(PRIOR[6:7], outputs["offsets"][0, 6:7])[0], atol=1e-4)


def test_a_box_too_large_for_its_numbers_is_left_out(outputs):
    outputs["scores"][:] = 0.9
    outputs["offsets"][0, 7, 2] = 1e6
    assert len(decoded(PRIOR, outputs, 0.5)) == len(PRIOR) - 1


def test_other_types_and_orders_of_numbers_are_converted(outputs):
    other = {name: np.asfortranarray(value.astype(np.float64)) for name, value in outputs.items()}
    first, second = decoded(PRIOR, outputs, 0.5), decoded(PRIOR, other, 0.5)
    assert np.array_equal(first.xyxy, second.xyxy) and np.array_equal(first.rotations, second.rotations)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": None}, "expected the outputs scores and offsets, got offsets, points, rotations"),
        ({"offsets": None}, "expected the outputs scores and offsets"),
        (
            {"scores": np.zeros((1, 3), np.float32)},
            r"scores: expected shape \(1, 96\) for 96 prior boxes, got \(1, 3\)",
        ),
        ({"rotations": np.zeros((1, 96, 9), np.float32)}, r"model: rotations: expected shape \(1, 96, 6\)"),
        ({"points": np.zeros((1, 96, 10), np.int64)}, "model: points: expected floating-point numbers, got int64"),
    ],
)
def test_other_outputs_are_refused(outputs, change, message):
    changed = {name: value for name, value in {**outputs, **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        decoded(PRIOR, changed, 0.5)
