import json
import os
import struct
import sys

import numpy as np
import pytest

from tddfa._shared import image_io
from tddfa._shared.errors import FormatError
from tddfa.scan.files.reading import read_scan

trimesh = pytest.importorskip("trimesh")


@pytest.fixture
def box():
    mesh = trimesh.creation.box((10, 20, 30))
    mesh.visual.vertex_colors = np.where(mesh.vertices[:, :1] > 0, [255, 128, 0, 255], [0, 0, 255, 255])
    return mesh


@pytest.mark.parametrize("suffix", ["obj", "ply", "stl", "glb"])
def test_every_format_gives_the_mesh(box, suffix, tmp_path):
    box.export(tmp_path / f"box.{suffix}")
    scan = read_scan(tmp_path / f"box.{suffix}")
    assert scan.vertices.shape == (8, 3)
    assert scan.triangles.shape == (12, 3)
    assert scan.areas.sum() == pytest.approx(2 * (200 + 300 + 600))
    if suffix != "stl":
        np.testing.assert_allclose(scan.colors[scan.vertices[:, 0] > 0], [[1, 0.5, 0]] * 4, atol=0.01)


def test_a_cloud(rng, tmp_path):
    trimesh.PointCloud(rng.random((50, 3))).export(tmp_path / "cloud.ply")
    scan = read_scan(tmp_path / "cloud.ply")
    assert scan.is_cloud
    assert len(scan.vertices) == 50


def write(path, text):
    path.write_text(text)
    return path


def test_vertices_that_are_no_numbers_are_left_out_with_a_warning(tmp_path, caplog):
    path = write(tmp_path / "a.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nv nan 0 0\nf 1 2 3\nf 1 2 4\n")
    scan = read_scan(path)
    assert len(scan.vertices) == 3
    assert scan.triangles.shape == (1, 3)
    assert "1 of 4 vertices are not finite or too large" in caplog.text


def test_vertices_at_one_place_become_one(tmp_path):
    corners = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 0\nv 1 0 0\nv 1 1 0\n"
    path = write(tmp_path / "a.obj", f"{corners}f 1 2 3\nf 4 5 6\nf 1 4 2\n")
    scan = read_scan(path)
    assert len(scan.vertices) == 4
    assert len(scan.triangles) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.obj", b"", "an empty file"),
        ("a.obj", b"hello\n", "expected vertices, got none|not a scan"),
        ("a.obj", b"v nan nan nan\nv nan 1 2\nv 0 0 0\n", "2 of 3 vertices are not finite or too large"),
        ("a.txt", b"v 0 0 0\n", r"expected a scan \(.obj, .ply, .stl, .glb\), got .txt"),
        ("a.ply", b"ply\nformat binary_little_endian 1.0\nelement vertex 99999999999\nend_header\n", "it claims"),
        ("a.ply", b"ply\nformat nothing\n", "not a scan that can be read"),
        ("a.ply", b"ply\n", "not a scan that can be read: the file is damaged or truncated"),
        ("a.stl", b"\0" * 80 + struct.pack("<I", 2**31) + b"\0" * 50, "it claims"),
        ("a.glb", b"glTF" + struct.pack("<IIII", 2, 100, 2**31, 0x4E4F534A), "it claims"),
        (
            "a.glb",
            b"glTF" + struct.pack("<IIII", 2, 20, 31, 0x4E4F534A) + b'{"accessors":[{"count":1e999}]}',
            "damaged",
        ),
        ("a.glb", b"PK\3\4 nothing at all here", "does not begin like a .glb"),
    ],
)
def test_a_bad_file_gets_a_line_that_names_it(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=message) as raised:
        read_scan(tmp_path / name)
    assert str(raised.value).startswith(str(tmp_path / name))
    assert "\n" not in str(raised.value)


def test_a_glb_that_claims_more_points_than_it_has_bytes(tmp_path):
    content = json.dumps(
        {
            "asset": {"version": "2.0"},
            "accessors": [{"count": 10**12, "type": "VEC3", "componentType": 5126, "bufferView": 0}],
        }
    ).encode()
    head = b"glTF" + struct.pack("<IIII", 2, 20 + len(content), len(content), 0x4E4F534A)
    (tmp_path / "a.glb").write_bytes(head + content)
    with pytest.raises(FormatError, match="it claims 12000000000000 bytes"):
        read_scan(tmp_path / "a.glb")


def test_a_missing_file_and_a_missing_package(tmp_path, monkeypatch):
    with pytest.raises(FormatError, match=r"nowhere\.ply"):
        read_scan(tmp_path / "nowhere.ply")
    path = write(tmp_path / "a.obj", "v 0 0 0\n")
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(ImportError, match="reading scans needs trimesh: pip install trimesh"):
        read_scan(path)


def test_vertices_of_no_triangle_are_left_out_of_a_mesh_and_kept_in_a_cloud(box, tmp_path):
    far = np.array([[1e4, 0, 0], [0, 2e4, 0]])
    trimesh.Trimesh(np.concatenate([far, box.vertices]), box.faces + 2, process=False).export(tmp_path / "mesh.ply")
    mesh = read_scan(tmp_path / "mesh.ply")
    assert len(mesh.vertices) == 8
    assert np.ptp(mesh.vertices, axis=0).tolist() == [10, 20, 30]
    assert mesh.areas.sum() == pytest.approx(2 * (200 + 300 + 600))
    trimesh.Trimesh(np.random.default_rng(0).random((9, 3)), [[0, 1, 2]], process=False).export(tmp_path / "cloud.ply")
    assert len(read_scan(tmp_path / "cloud.ply").vertices) == 9


def glb(content, data=b""):
    """A binary glTF file of this JSON and these bytes."""
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    chunks += struct.pack("<II", len(data), 0x004E4942) + data if data else b""
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def test_a_small_glb_of_many_points_is_refused_before_memory_is_taken(tmp_path, monkeypatch):
    points = np.random.default_rng(0).random((300, 3), dtype=np.float32)
    mesh = {"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}
    content = {
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": 3600 + 1200}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": 3600},
            {"buffer": 0, "byteOffset": 3600, "byteLength": 1200},
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 300, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5125, "count": 300, "type": "SCALAR"},
        ],
        "meshes": [mesh],
        "nodes": [{"mesh": 0} for _ in range(50)],
        "scenes": [{"nodes": list(range(50))}],
        "scene": 0,
    }
    data = points.tobytes() + np.arange(300, dtype=np.uint32).tobytes()
    (tmp_path / "many.glb").write_bytes(glb(content, data))
    assert len(read_scan(tmp_path / "many.glb").vertices) == 300
    # the points of all instances count
    monkeypatch.setattr("tddfa.scan.files.reading.MAX_POINTS", 10_000)
    monkeypatch.setattr(trimesh.Scene, "dump", lambda *_: pytest.fail("the points of all instances were made"))
    with pytest.raises(FormatError, match=r"many\.glb.*at most 10000 vertices"):
        read_scan(tmp_path / "many.glb")
    # numbers that are not in the file are zeros, as many as it likes
    zeros = {"componentType": 5126, "count": 300_000, "type": "VEC3"}
    (tmp_path / "zeros.glb").write_bytes(glb({**content, "accessors": [zeros] * 40}, data))
    with pytest.raises(FormatError, match=r"zeros\.glb: expected at most .* bytes of points that are not in it"):
        read_scan(tmp_path / "zeros.glb")
    # accessors may share the bytes of a file, but not all of them
    sharing = [*content["accessors"], *[content["accessors"][0]] * 20]
    (tmp_path / "sharing.glb").write_bytes(glb({**content, "accessors": sharing}, data))
    with pytest.raises(FormatError, match=r"sharing\.glb: damaged: it claims"):
        read_scan(tmp_path / "sharing.glb")


def test_morph_targets_of_which_few_vertices_move_are_no_damage(tmp_path):
    points = np.random.default_rng(0).random((300, 3), dtype=np.float32)
    target = {"componentType": 5126, "count": 300, "type": "VEC3"}
    content = {
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": 3600}],
        "bufferViews": [{"buffer": 0, "byteLength": 3600}],
        "accessors": [{"bufferView": 0, **target}, *[target] * 104],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 0}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
        "scene": 0,
    }
    (tmp_path / "head.glb").write_bytes(glb(content, points.tobytes()))
    assert len(read_scan(tmp_path / "head.glb").vertices) == 300


def textured(folder, texture="t.png", size=(8, 8), color=(255, 128, 0)):
    """A triangle in ``a.obj`` with a texture of one colour."""
    write(folder / "a.mtl", f"newmtl m\nKd 1 1 1\nmap_Kd {texture}\n")
    pixels = np.full((*size, 3), color, np.uint8)
    pixels[0, 0] = 0  # one colour would be taken for that of the material
    image_io.write(folder / "t.png", np.ascontiguousarray(pixels[..., ::-1]))
    corners = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 1\nvt 0.6 0.4\nvt 0.4 0.6\n"
    return write(folder / "a.obj", f"mtllib a.mtl\n{corners}usemtl m\nf 1/1 2/2 3/3\n")


class TestSideFiles:
    """Materials and textures of an .obj file."""

    def test_the_texture_gives_colours(self, tmp_path, caplog):
        scan = read_scan(textured(tmp_path))
        assert scan.colors is not None
        np.testing.assert_allclose(scan.colors.max(axis=0), [1, 0.5, 0], atol=0.01)
        assert not caplog.records

    @pytest.mark.skipif(sys.platform == "win32", reason="no named pipes")
    @pytest.mark.parametrize("name", ["a.mtl", "t.png"])
    def test_a_pipe_is_not_read(self, tmp_path, caplog, name):
        path = textured(tmp_path)
        (tmp_path / name).unlink()
        os.mkfifo(tmp_path / name)
        assert read_scan(path).colors is None
        assert f"colours of {name} are left out: expected a file, got a pipe" in caplog.text

    def test_a_texture_of_too_many_pixels_is_not_decoded(self, tmp_path, caplog, monkeypatch):
        monkeypatch.setattr("tddfa.scan.files.side_files.MAX_PIXELS", 63)
        assert read_scan(textured(tmp_path)).colors is None
        assert "colours of t.png are left out: expected an image of at most 63 px, got 8 x 8" in caplog.text

    def test_a_file_of_another_folder_is_not_read(self, tmp_path, caplog):
        (tmp_path / "in").mkdir()
        path = textured(tmp_path / "in", texture="../other.png")
        image_io.write(tmp_path / "other.png", np.full((8, 8, 3), 90, np.uint8))
        assert read_scan(path).colors is None
        assert "colours of ../other.png are left out: no such file in the folder of the scan" in caplog.text

    def test_a_texture_that_is_no_image(self, tmp_path, caplog):
        path = textured(tmp_path)
        write(tmp_path / "t.png", "no image")
        assert read_scan(path).colors is None
        assert "colours of t.png are left out: expected an image: cannot identify" in caplog.text


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("end", ["", "\n"])
def test_text_with_fewer_lines_than_elements_is_refused(tmp_path, newline, end):
    rows = ["0 0 0", "1 0 0", "0 1 0", "1 1 0", "3 0 1 2", "3 1 2 3"]
    header = [
        "ply", "format ascii 1.0", "comment format of no use", "element vertex 4", "property float x",
        "property float y", "property float z", "element face 2", "property list uchar int vertex_indices",
        "end_header",
    ]  # fmt: skip
    path = tmp_path / "a.ply"
    path.write_bytes((newline.join(header + rows) + end).encode())
    assert read_scan(path).triangles.shape == (2, 3)
    for count in (5, 3, 0):
        path.write_bytes((newline.join(header + rows[:count]) + end).encode())
        with pytest.raises(
            FormatError, match=f"a.ply: damaged or truncated: expected 6 lines of elements, got {count}"
        ):
            read_scan(path)
