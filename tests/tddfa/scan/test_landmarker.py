import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tddfa.scan.fitting import fit_face
from tddfa.scan.landmarker import ScanLandmarker
from tddfa.scan.mesh import Scan
from tddfa.scan.pose import Pose, find_pose
from tddfa.scan.similarity import Similarity
from tddfa.scan.snapping import nearest_on_surface
from tddfa.synthetic.scans.defects import joined


def test_a_turned_head_is_found(head, found):
    away = {name: np.linalg.norm(points - head.landmarks, axis=1).mean() for name, points in found.decoded.items()}
    assert away["refined"] < 8
    registered = np.linalg.norm(found.landmarks - head.landmarks, axis=1).mean()
    assert registered < 2.5
    assert registered < 0.6 * away["refined"]
    angle = np.degrees(np.arccos((np.trace(found.similarity.rotation.T @ head.rotation) - 1) / 2))
    assert angle < 10
    assert found.unit == "mm"
    assert found.score > 0.4
    assert not found.warnings


def test_landmarks_are_on_the_surface_where_there_is_one(head, found):
    away = np.linalg.norm(head.scan.vertices[:, None] - found.landmarks[None], axis=2).min(axis=0)
    assert found.on_surface.mean() > 0.7
    assert (away[found.on_surface] < 4).all()
    on_it = found.landmarks[found.on_surface]
    np.testing.assert_allclose(nearest_on_surface(head.scan, on_it), on_it, atol=1e-6)


def test_without_registration_the_landmarks_are_those_of_the_network(aligner, landmarker, head, found):
    plain = ScanLandmarker(landmarker.network, aligner, register=False)(head.scan)
    np.testing.assert_allclose(plain.landmarks, found.decoded["refined"])
    assert plain.fitted is None


def test_a_face_model_that_does_not_fit_changes_no_landmarks(landmarker, head, monkeypatch):
    def far(scan, face, model):
        fitted = fit_face(scan, face, model)
        return replace(fitted, landmarks=fitted.landmarks + 50, fits=False)

    monkeypatch.setattr("tddfa.scan.landmarker.fit_face", far)
    face = landmarker(head.scan)
    np.testing.assert_array_equal(face.landmarks, face.decoded["refined"])
    assert "the face model does not fit the scan" in face.warnings[0]


@pytest.mark.slow
def test_metres_are_told_from_the_size_and_a_wrong_unit_is_a_warning(landmarker, head, found):
    small = Scan(head.scan.vertices / 1000 - 5, head.scan.triangles)
    face = landmarker(small, unit="cm")
    assert face.unit == "cm"
    assert "m would fit better" in face.warnings[0]
    np.testing.assert_allclose(face.landmarks, found.landmarks / 1000 - 5, atol=4e-3)


@pytest.mark.slow
@pytest.mark.parametrize("unit", [1.0, 0.001])
def test_a_scan_far_from_the_origin(aligner, landmarker, head, found, unit):
    """As the coordinates of a map have it: 4500 km from their origin."""
    place = np.array([4.5e9, -7e8, 2e5]) * unit
    face = landmarker(Scan(head.scan.vertices * unit + place, head.scan.triangles))
    # rounding changes which points are drawn
    assert np.linalg.norm((face.landmarks - place) / unit - found.landmarks, axis=1).mean() < 0.5
    vertices, skin = face.fitted.vertices - place, aligner.face_model.front
    assert np.linalg.norm(vertices / unit - found.fitted.vertices, axis=1)[skin].mean() < 0.5
    np.testing.assert_allclose((face.similarity.shift - place) / unit, found.similarity.shift, atol=1)
    assert face.unit == ("mm" if unit == 1 else "m")


def test_a_scan_far_from_the_origin_is_looked_at_near_it(landmarker, head, found, monkeypatch):
    seen = []

    def no_face(scan, *_, **__):
        seen.append(np.abs(scan.vertices).max())
        return []

    monkeypatch.setattr("tddfa.scan.landmarker.find_pose", no_face)
    assert landmarker(Scan(head.scan.vertices + np.array([4.5e9, 0, 0]), head.scan.triangles)) is None
    assert seen == [pytest.approx(np.ptp(head.scan.vertices, axis=0).max() / 2, abs=1)]
    moved = found.moved(np.array([1.0, 2, 3]))
    np.testing.assert_allclose(moved.landmarks - found.landmarks, [[1, 2, 3]] * 68)
    np.testing.assert_allclose(moved.fitted.vertices[0] - found.fitted.vertices[0], [1, 2, 3])
    np.testing.assert_allclose(moved.similarity(np.zeros((1, 3))) - found.similarity(np.zeros((1, 3))), [[1, 2, 3]])


@pytest.mark.slow
def test_of_two_heads_one_is_taken_with_a_warning(landmarker, head):
    straight = Scan((head.scan.vertices - head.landmarks.mean(axis=0)) @ head.rotation, head.scan.triangles)
    face = landmarker(joined(straight, Scan(straight.vertices + np.array([320, 0, 0]), straight.triangles)))
    assert face.warnings == ("2 faces; the landmarks are those of the best",)
    own = (head.landmarks - head.landmarks.mean(axis=0)) @ head.rotation
    assert min(np.linalg.norm(face.landmarks - own - [x, 0, 0], axis=1).mean() for x in (0, 320)) < 8


@pytest.mark.slow
def test_no_face_is_none(landmarker, rng):
    points = rng.normal(size=(600, 3))
    assert landmarker(Scan(points, rng.integers(0, 600, (900, 3)))) is None


def test_an_unlikely_face_is_none(landmarker, head, monkeypatch):
    monkeypatch.setattr(
        "tddfa.scan.landmarker.find_pose", lambda *_, **__: [Pose(Similarity(head.rotation, 1.0, np.zeros(3)), 0.08)]
    )
    assert landmarker(head.scan) is None


def test_wrong_arguments_are_named(landmarker, head):
    with pytest.raises(ValueError, match="unit: expected auto or one of mm, cm, m, in, got 'km'"):
        landmarker(head.scan, unit="km")
    with pytest.raises(ValueError, match="up: expected a direction, got zeros"):
        landmarker(head.scan, up=(0, 0, 0))
    with pytest.raises(ValueError, match="snap: expected one of"):
        ScanLandmarker(landmarker.network, landmarker.aligner, snap="far")


@pytest.mark.parametrize("angle", [0, 180])
def test_a_head_that_is_upside_down_for_its_up_is_no_face(landmarker, head, angle):
    turned = Scan(head.scan.vertices @ head.rotation, head.scan.triangles)
    up = np.array([0, np.cos(np.radians(angle)), 0])
    poses = find_pose(turned, landmarker.aligner, landmarker.prior.mean, up=up)
    assert bool(poses) == (angle == 0)
    assert all(pose.similarity.rotation[:, 1] @ up > 0.5 for pose in poses)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": 1e12}, "points: expected 100..1e+06, got 1000000000000.0"),
        ({"points": -5}, "points: "),
        ({"sigma": float("nan")}, "sigma: "),
        ({"jaw_sigma": 0}, "jaw_sigma: "),
        ({"radius": None}, "one without its metadata"),
        ({"inner": 5}, "inner: expected 0..1, got 5.0"),
    ],
)
def test_wrong_metadata_is_named(landmarker, change, message):
    settings = json.loads(landmarker.network.metadata["scan"]) | change
    network = SimpleNamespace(path="a.onnx", metadata={"scan": json.dumps(settings)})
    with pytest.raises(ValueError, match=r"a\.onnx: expected a network of tddfa train scan, got one with") as error:
        ScanLandmarker(network, landmarker.aligner)
    assert message in str(error.value)
