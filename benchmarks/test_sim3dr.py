"""The renderer on the open face, 530 px wide: ``pytest benchmarks/test_sim3dr.py``."""

from pathlib import Path

import numpy as np
import pytest

from Sim3DR import interpolate, rasterize, shade, vertex_normals

FACE = Path(__file__).parent.parent / "configs" / "open_face.npz"


@pytest.fixture(scope="module")
def face():
    with np.load(FACE, allow_pickle=False) as arrays:
        vertices = arrays["mean"] * np.float32([28, -28, 28]) + np.float32([300, 300, 0])
        return vertices, arrays["triangles"]


@pytest.fixture(scope="module")
def window(face):
    low, high = np.floor(face[0].min(axis=0)).astype(int), np.ceil(face[0].max(axis=0)).astype(int)
    return (*low[:2], *(high - low + 1)[:2])


@pytest.mark.parametrize("cull", ["none", "back"])
def test_rasterize(benchmark, face, window, cull):
    assert benchmark(rasterize, *face, window, cull=cull).mask.any()


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_interpolate(benchmark, face, window, channels):
    vertices, triangles = face
    attributes = np.random.default_rng(0).random((len(vertices), channels), dtype=np.float32)
    assert benchmark(interpolate, rasterize(*face, window), triangles, attributes).any()


def test_vertex_normals(benchmark, face):
    assert benchmark(vertex_normals, *face).any()


def test_shade(benchmark, face):
    assert benchmark(shade, vertex_normals(*face)).diffuse.any()


def test_all_of_a_lit_face(benchmark, face, window):
    vertices, triangles = face

    def draw():
        raster = rasterize(vertices, triangles, window, cull="back")
        light = shade(vertex_normals(vertices, triangles))
        return interpolate(raster, triangles, (light.diffuse + light.specular)[:, None])

    assert benchmark(draw).any()
