import cv2
import numpy as np
import pytest

from Sim3DR import interpolate, rasterize
from tddfa.surface._texels import (
    complete,
    darken,
    feather,
    mean_around,
    mix_sides,
    push_pull,
    sample_surface,
    unhidden,
)

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
    with pytest.raises(ValueError, match="expected arrays of 4 x 6, got one of 4 x 5"):
        mix_sides(*given, where, where, sources[:, :5].copy(), out)
    with pytest.raises(ValueError, match="expected arrays of 4 x 6, got one of 3 x 6"):
        mix_sides(given[0][:3].copy(), *given[1:], where, where, sources, out)
    with pytest.raises(ValueError, match="contiguous"):
        mix_sides(given[0][:, ::-1], *given[1:], where, where, sources, out)
    with pytest.raises(ValueError, match="expected colours of 3 numbers"):
        mix_sides(given[0][..., :2].copy(), *given[1:], where, where, sources, out)


RINGS = ([0, 3], [1], [2, 0, 1, 3], [3, 2])
STARTS = np.int32([0, 2, 3, 7, 9])


def test_mean_of_the_values_around_vertices(rng):
    vertices = np.concatenate(RINGS).astype(np.int32)
    values, out, chosen = rng.normal(size=4).astype(F), np.zeros(3, F), np.int64([3, 0, 2])
    mean_around(vertices, STARTS, values, chosen, out)
    np.testing.assert_allclose(out, [values[RINGS[i]].mean() for i in chosen], rtol=1e-6)
    with pytest.raises(ValueError, match="expected values of 4 vertices, at least one, got 3"):
        mean_around(vertices, STARTS, values[:3], chosen, out)
    with pytest.raises(ValueError, match="expected results of 3 vertices, got 2"):
        mean_around(vertices, STARTS, values, chosen, out[:2])


def test_vertices_that_face_the_camera_and_are_not_hidden(rng):
    """Against the same in NumPy. Part 3 has a depth test of its own pixel, and any angle is enough."""
    count, grazing, facing, tolerance, around, here = 400, 0.1, 0.4, 1.0, 3.7, 0.7
    vertices = (rng.random((count, 3)) * (20, 30, 8)).astype(F)
    normals = rng.normal(size=(count, 3)).astype(F)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    part = rng.integers(0, 4, count).astype(np.uint8)
    depth = (10 * rng.random((31, 21))).astype(F)
    nearest = cv2.dilate(depth, np.ones((3, 3), np.uint8))
    z, weight = normals[:, 2], np.empty(count, F)
    unhidden(vertices, normals, part, depth, nearest, (grazing, facing, tolerance, around, here, 3), weight)
    column, row = np.rint(vertices[:, :2]).astype(int).T
    steepness = np.sqrt(np.clip(1 - z * z, 0, 1)) / np.maximum(z, grazing)
    seen = np.clip((z - grazing) / (facing - grazing), 0, 1)
    seen *= nearest[row, column] - vertices[:, 2] <= tolerance + around * steepness
    shallow = depth[row, column] - vertices[:, 2] <= tolerance + here * steepness
    np.testing.assert_allclose(weight, np.where(part == 3, shallow & (z > 0), seen), atol=1e-6)
    assert 20 < (weight == 0).sum() < 380


def test_weights_are_lower_beside_hidden_vertices_at_the_outline_and_outside_of_the_image():
    vertices = np.float32([[1, 1, 0], [2, 1, 0], [3, 1, 0], [4, 1, 0]])
    distance = np.tile(np.arange(7, dtype=F), (5, 1))  # at column x: x + 1
    weight, part = np.float32([1, 0.5, 0.8, 0.6]), np.uint8([0, 0, 0, 1])
    rings = np.concatenate(RINGS).astype(np.int32)

    def feathered(size, low, high, weight=weight):
        out, rim = np.empty(4, F), np.empty(4, F)
        feather(rings, STARTS, vertices, part, distance, low, high, vertices, size, weight, out, rim)
        assert rim.tolist() == [2, 3, 4, 5]
        return out

    smallest = np.array([0.6, 0.5, 0.5, 0.6])
    inner = np.append([smallest[ring].mean() for ring in RINGS[:3]], weight[3])  # an eyeball has no margin
    np.testing.assert_allclose(feathered((9, 9), 0, 1), inner, rtol=1e-6)
    np.testing.assert_allclose(feathered((9, 9), 2, 4), inner * [0, 0.5, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(feathered((9, 3), 0, 1), inner * [1, 1, 0, 0], rtol=1e-6)
    hidden = weight * np.float32([1, 0, 1, 1])
    smallest = np.array([0.6, 0, 0, 0.6])
    np.testing.assert_allclose(feathered((9, 9), 0, 1, hidden), [0.6, 0, 0, hidden[3]], rtol=1e-6)


def test_pixels_are_darkened_once_each():
    pixels = np.full((3, 3), 100, np.uint8)
    darken(pixels, np.int64([2, 0]), np.float32([[0.5, 0.256, 1], [0, 0.999, 0.1]]))
    assert pixels.tolist() == [[0, 99, 10], [100] * 3, [50, 25, 100]]
    with pytest.raises(ValueError, match="factors of 3 numbers for each index"):
        darken(pixels, np.int64([2]), np.ones((2, 3), F))


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


@pytest.mark.parametrize("size", [(8, 16), (5, 7), (20, 40)])
def test_light_and_fill_of_a_face_of_two_colours(size):
    """One side is 40 levels brighter where both are visible; the part of it that is not is filled from the other."""
    own, weight = np.zeros((20, 40, 3), np.uint8), np.ones((20, 40), F)
    own[:, :20], own[:, 20:] = (100, 110, 120), (140, 150, 160)
    weight[12:, 20:] = 0
    own[weight == 0] = 0
    change, fill = np.zeros((2, *size, 3), np.uint8)
    complete(own, weight, 0.03, change, fill)
    middle = size[1] // 2
    np.testing.assert_allclose(change[:2, : middle - 1], 128 - 40, atol=2)
    np.testing.assert_allclose(change[:2, middle + 1 :], 128 + 40, atol=2)
    np.testing.assert_allclose(fill[:, : middle - 1], np.broadcast_to(own[0, 0], fill[:, : middle - 1].shape), atol=1)
    assert (fill[-1, middle + 2 :] > own[0, 0] + 5).all(), "mirrored colours have the light of their own side"
    with pytest.raises(ValueError, match="at least one pixel, and no more than texels"):
        complete(own, weight, 0.03, *np.zeros((2, 21, 4, 3), np.uint8))
