import numpy as np
from scipy.spatial import cKDTree

from tddfa.scan.mesh import Scan
from tddfa.scan.sampling import evenly_spread, near_face, neighbours, random_points


def square(side=100.0):
    return Scan([[0, 0, 0], [side, 0, 0], [side, side, 0], [0, side, 0]], [[0, 1, 2], [0, 2, 3]])


def nearest(points):
    return cKDTree(points).query(points, k=2)[0][:, 1]


def test_random_points_are_uniform_over_the_surface(rng):
    points, normals = random_points(square(), 20_000, rng)
    counts = np.histogram2d(points[:, 0], points[:, 1], bins=4)[0]
    assert abs(counts / 1250 - 1).max() < 0.12
    assert normals[:, 2].min() > 0.999


def test_evenly_spread_keeps_points_apart(rng):
    candidates, _ = random_points(square(), 2400, rng)
    points = candidates[evenly_spread(candidates, 600, rng)]
    even, random = nearest(points), nearest(random_points(square(), 600, rng)[0])
    spacing = 100 / np.sqrt(600)
    assert len(points) == 600
    assert np.percentile(even, 5) > 0.6 * spacing > 3 * np.percentile(random, 5)


def test_evenly_spread_gives_each_point_once_and_all_of_few(rng):
    points = rng.random((500, 3))
    chosen = evenly_spread(points, 200, rng)
    assert len(set(chosen.tolist())) == 200
    assert sorted(evenly_spread(points, 900, rng).tolist()) == list(range(500))


def test_a_mesh_without_area_gives_its_vertices(rng):
    flat = Scan(np.arange(9.0).reshape(3, 3), [[0, 0, 1], [1, 1, 2]])
    points, _ = random_points(flat, 50, rng)
    assert sorted(points[:, 0].tolist()) == [0, 3, 6]


def test_neighbours_are_those_of_brute_force(rng):
    points = rng.random((60, 3))
    away = np.linalg.norm(points[:, None] - points, axis=2) + np.eye(60) * 9
    assert (neighbours(points, 5) == np.argsort(away, axis=1)[:, :5]).all()
    few = neighbours(points[:3], 5)
    assert few[1].tolist()[2:] == [1, 1, 1]


def test_points_near_the_inner_landmarks_are_denser(rng):
    x, y = rng.uniform(-100, 100, (2, 20_000))
    points = np.column_stack([x, y, np.zeros(len(x))])
    mean = np.zeros((68, 3))
    mean[:17, 0], mean[17:, 0] = 60, np.linspace(-30, 30, 51)
    chosen = near_face(points, mean, 500, 100.0, 0.6, rng)
    close = (abs(points[chosen, 1]) < 16) & (abs(points[chosen, 0]) < 46)
    assert len(set(chosen.tolist())) == 500
    assert abs(close.sum() - 300) < 12
    assert np.linalg.norm(points[chosen], axis=1).max() < 100
