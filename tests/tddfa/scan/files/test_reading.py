import json
import struct
import sys

import numpy as np
import pytest

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
    assert "1 of 4 vertices are no numbers" in caplog.text


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
        ("a.obj", b"v nan nan nan\nv nan 1 2\nv 0 0 0\n", "2 of 3 vertices are no numbers"),
        ("a.txt", b"v 0 0 0\n", r"expected a scan \(.obj, .ply, .stl, .glb\), got .txt"),
        ("a.ply", b"ply\nformat binary_little_endian 1.0\nelement vertex 99999999999\nend_header\n", "it claims"),
        ("a.ply", b"ply\nformat nothing\n", "not a scan that can be read"),
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
    content = json.dumps({"asset": {"version": "2.0"}, "accessors": [{"count": 10**12, "type": "VEC3"}]}).encode()
    head = b"glTF" + struct.pack("<IIII", 2, 20 + len(content), len(content), 0x4E4F534A)
    (tmp_path / "a.glb").write_bytes(head + content)
    with pytest.raises(FormatError, match="it claims 1000000000000"):
        read_scan(tmp_path / "a.glb")


def test_a_missing_file_and_a_missing_package(tmp_path, monkeypatch):
    with pytest.raises(FormatError, match=r"nowhere\.ply"):
        read_scan(tmp_path / "nowhere.ply")
    path = write(tmp_path / "a.obj", "v 0 0 0\n")
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(ImportError, match="reading scans needs trimesh: pip install trimesh"):
        read_scan(path)
