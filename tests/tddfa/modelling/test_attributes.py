"""Materials, regions and the rim of the shipped face model."""

import numpy as np
import pytest

from tddfa.model.face_model import FACE, INNER_MOUTH
from tddfa.modelling.attributes import MATERIALS
from tddfa.modelling.draft import boundary_loops


@pytest.fixture(scope="module")
def used(second):
    return np.unique(second.triangles)


def test_every_material_is_used(second, used):
    assert second.extra["material_names"].tolist() == list(MATERIALS)
    assert set(second.extra["material"][used].tolist()) == set(range(len(MATERIALS)))


@pytest.mark.parametrize("side", ["left", "right"])
def test_pupil_iris_and_eyeball_are_nested(second, side):
    pupil, iris, ball = (set(second.extra[f"region_{side}_{name}"].tolist()) for name in ("pupil", "iris", "eyeball"))
    assert 4 <= len(pupil) < len(iris) < len(ball)
    assert pupil < iris < ball
    width = np.ptp(second.mean[list(iris), 0])
    assert 1.0 < width < 1.25  # cm; a human iris is about 1.17


def test_the_rim_is_transparent_and_the_face_is_opaque(second):
    feather = second.extra["feather"]
    rim = boundary_loops(second.triangles[second.part[second.triangles[:, 0]] == FACE])[0]
    assert feather[rim].max() == 0
    assert feather[second.extra["landmark_triangles"][17:]].min() == 1
    assert feather[second.extra["landmark_triangles"][:17]].min() > 0.3


@pytest.mark.parametrize("name", ["forehead", "neck", "behind_ears"])
def test_rings_follow_each_other_inwards(second, name):
    rings = [second.extra[f"rim_{name}_{number}"] for number in range(4)]
    means = [second.extra["feather"][ring].mean() for ring in rings]
    assert means[0] == 0
    assert means == sorted(means)
    assert len(np.unique(np.concatenate(rings))) == sum(len(ring) for ring in rings)


def test_old_regions_keep_their_vertices(second, first):
    for name, vertices in first.extra.items():
        if name.startswith("region_"):
            assert set(vertices.tolist()) <= set(second.extra[name].tolist()), name


def test_the_inside_of_the_mouth_is_one_region(second, used):
    inside = np.intersect1d(np.flatnonzero(second.part == INNER_MOUTH), used)
    np.testing.assert_array_equal(second.extra["region_inner_mouth"], inside)
