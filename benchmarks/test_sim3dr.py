"""The renderer on the open face, 530 px wide: ``pytest benchmarks/test_sim3dr.py``.

`extra_info` (``--benchmark-json``) compares it with a lower bound: triangles and pixels per second, and the fraction of
the time that writing the bytes of the result alone would take.
"""

import time
from pathlib import Path

import numpy as np
import pytest

from Sim3DR import close_holes, composite, interpolate, rasterize, shade, vertex_normals

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
def bytes_a_second():
    """Speed at which this machine overwrites memory in the cache."""
    block, best = np.empty(4 << 20, np.uint8), np.inf
    for _ in range(50):
        start = time.perf_counter()
        block.fill(1)
        best = min(best, time.perf_counter() - start)
    return block.size / best


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("cull", ["none", "back"])
def test_rasterize(benchmark, face, window, bytes_a_second, cull, threads):
    raster = benchmark(rasterize, *face, window, cull=cull, threads=threads)
    assert raster.mask.any()
    seconds = benchmark.stats["min"]
    benchmark.extra_info["million triangles per second"] = round(len(face[1]) / seconds / 1e6, 1)
    benchmark.extra_info["million covered pixels per second"] = round(np.count_nonzero(raster.mask) / seconds / 1e6, 1)
    # cleared, then written: 16 bytes a pixel each
    moved = 16 * (raster.mask.size + np.count_nonzero(raster.mask))
    benchmark.extra_info["fraction of the time for writing the bytes"] = round(moved / bytes_a_second / seconds, 3)


@pytest.mark.parametrize("threads", THREADS)
def test_rasterize_a_small_face(benchmark, face, window, threads):
    """60 px wide: threads must not slow it."""
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


def test_vertex_normals(benchmark, face):
    assert benchmark(vertex_normals, *face).any()


def test_shade(benchmark, face):
    assert benchmark(shade, vertex_normals(*face)).diffuse.any()


@pytest.mark.parametrize("threads", THREADS)
def test_all_of_a_lit_face(benchmark, face, window, threads):
    vertices, triangles = face

    def draw():
        raster = rasterize(vertices, triangles, window, cull="back", threads=threads)
        light = shade(vertex_normals(vertices, triangles))
        return interpolate(raster, triangles, (light.diffuse + light.specular)[:, None], threads=threads)

    assert benchmark(draw).any()
