import numpy as np
import pytest

from Sim3DR import interpolate, rasterize
from tddfa.surface._texels import blend_known, darken, mix_sides, sample_surface

F = np.float32


def blended(first, second, first_weight, second_weight):
    sums = first * first_weight[..., None] + second * second_weight[..., None]
    return np.rint(sums / (first_weight + second_weight + F(1e-5))[..., None]).astype(np.uint8)


def bilinear(image, x, y):
    height, width = image.shape[:2]
    x, y = np.clip(x, -1, width), np.clip(y, -1, height)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    a, b, c, d = (
        image[np.clip(top + dy, 0, height - 1), np.clip(left + dx, 0, width - 1)].astype(F)
        for dy in (0, 1)
        for dx in (0, 1)
    )
    across, down = (x - left.astype(F))[..., None], (y - top.astype(F))[..., None]
    upper, lower = a + across * (b - a), c + across * (d - c)
    return np.rint(upper + down * (lower - upper)).astype(np.uint8)


def colors(rng, *shape):
    return rng.integers(0, 256, (*shape, 3), dtype=np.uint8)


def weights(rng, *shape):
    """Weights 0..1, many of them 0 and 1."""
    return np.clip(rng.uniform(-0.5, 1.5, shape), 0, 1).astype(F)


# the image is much larger than the square of the mesh, about as large, smaller, and a single pixel
@pytest.mark.parametrize("size", [(200, 150), (60, 50), (20, 31), (1, 1)])
@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.5, 0.25)])
def test_surface_is_sampled_between_pixels(rng, size, scale):
    uv = np.column_stack([rng.uniform(-2, 35, (40, 2)), np.zeros(40)]).astype(F)
    triangles = rng.integers(0, 40, (30, 3)).astype(np.int32)
    raster = rasterize(uv, triangles, (0, 0, 33, 30))
    vertices, seen = rng.uniform(-5, 65, (40, 3)).astype(F), weights(rng, 40)
    image = colors(rng, *size)
    sampled, weight = colors(rng, 30, 33), np.full((30, 33), np.nan, F)
    sample_surface(
        raster.triangle_id, raster.barycentric, triangles, vertices, seen, image, *scale, sampled, weight
    )  # fmt: skip
    np.testing.assert_array_equal(weight, interpolate(raster, triangles, seen[:, None])[..., 0])
    at = interpolate(raster, triangles, vertices[:, :2].copy())
    if scale != (1.0, 1.0):
        at = (at + F(0.5)) * np.array(scale, F) - F(0.5)
    visible = weight > 0
    assert 100 < visible.sum() < visible.size - 100
    np.testing.assert_array_equal(sampled[visible], bilinear(image, at[..., 0], at[..., 1])[visible])
    assert not sampled[~visible].any()


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (5, 17), (8, 64)])
def test_sides_are_mixed_by_their_visibility(rng, shape):
    given, weight = colors(rng, *shape), weights(rng, *shape)
    other = weight[:, ::-1].copy()
    own = weight * np.square(weight / np.maximum(np.maximum(weight, other), F(1e-6)))
    other *= 1 - own
    known, out = np.full(shape, np.nan, F), np.empty((*shape, 3), np.uint8)
    mix_sides(given, weight, known, out)
    np.testing.assert_array_equal(weight, own)
    np.testing.assert_array_equal(known, np.minimum(own + other, 1))
    np.testing.assert_array_equal(out, blended(given, given[:, ::-1], own, other))


def test_unknown_colours_come_from_the_second_image(rng):
    first, second, known = colors(rng, 9, 40), colors(rng, 9, 40), weights(rng, 9, 40)
    where = np.zeros((9, 40), np.uint8)
    where[1:8, 3:37] = rng.random((7, 34)) < 0.5
    out = np.zeros((9, 40, 3), np.uint8)
    blend_known(first, second, known, where, out)
    expected = blended(first, second, known, 1 - known)
    np.testing.assert_array_equal(out[where > 0], expected[where > 0])
    assert not out[[0, 8]].any(), "rows where nothing is asked for are left"


def test_unknown_parts_are_darkened(rng):
    given, known = colors(rng, 6, 7), weights(rng, 6, 7)
    dark, shade = np.array([0, 5, 41], np.int64), weights(rng, 3)
    expected = given.reshape(-1, 3).copy()
    factor = 1 - (1 - shade) * (1 - known.reshape(-1)[dark])
    expected[dark] = np.rint(expected[dark] * factor[:, None]).astype(np.uint8)
    darken(dark, shade, known, given)
    np.testing.assert_array_equal(given.reshape(-1, 3), expected)


def test_arrays_of_other_sizes_and_layouts_are_refused(rng):
    given, weight, known, out = colors(rng, 4, 6), weights(rng, 4, 6), weights(rng, 4, 6), colors(rng, 4, 6)
    with pytest.raises(ValueError, match="expected arrays of 4 x 6 texels, got one of 4 x 5"):
        mix_sides(given, weight, known[:, :5].copy(), out)
    with pytest.raises(ValueError, match="expected arrays of 4 x 6 texels, got one of 3 x 6"):
        blend_known(given[:3].copy(), given, known, np.ones((4, 6), np.uint8), out)
    with pytest.raises(ValueError, match="one shade for each texel"):
        darken(np.zeros(2, np.int64), np.zeros(1, F), known, out)
    with pytest.raises(ValueError, match="contiguous"):
        mix_sides(given[:, ::-1], weight, known, out)
    with pytest.raises(ValueError, match="contiguous"):
        blend_known(given, given, known.T.copy().T, np.ones((4, 6), np.uint8), out)
    with pytest.raises(ValueError, match="expected colours of 3 numbers"):
        mix_sides(given[..., :2].copy(), weight, known, out)
