import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from builders import make_face, make_face_model
from tddfa import Camera, Mesh, Params, Roi


def face():
    return make_face(
        box=[1, 2, 3, 4], score=0.9, roi=Roi(0, 0, 10), shape=np.zeros(40), expression=np.zeros(55), track_id=7
    )


class TestRoi:
    def test_around(self):
        assert Roi.around(10, 20, 6) == Roi(7, 17, 6)

    @pytest.mark.parametrize("side", [0, -1, float("nan"), float("inf")])
    def test_bad_sides_are_named(self, side):
        with pytest.raises(ValueError, match=r"Roi\.side"):
            Roi(0, 0, side)

    @pytest.mark.parametrize(
        ("numbers", "message"),
        [
            (("a", 1, 2), "left: expected a number, got 'a'"),
            (("5", 1, 2), "left: expected a number, got '5'"),
            ((1, None, 2), "top: expected a number, got None"),
            ((1, 2, [3, 4]), r"side: expected a number, got \[3, 4\]"),
        ],
    )
    def test_what_is_no_number_is_named(self, numbers, message):
        with pytest.raises(TypeError, match=rf"Roi\.{message}"):
            Roi(*numbers)

    def test_edges_of_the_crop_are_edges_of_the_roi(self):
        roi = Roi(10.25, -3.5, 60)
        (scale, _, dx), (_, _, dy) = roi.crop_to_image(120)
        # the crop's first pixel reaches from -0.5 to 0.5, its last to 119.5
        assert scale * -0.5 + dx == pytest.approx(roi.left)
        assert scale * 119.5 + dx == pytest.approx(roi.left + roi.side)
        assert scale * 119.5 + dy == pytest.approx(roi.top + roi.side)

    @pytest.mark.parametrize("angle", [0, 17.3, 90, -135, 180])
    def test_corners_of_the_crop_are_corners_of_the_roi(self, angle):
        roi = Roi(10.25, -3.5, 60, angle)
        matrix = roi.crop_to_image(120)
        corners = np.array([[-0.5, -0.5], [119.5, -0.5], [119.5, 119.5], [-0.5, 119.5]])
        np.testing.assert_allclose(corners @ matrix[:, :2].T + matrix[:, 2], roi.corners(), atol=1e-10)

    def test_the_angle_turns_the_square_clockwise(self):
        corners = Roi.around(100, 50, 20, angle=30).corners()
        up = corners[:2].mean(axis=0) - (100, 50)
        np.testing.assert_allclose(up, 10 * np.array([np.sin(np.radians(30)), -np.cos(np.radians(30))]), atol=1e-12)
        assert Roi(0, 0, 5, 190).angle == pytest.approx(-170)
        assert Roi(0, 0, 5, -180.5).angle == pytest.approx(179.5)
        assert Roi(0, 0, 5, 180).angle == 180

    def test_bad_angles_are_named(self):
        with pytest.raises(ValueError, match=r"Roi\.angle: expected a finite number, got nan"):
            Roi(0, 0, 5, float("nan"))

    def test_iou_of_rotated_squares(self):
        octagon = 100 * 2 * (2**0.5 - 1)  # what a square has in common with one rotated by 45 degrees about its centre
        roi = Roi(2, 3, 10)
        assert roi.iou(Roi(2, 3, 10, 45)) == pytest.approx(octagon / (200 - octagon), abs=1e-5)
        assert Roi(2, 3, 10, 30).iou(Roi(2, 3, 10, -60)) == pytest.approx(1, abs=1e-5)
        assert roi.iou(Roi(7, 3, 10, 180)) == pytest.approx(50 / 150, abs=1e-5)
        assert Roi(5000, 3000, 10, 20).iou(Roi(5003, 3003, 4, 65)) == pytest.approx(0.16, abs=1e-5)
        assert Roi(2, 3, 10, 45).iou(Roi(30, 3, 10)) == 0

    @pytest.mark.parametrize(
        ("other", "expected"),
        [
            (Roi(2, 3, 10), 1),
            (Roi(7, 3, 10), 50 / 150),
            (Roi(4, 5, 4), 16 / 100),  # within
            (Roi(12, 3, 10), 0),  # side by side
            (Roi(30, 40, 5), 0),
            (Roi(7, 8, 20), 25 / 475),
        ],
    )
    def test_iou(self, other, expected):
        roi = Roi(2, 3, 10)
        assert roi.iou(other) == other.iou(roi) == pytest.approx(expected)

    @pytest.mark.parametrize("angle", [0, 33, 90, -120, 180])
    def test_fold_equals_the_two_steps(self, rng, angle):
        camera = rng.normal(size=(3, 4)) * 5
        points = rng.normal(size=(50, 3)).astype(np.float32)
        roi = Roi(-20.5, 300.25, 77.7, angle)
        in_crop = points @ camera[:, :3].T + camera[:, 3]
        matrix = roi.crop_to_image(120)
        expected = in_crop[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        folded = roi.fold(camera, 120)
        np.testing.assert_allclose(folded.project(points)[:, :2], expected, atol=1e-3)
        np.testing.assert_allclose(folded.project(points)[:, 2], in_crop[:, 2] * 77.7 / 120, atol=1e-3)
        np.testing.assert_allclose(roi.unfold(folded, 120), camera, atol=1e-4)


class TestFace:
    def test_it_prints_as_one_line(self):
        assert repr(face()) == "Face(box=[1 2 3 4], score=0.900, track_id=7)"
        changed = replace(face(), box=np.array([1.2, -2.6, 30, 4]), score=0.98765, track_id=None)
        assert repr(changed) == "Face(box=[1 -3 30 4], score=0.988)"

    def test_it_is_small_and_pickles(self):
        data = pickle.dumps(face())
        assert len(data) < 4000
        again = pickle.loads(data)
        np.testing.assert_array_equal(again.box, [1, 2, 3, 4])
        assert again.roi == Roi(0, 0, 10)

    def test_visibility(self):
        assert face().visible is None
        seen = replace(face(), visible=np.arange(68) < 60)
        assert pickle.loads(pickle.dumps(seen)).visible.sum() == 60
        with pytest.raises(ValueError, match=r"Face\.visible: expected shape \(68\), got \(5,\)"):
            replace(face(), visible=np.ones(5, bool))

    def test_confidence(self):
        assert face().confidence is None
        sure = replace(face(), confidence=np.linspace(0, 1, 68))
        assert sure.confidence.dtype == np.float32
        assert sure.to_dict()["confidence"][-1] == 1
        with pytest.raises(ValueError, match=r"Face\.confidence: expected shape \(68\), got \(3,\)"):
            replace(face(), confidence=np.ones(3))

    def test_landmarks_in_the_frame_of_the_model(self):
        model = make_face_model()
        made = make_face(model, Camera.from_pose(30, 10, -20, 12, (200, 100, 5)), shape=np.ones(2, np.float32))
        expected = model.landmarks(np.ones(2, np.float32), np.zeros(3, np.float32))
        np.testing.assert_allclose(made.model_landmarks, expected, atol=1e-5)


class TestRecord:
    KEYS = (
        "box", "score", "roi", "pose", "pose_order", "rotation", "quaternion", "camera", "scale", "landmarks",
        "landmark_convention", "shape", "expression", "gaze", "track_id", "visible", "six_dof", "confidence",
    )  # fmt: skip

    def test_without_a_decoder(self):
        record = face().to_dict()
        assert tuple(record) == self.KEYS
        assert record["box"] == [1, 2, 3, 4]
        assert record["roi"] == {"left": 0, "top": 0, "side": 10, "angle": 0}
        assert record["expression"] == [0] * 55
        assert (record["landmark_convention"], record["visible"], record["six_dof"]) == (None, None, None)
        assert record["confidence"] is None
        assert json.loads(json.dumps(record, allow_nan=False)) == record

    def test_with_a_decoder(self, aligner, astronaut):
        (real,) = aligner(astronaut)
        record = real.to_dict(aligner.decoder)
        assert tuple(record) == (*self.KEYS, "detected_points")
        assert record["landmark_convention"] == "300w"
        assert set(record["expression"]) == set(aligner.face_model.expression_names)
        assert len(record["visible"]) == 68
        assert record["six_dof"]["intrinsics"]["assumed"] is True
        fast = real.to_dict(aligner.decoder, dense=False)
        assert (fast["visible"], fast["six_dof"]) == (None, None)
        assert {**record, "visible": None, "six_dof": None} == fast
        pose = aligner.decoder.six_dof(real)
        assert real.to_dict(aligner.decoder, pose=pose) == record


class TestFrozen:
    def test_it_is_frozen(self):
        with pytest.raises(AttributeError):
            face().score = 1

    @pytest.mark.parametrize(
        ("kind", "values", "name"),
        [
            (Params, (np.eye(3), np.zeros(40), np.zeros(55)), r"Params\.camera"),
            (Params, (np.eye(3, 4), np.zeros((40, 1)), np.zeros(55)), r"Params\.shape"),
            (Params, (np.eye(3, 4), np.zeros(40), [np.nan]), r"Params\.expression"),
        ],
    )
    def test_bad_params_are_named(self, kind, values, name):
        with pytest.raises(ValueError, match=name):
            kind(*values)


class TestMesh:
    def test_it_prints_as_one_line(self):
        assert repr(Mesh(np.zeros((4, 3)), [[0, 1, 2]])) == "Mesh(4 vertices, 1 triangles)"

    def test_right_arrays_are_kept(self):
        vertices, triangles = np.zeros((3, 3), np.float32), np.array([[0, 1, 2]], np.int32)
        mesh = Mesh(vertices, triangles)
        assert mesh.vertices is vertices
        assert mesh.triangles is triangles

    @pytest.mark.parametrize(
        ("values", "name"),
        [
            ({"vertices": np.zeros((3, 2))}, r"Mesh\.vertices"),
            ({"vertices": np.full((3, 3), np.inf)}, r"Mesh\.vertices"),
            ({"triangles": [[0, 1, 3]]}, r"Mesh\.triangles: expected indices 0\.\.2"),
            ({"triangles": [[-1, 1, 2]]}, r"Mesh\.triangles"),
            ({"colors": np.zeros((2, 3))}, r"Mesh\.colors"),
            ({"uv": np.zeros((3, 3))}, r"Mesh\.uv"),
        ],
    )
    def test_bad_arrays_are_named(self, values, name):
        right = {"vertices": np.zeros((3, 3)), "triangles": [[0, 1, 2]]}
        with pytest.raises(ValueError, match=name):
            Mesh(**(right | values))

    def test_fractions_are_no_indices(self):
        with pytest.raises(TypeError, match=r"Mesh\.triangles"):
            Mesh(np.zeros((3, 3)), [[0.0, 1.0, 2.0]])
