from pathlib import Path

import numpy as np
import pytest

from tddfa import export
from tddfa.types import Mesh


@pytest.mark.parametrize("name", ["x.ply", "x.obj", "x.glb", "X.PLY"])
def test_writes_what_encode_gives(octahedron, tmp_path, name):
    meshes = [octahedron(), octahedron(300)]
    written = export.save(tmp_path / "made" / "here" / name, meshes, image_height=480)
    files = export.encode(name, meshes, image_height=480)
    assert written == [tmp_path / "made" / "here" / name]
    assert {path.name: path.read_bytes() for path in written[0].parent.iterdir()} == files


def test_path_may_be_text(octahedron, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert export.save("x.ply", octahedron()) == [Path("x.ply")]
    assert (tmp_path / "x.ply").exists()


def test_a_mesh_is_as_good_as_a_sequence(octahedron):
    assert export.encode("x.ply", octahedron()) == export.encode("x.ply", (octahedron(),))


def test_origin_is_at_the_upper_edge_by_default(octahedron):
    assert b"\nv 100.000 -50.250 5.000\n" in export.encode("x.obj", octahedron())["x.obj"]


@pytest.mark.parametrize("name", ["x.stl", "x", "x.ply.gz", ".obj"])
def test_unknown_suffix(octahedron, tmp_path, name):
    with pytest.raises(ValueError, match=rf"suffix: expected one of .ply, .obj, .glb, got '{Path(name).suffix}'"):
        export.save(tmp_path / name, octahedron())
    assert list(tmp_path.iterdir()) == []


def test_name_is_no_path(octahedron):
    for stem in ("", "a/b"):
        with pytest.raises(ValueError, match="image_stem: expected a file name without a folder"):
            export.encode("a.obj", [], image_stem=stem)
    with pytest.raises(ValueError, match="unit: expected one line"):
        export.encode("a.ply", [], unit="px\nelement face 9")
    with pytest.raises(ValueError, match="name: expected a file name"):
        export.encode("folder/x.ply", octahedron())


@pytest.mark.parametrize(
    ("name", "option"),
    [("x.ply", "vertex_colors"), ("x.obj", "ascii"), ("x.glb", "ascii"), ("x.ply", "asci")],
)
def test_option_of_another_format(octahedron, tmp_path, name, option):
    with pytest.raises(TypeError, match=option):
        export.save(tmp_path / name, octahedron(), **{option: True})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("meshes", [[None], ["mesh"], "ab", [np.zeros((3, 3))]])
def test_not_a_mesh(meshes):
    with pytest.raises(TypeError, match=r"meshes\[0\]: expected a Mesh"):
        export.encode("x.ply", meshes)


@pytest.mark.parametrize("height", [-1, np.nan, np.inf, 1e300])
def test_height_out_of_range(octahedron, height):
    with pytest.raises(ValueError, match="image_height"):
        export.encode("x.ply", octahedron(), image_height=height)


@pytest.mark.parametrize("name", ["x.obj", "x.glb"])
def test_textures_that_do_not_fit(octahedron, texture, name):
    mesh = octahedron(uv=True)
    with pytest.raises(ValueError, match="textures: expected one for each of 2 meshes, got 1"):
        export.encode(name, [mesh, mesh], textures=[texture])
    with pytest.raises(ValueError, match="textures: expected one for each of 1 meshes, got 0"):
        export.encode(name, mesh, textures=[])
    with pytest.raises(TypeError, match=r"textures\[0\]: expected dtype uint8, got float32"):
        export.encode(name, mesh, textures=[texture.astype(np.float32)])
    with pytest.raises(ValueError, match=r"textures\[1\]: expected shape"):
        export.encode(name, [mesh, mesh], textures=[texture, texture[:, :, 0]])
    with pytest.raises(ValueError, match=r"textures\[0\]: expected shape"):
        export.encode(name, mesh, textures=texture[:, :, 0])
    with pytest.raises(ValueError, match=r"textures: expected uv in every mesh, got none in meshes\[1\]"):
        export.encode(name, [mesh, octahedron()], textures=[texture, texture])


def test_one_texture_needs_no_sequence(octahedron, texture):
    mesh = octahedron(uv=True)
    expected = export.encode("x.obj", mesh, textures=[texture])
    assert export.encode("x.obj", mesh, textures=texture) == expected
    assert export.encode("x.obj", mesh, textures=texture[None]) == expected


@pytest.mark.parametrize("name", ["x.ply", "x.obj", "x.glb"])
def test_the_mesh_is_not_changed_and_may_be_read_only(octahedron, texture, name):
    mesh = octahedron(colors=True, uv=True)
    arrays = [mesh.vertices, mesh.triangles, mesh.colors, mesh.uv, texture]
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    assert Mesh(*arrays[:4]).vertices is mesh.vertices
    every = {"x.ply": [{}, {"ascii": True}], "x.obj": [{"vertex_colors": True, "textures": [texture]}]}
    for options in every.get(name, [{}, {"textures": [texture]}]):
        export.encode(name, mesh, image_height=99, **options)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_side_files_come_first(octahedron, texture, tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr("tddfa.export.write_together", lambda files: order.extend(path.name for path in files))
    written = export.save(tmp_path / "x.obj", octahedron(uv=True), textures=[texture])
    assert order == ["x.mtl", "x.png", "x.obj"]
    assert [path.name for path in written] == ["x.obj", "x.mtl", "x.png"]


def test_nothing_is_written_when_encoding_fails(octahedron, texture, tmp_path, monkeypatch):
    monkeypatch.setattr("tddfa.export.png.cv2.imencode", lambda *_: (False, None))
    with pytest.raises(ValueError, match=r"textures: an image of shape .* cannot be encoded as PNG"):
        export.save(tmp_path / "new" / "x.obj", octahedron(uv=True), textures=[texture])
    assert list(tmp_path.iterdir()) == []


def test_nothing_half_written_when_the_disk_is_full(octahedron, texture, tmp_path, monkeypatch):
    (tmp_path / "x.obj").write_bytes(b"old")
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if ".obj" in path.name:
            write(path, data[:10])
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        export.save(tmp_path / "x.obj", octahedron(uv=True), textures=[texture])
    assert (tmp_path / "x.obj").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.obj"]


def test_folder_that_cannot_be_made(octahedron, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    for path in (tmp_path / "file" / "x.ply", tmp_path / "file" / "deeper" / "x.ply"):
        with pytest.raises(OSError, match=r"path: its folder cannot be made.*file"):
            export.save(path, octahedron())


def test_path_of_a_folder(octahedron, texture, tmp_path):
    (tmp_path / "x.obj").mkdir()
    with pytest.raises(IsADirectoryError, match="path: expected a file"):
        export.save(tmp_path / "x.obj", octahedron(uv=True), textures=[texture])
    assert [path.name for path in tmp_path.iterdir()] == ["x.obj"]
