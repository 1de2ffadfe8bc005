import io
import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
from builders_gltf import accessor

from tddfa.export.gltf import Gltf
from tddfa.scan.files import writing
from tddfa.scan.files.reading import read_scan
from tddfa.synthetic.scans import ScanSettings, synthetic_scan


def test_all_files_have_the_same_landmarks(found):
    record = json.loads(writing.json_bytes("a.ply", found))
    with np.load(io.BytesIO(writing.npz_bytes(found))) as file:
        arrays = dict(file)
    rows = [line.split(",") for line in writing.csv_bytes(found).decode().splitlines()[1:]]
    points = ElementTree.fromstring(writing.pp_bytes('a "b" & c.ply', found)).findall("point")
    for landmarks in (
        record["landmarks"],
        arrays["landmarks"],
        [[float(value) for value in row[2:5]] for row in rows],
        [[float(point.get(axis)) for axis in "xyz"] for point in points],
    ):
        np.testing.assert_allclose(landmarks, found.landmarks, rtol=1e-6, atol=1e-5)
    assert record["file"] == "a.ply"
    assert rows[30][1] == "nose_bridge"
    assert arrays["heat"].shape == (len(arrays["points"]), 68)


def test_the_image_shows_landmarks_from_three_sides(head, found):
    image = writing.drawn(head.scan, found)
    assert image.shape == (640, 1920, 3)
    marks = (image[..., 1].astype(int) - image[..., 0] > 60) & (image[..., 1] > 100)
    assert all(marks[:, start : start + 640].sum() > 300 for start in (0, 640, 1280))


def test_the_heat_is_hottest_at_its_landmark(head, found, tmp_path):
    pytest.importorskip("trimesh")
    heat = writing.heat_on(head.scan, found, 30)
    hottest = head.scan.vertices[np.argmax(heat)]
    assert np.linalg.norm(hottest - found.decoded["pd"][30]) < 8
    (tmp_path / "heat.ply").write_bytes(writing.heat_ply(head.scan, found, 30))
    scan = read_scan(tmp_path / "heat.ply")
    red = scan.colors[np.linalg.norm(scan.vertices - hottest, axis=1) < 1e-6]
    assert red[0, 0] > red[0, 2]


def test_the_face_model_is_registered(aligner, landmarker, tmp_path):
    """An identity of the model itself: the surface is met to less than a millimetre."""
    pytest.importorskip("trimesh")
    settings = ScanSettings(
        warp=0.0, neutral=1.0, faces=1, busts=0, cameras=0, holes=(0, 0), noise=(0, 0), covered=0, remeshed=0
    )
    made = synthetic_scan(aligner.face_model, 11, settings)
    face = landmarker(made.scan)
    fitted = face.fitted
    known = np.isfinite(fitted.distances)
    assert known.mean() > 0.5
    assert np.median(np.abs(fitted.distances[known])) < 0.6
    before, after = (
        np.linalg.norm(each - made.landmarks, axis=1).mean() for each in (face.decoded["refined"], face.landmarks)
    )
    assert after < 0.7 * before
    (tmp_path / "fit.glb").write_bytes(writing.fit_glb(fitted))
    assert len(read_scan(tmp_path / "fit.glb").triangles) > 20_000
    (tmp_path / "far.ply").write_bytes(writing.distance_ply(fitted))
    assert len(read_scan(tmp_path / "far.ply").triangles) > 20_000
    assert "mm from the scan (median)" in writing.distance_text(fitted)


def test_the_fitted_face_is_lit_in_its_own_colours(found):
    colors = np.full((len(found.fitted.vertices), 3), (0.5, 0.2, 1.0))
    gltf = Gltf.decode(writing.fit_glb(replace(found.fitted, colors=colors)))
    (primitive,) = gltf.tree["meshes"][0]["primitives"]
    surface = gltf.tree["materials"][primitive["material"]]["pbrMetallicRoughness"]
    assert surface["metallicFactor"] == 0, "the default of the format is metal"
    # sRGB to linear light
    expected = [((c + 0.055) / 1.055) ** 2.4 for c in (0.5, 0.2, 1.0)]
    rgba = accessor(gltf, primitive["attributes"]["COLOR_0"])
    np.testing.assert_allclose(rgba[:, :3], np.tile(expected, (len(rgba), 1)), atol=0.002)
    normals = accessor(gltf, primitive["attributes"]["NORMAL"]).astype(float)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)


def test_files_of_a_scan_far_from_the_origin(found, tmp_path):
    trimesh = pytest.importorskip("trimesh")
    place = np.array([4.5e6, 7e5, 2e2]) * 1000
    far = found.moved(place)
    rows = [line.split(",") for line in writing.csv_bytes(far).decode().splitlines()[1:]]
    np.testing.assert_allclose([[float(v) for v in row[2:5]] for row in rows], far.landmarks, rtol=0, atol=1e-5)
    points = ElementTree.fromstring(writing.pp_bytes("a.ply", far)).findall("point")
    np.testing.assert_allclose([float(point.get("x")) for point in points], far.landmarks[:, 0], rtol=0, atol=1e-5)
    (tmp_path / "fit.glb").write_bytes(writing.fit_glb(far.fitted))
    (part,) = trimesh.load(tmp_path / "fit.glb", process=False).dump()
    np.testing.assert_allclose(part.vertices, far.fitted.vertices, rtol=0, atol=1e-3)
