import numpy as np
import pytest

from tddfa.surface.sampling import sample


def bilinear(image, points):
    """The same in NumPy, in float64; points outside get the colour of the border."""
    height, width = image.shape[:2]
    x, y = (np.asarray(points[..., i], dtype=np.float64) for i in (0, 1))
    left, top = np.floor(x), np.floor(y)

    def at(row, column):
        row, column = (np.clip(v, 0, n - 1).astype(int) for v, n in ((row, height), (column, width)))
        return image[row, column].astype(np.float64)

    fx, fy = (x - left)[..., None], (y - top)[..., None]
    upper = at(top, left) * (1 - fx) + at(top, left + 1) * fx
    lower = at(top + 1, left) * (1 - fx) + at(top + 1, left + 1) * fx
    return upper * (1 - fy) + lower * fy


@pytest.fixture
def noise(rng):
    image = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    image.setflags(write=False)
    return image


def points_in_32nds(rng, count, low, high):
    """Points whose fractions have few bits, so that rounded interpolation weights are exact."""
    return (rng.integers(np.multiply(low, 32), np.multiply(high, 32), (count, 2)) / 32).astype(np.float32)


def test_inside(noise, rng):
    points = points_in_32nds(rng, 5000, (0, 0), (59, 39))
    np.testing.assert_allclose(sample(noise, points), bilinear(noise, points), atol=1)


def test_any_fraction(rng):
    y, x = np.mgrid[:40, :60]
    smooth = np.stack([4 * x, 6 * y, 2 * x + 3 * y], axis=-1).astype(np.uint8)
    points = (rng.random((5000, 2)) * (59, 39)).astype(np.float32)
    np.testing.assert_allclose(sample(smooth, points), bilinear(smooth, points), atol=1)


def test_pixel_centres_are_at_whole_numbers(noise):
    y, x = np.mgrid[:40, :60].astype(np.float32)
    np.testing.assert_array_equal(sample(noise, np.stack([x, y], axis=-1)), noise)


def test_half_way(noise):
    expected = (noise[5, 7].astype(float) + noise[5, 8]) / 2
    np.testing.assert_allclose(sample(noise, np.array([[7.5, 5]], np.float32))[0], expected, atol=0.51)


def test_borders_and_beyond(noise, rng):
    points = points_in_32nds(rng, 5000, (-20, -20), (80, 60))
    np.testing.assert_allclose(sample(noise, points), bilinear(noise, points), atol=1)
    corners = np.array([[-0.5, -0.5], [59.5, -0.5], [-0.5, 39.5], [59.5, 39.5]], np.float32)
    np.testing.assert_array_equal(sample(noise, corners), noise[[0, 0, -1, -1], [0, -1, 0, -1]])


@pytest.mark.parametrize("far", [1e4, 1e6, 1e9])
def test_far_beyond(noise, far):
    points = np.array([[-far, 5], [far, 5], [7, -far], [7, far], [far, far]], np.float32)
    np.testing.assert_array_equal(sample(noise, points), noise[[5, 5, 0, -1, -1], [0, -1, 7, 7, -1]])


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (2, 3, 4), (1, 2, 3, 4)])
@pytest.mark.parametrize("width", [2, 3])
def test_leading_shape_is_kept_and_z_is_ignored(noise, rng, shape, width):
    points = points_in_32nds(rng, int(np.prod(shape)), (0, 0), (59, 39)).reshape(*shape, 2)
    given = np.concatenate([points, np.full((*shape, width - 2), np.nan, np.float32)], axis=-1)
    result = sample(noise, given)
    assert result.shape == (*shape, 3)
    assert result.dtype == np.uint8
    np.testing.assert_allclose(result, bilinear(noise, points), atol=1)


@pytest.mark.parametrize("shape", [(0, 2), (0, 3), (4, 0, 2), (0, 5, 2)])
def test_no_points(noise, shape):
    assert sample(noise, np.zeros(shape, np.float32)).shape == (*shape[:-1], 3)


@pytest.mark.parametrize("count", [32767, 32768, 70001])
def test_many_points(noise, rng, count):
    points = points_in_32nds(rng, count, (-2, -2), (61, 41))
    expected = bilinear(noise, points)
    np.testing.assert_allclose(sample(noise, points), expected, atol=1)
    np.testing.assert_allclose(sample(noise, points[None])[0], expected, atol=1)
    np.testing.assert_allclose(sample(noise, points[:, None])[:, 0], expected, atol=1)


@pytest.mark.parametrize("shape", [(3, 70000, 3), (70000, 3, 3), (1, 32768, 3), (2, 32767, 3)])
def test_wide_images(rng, shape):
    image = rng.integers(0, 256, shape, dtype=np.uint8)
    high = shape[1], shape[0]
    # a face far on the right, and one that is partly outside of the image
    for low, up in (
        (np.maximum(np.subtract(high, 300), 0), high),
        (np.subtract(high, 300), np.add(high, 200)),
        ((-50, -50), (100, 100)),
    ):
        points = points_in_32nds(rng, 500, low, up)
        np.testing.assert_allclose(sample(image, points), bilinear(image, points), atol=1)


@pytest.mark.parametrize("shape", [(3, 70000, 3), (70000, 3, 3)])
def test_points_across_a_wide_image(rng, shape):
    image = rng.integers(0, 256, shape, dtype=np.uint8)
    points = points_in_32nds(rng, 500, (-3, -3), (shape[1] + 3, shape[0] + 3))
    np.testing.assert_allclose(sample(image, points), bilinear(image, points), atol=1)


def test_points_outside_of_a_wide_image(rng):
    image = rng.integers(0, 256, (3, 40000, 3), dtype=np.uint8)
    points = np.array([[50000, 1], [-70, 1], [50000, 900], [1e7, -1e7]], np.float32)
    for row in (points, *points[:, None]):
        np.testing.assert_allclose(sample(image, row), bilinear(image, row), atol=1)


def test_one_pixel(rng):
    image = np.array([[[3, 140, 250]]], np.uint8)
    points = (rng.random((50, 2)) * 9 - 4).astype(np.float32)
    np.testing.assert_array_equal(sample(image, points), np.broadcast_to(image[0], (50, 3)))


def test_strided_and_read_only(noise, rng):
    points = points_in_32nds(rng, 200, (0, 0), (29, 39))
    wide = np.repeat(points, 2, axis=0)[::2][:, [1, 0]][:, ::-1]  # no stride is that of a contiguous array
    wide.setflags(write=False)
    view = noise[::-1, ::2]
    np.testing.assert_array_equal(sample(view, wide), sample(np.ascontiguousarray(view), points))


def test_arguments_are_left_alone(rng):
    image = rng.integers(0, 256, (3, 40000, 3), dtype=np.uint8)
    points = points_in_32nds(rng, 50, (10000, 0), (39000, 2))
    kept = image.copy(), points.copy()
    sample(image, points)
    np.testing.assert_array_equal(image, kept[0])
    np.testing.assert_array_equal(points, kept[1])


@pytest.mark.parametrize("far", [1e8, 1e30, np.inf])
@pytest.mark.parametrize("shape", [(4, 5), (2, 33000)])
def test_points_far_outside_get_the_colour_of_the_border(rng, far, shape):
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    points = np.float32([[far, 0], [-far, 0], [1, far], [1, -far], [far, far], [-far, far]])
    kept = points.copy()
    expected = image[[0, 0, -1, 0, -1, -1], [-1, 0, 1, 1, -1, 0]]
    np.testing.assert_array_equal(sample(image, points), expected)
    np.testing.assert_array_equal(points, kept)
