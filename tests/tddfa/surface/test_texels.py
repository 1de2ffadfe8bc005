import cv2
import numpy as np
import pytest

from Sim3DR import interpolate, rasterize
from tddfa.surface._texels import (
    complete,
    feather,
    mix_sides,
    outline_distance,
    paint_eye,
    push_pull,
    sample_mouth,
    sample_surface,
    unhidden,
)

F = np.float32


def neighbours(image, x, y):
    """The four pixels around positions, and the distances from the first."""
    height, width = image.shape[:2]
    x, y = np.clip(x, -1, width), np.clip(y, -1, height)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    pixels = [
        image[np.clip(top + dy, 0, height - 1), np.clip(left + dx, 0, width - 1)].astype(int)
        for dy in (0, 1)
        for dx in (0, 1)
    ]
    return pixels, (x - left.astype(F))[..., None], (y - top.astype(F))[..., None]


def bilinear(image, x, y):
    """With weights in steps of 2^-14."""
    (a, b, c, d), across, down = neighbours(image, x, y)
    one = F(1 << 14)
    right, lower, both = ((w * one + F(0.5)).astype(int) for w in (across, down, across * down))
    total = a * ((1 << 14) - right - lower + both) + b * (right - both) + c * (lower - both) + d * both
    return ((total + (1 << 13)) >> 14).astype(np.uint8)


def colors(rng, *shape):
    return rng.integers(0, 256, (*shape, 3), dtype=np.uint8)


def weights(rng, *shape):
    """Weights 0..1, many of them 0 and 1."""
    return np.clip(rng.uniform(-0.5, 1.5, shape), 0, 1).astype(F)


# the image is much larger than the square of the mesh, about as large, smaller, and a single pixel
@pytest.mark.parametrize("size", [(200, 150), (60, 50), (20, 31), (1, 1)])
@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.5, 0.25)])
@pytest.mark.parametrize("beyond_border", [True, False])
def test_surface_is_sampled_between_pixels(rng, size, scale, beyond_border):
    uv = np.column_stack([rng.uniform(-2, 35, (40, 2)), np.zeros(40)]).astype(F)
    triangles = rng.integers(0, 40, (30, 3)).astype(np.int32)
    raster = rasterize(uv, triangles, (0, 0, 33, 30))
    vertices, seen = rng.uniform(-5 if beyond_border else 3, 65, (40, 3)).astype(F), weights(rng, 40)
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
    (a, b, c, d), x, y = neighbours(image, at[..., 0], at[..., 1])
    exact = (1 - y) * ((1 - x) * a + x * b) + y * ((1 - x) * c + x * d)
    np.testing.assert_allclose(sampled[visible], exact[visible], rtol=0, atol=0.55)


def enlarged(small, shape):
    """OpenCV's bilinear enlargement."""
    return cv2.resize(small.astype(F), shape[::-1], interpolation=cv2.INTER_LINEAR).reshape(*shape, 3)


NO_PAINT = np.zeros(0, np.int64), np.zeros((0, 3), F), np.zeros(0, np.int64), np.zeros((0, 3), np.uint8)


def sides(rng, *shape, small=(3, 4)):
    """Arguments of `mix_sides` before `where`: change and fill are small."""
    mirrorable = (rng.random(shape) < 0.8).astype(np.uint8)
    change, fill = colors(rng, *small), colors(rng, *small)
    weight = weights(rng, *shape)
    weight[:, : shape[1] // 3] = np.round(weight[:, : shape[1] // 3, None][:, :1, 0])  # whole blocks of 0 or 1
    return colors(rng, *shape), weight, mirrorable, change, fill, NO_PAINT


def mixed(own, weight, mirrorable, change, fill):
    """The same in NumPy, and the weight of mirrored colours; the fill has the size of the texture."""
    aside = (1 - weight) * np.where(mirrorable > 0, weight[:, ::-1], 0)
    mirrored = np.clip(own[:, ::-1].astype(F) + enlarged(change, weight.shape) - 128, 0, 255)
    parts = ((own, weight), (mirrored, aside), (fill, 1 - weight - aside))
    return sum(values.astype(F) * part[..., None] for values, part in parts), aside


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (5, 17), (8, 64), (6, 300)])
@pytest.mark.parametrize("small", [(1, 1), (3, 4), (2, 130)])
def test_own_mirrored_and_filled_colours_are_mixed_by_weight(rng, shape, small):
    own, weight, mirrorable, change, fill, _ = given = sides(rng, *shape, small=small)
    inside = (rng.random(shape) < 0.8).astype(np.uint8)
    sources, out = np.full(shape, 9, np.uint8), np.full((*shape, 3), 9, np.uint8)
    mix_sides(*given, np.ones(shape, np.uint8), inside, sources, out)
    expected, aside = mixed(own, weight, mirrorable, change, enlarged(fill, shape))
    np.testing.assert_array_equal(sources, inside * (1 + (weight + aside >= 0.5) + (weight >= 0.5)))
    np.testing.assert_allclose(out, expected, atol=0.52)


def test_the_fill_is_darkened_and_painted(rng):
    own, weight, mirrorable, change, fill, _ = sides(rng, 9, 150)
    weight[1:4] = 1  # nothing of the fill is visible there
    dark, painted = (np.sort(rng.choice(9 * 150, count, replace=False)) for count in (500, 200))
    shade, paint = rng.random((500, 3)).astype(F), colors(rng, 200)
    expected = enlarged(fill, (9, 150)).reshape(-1, 3)
    expected[dark] *= shade
    expected[painted] = paint
    expected, _ = mixed(own, weight, mirrorable, change, expected.reshape(9, 150, 3))
    sources, out, ones = np.zeros((9, 150), np.uint8), np.zeros((9, 150, 3), np.uint8), np.ones((9, 150), np.uint8)
    mix_sides(own, weight, mirrorable, change, fill, (dark, shade, painted, paint), ones, ones, sources, out)
    np.testing.assert_allclose(out, expected, atol=0.52)
    with pytest.raises(ValueError, match="expected arrays of 500 x 3, got one of 499 x 3"):
        mix_sides(own, weight, mirrorable, change, fill, (dark, shade[1:], painted, paint), ones, ones, sources, out)


@pytest.mark.parametrize("margin", [0, 3, 19])
def test_texels_that_are_not_asked_for_are_black_and_have_no_source(rng, margin):
    given, ones = sides(rng, 9, 60), np.ones((9, 60), np.uint8)
    where = np.zeros_like(ones)
    where[1:8, margin : 60 - margin] = rng.random((7, 60 - 2 * margin)) < 0.5
    all_sources, sources = np.empty_like(ones), np.full_like(ones, 9)
    whole, out = np.empty((9, 60, 3), np.uint8), np.full((9, 60, 3), 9, np.uint8)
    mix_sides(*given, ones, ones, all_sources, whole)
    mix_sides(*given, where, ones, sources, out)
    np.testing.assert_array_equal(out, whole * where[..., None])
    np.testing.assert_array_equal(sources, all_sources * where)


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
    with pytest.raises(ValueError, match="expected images of at least one pixel of 3 numbers"):
        mix_sides(*given[:3], given[3][:0], *given[4:], where, where, sources, out)


@pytest.mark.parametrize("is_visible", [True, False])
@pytest.mark.parametrize("enough", [12, 500])
def test_an_eye_has_the_median_colours_that_are_visible_or_those_of_the_skin(rng, is_visible, enough):
    own, weight, fill = colors(rng, 20, 50), weights(rng, 20, 50), colors(rng, 4, 8)
    texels = np.sort(rng.choice(1000, 400, replace=False))
    shade, white = rng.random((400, 3)).astype(F), rng.random(400) < 0.5
    iris, mix = ~white & (rng.random(400) < 0.5), rng.dirichlet((1, 1), 400)
    eye, out = (texels, shade, white.view(np.uint8), iris.view(np.uint8), mix), colors(rng, 400)
    rule = (1.15, 150.0, 0.2, (0.25, 0.33, 0.42), enough, 100.0, 0.0)
    paint_eye(fill, eye, rule, own, weight, is_visible, out)
    skin = (np.rint(enlarged(fill, (20, 50)).reshape(-1, 3)[texels]) * shade).astype(np.uint8).mean(axis=0)
    grey = min(1.15 * skin.max(), 150)
    expected = [np.array([0.25, 0.33, 0.42]) * grey, 0.2 * skin + 0.8 * grey]
    for k, which in enumerate((iris, white)):
        samples = own.reshape(-1, 3)[texels[which & (weight.reshape(-1)[texels] > 0.5)]]
        assert 12 <= len(samples) < 500
        if is_visible and enough == 12:
            expected[k] = np.median(samples, axis=0)
    np.testing.assert_allclose(out, np.floor(mix @ np.stack(expected)), atol=1)
    assert (out == np.floor(mix @ np.stack(expected))).mean() > 0.98
    with pytest.raises(ValueError, match="expected arrays of 400 x 3, got one of 400 x 2"):
        paint_eye(fill, (texels, shade[:, :2].copy(), *eye[2:]), rule, own, weight, True, out)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ((40, 60, 100), (80, 88, 104)),  # a lid: half as saturated as the skin, and 0.6 times 1.15 * 150
        ((150, 155, 170), (150, 155, 170)),  # a white
        ((0, 0, 0), (103, 103, 103)),  # lashes
    ],
)
def test_a_white_is_no_darker_and_no_more_saturated_than_whites_are(seen, expected):
    fill, weight, texels = np.full((4, 4, 3), (80, 100, 150), np.uint8), np.ones((8, 8), F), np.arange(64)
    ones = np.ones(64, np.uint8)
    eye = texels, np.ones((64, 3), F), ones, np.zeros_like(ones), np.tile([0.0, 1.0], (64, 1))
    out = np.zeros((64, 3), np.uint8)
    rule = (1.15, 235.0, 0.2, (0.25, 0.33, 0.42), 12, 0.5, 0.6)
    paint_eye(fill, eye, rule, np.full((8, 8, 3), seen, np.uint8), weight, True, out)
    np.testing.assert_allclose(out, np.tile(expected, (64, 1)), atol=1)


@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.5, 0.25)])
def test_the_mouth_is_sampled_where_it_shows_and_a_little_behind_the_lips(rng, scale):
    """Against the same in NumPy. The rendering has half the size of the image, and begins at (3, 2, 1)."""
    left, top, rows, columns, tolerance, continued = 4, 5, 20, 30, 1.0, 6.0
    vertices = (rng.random((50, 3)) * (29, 19, 6) * 2 + (3 + 2 * left, 2 + 2 * top, 1)).astype(F)
    corners, triangles = rng.integers(0, 50, (600, 3)).astype(np.int32), rng.integers(0, 40, 600)
    weight_of = rng.dirichlet((1, 1, 1), 600).astype(F)
    texels, chosen = rng.permutation(900)[:600], (rng.random(40) < 0.8).view(np.uint8)
    depth, shows = (6 * rng.random((rows, columns))).astype(F), rng.random((rows, columns)) < 0.1
    away, labels = cv2.distanceTransformWithLabels(
        (~shows).view(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.zeros(labels.max() + 1, np.int32)
    of_label[labels[shows]] = np.flatnonzero(shows)
    nearest, image = of_label[labels], colors(rng, 40, 60)
    sampled, weight = np.zeros((30, 30, 3), np.uint8), np.zeros((30, 30), F)
    given = (texels, corners, weight_of, triangles), chosen, (left, top, depth, away, nearest), (3.0, 2.0, 1.0, 0.5)
    sample_mouth(*given, vertices, (tolerance, continued), image, *scale, sampled, weight)

    points = (vertices[corners] * weight_of[..., None]).sum(axis=1)
    placed = (points - F([3, 2, 1])) * F(0.5)
    column, row = (np.rint(placed[:, :2]).astype(int) - (left, top)).T
    at = row * columns + column
    shown = nearest.reshape(-1)[at]
    hidden = shown != at
    there = np.column_stack([shown % columns + left, shown // columns + top])
    points[hidden, :2] += ((there - placed[:, :2]) / F(0.5))[hidden]
    x, y = ((points[:, :2] + F(0.5)) * F(scale) - F(0.5)).T
    trust = 1 - away.reshape(-1)[at] / F(continued)
    trust *= hidden | (depth[row, column] - placed[:, 2] <= tolerance)
    trust *= (x > -0.5) & (y > -0.5) & (x < 59.5) & (y < 39.5) & (chosen[triangles] > 0)
    seen = trust > 0
    assert 50 < seen.sum() < 550
    expected, expected_weight = np.zeros((900, 3), np.uint8), np.zeros(900, F)
    expected[texels[seen]], expected_weight[texels[seen]] = bilinear(image, x, y)[seen], trust[seen]
    np.testing.assert_allclose(weight.reshape(-1), expected_weight, atol=1e-5)
    np.testing.assert_allclose(sampled.reshape(-1, 3).astype(int), expected, atol=1)
    with pytest.raises(ValueError, match="expected arrays of 20 x 30, got one of 19 x 30"):
        window = (left, top, depth, away[1:], nearest)
        sample_mouth(*given[:2], window, given[3], vertices, (1, 1), image, *scale, sampled, weight)


RINGS = ([0, 3], [1], [2, 0, 1, 3], [3, 2])
STARTS = np.int32([0, 2, 3, 7, 9])


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
        np.testing.assert_array_equal(rim, np.where(weight > 0, [2, 3, 4, 5], 0))
        return out

    smallest = np.array([0.6, 0.5, 0.5, 0.6])
    inner = np.append([smallest[ring].mean() for ring in RINGS[:3]], weight[3])  # an eyeball has no margin
    np.testing.assert_allclose(feathered((9, 9), 0, 1), inner, rtol=1e-6)
    np.testing.assert_allclose(feathered((9, 9), 2, 4), inner * [0, 0.5, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(feathered((9, 3), 0, 1), inner * [1, 1, 0, 0], rtol=1e-6)
    hidden = weight * np.float32([1, 0, 1, 1])
    smallest = np.array([0.6, 0, 0, 0.6])
    np.testing.assert_allclose(feathered((9, 9), 0, 1, hidden), [0.6, 0, 0, hidden[3]], rtol=1e-6)


@pytest.mark.parametrize("shape", [(3, 3), (5, 40), (90, 130)])
def test_distance_to_the_outline_equals_that_of_opencv_up_to_29_px(rng, shape):
    inside = np.zeros(shape, np.uint8)
    inside[1:-1, 1:-1] = 1
    if shape[0] > 50:
        inside[rng.integers(0, 90, 5), rng.integers(0, 130, 5)] = 0
    distance, expected = np.full(shape, np.nan, F), cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    outline_distance(inside, distance)
    near = expected < 29
    np.testing.assert_allclose(distance[near], expected[near], atol=0.005)
    assert (distance[~near] > 28.9).all()
    assert near.all() == (shape[0] < 50)
    with pytest.raises(ValueError, match="expected at least one pixel and its border"):
        outline_distance(inside[:2], distance[:2])


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


def test_each_pixel_of_the_fill_is_the_mean_of_the_texels_that_it_covers(rng):
    """Pixel 47 of 94 covers the texels from 96 of 192 on: its first texel may not be rounded to the one before."""
    own = np.repeat(colors(rng, 192, 1), 3, axis=1)
    change, fill = np.zeros((2, 94, 3, 3), np.uint8)
    complete(own, np.ones((192, 3), F), 0.03, change, fill)
    np.testing.assert_allclose(fill, cv2.resize(own.astype(F), (3, 94), interpolation=cv2.INTER_AREA), atol=1)


def test_rows_that_are_visible_at_different_columns_count_together():
    """Each pixel covers two rows, of which one is visible: the left side of the first, and the right of the second."""
    own, weight = np.zeros((20, 40, 3), np.uint8), np.zeros((20, 40), F)
    own[::2, :16], own[1::2, 24:] = (100, 110, 120), (140, 150, 160)
    weight[::2, :16] = weight[1::2, 24:] = 1
    change, fill = np.zeros((2, 10, 40, 3), np.uint8)
    complete(own, weight, 0.0, change, fill)
    assert (change[:, :16] < 128 - 6).all() and (change[:, 24:] > 128 + 6).all()
    # "no difference" at full weight: all that is left is the observed one by its weight, 1 / 16
    complete(own, weight, 1.0, change, fill)
    np.testing.assert_allclose(change[:, 24:], 128 + 40 / 16, atol=0.51)
