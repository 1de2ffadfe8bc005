import numpy as np
import pytest

from tddfa import Mesh
from tddfa.surface.neighbours import mean_around
from tddfa.surface.skin import skin_trust


@pytest.fixture
def grid():
    """A plane of 60 x 60 vertices, 4 px apart; its left quarter is an ear, its last columns are at the outline."""
    y, x = np.mgrid[:60, :60]
    vertices = np.stack([4 * x, 4 * y, 0 * x], axis=-1).reshape(-1, 3).astype(np.float32)
    at = np.arange(3600).reshape(60, 60)
    a, b, c, d = (v.ravel() for v in (at[:-1, :-1], at[:-1, 1:], at[1:, :-1], at[1:, 1:]))
    triangles = np.concatenate([np.column_stack([a, c, b]), np.column_stack([b, c, d])]).astype(np.int32)
    opacity = np.where(x < 15, 0.4, 1).ravel().astype(np.float32)
    rim = ((59 - x) / 59).ravel().astype(np.float32)
    return Mesh(vertices, triangles, opacity=opacity), rim


def trust_in(grid, left, right):
    """Trust in the ear, in the face and at the outline, with these colours on the ear and at the outline."""
    mesh, rim = grid
    image = np.full((240, 240, 3), (100, 120, 180), np.uint8)
    image += np.random.default_rng(1).integers(0, 12, image.shape, dtype=np.uint8)
    image[:, :60], image[:, 224:] = left, right
    trust = skin_trust(image, mesh, np.ones(3600, np.float32), rim).reshape(60, 60)
    return [float(part.mean()) for part in (trust[:, :13], trust[:, 18:52], trust[:, 58:])]


SKIN, LIT, DARK, BLUE, WHITE = (110, 125, 185), (135, 155, 225), (18, 20, 25), (190, 120, 70), (250, 250, 250)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (SKIN, SKIN, (1, 1, 1)),
        (LIT, LIT, (1, 1, 1)),
        (BLUE, BLUE, (0, 1, 0)),
        (WHITE, WHITE, (0, 1, 0)),
        (DARK, DARK, (0, 1, 1)),  # hair on an ear, or a beard
        (SKIN, BLUE, (1, 1, 0)),
    ],
)
def test_skin_is_told_from_other_colours_around_the_face_alone(grid, left, right, expected):
    np.testing.assert_allclose(trust_in(grid, left, right), expected, atol=0.15)


def test_without_opacity_or_a_face_nothing_is_rejected(grid):
    mesh, rim = grid
    image = np.full((240, 240, 3), 90, np.uint8)
    ones = np.ones(3600, np.float32)
    np.testing.assert_array_equal(skin_trust(image, Mesh(mesh.vertices, mesh.triangles), ones, rim), 1)
    np.testing.assert_array_equal(skin_trust(image, mesh, 0.5 * ones, rim), 1)


def test_neighbours_are_those_that_share_an_edge(rng):
    triangles = rng.integers(0, 50, (60, 3)).astype(np.int32)
    values = rng.random(60).astype(np.float32)
    for vertex in range(60):
        around = np.unique(np.append(triangles[(triangles == vertex).any(axis=1)], vertex))
        assert mean_around(values, triangles)[vertex] == pytest.approx(values[around].mean(), abs=1e-6)
    none = np.zeros(0, np.float32)
    assert not len(mean_around(none, np.zeros((0, 3), np.int32)))
