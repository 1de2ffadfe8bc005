"""The renderer on the open face, 530 px wide: numbers of threads, channels and dtypes.

`benchmarks/test_stages.py` has the stages as drawing uses them. `extra_info` (``--benchmark-json``) has triangles and
pixels per second, and a lower bound: the fraction of the time that writing the bytes of the result would take.

pytest benchmarks/test_sim3dr.py --benchmark-columns=min,median
"""

import time
from pathlib import Path

import numpy as np
import pytest

from Sim3DR import close_holes, composite, interpolate, rasterize

FACE = Path(__file__).parent.parent / "configs" / "open_face.npz"
THREADS = [1, 2, 4]


@pytest.fixture(scope="module")
def face():
    with np.load(FACE, allow_pickle=False) as arrays:
        vertices = arrays["mean"] * np.float32([28, -28, 28]) + np.float32([300, 300, 0])
        return vertices, arrays["triangles"]


@pytest.fixture(scope="module")
def window(face):
    low, high = np.floor(face[0].min(axis=0)).astype(int), np.ceil(face[0].max(axis=0)).astype(int)
    return (*low[:2], *(high - low + 1)[:2])


@pytest.fixture(scope="module")
def bytes_per_second():
    """Speed at which this machine overwrites memory in the cache."""
    block, best = np.empty(4 << 20, np.uint8), np.inf
    for _ in range(50):
        start = time.perf_counter()
        block.fill(1)
        best = min(best, time.perf_counter() - start)
    return block.size / best


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("cull", ["none", "back"])
def test_rasterize(benchmark, face, window, bytes_per_second, cull, threads):
    raster = benchmark(rasterize, *face, window, cull=cull, threads=threads)
    assert raster.mask.any()
    if benchmark.stats is None:  # --benchmark-disable
        return
    seconds = benchmark.stats["min"]
    benchmark.extra_info["million triangles per second"] = round(len(face[1]) / seconds / 1e6, 1)
    benchmark.extra_info["million covered pixels per second"] = round(np.count_nonzero(raster.mask) / seconds / 1e6, 1)
    # 16 bytes per pixel: all are cleared, the covered ones are written
    moved = 16 * (raster.mask.size + np.count_nonzero(raster.mask))
    benchmark.extra_info["fraction of the time for writing the bytes"] = round(moved / bytes_per_second / seconds, 3)


@pytest.mark.parametrize("threads", THREADS)
def test_rasterize_small_face(benchmark, face, window, threads):
    """A face 60 px wide, which more threads must not slow down."""
    vertices = face[0] * np.float32(60 / 530)
    small = tuple(int(v * 60 / 530) for v in window)
    assert benchmark(rasterize, vertices, face[1], small, cull="back", threads=threads).mask.any()


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_interpolate(benchmark, face, window, channels, dtype):
    vertices, triangles = face
    attributes = np.random.default_rng(0).random((len(vertices), channels), dtype=np.float32) * np.float32(255)
    assert benchmark(interpolate, rasterize(*face, window), triangles, attributes, dtype=dtype).any()


def test_close_holes(benchmark, face, window):
    raster = rasterize(*face, window, cull="back")
    benchmark(close_holes, raster, 60.0, 130.0)


@pytest.mark.parametrize("alpha", [0.85, 1.0])
def test_composite(benchmark, face, window, alpha):
    raster = rasterize(*face, window, cull="back")
    image = np.zeros((window[1] + window[3], window[0] + window[2], 3), np.uint8)
    layer = np.full((*raster.depth.shape, 3), 99, np.uint8)
    benchmark(composite, image, raster, layer, alpha=alpha)
    assert image.any()
