import numpy as np
import pytest

from tddfa.scan.mesh import Scan


def sphere(count, rng, radius=50.0):
    points = rng.normal(size=(count, 3))
    return radius * points / np.linalg.norm(points, axis=1, keepdims=True)


def test_normals_of_a_mesh_point_outwards():
    tetrahedron = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    triangles = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
    scan = Scan(tetrahedron + 1e4, triangles)
    np.testing.assert_allclose(scan.normals, tetrahedron / np.sqrt(3), atol=1e-3)
    np.testing.assert_allclose(scan.areas, np.sqrt(3) / 4 * 8)


def test_normals_of_a_cloud_point_away_from_its_middle(rng):
    points = sphere(800, rng)
    scan = Scan(points + 300, np.zeros((0, 3), int))
    assert scan.is_cloud
    assert ((scan.normals * points / 50).sum(axis=1) > 0.95).all()


def test_wrong_arrays_are_named():
    with pytest.raises(ValueError, match=r"Scan.vertices: expected at least one, got none"):
        Scan(np.zeros((0, 3)), np.zeros((0, 3), int))
    with pytest.raises(ValueError, match=r"Scan.triangles: expected indices 0..1, got 0..2"):
        Scan(np.zeros((2, 3)), [[0, 1, 2]])
    with pytest.raises(ValueError, match=r"Scan.vertices: expected finite values, got 1"):
        Scan([[0.0, 0, np.nan]], np.zeros((0, 3), int))
