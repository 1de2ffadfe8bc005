import numpy as np
import pytest

from tddfa.modelling.flattening import Flattening, Pull, harmonic, laid_flat, signed_areas


def grid(size=9):
    """Vertices (n, 2) of a square of size - 1 cells a side, and its triangles."""
    y, x = np.mgrid[0:size, 0:size]
    corner = (y[:-1, :-1] * size + x[:-1, :-1]).ravel()
    triangles = np.concatenate(
        [
            np.column_stack([corner, corner + 1, corner + size + 1]),
            np.column_stack([corner, corner + size + 1, corner + size]),
        ]
    )
    return np.column_stack([x.ravel(), y.ravel()]).astype(np.float64), triangles


def started(points, triangles, size=9):
    """On a disc, as `Flattening` starts."""
    inner = np.arange(size * size).reshape(size, size)
    loop = np.concatenate([inner[0, :-1], inner[:-1, -1], inner[-1, :0:-1], inner[:0:-1, 0]])
    angle = 2 * np.pi * np.arange(len(loop)) / len(loop)
    return harmonic(triangles, loop, 4 * np.column_stack([np.cos(angle), np.sin(angle)]))


def test_a_flat_surface_gets_its_own_shape():
    points, triangles = grid()
    surface = np.column_stack([points, np.zeros(len(points))])
    start = started(points, triangles)
    assert (signed_areas(start, triangles) > 0).all()
    flat = Flattening(triangles, laid_flat(surface, triangles), np.ones(len(triangles)), start)
    assert flat.improve(100, tolerance=1e-14)
    for a, b in ((0, 8), (0, 80), (13, 57)):
        assert np.linalg.norm(flat.points[a] - flat.points[b]) == pytest.approx(
            np.linalg.norm(points[a] - points[b]), rel=1e-5
        )


def test_derivatives_agree_with_differences():
    points, triangles = grid(4)
    rng = np.random.default_rng(0)
    surface = np.column_stack([points, rng.normal(0, 0.3, len(points))])
    flat = Flattening(
        triangles,
        laid_flat(surface, triangles),
        rng.uniform(0.5, 1, len(triangles)),
        points + rng.normal(0, 0.05, points.shape),
    )
    pull = Pull(np.full(points.shape, 0.7), points)
    gradient, hessian = flat._derivatives(pull)
    direction = rng.normal(size=points.shape)
    h = 1e-5
    up, down = (flat._energy(flat.points + s * h * direction, pull) for s in (1, -1))
    assert gradient @ direction.ravel() == pytest.approx((up - down) / (2 * h), rel=1e-6)
    assert np.linalg.eigvalsh(hessian.toarray()).min() > 0


def test_fixed_coordinates_keep_their_values():
    points, triangles = grid()
    fixed = np.zeros(points.shape, dtype=bool)
    fixed[:9, 1] = True
    surface = np.column_stack([2 * points, np.zeros(len(points))])
    flat = Flattening(triangles, laid_flat(surface, triangles), np.ones(len(triangles)), points, fixed=fixed)
    flat.improve(50)
    assert (flat.points[:9, 1] == 0).all()
    assert np.ptp(flat.points[:, 0]) == pytest.approx(16, rel=1e-3)


def test_no_triangle_flips_on_the_way():
    points, triangles = grid(4)
    surface = np.column_stack([points, np.zeros(len(points))])
    flat = Flattening(triangles, laid_flat(surface, triangles), np.ones(len(triangles)), points)
    assert 0 < flat.move_towards(points * (-1, 1)) < 0.5
    assert (signed_areas(flat.points, triangles) > 0).all()
    with pytest.raises(ValueError, match="points: expected a start without flipped triangles"):
        Flattening(triangles, laid_flat(surface, triangles), np.ones(len(triangles)), points * (-1, 1))
