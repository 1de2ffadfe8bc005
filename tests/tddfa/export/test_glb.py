import io
import json
import struct

import numpy as np
import pytest
import trimesh

from tddfa import export
from tddfa.types import Mesh

HEIGHT = 200.0


def in_file_frame(mesh: Mesh) -> np.ndarray:
    return mesh.vertices * [1, -1, 1] + [0, HEIGHT, 0]


def glb(meshes, **options) -> bytes:
    files = export.encode("x.glb", meshes, image_height=HEIGHT, **options)
    assert list(files) == ["x.glb"]
    return files["x.glb"]


def load(data: bytes) -> trimesh.Scene:
    return trimesh.load(io.BytesIO(data), file_type="glb", process=False)


def parse(data: bytes) -> tuple[dict, bytes]:
    magic, version, length, json_length, kind = struct.unpack_from("<4sIII4s", data)
    assert (magic, version, length, kind) == (b"glTF", 2, len(data), b"JSON")
    size, kind = struct.unpack_from("<I4s", data, 20 + json_length)
    assert kind == b"BIN\0"
    return json.loads(data[20 : 20 + json_length]), data[28 + json_length : 28 + json_length + size]


def attribute(data: bytes, name: str, width: int, dtype: str = "<f4", mesh: int = 0) -> np.ndarray:
    tree, blob = parse(data)
    accessor = tree["accessors"][tree["meshes"][mesh]["primitives"][0]["attributes"][name]]
    view = tree["bufferViews"][accessor["bufferView"]]
    start = view["byteOffset"] + accessor.get("byteOffset", 0)
    return np.frombuffer(blob, dtype, accessor["count"] * width, start).reshape(-1, width)


def test_round_trip(octahedron):
    mesh = octahedron()
    scene = load(glb(mesh))
    (loaded,) = scene.geometry.values()
    np.testing.assert_array_equal(loaded.vertices, in_file_frame(mesh).astype(np.float32))
    np.testing.assert_array_equal(loaded.faces, mesh.triangles)
    assert loaded.volume == pytest.approx(40 * 70 * 60 / 6, rel=1e-6)


def test_a_px_is_a_millimetre(octahedron):
    mesh = octahedron()
    np.testing.assert_allclose(load(glb(mesh)).to_mesh().vertices, in_file_frame(mesh) / 1000, atol=1e-9)
    scene = load(glb(mesh, metres_per_px=0.5))
    np.testing.assert_allclose(scene.to_mesh().vertices, in_file_frame(mesh) / 2, atol=1e-6)


@pytest.mark.parametrize("bad", [0, -1, np.nan, np.inf])
def test_scale_out_of_range(octahedron, bad):
    with pytest.raises(ValueError, match="metres_per_px"):
        glb(octahedron(), metres_per_px=bad)


def test_normals(octahedron):
    mesh = octahedron()
    # a vertex that no triangle uses
    mesh = Mesh(np.vstack([mesh.vertices, [[1, 2, 3]]]), mesh.triangles)
    normals = attribute(glb(mesh), "NORMAL", 3)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)
    outwards = in_file_frame(mesh)[:6] - in_file_frame(mesh)[:6].mean(axis=0)
    assert (np.einsum("ij,ij->i", normals[:6], outwards) > 0).all()
    assert normals[4, 2] > 0.9  # the front looks at the viewer


def test_texture(octahedron, texture):
    mesh = octahedron(uv=True, colors=True)
    data = glb(mesh, textures=[texture])
    (loaded,) = load(data).geometry.values()
    material = loaded.visual.material
    np.testing.assert_array_equal(np.asarray(material.baseColorTexture.convert("RGB")), texture[:, :, ::-1])
    assert material.metallicFactor == 0
    np.testing.assert_allclose(loaded.visual.uv, mesh.uv, atol=1e-6)
    # glTF counts v from the top
    np.testing.assert_allclose(attribute(data, "TEXCOORD_0", 2), [0, 1] + mesh.uv * [1, -1], atol=1e-6)
    assert "COLOR_0" not in parse(data)[0]["meshes"][0]["primitives"][0]["attributes"]


def test_several_textures(octahedron, texture):
    textures = [texture, 255 - texture]
    scene = load(glb([octahedron(uv=True), octahedron(300, uv=True)], textures=textures))
    for name, image in zip(["face_1", "face_2"], textures, strict=True):
        loaded = np.asarray(scene.geometry[name].visual.material.baseColorTexture.convert("RGB"))
        np.testing.assert_array_equal(loaded, image[:, :, ::-1])


def test_colors_are_linear_light(octahedron):
    mesh = octahedron(colors=True)
    linear = attribute(glb(mesh), "COLOR_0", 4, "u1") / 255
    srgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert (linear[:, 3] == 1).all()
    # bytes of linear light are coarse in the dark
    np.testing.assert_allclose(srgb[:, :3], mesh.colors, atol=0.03)
    ends = np.repeat([[0.0], [0.5], [1.0]], [2, 2, 2], axis=0) * np.ones(3)
    data = glb(Mesh(mesh.vertices, mesh.triangles, colors=ends))
    assert attribute(data, "COLOR_0", 4, "u1")[::2, 0].tolist() == [0, 55, 255]
    material = parse(data)[0]["materials"][0]
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 0


def test_several_meshes_are_a_node_each(octahedron):
    meshes = [octahedron(), octahedron(300, colors=True)]
    data = glb(meshes)
    tree, _ = parse(data)
    assert [node["name"] for node in tree["nodes"] if "mesh" in node] == ["face_1", "face_2"]
    scene = load(data)
    for name, mesh in zip(["face_1", "face_2"], meshes, strict=True):
        np.testing.assert_array_equal(scene.geometry[name].vertices, in_file_frame(mesh).astype(np.float32))
        np.testing.assert_array_equal(scene.geometry[name].faces, mesh.triangles)


def test_the_same_meshes_give_the_same_bytes(octahedron, texture):
    assert glb(octahedron(uv=True), textures=texture) == glb(octahedron(uv=True), textures=texture)


def test_nothing_to_write(octahedron):
    with pytest.raises(ValueError, match="meshes: expected at least one"):
        glb([])
    with pytest.raises(ValueError, match=r"meshes\[1\]: expected triangles"):
        glb([octahedron(), Mesh(octahedron().vertices, np.zeros((0, 3), np.int32))])
