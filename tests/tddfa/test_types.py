import pickle
from dataclasses import replace

import numpy as np
import pytest

from tddfa import Camera, Face, Mesh, Params, Roi


def face():
    params = Params(np.eye(3, 4), np.zeros(40), np.zeros(55))
    return Face(np.array([1, 2, 3, 4]), 0.9, Roi(0, 0, 10), params, Camera(np.eye(3, 4)), np.zeros((68, 3)))


class TestRoi:
    def test_around(self):
        assert Roi.around(10, 20, 6) == Roi(7, 17, 6)

    @pytest.mark.parametrize("side", [0, -1, float("nan"), float("inf")])
    def test_bad_sides_are_named(self, side):
        with pytest.raises(ValueError, match=r"Roi\.side"):
            Roi(0, 0, side)

    def test_edges_of_the_crop_are_edges_of_the_roi(self):
        roi = Roi(10.25, -3.5, 60)
        scale, dx, dy = roi.crop_to_image(120)
        # the crop's first pixel reaches from -0.5 to 0.5, its last to 119.5
        assert scale * -0.5 + dx == pytest.approx(roi.left)
        assert scale * 119.5 + dx == pytest.approx(roi.left + roi.side)
        assert scale * 119.5 + dy == pytest.approx(roi.top + roi.side)

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

    def test_fold_equals_the_two_steps(self, rng):
        camera = rng.normal(size=(3, 4)) * 5
        points = rng.normal(size=(50, 3)).astype(np.float32)
        roi = Roi(-20.5, 300.25, 77.7)
        in_crop = points @ camera[:, :3].T + camera[:, 3]
        scale, dx, dy = roi.crop_to_image(120)
        expected = in_crop * scale + np.array([dx, dy, 0])
        np.testing.assert_allclose(roi.fold(camera, 120).project(points), expected, atol=1e-3)


class TestFace:
    def test_it_is_small_and_pickles(self):
        data = pickle.dumps(face())
        assert len(data) < 4000
        again = pickle.loads(data)
        np.testing.assert_array_equal(again.box, [1, 2, 3, 4])
        assert again.roi == Roi(0, 0, 10)

    def test_what_is_seen_of_it(self):
        assert face().visible is None
        seen = replace(face(), visible=np.arange(68) < 60)
        assert pickle.loads(pickle.dumps(seen)).visible.sum() == 60
        with pytest.raises(ValueError, match=r"Face\.visible: expected shape \(68\), got \(5,\)"):
            replace(face(), visible=np.ones(5, bool))

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
