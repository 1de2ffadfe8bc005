import numpy as np

from tddfa.modelling.symmetry import MirrorImages


def test_mirror_images_on_a_curved_surface():
    rng = np.random.default_rng(3)
    x, y = np.meshgrid(np.linspace(-1, 1.1, 30), np.linspace(-1, 1, 25))
    points = np.column_stack([x.ravel(), y.ravel(), 0.3 * np.cos(x.ravel())])
    points[:, :2] += rng.normal(0, 0.005, (len(points), 2))
    corner = (np.arange(24)[:, None] * 30 + np.arange(29)).ravel()
    triangles = np.concatenate(
        [np.column_stack([corner, corner + 1, corner + 31]), np.column_stack([corner, corner + 31, corner + 30])]
    )
    images = MirrorImages.of(points, triangles)
    np.testing.assert_allclose(images.weights.sum(axis=1), 1)
    assert images.weights.min() >= 0
    inside = (np.abs(points[:, :2]) < 0.9).all(axis=1)
    assert images.distance[inside].max() < 0.01
    np.testing.assert_allclose(images(points)[inside], points[inside] * (-1, 1, 1), rtol=0, atol=0.01)
    # beyond the edge: as far as the surface goes
    assert images.distance[points[:, 0] > 1.05].min() > 0.02


def test_two_sides_of_a_sheet_are_told_apart():
    square = np.array([[-1.0, 0, 0], [1, 0, 0], [1, 1, 0], [-1, 1, 0]])
    points = np.concatenate([square, square + np.array([0, 0, 0.01])])
    triangles = np.array([[0, 2, 1], [0, 3, 2], [4, 5, 6], [4, 6, 7]])  # back and front
    images = MirrorImages.of(points, triangles)
    assert (images.vertices[:4] < 4).all()
    assert (images.vertices[4:] >= 4).all()
