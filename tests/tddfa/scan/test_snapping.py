import numpy as np
import pytest
from scipy.spatial import cKDTree

from tddfa.scan.mesh import Scan
from tddfa.scan.snapping import Surface, nearest_on_surface


def sheet(z=0.0, count=41, side=40.0):
    x, y = (grid.reshape(-1) for grid in np.meshgrid(*[np.linspace(0, side, count)] * 2))
    i = np.arange(count * count).reshape(count, count)
    a, b, c, d = i[:-1, :-1].ravel(), i[:-1, 1:].ravel(), i[1:, :-1].ravel(), i[1:, 1:].ravel()
    triangles = np.concatenate([np.column_stack([a, b, c]), np.column_stack([b, d, c])])
    return np.column_stack([x, y, np.full(len(x), z)]), triangles


@pytest.mark.parametrize("geodesic", [True, False])
def test_the_vertex_under_the_heat_is_found(geodesic, rng):
    points, triangles = sheet()
    surface = Surface(Scan(points, triangles), geodesic)
    target = points[20 * 41 + 18]
    around = target + np.column_stack([rng.uniform(-5, 5, (7, 2)), np.zeros(7)])
    heat = np.exp(-np.square(np.linalg.norm(around - target, axis=1)) / (2 * 4.0**2))
    refined = surface.refined(around.mean(axis=0), around, heat, 4.0)
    assert np.linalg.norm(refined - target) <= (1.5 if geodesic else 1e-9)


def test_geodesic_distances_do_not_jump_between_lips():
    """Two sheets, 1 mm apart: the heat is on the lower one."""
    lower, triangles = sheet(0.0)
    upper, _ = sheet(1.0)
    scan = Scan(np.concatenate([lower, upper]), np.concatenate([triangles, triangles + len(lower)]))
    target = np.array([20.0, 20.0, 0.0])
    around = target + np.array([[3.0, 0, 0], [0, 3, 0], [-3, 0, 0], [0, -3, 0], [2, 2, 0], [-2, 2, 0], [1, -2, 0]])
    # a Gaussian around a point over the lower sheet would fit the upper one as well
    heat = np.exp(-(np.square(around - target).sum(axis=1) + 1.0) / (2 * 4.0**2))
    along, straight = (
        Surface(scan, geodesic).refined(target + np.array([0, 0, 0.6]), around, heat, 4.0) for geodesic in (True, False)
    )
    assert straight[2] == 1.0
    assert along[2] == 0.0


def test_paths_are_hardly_longer_than_straight_lines():
    points, triangles = sheet()
    surface = Surface(Scan(points, triangles), True)
    middle = np.array([20.0, 20.0, 0.0])
    index = np.array(surface.tree.query_ball_point(middle, 10.0))
    along = surface._along(middle, 10.0, index, middle[None] + 1e-6)[:, 0]
    straight = np.linalg.norm(points[index] - middle, axis=1)
    far = straight > 3
    assert (along[far] > 0.99 * straight[far]).all()
    assert (along[far] / straight[far]).mean() < 1.06


def test_a_cloud_has_paths_too(rng):
    points = np.column_stack([rng.uniform(0, 40, (1500, 2)), np.zeros(1500)])
    surface = Surface(Scan(points, np.zeros((0, 3), int)), True)
    around = np.array([[20.0, 20, 0], [22, 20, 0], [20, 22, 0]])
    refined = surface.refined(around.mean(axis=0), around, np.array([1.0, 0.9, 0.9]), 4.0)
    assert np.linalg.norm(refined - [20.3, 20.3, 0]) < 2.5


def test_the_nearest_point_of_a_surface_is_that_of_a_dense_search(rng):
    """Points above a wavy surface: against a million points spread over its triangles."""
    x, y = np.meshgrid(np.arange(12.0), np.arange(12.0))
    vertices = np.column_stack([x.ravel(), y.ravel(), np.sin(x + y).ravel()])
    at = np.arange(11 * 12).reshape(11, 12)[:, :-1].ravel()
    triangles = np.concatenate([np.column_stack([at, at + 1, at + 12]), np.column_stack([at + 1, at + 13, at + 12])])
    points = rng.uniform((-1, -1, -2), (12, 12, 2), (40, 3))
    found = nearest_on_surface(Scan(vertices, triangles), points)
    share = rng.dirichlet((1, 1, 1), (len(triangles), 4000))
    dense = np.einsum("tsk,tki->tsi", share, vertices[triangles]).reshape(-1, 3)
    best, _ = cKDTree(dense).query(points)
    away = np.linalg.norm(found - points, axis=1)
    assert (away <= best + 1e-9).all()
    np.testing.assert_allclose(away, best, atol=0.05)
    on_surface, _ = cKDTree(dense).query(found)
    assert on_surface.max() < 0.1
