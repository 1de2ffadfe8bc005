"""Apple's 52 blendshapes from the model's 55 expressions."""

import numpy as np
import pytest

from tddfa.model.arkit import ARKIT_NAMES
from tddfa.modelling.arkit import arkit_table


@pytest.fixture(scope="module")
def names(second):
    return second.extra["expression_names"].tolist()


def test_there_are_apples_52_names():
    assert len(ARKIT_NAMES) == len(set(ARKIT_NAMES)) == 52
    assert {"tongueOut", "browInnerUp", "cheekPuff", "jawOpen", "eyeBlinkLeft"} <= set(ARKIT_NAMES)


@pytest.mark.parametrize(
    ("active", "expected"),
    [
        ({"jawOpen": 0.7}, {"jawOpen": 0.7}),
        ({"browInnerUpLeft": 1.0, "browInnerUpRight": 1.0}, {"browInnerUp": 1.0}),
        ({"cheekPuffLeft": 0.6}, {"cheekPuff": 0.3}),
        ({"cheekRaiserRight": 0.4, "cheekSquintRight": 0.3}, {"cheekSquintRight": 0.7}),
    ],
)
def test_shapes_of_an_expression(names, active, expected):
    weights = np.zeros(len(names), dtype=np.float32)
    for name, value in active.items():
        weights[names.index(name)] = value
    shapes = arkit_table(names) @ weights
    nonzero = {name: float(value) for name, value in zip(ARKIT_NAMES, shapes, strict=True) if value}
    assert nonzero == pytest.approx(expected)


def test_only_the_tongue_is_absent(names, second):
    table = second.extra["arkit_table"]
    np.testing.assert_array_equal(table, arkit_table(names))
    assert [name for name, row in zip(ARKIT_NAMES, table, strict=True) if not row.any()] == ["tongueOut"]
    assert table.any(axis=0).all()  # each expression counts
