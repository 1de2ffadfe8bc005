import numpy as np
from scipy.spatial.transform import Rotation

from tddfa.scan.graph import make_graph


def test_the_graph_of_a_sheet(rng):
    points = rng.uniform(-1, 1, (400, 3)) * [1, 1, 0]
    normals = np.tile([0.0, 0, 1], (400, 1))
    at = rng.uniform(-1, 1, (68, 3)) * [1, 1, 0]
    graph = make_graph(points, normals, at=at)
    assert graph.features.shape == (400, 13)
    assert graph.neighbours.shape == (400, 32)
    away = np.linalg.norm(points[:, None] - at, axis=2)
    assert (graph.supers == away.argmin(axis=0)).all()
    to_supers = np.linalg.norm(points[:, None] - points[graph.supers], axis=2)
    np.testing.assert_allclose(to_supers[np.arange(400), graph.cells], to_supers.min(axis=1), atol=1e-6)
    # a plane has no curvature
    assert abs(graph.features[:, 6:9]).max() < 1e-6


def test_no_rotation_changes_the_invariants(rng):
    points, normals = rng.normal(size=(2, 200, 3))
    turn = Rotation.random(random_state=1).as_matrix()
    before, after = make_graph(points, normals), make_graph(points @ turn.T, normals @ turn.T)
    np.testing.assert_allclose(before.features[:, 6:], after.features[:, 6:], atol=1e-4)
    assert abs(before.features[:, :6] - after.features[:, :6]).max() > 0.1


def test_a_bump_is_convex_and_a_dent_concave(rng):
    x, y = rng.uniform(-1, 1, (2, 900))
    points = np.column_stack([x, y, np.exp(-8 * (x * x + y * y))])
    normals = np.column_stack([16 * x * points[:, 2], 16 * y * points[:, 2], np.ones(900)])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    top = np.argmax(points[:, 2])
    assert make_graph(points, normals).features[top, 7] < -0.2
    assert make_graph(points * [1, 1, -1], normals * [-1, -1, 1]).features[top, 7] > 0.2
