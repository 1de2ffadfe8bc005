"""Filling of holes and compositing, against reference implementations in NumPy and OpenCV."""

import cv2
import numpy as np
import pytest

from Sim3DR import Raster, close_holes, composite, rasterize

FIRST = np.float32([[4, 3, 0], [60, 8, 9], [9, 50, 4]])


def raster_of(mask, depth=0.0):
    """A raster whose covered pixels all have different ids and weights."""
    ids = np.arange(mask.size, dtype=np.int32).reshape(mask.shape)
    z = np.where(mask, np.float32(depth), np.float32(-np.inf)).astype(np.float32)
    weights = np.stack([ids, -ids], axis=-1).astype(np.float32)
    return Raster(z, np.where(mask, ids, np.int32(-1)), weights)


def closed(raster, max_px, gap):
    """Do what `close_holes` does, pixel by pixel."""
    nearest = cv2.dilate(raster.depth, np.ones((9, 9), np.uint8))
    with np.errstate(invalid="ignore"):
        empty = (nearest - raster.depth > gap) | ~raster.mask
    count, labels, stats, _ = cv2.connectedComponentsWithStats(empty.astype(np.uint8), connectivity=8)
    planes = [plane.copy() for plane in (raster.depth, raster.triangle_id, raster.barycentric)]
    height, width = empty.shape
    for label in range(1, count):
        if stats[label, cv2.CC_STAT_AREA] > max_px:
            continue
        for y, x in np.argwhere(labels == label):
            steps = [
                (s * dy, s * dx)
                for s in range(1, int(np.sqrt(max_px)) + 2)
                for dy, dx in ((0, -1), (0, 1), (-1, 0), (1, 0))
            ]
            for dy, dx in steps:
                of = np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)
                if not empty[of]:
                    for plane in planes:
                        plane[y, x] = plane[of]
                    break
    return planes


def composited(out, background, layer, mask, alpha):
    """Do what `composite` does, in OpenCV and NumPy."""
    out = out.copy()
    if alpha < 1:
        layer = cv2.addWeighted(layer, alpha, background, 1 - alpha, 0.0)
    near = cv2.blur(mask.astype(np.uint8) * np.uint8(255), (3, 3))
    edge = (near < 255) & mask
    weight = np.clip(near[edge] * (2.0 / 255) - 0.8, 0.2, 1.0)[:, None]
    softened = layer[edge] * weight + out[edge] * (1 - weight)
    out[mask] = layer[mask]
    out[edge] = softened.astype(np.uint8)
    return out


@pytest.fixture
def rng():
    return np.random.default_rng(4)


class TestHoles:
    @pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (7, 8), (8, 9), (61, 47)])
    @pytest.mark.parametrize("max_px", [0.0, 1.0, 4.0, 9.5, 300.0])
    @pytest.mark.parametrize("fraction", [0.02, 0.2, 0.6])
    def test_equals_the_reference(self, rng, shape, max_px, fraction):
        depth = rng.uniform(0, 10, shape)
        depth[rng.random(shape) < 0.05] -= 100
        raster = raster_of(rng.random(shape) >= fraction, depth)
        expected = closed(raster, max_px, 50.0)
        close_holes(raster, max_px, 50.0)
        for plane, want in zip((raster.depth, raster.triangle_id, raster.barycentric), expected, strict=True):
            np.testing.assert_array_equal(plane, want)

    @pytest.mark.parametrize("max_px", [1e19, 1e300])
    def test_holes_of_any_size(self, rng, max_px):
        raster = raster_of(rng.random((9, 30)) >= 0.4)
        expected = closed(raster, 10_000, 50.0)
        close_holes(raster, max_px, 50.0)
        np.testing.assert_array_equal(raster.triangle_id, expected[1])

    def test_an_empty_raster_and_one_without_pixels(self):
        raster = raster_of(np.zeros((5, 6), bool))
        close_holes(raster, 1000, 1.0)
        assert not raster.mask.any()
        close_holes(raster_of(np.zeros((0, 6), bool)), 10, 1.0)

    @pytest.mark.parametrize(("max_px", "gap"), [(-1, 1), (float("nan"), 1), (1, -1), (1, float("inf")), ("1", 1)])
    def test_bad_numbers_are_refused(self, max_px, gap):
        with pytest.raises((TypeError, ValueError), match=r"max_px|gap"):
            close_holes(raster_of(np.ones((3, 3), bool)), max_px, gap)

    def test_other_types_and_read_only_arrays_are_refused(self):
        with pytest.raises(TypeError, match="raster: expected a Raster"):
            close_holes(np.zeros((3, 3)), 1, 1)
        raster = raster_of(np.ones((3, 3), bool))
        raster.depth.flags.writeable = False
        with pytest.raises(ValueError, match="writeable depth"):
            close_holes(raster, 1, 1)


class TestComposite:
    @pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (40, 53)])
    @pytest.mark.parametrize("alpha", [0.0, 0.3, 0.85, 1.0])
    @pytest.mark.parametrize("fraction", [0.1, 0.9])
    def test_against_opencv(self, rng, shape, alpha, fraction):
        mask = cv2.blur(rng.random(shape), (5, 5)) < np.quantile(rng.random(shape), fraction)
        layer, background, out = rng.integers(0, 256, (3, *shape, 3), dtype=np.uint8)
        expected = composited(out, background, layer, mask, alpha)
        before = out.copy()
        composite(out, raster_of(mask), layer, alpha=alpha, background=background)
        # a sum that ends in one half is rounded either way
        np.testing.assert_allclose(out.astype(int), expected, atol=1)
        assert (out != expected).mean() < 0.02
        np.testing.assert_array_equal(out[~mask], before[~mask])

    def test_only_the_window_is_written(self, rng):
        out = rng.integers(0, 256, (60, 70, 3), dtype=np.uint8)
        before = out.copy()
        raster = rasterize(FIRST, [[0, 2, 1]], (10, 5, 30, 25))
        composite(out, raster, np.full((25, 30, 3), 9, np.uint8))
        changed = (out != before).any(axis=2)
        assert (
            not changed[:5].any() and not changed[30:].any() and not changed[:, :10].any() and not changed[:, 40:].any()
        )
        assert changed[5:30, 10:40].any()
        # in a view of a wider image, the pixels between the rows stay
        wide = np.zeros((60, 100, 3), np.uint8)
        wide[:, :70] = before
        composite(wide[:, :70], raster, np.full((25, 30, 3), 9, np.uint8))
        np.testing.assert_array_equal(wide[:, :70], out)
        assert not wide[:, 70:].any()

    @pytest.mark.parametrize("factor", [1, 2])
    def test_a_palette_maps_indices_to_colours(self, rng, factor):
        palette, levels = (
            rng.integers(0, 256, (256, 3), dtype=np.uint8),
            rng.integers(0, 256, (40, 40, 1), dtype=np.uint8),
        )
        raster = raster_of(rng.random((40, 40)) < 0.7)
        images = np.zeros((2, 40, 40, 3), np.uint8)
        composite(images[0], raster, levels, alpha=0.6, palette=palette, factor=factor)
        composite(images[1], raster, palette[levels[..., 0]], alpha=0.6, factor=factor)
        np.testing.assert_array_equal(images[0], images[1])
        assert images.any()

    @pytest.mark.parametrize("alpha", [0.6, 1.0])
    def test_a_translucent_layer_fades_out_to_the_image(self, rng, alpha):
        mask = np.zeros((30, 40), bool)
        mask[5:25, 6:34] = True
        layer = rng.integers(0, 256, (30, 40, 4), dtype=np.uint8)
        background, out = rng.integers(0, 256, (2, 30, 40, 3), dtype=np.uint8)
        opacity = layer[..., 3:] / 255
        behind = opacity * background + (1 - opacity) * out
        expected = np.where(mask[..., None], alpha * opacity * layer[..., :3] + (1 - alpha * opacity) * behind, out)
        inner, before = (slice(6, 24), slice(7, 33)), out.copy()
        composite(out, raster_of(mask), layer, alpha=alpha, background=background)
        np.testing.assert_allclose(out[inner], expected[inner], atol=0.51)
        np.testing.assert_array_equal(out[~mask], before[~mask])

    @pytest.mark.parametrize("factor", [1, 2])
    @pytest.mark.parametrize("indexed", [False, True])
    def test_opacities_of_255_and_0(self, rng, factor, indexed):
        raster = raster_of(cv2.blur(rng.random((40, 60)), (5, 5)) < 0.5)
        palette = rng.integers(0, 256, (256, 3), dtype=np.uint8) if indexed else None
        layer = rng.integers(0, 256, (40, 60, 1 if indexed else 3), dtype=np.uint8)
        before, background = rng.integers(0, 256, (2, 40, 60, 3), dtype=np.uint8)
        plain, opaque, clear = before.copy(), before.copy(), before.copy()
        options = {"alpha": 0.7, "background": background, "palette": palette, "factor": factor}
        composite(plain, raster, layer, **options)
        composite(opaque, raster, np.dstack([layer, np.full((40, 60), 255, np.uint8)]), **options)
        np.testing.assert_allclose(opaque.astype(int), plain, atol=1)
        composite(clear, raster, np.dstack([layer, np.zeros((40, 60), np.uint8)]), **options)
        np.testing.assert_allclose(clear.astype(int), before, atol=1)

    @pytest.mark.parametrize("factor", [2, 3])
    def test_supersampled_opacities_weight_the_colours(self, rng, factor):
        shape = 12 * factor, 15 * factor
        layer = rng.integers(0, 256, (*shape, 4), dtype=np.uint8)
        out = rng.integers(0, 256, (12, 15, 3), dtype=np.uint8)
        opacity = layer[..., 3:] / 255

        def blocks(array):
            return array.reshape(12, factor, 15, factor, -1).mean(axis=(1, 3))

        expected = 0.8 * blocks(layer[..., :3] * opacity) + (1 - 0.8 * blocks(opacity)) * out
        composite(out, raster_of(np.ones(shape, bool)), layer, alpha=0.8, factor=factor)
        np.testing.assert_allclose(out, expected, atol=1)

    @pytest.mark.parametrize("factor", [2, 3])
    @pytest.mark.parametrize("alpha", [0.4, 1.0])
    def test_supersampled_pixels_are_averaged(self, rng, factor, alpha):
        height, width = 12, 15
        mask = cv2.blur(rng.random((height * factor, width * factor)), (3, 3)) < 0.5
        layer = rng.integers(0, 256, (*mask.shape, 3), dtype=np.uint8)
        out, background = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)

        def blocks(array):
            return array.reshape(height, factor, width, factor, -1).astype(float).mean(axis=(1, 3))

        covered, mean = blocks(mask[..., None]), np.floor(blocks(layer * mask[..., None]) + 0.5)
        below = np.where(covered < 1, out, background)
        expected = np.where(covered > 0, np.rint(mean * alpha + below * (1 - covered * alpha)), out)
        composite(out, raster_of(mask), layer, alpha=alpha, background=background, factor=factor)
        np.testing.assert_allclose(out, expected, atol=1)
        assert (out != expected).mean() < 0.02

    def test_the_result_does_not_depend_on_threads(self, rng):
        raster = raster_of(cv2.blur(rng.random((900, 1100)), (5, 5)) < 0.5)
        layer, out = rng.integers(0, 256, (2, 900, 1100, 3), dtype=np.uint8)
        one, three = out.copy(), out.copy()
        composite(one, raster, layer, alpha=0.5)
        composite(three, raster, layer, alpha=0.5, threads=3)
        np.testing.assert_array_equal(one, three)

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"alpha": 1.1}, ValueError, "alpha: expected"),
            ({"alpha": float("nan")}, ValueError, "alpha: expected"),
            ({"factor": 0}, ValueError, "factor: expected"),
            ({"factor": 3}, ValueError, "raster: expected a window"),
            ({"threads": 0}, ValueError, "threads: expected"),
            ({"layer": np.zeros((8, 8, 1), np.uint8)}, ValueError, "layer: expected shape"),
            ({"layer": np.zeros((8, 8, 5), np.uint8)}, ValueError, "layer: expected shape"),
            ({"layer": np.zeros((8, 8, 3))}, TypeError, "layer: expected an array of uint8"),
            ({"palette": np.zeros((8, 3), np.uint8)}, ValueError, "layer|palette"),
            ({"out": np.zeros((7, 20, 3), np.uint8)}, ValueError, "out: expected an image"),
            ({"background": np.zeros((20, 7, 3), np.uint8)}, ValueError, "background: expected an image"),
            ({"out": np.zeros((20, 40, 3), np.uint8)[:, ::2]}, ValueError, "out: expected a writeable"),
            ({"out": np.zeros((20, 20), np.uint8)}, ValueError, "out: expected shape"),
        ],
    )
    def test_bad_arguments_are_refused(self, change, error, message):
        arguments = {
            "out": np.zeros((20, 20, 3), np.uint8),
            "raster": raster_of(np.ones((8, 8), bool)),
            "layer": np.zeros((8, 8, 3), np.uint8),
        }
        with pytest.raises(error, match=message):
            composite(**(arguments | change))
