"""Meshes: scans and avatars that are damaged, and exported files read back."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from builders_fuzz import is_taken, mutated, numbers, st, written
from tddfa import export
from tddfa._shared.errors import FormatError
from tddfa.avatar.retarget import Avatar
from tddfa.export.gltf import Gltf
from tddfa.export.rig import Motion
from tddfa.scan.files.reading import read_scan
from tddfa.types import Mesh

pytest.importorskip("trimesh")
pytestmark = pytest.mark.fuzz

MESH = Mesh(
    np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9]], np.float32),
    np.array([[0, 2, 1], [0, 3, 2], [1, 2, 3]], np.int32),
    np.array([[0.1, 0.2, 0.3]] * 4, np.float32),
)
STL = b"\0" * 80 + struct.pack("<I", 1) + struct.pack("<12fH", 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0)
WORDS = {
    ".obj": (b"v ", b"f ", b"vt ", b"f 1/1 2/2 3/3\n", b"usemtl x\n", b"mtllib ../x.mtl\n", b"-1", b"f 99 -99 0\n"),
    ".ply": (b"element vertex 4\n", b"property list uchar int x\n", b"format ascii 1.0\n", b"end_header\n", b"double"),
    ".stl": (b"solid x\n", b"facet normal 0 0 1\n", b"vertex 1 2 3\n", b"endsolid", b"outer loop\n"),
    ".glb": (
        b"glTF",
        b"JSON",
        b"BIN\0",
        b'"count":9',
        b'"uri":"x.bin"',
        b'"sparse"',
        b'"byteOffset":-4',
        b"[",
        b"null",
    ),
}


@pytest.mark.parametrize("suffix", WORDS)
def test_scans(tmp_path, explored, suffix):
    if suffix == ".stl":
        seeds = [STL, b"solid x\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\n"
                 b"endfacet\nendsolid x\n"]  # fmt: skip
    else:
        seeds = [export.encode(f"seed{suffix}", MESH)[f"seed{suffix}"]]
    if suffix == ".obj":
        seeds.append(b"v 0 0 0 1 0 0\nv 1 0 0 0 1 0\nv 0 1 0 0 0 1\nvt 0 0\nvn 0 0 1\nf 1/1/1 2/1/1 3/1/1\n")
    if suffix == ".ply":
        head = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
        seeds.append((head + "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
                      "0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n").encode())  # fmt: skip

    def check(data):
        path = written(tmp_path / f"s{suffix}", data)
        scans = []
        if not is_taken(lambda: scans.append(read_scan(path)), FormatError, path.name):
            return False
        assert np.isfinite(scans[0].vertices).all()
        assert scans[0].triangles.size == 0 or scans[0].triangles.max() < len(scans[0].vertices)
        return True

    assert all(check(seed) for seed in seeds)
    explored(mutated(seeds, WORDS[suffix]), check)


@pytest.fixture(scope="module")
def avatar():
    """A small avatar as a tree of glTF, with two morph targets, a skin's bone and an animation."""
    return {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0, 1]}],
        "nodes": [
            {"name": "Head", "children": [1], "rotation": [0, 0, 0, 1]},
            {"name": "face", "mesh": 0, "matrix": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]},
        ],
        "meshes": [{"primitives": [{"attributes": {}, "targets": [{}, {}]}], "weights": [0, 0.5],
                    "extras": {"targetNames": ["jawOpen", "eyeBlink_L"]}}],
        "animations": [{"name": "tddfa", "channels": [], "samplers": []}],
        "buffers": [{"byteLength": 4}],
    }  # fmt: skip


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 10**12), st.floats(), st.text(max_size=4), st.just("Head")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(("mesh", "name")), inner)),
    max_leaves=4,
)


@st.composite
def trees(draw, tree):
    """The bytes of a GLB file whose JSON has other values in some places."""
    changed = json.loads(json.dumps(tree))
    for _ in range(draw(st.integers(1, 3))):
        place = changed
        while True:
            keys = sorted(place) if isinstance(place, dict) else range(len(place))
            key = draw(st.sampled_from(keys))
            inner = place[key]
            if not isinstance(inner, list | dict) or not inner or draw(st.integers(0, 2)) == 0:
                break
            place = inner
        if draw(st.booleans()) and isinstance(place, dict) and len(place) > 1:
            del place[key]
        else:
            place[key] = draw(VALUES)
    return glb(changed)


def glb(tree):
    text = json.dumps(tree).encode()  # with NaN, which the writer refuses
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", 4, b"BIN\0") + bytes(4)
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def test_avatars(explored, avatar):
    names = ["jawOpen", "eyeBlinkLeft", "browInnerUp"]
    rotations = np.tile(np.float32([0, 0, 0, 1]), (2, 1))
    weights, times = np.full((2, 3), 0.5, np.float32), np.float32([0, 0.5])
    motion = Motion(times, rotations, np.zeros((2, 3), np.float32), weights, [(0.0, True)])

    def check(data):
        return is_taken(lambda: Gltf.decode(Avatar(data, names).animated(motion)), ValueError)

    seed = glb(avatar)
    assert check(seed)
    explored(st.one_of(trees(avatar), mutated([seed], WORDS[".glb"])), check)


@st.composite
def meshes(draw):
    count = draw(st.integers(1, 9))
    vertices = draw(numbers((count, 3)))
    triangles = draw(numbers((draw(st.integers(0, 6)), 3), np.int32, 0, count - 0.01))
    colors = draw(st.one_of(st.none(), numbers((count, 3), low=0, high=1)))
    uv = draw(st.one_of(st.none(), numbers((count, 2), low=0, high=1)))
    return vertices, triangles, colors, uv


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".glb"])
def test_what_is_exported_can_be_read(tmp_path, explored, suffix):
    """What the writer takes is what the reader gives: all corners of triangles, and no others."""

    def check(arrays):
        path = tmp_path / f"m{suffix}"
        path.unlink(missing_ok=True)
        if not is_taken(lambda: export.save(path, Mesh(*arrays)), (TypeError, ValueError)):
            assert not path.exists()
            return False
        vertices, triangles = arrays[0].astype(np.float64), arrays[1]
        if len(triangles) and np.abs(vertices).max() < 1e4:
            read = read_scan(path).vertices / (0.001 if suffix == ".glb" else 1)
            distances = np.linalg.norm(read[:, None] - vertices * [1, -1, 1], axis=-1)  # y is up in files
            assert distances[:, np.unique(triangles)].min(axis=0).max() < 0.01
            assert distances.min(axis=1).max() < 0.01
        return True

    explored(meshes(), check)
