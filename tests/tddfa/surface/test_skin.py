import numpy as np
import pytest

from tddfa import Mesh
from tddfa.surface.neighbours import rings_of
from tddfa.surface.sampling import sample
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


def reference(image, mesh, seen, rim):
    """`skin_trust` in NumPy."""

    def tones(vertices):
        blue, green, red = np.log(sample(image, mesh.vertices[vertices]) + 12.0).T
        return np.column_stack([red - green, blue - green, (blue + green + red) / 3])

    inner = np.flatnonzero((mesh.opacity == 1) & (seen >= 0.9))
    outer = np.flatnonzero(((mesh.opacity < 1) | (rim < 0.08)) & (seen > 0))
    known = tones(inner[:: max(1, len(inner) // 1000)])
    middle = np.median(known, axis=0)
    spread = np.clip(1.5 * np.median(np.abs(known - middle), axis=0), (0.07, 0.07, 0.3), (0.12, 0.12, 0.6))
    off = (tones(outer) - middle) / spread
    off[:, 2] = np.where(mesh.opacity[outer] < 0.6, off[:, 2], np.maximum(off[:, 2], 0))
    trust = np.ones(len(seen))
    trust[outer] = ((5.3 - np.linalg.norm(off, axis=1)) / (5.3 - 3.7)).clip(0, 1)
    vertices, starts = rings_of(mesh.triangles, len(seen))
    for _ in range(2):
        means = np.add.reduceat(trust[vertices], starts[:-1]) / np.diff(starts)
        trust[outer] = np.minimum(means, trust)[outer]
    return trust


@pytest.mark.parametrize("seed", range(3))
def test_it_equals_the_same_in_numpy(grid, seed):
    """Vertices are at pixel centres, where all ways of sampling agree."""
    mesh, rim = grid
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(240, 240, 3)) * np.linspace(0, 60, 240)[:, None]
    image = np.clip(noise + np.array((100, 120, 180)), 0, 255).astype(np.uint8)
    seen = np.clip(rng.uniform(0, 1.5, 3600), 0, 1).astype(np.float32)
    seen[rng.random(3600) < 0.1] = 0
    expected = reference(image, mesh, seen, rim)
    np.testing.assert_allclose(skin_trust(image, mesh, seen, rim), expected, atol=1e-5)
    assert 0.05 < (expected[seen > 0] < 0.5).mean() < 0.5


def test_neighbours_are_those_that_share_an_edge(rng):
    triangles = rng.integers(0, 50, (60, 3)).astype(np.int32)
    vertices, starts = rings_of(triangles, 60)
    for vertex in range(60):
        around = np.unique(np.append(triangles[(triangles == vertex).any(axis=1)], vertex))
        np.testing.assert_array_equal(vertices[starts[vertex] : starts[vertex + 1]], around)
