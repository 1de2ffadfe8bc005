import cv2
import numpy as np
import pytest

from Sim3DR import interpolate, rasterize
from tddfa.surface._texels import mean_around, mix_sides, push_pull, sample_surface, smallest_around

F = np.float32


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


def sides(rng, *shape):
    """Arguments of `mix_sides` before `where`."""
    mirrorable = (rng.random(shape) < 0.8).astype(np.uint8)
    return colors(rng, *shape), weights(rng, *shape), mirrorable, colors(rng, *shape), colors(rng, *shape)


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (5, 17), (8, 64)])
def test_own_mirrored_and_filled_colours_are_mixed_by_weight(rng, shape):
    own, weight, mirrorable, change, fill = given = sides(rng, *shape)
    aside = (1 - weight) * np.where(mirrorable > 0, weight[:, ::-1], 0)
    mirrored = np.clip(own[:, ::-1].astype(F) + change - 128, 0, 255)
    parts = ((own, weight), (mirrored, aside), (fill, 1 - weight - aside))
    expected = sum(values.astype(F) * part[..., None] for values, part in parts)
    inside = (rng.random(shape) < 0.8).astype(np.uint8)
    sources, out = np.full(shape, 9, np.uint8), np.full((*shape, 3), 9, np.uint8)
    mix_sides(*given, np.ones(shape, np.uint8), inside, sources, out)
    np.testing.assert_array_equal(sources, inside * (1 + (weight + aside >= 0.5) + (weight >= 0.5)))
    np.testing.assert_allclose(out, expected, atol=0.51)


def test_texels_that_are_not_asked_for_are_black(rng):
    given = sides(rng, 9, 40)
    where = np.zeros((9, 40), np.uint8)
    where[1:8, 3:37] = rng.random((7, 34)) < 0.5
    sources, whole, out = np.zeros((9, 40), np.uint8), np.zeros((9, 40, 3), np.uint8), np.full((9, 40, 3), 9, np.uint8)
    mix_sides(*given, np.ones_like(where), where, sources, whole)
    mix_sides(*given, where, where, sources, out)
    np.testing.assert_array_equal(out, whole * where[..., None])


def test_arrays_of_other_sizes_and_layouts_are_refused(rng):
    given, where, out = sides(rng, 4, 6), np.ones((4, 6), np.uint8), colors(rng, 4, 6)
    sources = np.zeros_like(where)
    with pytest.raises(ValueError, match="expected arrays of 4 x 6 texels, got one of 4 x 5"):
        mix_sides(*given, where, where, sources[:, :5].copy(), out)
    with pytest.raises(ValueError, match="expected arrays of 4 x 6 texels, got one of 3 x 6"):
        mix_sides(given[0][:3].copy(), *given[1:], where, where, sources, out)
    with pytest.raises(ValueError, match="contiguous"):
        mix_sides(given[0][:, ::-1], *given[1:], where, where, sources, out)
    with pytest.raises(ValueError, match="expected colours of 3 numbers"):
        mix_sides(given[0][..., :2].copy(), *given[1:], where, where, sources, out)


def test_values_around_vertices(rng):
    rings = [[0, 3], [1], [2, 0, 1, 3], [3, 2]]
    vertices = np.concatenate(rings).astype(np.int32)
    starts = np.int32([0, 2, 3, 7, 9])
    values, out = rng.normal(size=4).astype(F), np.zeros(4, F)
    smallest_around(vertices, starts, values, out)
    np.testing.assert_array_equal(out, [values[ring].min() for ring in rings])
    mean_around(vertices, starts, values, out)
    np.testing.assert_allclose(out, [values[ring].mean() for ring in rings], rtol=1e-6)
    for native in (smallest_around, mean_around):
        with pytest.raises(ValueError, match="expected values of 4 vertices, at least one, got 3 and 4"):
            native(vertices, starts, values[:3], out)


def pulled(values):
    """Push-pull by OpenCV's resizing."""
    if max(values.shape[:2]) == 1:
        return values[..., :3] / np.maximum(values[..., 3:], 1e-6)
    half = cv2.resize(values, [max(1, side // 2) for side in values.shape[1::-1]], interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(pulled(half.reshape(-1, half.shape[-2], 4)), values.shape[1::-1])
    return values[..., :3] + (1 - values[..., 3:]) * coarse.reshape(*values.shape[:2], 3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 1), (7, 5), (16, 32), (33, 50)])
def test_push_pull_equals_that_of_opencv(rng, shape):
    weight = weights(rng, *shape)[..., None] * (rng.random((*shape, 1)) < 0.5)
    weight[0, 0] = 1
    values = np.concatenate([weight * colors(rng, *shape), weight], axis=-1).astype(F)
    out = np.zeros((*shape, 3), F)
    push_pull(values, out)
    np.testing.assert_allclose(out, pulled(values), atol=1e-3)
    with pytest.raises(ValueError, match="expected pixels of 4 numbers, at least one, and results of 3"):
        push_pull(values, np.zeros((*shape, 4), F))
