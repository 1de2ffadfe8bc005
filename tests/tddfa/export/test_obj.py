import io

import cv2
import numpy as np
import pytest
import trimesh

from tddfa import export
from tddfa.types import Mesh

HEIGHT = 200.0


def in_file_frame(mesh: Mesh) -> np.ndarray:
    return mesh.vertices * [1, -1, 1] + [0, HEIGHT, 0]


def obj(meshes, name: str = "x.obj", **options) -> bytes:
    return export.encode(name, meshes, image_height=HEIGHT, **options)[name]


def load(data: bytes) -> trimesh.Trimesh:
    return trimesh.load(io.BytesIO(data), file_type="obj", process=False, maintain_order=True)


def lines(data: bytes, first: str) -> list[list[str]]:
    return [line.split()[1:] for line in data.decode().split("\n") if line.split(" ")[0] == first]


def test_round_trip(octahedron):
    mesh = octahedron()
    loaded = load(obj(mesh))
    np.testing.assert_allclose(loaded.vertices, in_file_frame(mesh), atol=5e-4)
    np.testing.assert_array_equal(loaded.faces, mesh.triangles)
    assert loaded.volume == pytest.approx(40 * 70 * 60 / 6, rel=1e-6)


def test_text_of_the_file(octahedron):
    mesh = octahedron(uv=True)
    text = obj(mesh).decode().split("\n")
    assert text[:3] == ["# px: x right, y up, z towards the viewer", "o face_1", "v 100.000 149.750 5.000"]
    assert text[8] == f"vt {mesh.uv[0, 0]:.5f} {mesh.uv[0, 1]:.5f}"
    assert text[14:16] == ["s 1", "f 5/5 2/2 3/3"]
    assert text[-1] == ""
    assert len(text) == 2 + 6 + 6 + 1 + 8 + 1
    assert "f 5 2 3" in obj(octahedron()).decode().split("\n")


def test_vertex_colors(octahedron):
    mesh = octahedron(colors=True)
    data = obj(mesh, vertex_colors=True)
    np.testing.assert_allclose([[float(n) for n in row[3:]] for row in lines(data, "v")], mesh.colors, atol=5.1e-5)
    np.testing.assert_array_less(
        np.abs(load(data).visual.vertex_colors[:, :3] - mesh.colors * 255), np.full((6, 3), 1.1)
    )
    assert all(len(row) == 3 for row in lines(obj(mesh), "v"))


def test_vertex_colors_need_colors(octahedron):
    with pytest.raises(ValueError, match=r"vertex_colors: expected colors in every mesh, got none in meshes\[1\]"):
        obj([octahedron(colors=True), octahedron()], vertex_colors=True)


def test_uv(octahedron):
    mesh = octahedron(uv=True)
    loaded = load(obj(mesh))
    np.testing.assert_allclose(loaded.visual.uv, mesh.uv, atol=5.1e-6)
    np.testing.assert_array_equal(loaded.faces, mesh.triangles)


def test_several_meshes(octahedron):
    meshes = [octahedron(uv=True), octahedron(300, uv=True)]
    data = obj(meshes)
    assert lines(data, "o") == [["face_1"], ["face_2"]]
    faces = np.array([[[int(n) for n in corner.split("/")] for corner in face] for face in lines(data, "f")])
    expected = np.concatenate([meshes[0].triangles, meshes[1].triangles + 6]) + 1
    np.testing.assert_array_equal(faces[..., 0], expected)
    np.testing.assert_array_equal(faces[..., 1], expected)
    scene = trimesh.load(io.BytesIO(data), file_type="obj", process=False, split_objects=True)
    assert sorted(scene.geometry) == ["face_1", "face_2"]
    for name, mesh in zip(["face_1", "face_2"], meshes, strict=True):
        triangles = in_file_frame(mesh)[mesh.triangles]
        np.testing.assert_allclose(scene.geometry[name].triangles, triangles, atol=5e-4)


def test_uv_are_counted_apart(octahedron):
    data = obj([octahedron(), octahedron(300, uv=True), octahedron(500), octahedron(700, uv=True)])
    assert [lines(data, "f")[8 * mesh] for mesh in range(4)] == [
        ["5", "2", "3"],
        ["11/5", "8/2", "9/3"],
        ["17", "14", "15"],
        ["23/11", "20/8", "21/9"],
    ]
    assert len(lines(data, "vt")) == 12


def test_no_meshes():
    assert obj([]) == b"# px: x right, y up, z towards the viewer\n"
    assert list(export.encode("x.obj", [], textures=[])) == ["x.obj"]


def test_texture(octahedron, texture, tmp_path):
    mesh = octahedron(uv=True)
    written = export.save(tmp_path / "x.obj", mesh, textures=[texture], image_height=HEIGHT)
    assert written == [tmp_path / "x.obj", tmp_path / "x.mtl", tmp_path / "x.png"]
    np.testing.assert_array_equal(cv2.imread(str(written[2])), texture)
    loaded = trimesh.load(written[0], process=False, maintain_order=True)
    assert loaded.visual.material.name == "face_1"
    np.testing.assert_array_equal(np.asarray(loaded.visual.material.image), texture[:, :, ::-1])
    np.testing.assert_allclose(loaded.visual.uv, mesh.uv, atol=5.1e-6)
    np.testing.assert_allclose(loaded.vertices, in_file_frame(mesh), atol=5e-4)


def test_several_textures(octahedron, texture, tmp_path):
    meshes = [octahedron(uv=True), octahedron(300, uv=True)]
    files = export.encode("x.obj", meshes, textures=[texture, 255 - texture])
    assert list(files) == ["x.obj", "x.mtl", "x_1.png", "x_2.png"]
    assert lines(files["x.mtl"], "newmtl") == [["face_1"], ["face_2"]]
    assert lines(files["x.mtl"], "map_Kd") == [["x_1.png"], ["x_2.png"]]
    assert lines(files["x.obj"], "usemtl") == [["face_1"], ["face_2"]]
    export.save(tmp_path / "x.obj", meshes, textures=[texture, 255 - texture])
    scene = trimesh.load(tmp_path / "x.obj", process=False)
    images = {part.visual.material.name: part.visual.material.image for part in scene.geometry.values()}
    np.testing.assert_array_equal(np.asarray(images["face_1"]), texture[:, :, ::-1])
    np.testing.assert_array_equal(np.asarray(images["face_2"]), 255 - texture[:, :, ::-1])


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("two people.obj", "two_people"),
        ("a#b\\c\td.obj", "a_b_c_d"),
        ("-x.obj", "_x"),
        ("x.y.OBJ", "x.y"),
        ("grüße.obj", "grüße"),
    ],
)
def test_names_that_readers_stumble_over(octahedron, texture, name, stem):
    files = export.encode(name, octahedron(uv=True), textures=texture)
    assert list(files) == [name, f"{stem}.mtl", f"{stem}.png"]
    assert f"\nmtllib {stem}.mtl\n".encode() in files[name]
    assert files[f"{stem}.mtl"].endswith(f"\nmap_Kd {stem}.png\n".encode())


def test_file_with_a_space_in_its_name_loads_with_its_texture(octahedron, texture, tmp_path):
    export.save(tmp_path / "two people.obj", octahedron(uv=True), textures=[texture])
    loaded = trimesh.load(tmp_path / "two people.obj", process=False)
    np.testing.assert_array_equal(np.asarray(loaded.visual.material.image), texture[:, :, ::-1])


def test_texture_that_is_a_view(octahedron, texture):
    mesh = octahedron(uv=True)
    view, copy = texture[::-1, ::2], texture[::-1, ::2].copy()
    assert export.encode("x.obj", mesh, textures=view) == export.encode("x.obj", mesh, textures=copy)


def test_huge_coordinates():
    mesh = Mesh([[1e12, -3e38, 3e38], [0, 0, 0], [1, 0, 0]], [[0, 1, 2]])
    row = lines(obj(mesh), "v")[0]
    assert [np.float32(number) for number in row] == [np.float32(n) for n in (1e12, 3e38, 3e38)]
