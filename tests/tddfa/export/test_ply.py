import io
import re
from pathlib import Path

import numpy as np
import pytest
import trimesh

from tddfa import export
from tddfa.geometry.camera import Camera
from tddfa.types import Mesh

HEIGHT = 200.0


def load(data: bytes) -> trimesh.Trimesh:
    return trimesh.load(io.BytesIO(data), file_type="ply", process=False)


def ply(meshes, **options) -> bytes:
    files = export.encode("x.ply", meshes, image_height=HEIGHT, **options)
    assert list(files) == ["x.ply"]
    return files["x.ply"]


def in_file_frame(mesh: Mesh) -> np.ndarray:
    return mesh.vertices * [1, -1, 1] + [0, HEIGHT, 0]


@pytest.mark.parametrize("ascii", [False, True])
def test_round_trip(octahedron, ascii):
    mesh = octahedron(colors=True)
    loaded = load(ply(mesh, ascii=ascii))
    np.testing.assert_allclose(loaded.vertices, in_file_frame(mesh), atol=5e-4 if ascii else 0)
    np.testing.assert_array_equal(loaded.faces, mesh.triangles)
    np.testing.assert_array_equal(loaded.visual.vertex_colors[:, :3], np.rint(mesh.colors * 255))


@pytest.mark.parametrize("ascii", [False, True])
def test_normals_point_outwards(octahedron, ascii):
    loaded = load(ply(octahedron(), ascii=ascii))
    assert loaded.is_watertight
    assert loaded.volume == pytest.approx(40 * 70 * 60 / 6, rel=1e-6)
    outwards = loaded.triangles_center - loaded.vertices.mean(axis=0)
    assert (np.einsum("ij,ij->i", loaded.face_normals, outwards) > 0).all()


@pytest.mark.parametrize("ascii", [False, True])
def test_vertices_have_unit_normals_that_point_outwards(octahedron, ascii):
    mesh = octahedron()
    loaded = load(ply(mesh, ascii=ascii))
    normals = loaded.metadata["_ply_raw"]["vertex"]["data"]
    normals = np.column_stack([np.ravel(normals[name]) for name in ("nx", "ny", "nz")])
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-3)
    outwards = in_file_frame(mesh) - in_file_frame(mesh).mean(axis=0)
    assert (np.einsum("ij,ij->i", normals, outwards) > 0).all()
    assert normals[4, 2] > 0.9  # the front looks at the viewer


def test_a_unit_of_the_callers_is_in_the_header(octahedron):
    assert b"\ncomment cm: x right, y up" in ply(octahedron(), unit="cm")
    data = ply(octahedron(), unit="µm")
    assert "\ncomment µm: x right".encode() in data
    assert len(load(data).vertices) == 6


def test_bytes_of_the_binary_file(octahedron):
    mesh = octahedron(colors=True)
    data = ply([mesh, mesh])
    header = (
        b"ply\nformat binary_little_endian 1.0\ncomment px: x right, y up, z towards the viewer\n"
        b"element vertex 12\nproperty float x\nproperty float y\nproperty float z\n"
        b"property float nx\nproperty float ny\nproperty float nz\n"
        b"property uchar red\nproperty uchar green\nproperty uchar blue\n"
        b"element face 16\nproperty list uchar int vertex_indices\nend_header\n"
    )
    assert data.startswith(header)
    body = data[len(header) :]
    assert len(body) == 12 * 27 + 16 * 13
    assert np.frombuffer(body, "<f4", 3).tolist() == [100.0, 149.75, 5.0]
    # the leftmost corner
    np.testing.assert_allclose(np.frombuffer(body, "<f4", 3, 12), [-1, 0, 0], atol=0.2)
    assert list(body[24:27]) == np.rint(mesh.colors[0] * 255).tolist()
    first, second = 12 * 27, 12 * 27 + 8 * 13
    assert body[first] == body[second] == 3
    assert np.frombuffer(body, "<i4", 3, first + 1).tolist() == mesh.triangles[0].tolist()
    assert np.frombuffer(body, "<i4", 3, second + 1).tolist() == (mesh.triangles[0] + 6).tolist()


def test_lines_of_the_ascii_file(octahedron):
    mesh = octahedron()
    lines = ply(mesh, ascii=True).decode("ascii").split("\n")
    assert lines[:12] == [
        "ply",
        "format ascii 1.0",
        "comment px: x right, y up, z towards the viewer",
        "element vertex 6",
        *(f"property float {name}" for name in ("x", "y", "z", "nx", "ny", "nz")),
        "element face 8",
        "property list uchar int vertex_indices",
    ]
    assert lines[12] == "end_header"
    assert lines[13].startswith("100.000 149.750 5.000 -1.0000 0.0000")
    assert lines[19] == "3 4 1 2"
    assert len(lines) == 13 + 6 + 8 + 1
    assert lines[-1] == ""


@pytest.mark.parametrize("colors", [False, True])
def test_ascii_and_binary_agree(octahedron, colors):
    meshes = [octahedron(colors=colors), octahedron(-33.333, colors=colors)]
    binary, text = load(ply(meshes)), load(ply(meshes, ascii=True))
    np.testing.assert_allclose(binary.vertices, text.vertices, atol=5e-4)
    np.testing.assert_array_equal(binary.faces, text.faces)
    np.testing.assert_array_equal(binary.visual.vertex_colors, text.visual.vertex_colors)


def test_several_meshes_are_merged(octahedron):
    meshes = [octahedron(), octahedron(300), octahedron(500)]
    loaded = load(ply(meshes))
    np.testing.assert_array_equal(loaded.faces, np.concatenate([meshes[0].triangles + 6 * i for i in range(3)]))
    np.testing.assert_allclose(loaded.vertices, np.concatenate([in_file_frame(mesh) for mesh in meshes]))


def test_colors_only_where_every_mesh_has_them(octahedron):
    assert b"uchar red" not in ply([octahedron(colors=True), octahedron()])


@pytest.mark.parametrize("ascii", [False, True])
def test_colors_out_of_range_are_clipped(octahedron, ascii):
    mesh = octahedron()
    mesh = Mesh(mesh.vertices, mesh.triangles, colors=np.tile([-0.5, 0.5, 7.0], (6, 1)))
    loaded = load(ply(mesh, ascii=ascii))
    np.testing.assert_array_equal(loaded.visual.vertex_colors[:, :3], np.tile([0, 128, 255], (6, 1)))


@pytest.mark.parametrize("ascii", [False, True])
def test_no_meshes(ascii):
    data = ply([], ascii=ascii)
    assert re.findall(rb"element (\w+) (\d+)", data) == [(b"vertex", b"0"), (b"face", b"0")]
    assert data.endswith(b"end_header\n")


@pytest.mark.parametrize("ascii", [False, True])
def test_mesh_without_triangles(octahedron, ascii):
    points = Mesh(octahedron().vertices, np.zeros((0, 3), np.int32))
    assert b"element face 0\n" in ply(points, ascii=ascii)
    loaded = load(ply([points, octahedron()], ascii=ascii))
    np.testing.assert_array_equal(loaded.faces, octahedron().triangles + 6)


def test_textures_are_refused(octahedron, texture):
    with pytest.raises(ValueError, match=r"textures: expected none, because \.ply has no textures"):
        ply(octahedron(uv=True), textures=[texture])


def test_too_many_vertices_for_the_indices(octahedron, monkeypatch):
    monkeypatch.setattr("tddfa.export.ply._MAX_VERTICES", 11)
    with pytest.raises(ValueError, match="at most 11 vertices in all, got 12"):
        ply([octahedron(), octahedron()])


def test_open_face_looks_out_of_the_file():
    with np.load(Path(__file__).parents[3] / "configs" / "open_face.npz", allow_pickle=False) as model:
        mean, triangles = model["mean"], model["triangles"]
    camera = Camera.from_pose(0, 0, 0, scale=10, translation=(320, 240, 0))
    loaded = load(ply(Mesh(camera.project(mean), triangles)))
    # Model and file are both right-handed with y up, and this head is not turned: normals are the model's.
    model_mesh = trimesh.Trimesh(mean, triangles, process=False)
    solid = model_mesh.area_faces > 1e-6
    cosine = np.einsum("ij,ij->i", loaded.face_normals[solid], model_mesh.face_normals[solid])
    assert (cosine > 0.99).all()
    assert loaded.face_normals[:, 2] @ loaded.area_faces > 0
