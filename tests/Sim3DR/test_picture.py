"""Holes and layers against the same things said in NumPy and OpenCV."""

import cv2
import numpy as np
import pytest

from Sim3DR import Raster, close_holes, lay, rasterize

FIRST = np.float32([[4, 3, 0], [60, 8, 9], [9, 50, 4]])


def raster_of(mask, depth=0.0):
    """A raster whose covered pixels all differ."""
    ids = np.arange(mask.size, dtype=np.int32).reshape(mask.shape)
    z = np.where(mask, np.float32(depth), np.float32(-np.inf)).astype(np.float32)
    weights = np.stack([ids, -ids], axis=-1).astype(np.float32)
    return Raster(z, np.where(mask, ids, np.int32(-1)), weights)


def closed(raster, most, gap):
    """`close_holes`, pixel by pixel."""
    nearest = cv2.dilate(raster.depth, np.ones((9, 9), np.uint8))
    with np.errstate(invalid="ignore"):
        empty = (nearest - raster.depth > gap) | ~raster.mask
    count, labels, stats, _ = cv2.connectedComponentsWithStats(empty.astype(np.uint8), connectivity=8)
    planes = [plane.copy() for plane in (raster.depth, raster.triangle_id, raster.barycentric)]
    height, width = empty.shape
    for label in range(1, count):
        if stats[label, cv2.CC_STAT_AREA] > most:
            continue
        for y, x in np.argwhere(labels == label):
            ways = [
                (s * dy, s * dx)
                for s in range(1, int(np.sqrt(most)) + 2)
                for dy, dx in ((0, -1), (0, 1), (-1, 0), (1, 0))
            ]
            for dy, dx in ways:
                of = np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)
                if not empty[of]:
                    for plane in planes:
                        plane[y, x] = plane[of]
                    break
    return planes


def laid(out, under, layer, mask, alpha):
    """`lay`, as OpenCV and NumPy do it."""
    out = out.copy()
    if alpha < 1:
        layer = cv2.addWeighted(layer, alpha, under, 1 - alpha, 0.0)
    near = cv2.blur(mask.astype(np.uint8) * np.uint8(255), (3, 3))
    edge = (near < 255) & mask
    share = np.clip(near[edge] * (2.0 / 255) - 0.8, 0.2, 1.0)[:, None]
    softened = layer[edge] * share + out[edge] * (1 - share)
    out[mask] = layer[mask]
    out[edge] = softened.astype(np.uint8)
    return out


@pytest.fixture
def rng():
    return np.random.default_rng(4)


class TestHoles:
    @pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (7, 8), (8, 9), (61, 47)])
    @pytest.mark.parametrize("most", [0.0, 1.0, 4.0, 9.5, 300.0])
    @pytest.mark.parametrize("share", [0.02, 0.2, 0.6])
    def test_against_the_slow_way(self, rng, shape, most, share):
        depth = rng.uniform(0, 10, shape)
        depth[rng.random(shape) < 0.05] -= 100
        raster = raster_of(rng.random(shape) >= share, depth)
        expected = closed(raster, most, 50.0)
        close_holes(raster, most, 50.0)
        for plane, want in zip((raster.depth, raster.triangle_id, raster.barycentric), expected, strict=True):
            np.testing.assert_array_equal(plane, want)

    @pytest.mark.parametrize("most", [1e19, 1e300])
    def test_holes_of_any_size(self, rng, most):
        raster = raster_of(rng.random((9, 30)) >= 0.4)
        expected = closed(raster, 10_000, 50.0)
        close_holes(raster, most, 50.0)
        np.testing.assert_array_equal(raster.triangle_id, expected[1])

    def test_nothing_and_no_pixels(self):
        raster = raster_of(np.zeros((5, 6), bool))
        close_holes(raster, 1000, 1.0)
        assert not raster.mask.any()
        close_holes(raster_of(np.zeros((0, 6), bool)), 10, 1.0)

    @pytest.mark.parametrize(("most", "gap"), [(-1, 1), (float("nan"), 1), (1, -1), (1, float("inf")), ("1", 1)])
    def test_bad_numbers_are_refused(self, most, gap):
        with pytest.raises((TypeError, ValueError), match=r"max_px|gap"):
            close_holes(raster_of(np.ones((3, 3), bool)), most, gap)

    def test_what_is_no_raster_or_cannot_be_written_is_refused(self):
        with pytest.raises(TypeError, match="raster: expected a Raster"):
            close_holes(np.zeros((3, 3)), 1, 1)
        raster = raster_of(np.ones((3, 3), bool))
        raster.depth.flags.writeable = False
        with pytest.raises(ValueError, match="writeable depth"):
            close_holes(raster, 1, 1)


class TestLay:
    @pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (40, 53)])
    @pytest.mark.parametrize("alpha", [0.0, 0.3, 0.85, 1.0])
    @pytest.mark.parametrize("share", [0.1, 0.9])
    def test_against_opencv(self, rng, shape, alpha, share):
        mask = cv2.blur(rng.random(shape), (5, 5)) < np.quantile(rng.random(shape), share)
        layer, under, out = rng.integers(0, 256, (3, *shape, 3), dtype=np.uint8)
        expected = laid(out, under, layer, mask, alpha)
        before = out.copy()
        lay(out, raster_of(mask), layer, alpha=alpha, under=under)
        # sums of three halves fall to either side
        np.testing.assert_allclose(out.astype(int), expected, atol=1)
        assert (out != expected).mean() < 0.02
        np.testing.assert_array_equal(out[~mask], before[~mask])

    def test_only_the_window_is_written(self, rng):
        out = rng.integers(0, 256, (60, 70, 3), dtype=np.uint8)
        before = out.copy()
        raster = rasterize(FIRST, [[0, 2, 1]], (10, 5, 30, 25))
        lay(out, raster, np.full((25, 30, 3), 9, np.uint8))
        changed = (out != before).any(axis=2)
        assert (
            not changed[:5].any() and not changed[30:].any() and not changed[:, :10].any() and not changed[:, 40:].any()
        )
        assert changed[5:30, 10:40].any()
        # a picture of which this is a part may have other pixels between the rows
        wide = np.zeros((60, 100, 3), np.uint8)
        wide[:, :70] = before
        lay(wide[:, :70], raster, np.full((25, 30, 3), 9, np.uint8))
        np.testing.assert_array_equal(wide[:, :70], out)
        assert not wide[:, 70:].any()

    @pytest.mark.parametrize("factor", [1, 2])
    def test_a_palette_says_what_numbers_mean(self, rng, factor):
        palette, levels = (
            rng.integers(0, 256, (256, 3), dtype=np.uint8),
            rng.integers(0, 256, (40, 40, 1), dtype=np.uint8),
        )
        raster = raster_of(rng.random((40, 40)) < 0.7)
        pictures = np.zeros((2, 40, 40, 3), np.uint8)
        lay(pictures[0], raster, levels, alpha=0.6, palette=palette, factor=factor)
        lay(pictures[1], raster, palette[levels[..., 0]], alpha=0.6, factor=factor)
        np.testing.assert_array_equal(pictures[0], pictures[1])
        assert pictures.any()

    @pytest.mark.parametrize("factor", [2, 3])
    @pytest.mark.parametrize("alpha", [0.4, 1.0])
    def test_the_mean_of_finer_pixels(self, rng, factor, alpha):
        height, width = 12, 15
        mask = cv2.blur(rng.random((height * factor, width * factor)), (3, 3)) < 0.5
        layer = rng.integers(0, 256, (*mask.shape, 3), dtype=np.uint8)
        out, under = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)

        def blocks(array):
            return array.reshape(height, factor, width, factor, -1).astype(float).mean(axis=(1, 3))

        share, mean = blocks(mask[..., None]), np.floor(blocks(layer * mask[..., None]) + 0.5)
        below = np.where(share < 1, out, under)
        expected = np.where(share > 0, np.rint(mean * alpha + below * (1 - share * alpha)), out)
        lay(out, raster_of(mask), layer, alpha=alpha, under=under, factor=factor)
        np.testing.assert_allclose(out, expected, atol=1)
        assert (out != expected).mean() < 0.02

    def test_threads_do_not_show(self, rng):
        raster = raster_of(cv2.blur(rng.random((900, 1100)), (5, 5)) < 0.5)
        layer, out = rng.integers(0, 256, (2, 900, 1100, 3), dtype=np.uint8)
        one, three = out.copy(), out.copy()
        lay(one, raster, layer, alpha=0.5)
        lay(three, raster, layer, alpha=0.5, threads=3)
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
            ({"layer": np.zeros((8, 8, 3))}, TypeError, "layer: expected an array of uint8"),
            ({"palette": np.zeros((8, 3), np.uint8)}, ValueError, "layer|palette"),
            ({"out": np.zeros((7, 20, 3), np.uint8)}, ValueError, "out: expected a picture"),
            ({"under": np.zeros((20, 7, 3), np.uint8)}, ValueError, "under: expected a picture"),
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
            lay(**(arguments | change))
