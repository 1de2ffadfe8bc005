"""`render` gives what `rasterize` and `interpolate` give, to the bit; so do holes and composites of its result."""

import numpy as np
import pytest

from Sim3DR import Rendering, close_holes, composite, interpolate, rasterize, render

WINDOWS = [(0, 0, 40, 30), (-3, -5, 61, 47), (7, 4, 3, 20), (5, 9, 12, 1), (30, 20, 1, 1), (0, 0, 9, 2)]


def scene(seed, count=300):
    """Triangles of all sizes, most of a few pixels, some thin, some hidden; attributes beyond bytes."""
    random = np.random.default_rng(seed)
    middles = random.uniform(-5, 45, (count, 1, 3))
    sizes = random.choice([0.7, 3, 6, 40], (count, 1, 1), p=[0.3, 0.4, 0.25, 0.05])
    vertices = (middles + random.normal(0, 1, (count, 3, 3)) * sizes).reshape(-1, 3).astype(np.float32)
    vertices[::11] = np.rint(vertices[::11])  # on pixel centres
    attributes = random.uniform(-40, 300, (len(vertices), 4)).astype(np.float32)
    attributes[5], attributes[12] = np.nan, np.inf
    return vertices, np.arange(len(vertices)).reshape(-1, 3), attributes


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("fits", [True, False])
def test_equals_rasterize_and_interpolate(window, channels, fits):
    vertices, triangles, attributes = scene(channels)
    if fits:
        attributes = np.nan_to_num(attributes, nan=0).clip(0, 255)
    for options in ({}, {"cull": "back", "factor": 2}, {"cull": "front", "threads": 7}):
        raster = rasterize(vertices, triangles, window, **options)
        colors = interpolate(raster, triangles, attributes[:, :channels], dtype=np.uint8)
        rendering = render(vertices, triangles, attributes[:, :channels], window, **options)
        np.testing.assert_array_equal(rendering.depth, raster.depth)
        np.testing.assert_array_equal(rendering.colors[..., :channels], colors)
        assert not rendering.colors[..., channels:].any()
        assert (rendering.left, rendering.top, rendering.channels) == (raster.left, raster.top, channels)
        np.testing.assert_array_equal(rendering.mask, raster.mask)


def test_depth_alone():
    vertices, triangles, _ = scene(9)
    rendering = render(vertices, triangles, None, WINDOWS[0])
    np.testing.assert_array_equal(rendering.depth, rasterize(vertices, triangles, WINDOWS[0]).depth)
    assert rendering.colors is None
    assert rendering.channels == 0


def test_many_triangles_on_threads():
    vertices, triangles, attributes = scene(3, 20_000)
    one, many = (render(vertices, triangles, attributes, WINDOWS[0], threads=threads) for threads in (1, 5))
    np.testing.assert_array_equal(one.depth, many.depth)
    np.testing.assert_array_equal(one.colors, many.colors)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("factor", [1, 2])
def test_holes_and_composite(channels, factor):
    vertices, triangles, attributes = scene(20 + channels, 500)
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    palette = np.random.default_rng(1).integers(0, 256, (256, 3), np.uint8) if channels < 3 else None
    raster = rasterize(vertices, triangles, WINDOWS[0], factor=factor)
    rendering = render(vertices, triangles, attributes[:, :channels], WINDOWS[0], factor=factor)
    before = raster.depth.copy()
    for drawn in (raster, rendering):
        close_holes(drawn, 9, 20)
    assert (before != raster.depth).any()
    np.testing.assert_array_equal(rendering.depth, raster.depth)
    # the attributes of a closed hole are those of the pixel beside it
    layer = interpolate(raster, triangles, attributes[:, :channels], dtype=np.uint8)
    np.testing.assert_array_equal(rendering.colors[..., :channels], layer)
    expected, got = image.copy(), image.copy()
    composite(expected, raster, layer, alpha=0.7, palette=palette, factor=factor)
    composite(got, rendering, alpha=0.7, palette=palette, factor=factor)
    np.testing.assert_array_equal(got, expected)


def test_refused():
    vertices, triangles, attributes = scene(0, 5)
    for columns in (np.zeros((15, 0)), np.zeros((15, 5))):
        with pytest.raises(ValueError, match=r"^attributes: expected 1 to 4 columns, got shape \(15, .\)$"):
            render(vertices, triangles, columns, WINDOWS[0])
    with pytest.raises(ValueError, match=r"^attributes: expected shape \(15, n\), got \(14, 4\)$"):
        render(vertices, triangles, attributes[1:], WINDOWS[0])
    rendering = render(vertices, triangles, attributes[:, :2], WINDOWS[0])
    image = np.zeros((30, 40, 3), np.uint8)
    with pytest.raises(ValueError, match=r"^raster: expected 3 or 4 attributes, got 2$"):
        composite(image, rendering)
    for drawn in (render(vertices, triangles, None, WINDOWS[0]), rasterize(vertices, triangles, WINDOWS[0])):
        with pytest.raises(TypeError, match=r"^layer: expected an array, because the raster has no colours"):
            composite(image, drawn)
    with pytest.raises(ValueError, match=r"^Rendering.colors: expected shape \(30, 40, 4\), got \(30, 40, 3\)$"):
        Rendering(rendering.depth, rendering.colors[..., :3].copy(), 3)
    with pytest.raises(TypeError, match=r"^Rendering.depth: expected an array of float32, got float64$"):
        Rendering(rendering.depth.astype(np.float64), None, 0)
    with pytest.raises(ValueError, match=r"^Rendering.depth: expected a C-contiguous array, got strides"):
        Rendering(rendering.depth[:, ::2], None, 0)
    rendering.colors.flags.writeable = False
    with pytest.raises(ValueError, match=r"^raster: expected a writeable colors"):
        close_holes(rendering, 1, 1)
