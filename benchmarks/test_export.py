"""Encoding of meshes, at the sizes of the open face model and of 3DDFA_V2's face model."""

import numpy as np
import pytest

from tddfa import export
from tddfa.types import Mesh


@pytest.fixture(params=[(13_861, 26_889), (38_365, 76_073)], ids=["open", "bfm"], scope="module")
def mesh(request) -> Mesh:
    vertex_count, triangle_count = request.param
    rng = np.random.default_rng(0)
    return Mesh(
        rng.uniform(-50, 900, (vertex_count, 3)),
        rng.integers(0, vertex_count, (triangle_count, 3)),
        colors=rng.random((vertex_count, 3)),
        uv=rng.random((vertex_count, 2)),
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.ply", {}),
        ("x.ply", {"ascii": True}),
        ("x.obj", {}),
        ("x.obj", {"vertex_colors": True}),
        ("x.glb", {}),
    ],
    ids=["ply-binary", "ply-ascii", "obj-uv", "obj-uv-colors", "glb"],
)
def test_encode(benchmark, mesh, name, options):
    assert benchmark(lambda: export.encode(name, mesh, image_height=720, **options))
