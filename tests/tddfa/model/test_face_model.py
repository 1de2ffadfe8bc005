import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from builders import make_face_model
from tddfa.geometry.camera import Camera
from tddfa.landmarks68 import MIRRORED, PARTS
from tddfa.model.face_model import FaceModel


@pytest.fixture(scope="module")
def model(root):
    return FaceModel.load(root / "configs/open_face.npz")


@pytest.fixture(scope="module")
def arrays(root):
    with np.load(root / "configs/open_face.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def six_vertices(**changes):
    rng = np.random.default_rng(0)
    arrays = {
        "mean": rng.normal(size=(6, 3)).astype(np.float32),
        "shape_basis": rng.normal(size=(2, 6, 3)).astype(np.float16),
        "expression_basis": rng.normal(size=(3, 6, 3)).astype(np.float32),
        "triangles": np.array([[0, 1, 2], [3, 4, 5]], np.int32),
        "landmark_triangles": np.tile(np.array([0, 2, 4], np.int32), (68, 1)),
        "landmark_weights": np.tile(np.array([0.5, 0.25, 0.25], np.float32), (68, 1)),
    }
    return {name: value for name, value in (arrays | changes).items() if value is not None}


def saved(tmp_path, arrays):
    np.savez(tmp_path / "face.npz", **arrays)
    return tmp_path / "face.npz"


def test_arrays_of_a_loaded_model_are_read_only(tmp_path):
    model = FaceModel.load(saved(tmp_path, six_vertices()))
    for array in (model.mean, model.basis, model.triangles, model.landmark_weights):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    changed = replace(model, mean=2 * model.mean)
    np.testing.assert_array_equal(changed.mean, 2 * model.mean)


class TestNumbersOf16Bits:
    """The basis of our own model is stored as float16, and read like that by native code where the processor can."""

    def test_the_basis_is_float32(self, tmp_path):
        arrays = six_vertices()
        model = FaceModel.load(saved(tmp_path, arrays | {"expression_basis": arrays["expression_basis"].astype("f2")}))
        assert model.basis.dtype == np.float32
        np.testing.assert_array_equal(model.basis[:2], arrays["shape_basis"])
        with pytest.raises(ValueError, match="read-only"):
            model.basis[0] = 0

    def test_they_give_the_points_of_numbers_of_32_bits(self, root, monkeypatch, rng):
        model = FaceModel.load(root / "configs/open_face.npz")
        monkeypatch.setattr("tddfa.model.face_model.reads_halves", lambda: False)
        other = FaceModel.load(root / "configs/open_face.npz")
        monkeypatch.setattr("tddfa.model.face_model.combine_halves", None)
        shape, expression = random_coefficients(model, rng, 2)
        vertices, landmarks = other.vertices(shape, expression), other.landmarks(shape, expression)
        points = other.points("mediapipe", shape, expression)
        monkeypatch.undo()
        np.testing.assert_array_equal(model.vertices(shape, expression), vertices)
        np.testing.assert_array_equal(model.landmarks(shape, expression), landmarks)
        np.testing.assert_array_equal(model.points("mediapipe", shape, expression), points)
        np.testing.assert_array_equal(model.basis, other.basis)

    def test_a_model_is_pickled_with_them(self, model):
        again = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(again.basis, model.basis)
        with pytest.raises(AttributeError, match="'FaceModel' object has no attribute 'base'"):
            _ = again.base

    def test_infinity_is_refused(self, tmp_path):
        arrays = six_vertices()
        halves = arrays["expression_basis"].astype(np.float16)
        halves[1, 2, 0] = np.inf
        path = saved(tmp_path, arrays | {"expression_basis": halves})
        with pytest.raises(ValueError, match=r"face.npz: FaceModel.basis: expected finite values, got 1 that are NaN"):
            FaceModel.load(path)


def random_coefficients(model, rng, *shape):
    return (
        rng.normal(size=(*shape, model.shape_count)).astype(np.float32),
        rng.uniform(0, 1, (*shape, model.expression_count)).astype(np.float32),
    )


class TestDecoding:
    def test_vertices_equal_the_formula(self, model, arrays, rng):
        shape, expression = random_coefficients(model, rng)
        expected = (
            arrays["mean"].astype(np.float64)
            + np.einsum("s,snk->nk", shape, arrays["shape_basis"].astype(np.float64))
            + np.einsum("e,enk->nk", expression, arrays["expression_basis"].astype(np.float64))
        )
        np.testing.assert_allclose(model.vertices(shape, expression), expected, atol=1e-4)

    def test_landmarks_are_points_of_the_surface(self, model, arrays, rng):
        shape, expression = random_coefficients(model, rng)
        corners = model.vertices(shape, expression)[arrays["landmark_triangles"]]
        expected = (corners * arrays["landmark_weights"][..., None]).sum(axis=1)
        np.testing.assert_allclose(model.landmarks(shape, expression), expected, atol=1e-4)

    def test_batches_equal_one_by_one(self, model, rng):
        shape, expression = random_coefficients(model, rng, 3)
        together = model.vertices(shape, expression)
        assert together.shape == (3, len(model.mean), 3)
        for i in range(3):
            np.testing.assert_allclose(together[i], model.vertices(shape[i], expression[i]), atol=1e-4)
        assert model.landmarks(shape[:0], expression[:0]).shape == (0, 68, 3)

    def test_a_camera_projects_the_vertices(self, model, rng):
        shape, expression = random_coefficients(model, rng)
        camera = Camera.from_pose(20, -10, 5, scale=11, translation=(300, 200, 4))
        projected = model.vertices(shape, expression, matrix=camera.matrix)
        np.testing.assert_allclose(projected, camera.project(model.vertices(shape, expression)), atol=1e-4)

    def test_points_are_float32_whatever_the_coefficients(self, model, rng):
        shape, expression = random_coefficients(model, rng)
        points = model.landmarks(shape.astype(np.float64), expression)
        assert points.dtype == np.float32
        np.testing.assert_array_equal(points, model.landmarks(shape, expression))

    def test_wrong_counts_are_named(self, model):
        with pytest.raises(ValueError, match="shape: expected 40 coefficients, got 39"):
            model.vertices(np.zeros(39, np.float32), np.zeros(55, np.float32))
        with pytest.raises(ValueError, match="expression: expected 55 coefficients, got 1"):
            model.landmarks(np.zeros(40, np.float32), np.zeros(1, np.float32))


class TestConvention:
    def test_offsets_of_other_conventions_are_read(self, tmp_path, rng):
        offsets = rng.normal(size=(68, 3)).astype(np.float32)
        model = FaceModel.load(saved(tmp_path, six_vertices(landmark_offset_theirs=offsets)))
        assert model.convention == "300w"
        assert list(model.landmark_offsets) == ["300w", "theirs"]
        np.testing.assert_array_equal(model.landmark_offset("theirs"), offsets)
        assert not model.landmark_offset("300w").any()
        with pytest.raises(ValueError, match="convention: expected one of 300w, theirs, got 'x'"):
            model.landmark_offset("x")

    def test_the_file_names_the_convention_of_its_landmarks(self, tmp_path):
        model = FaceModel.load(saved(tmp_path, six_vertices(convention=np.array("300w-lp"))))
        assert (model.convention, list(model.landmark_offsets)) == ("300w-lp", ["300w-lp"])

    def test_the_basel_face_model_alone_is_in_um(self, tmp_path):
        assert FaceModel.load(saved(tmp_path, six_vertices(unit=np.array("um")))).convention == "300w-lp"
        assert FaceModel.load(saved(tmp_path, six_vertices(unit=np.array("cm")))).convention == "300w"

    def test_the_convention_of_the_surface_has_no_offsets(self, model):
        with pytest.raises(ValueError, match="expected zeros for '300w-lp', the convention of the surface"):
            replace(model, convention="300w-lp")


class TestOpenModel:
    def blink(self, model, **weights):
        expression = np.zeros(model.expression_count, np.float32)
        for name, weight in weights.items():
            expression[model.expression_names.index(name)] = weight
        points = model.landmarks(np.zeros(model.shape_count, np.float32), expression)
        return {
            side: np.linalg.norm(points[a] - points[b]) + np.linalg.norm(points[c] - points[d])
            for side, (a, b, c, d) in {"right": (37, 41, 38, 40), "left": (43, 47, 44, 46)}.items()
        }

    def test_eyes_close_each_by_itself(self, model):
        opened, both = self.blink(model), self.blink(model, eyeBlinkLeft=1, eyeBlinkRight=1)
        assert both["left"] < 0.35 * opened["left"]
        assert both["right"] < 0.35 * opened["right"]
        wink = self.blink(model, eyeBlinkLeft=1)
        assert wink["left"] < 0.35 * opened["left"]
        assert wink["right"] == pytest.approx(opened["right"], rel=0.05)

    def test_triangles_are_wound_counter_clockwise_from_outside(self, model):
        skin = model.part[model.triangles].max(axis=1) == 0
        a, b, c = (model.mean[model.triangles[skin, k]].astype(float) for k in range(3))
        normal = np.cross(b - a, c - a)
        middle = (a + b + c) / 3
        outward = middle - np.array([0, 0, 2.0])
        share = (np.einsum("ij,ij->i", normal, outward) > 0).mean()
        assert share > 0.85  # the rest is folded inwards: nostrils, lids, behind the ears

    def test_the_uv_sheet_is_symmetric(self, model):
        mirrored = model.mean * (-1, 1, 1)
        rng = np.random.default_rng(1)
        # a socket has copies of the vertices of the lids, at another place of the map
        vertices = np.arange(len(model.mean))
        alone = np.isin(vertices, [*model.regions["socket"], *model.regions["ear_plugs"]])
        alone |= ~np.isin(vertices, model.triangles)
        mirrored[alone] = np.inf
        for i in rng.choice(np.flatnonzero((model.part == 0) & ~alone), 300, replace=False):
            nearest = np.linalg.norm(mirrored - model.mean[i], axis=1).argmin()
            if np.linalg.norm(mirrored[nearest] - model.mean[i]) < 0.1:
                assert np.abs(model.uv[nearest] * (-1, 1) + (1, 0) - model.uv[i]).max() < 0.02

    def test_regions_lie_where_their_names_say(self, model):
        points = model.landmarks(np.zeros(40, np.float32), np.zeros(55, np.float32))
        for name, landmarks in (
            ("left_eye", "left_eye"), ("right_eye", "right_eye"), ("left_brow", "left_brow"),
            ("right_brow", "right_brow"), ("nose", "nose_tip"), ("lips", "outer_lips"),
        ):  # fmt: skip
            middle = model.mean[model.regions[name]].mean(axis=0)
            assert np.linalg.norm(middle - points[PARTS[landmarks]].mean(axis=0)) < 1.5, name
        assert set(model.regions) >= {"left_ear", "right_ear", "jaw"}
        assert model.mean[model.regions["left_ear"], 0].min() > 6
        assert model.mean[model.regions["right_ear"], 0].max() < -6
        assert model.mean[model.regions["jaw"], 1].max() < points[62, 1] + 0.5

    def test_300w_lp_has_brows_wider_and_bridge_and_chin_elsewhere(self, model):
        offsets = model.landmark_offsets["300w-lp"]
        np.testing.assert_allclose(offsets[MIRRORED] * (-1, 1, 1), offsets, atol=1e-6)
        assert offsets[22, 0] > 0.3  # cm: the inner ends of the brows, to the sides
        assert offsets[27:30, 1].max() < -0.2  # the bridge of the nose, down
        assert offsets[8, 1] > 0.1  # the chin, up
        assert np.linalg.norm(offsets, axis=1).max() < 1

    def test_left_is_the_subjects_left(self, model):
        assert model.mean[model.part == 1, 0].min() > 0
        assert Camera.from_pose(0, 0, 0).project(model.mean[model.part == 1])[:, 0].min() > 0

    def test_licence_and_names(self, model):
        assert model.licence.startswith("MIT")
        assert model.unit == "cm"
        assert "eyeBlinkLeft" in model.expression_names
        assert model.expression_range == (0, 1)

    def test_normalized_coordinates(self, model):
        colors = model.normalized_coordinates
        np.testing.assert_allclose(colors.min(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(colors.max(axis=0), 1, atol=1e-6)


class TestLoading:
    def test_a_third_model_is_an_npz_away(self, tmp_path):
        model = FaceModel.load(saved(tmp_path, six_vertices(region_nose=np.array([1, 2]))))
        assert (model.shape_count, model.expression_count) == (2, 3)
        assert model.uv is None
        assert model.regions["nose"].tolist() == [1, 2]
        assert model.expression_names == ("expression_0", "expression_1", "expression_2")
        assert model.vertices(np.zeros(2, np.float32), np.zeros(3, np.float32)).shape == (6, 3)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"mean": None}, "expected an array 'mean'"),
            ({"landmark_weights": None}, "expected an array 'landmark_weights'"),
            ({"mean": np.full((6, 3), np.nan)}, r"FaceModel\.mean: expected finite"),
            (
                {"shape_basis": np.zeros((2, 5, 3))},
                r"shape_basis: expected shape \(k, n, 3\) for n vertices, got \(2, 5, 3\)",
            ),
            ({"expression_basis": np.zeros((2, 18))}, "expression_basis: expected shape"),
            ({"triangles": np.array([[0, 1, 6]])}, r"triangles: expected indices 0\.\.5, got 0\.\.6"),
            ({"triangles": np.array([[0, -1, 2]])}, "triangles: expected indices"),
            ({"landmark_triangles": np.full((68, 3), 9)}, "landmark_triangles: expected indices"),
            ({"landmark_triangles": np.zeros((67, 3), np.int32)}, r"expected shape \(68, 3\)"),
            ({"uv": np.zeros((5, 2))}, r"FaceModel\.uv"),
            ({"region_x": np.array([7])}, "regions"),
            ({"landmark_offset_x": np.zeros((67, 3))}, r"landmark_offsets\['x'\]: expected shape \(68, 3\)"),
            ({"landmark_offset_x": np.full((68, 3), np.inf)}, r"landmark_offsets\['x'\]: expected finite"),
            ({"expression_names": np.array(["a"])}, "expression_names: expected 3 names, got 1"),
            ({"expression_names": np.array("a")}, r"expression_names: expected a list of names, got .* shape \(\)"),
            ({"material_names": np.array([["a"]])}, "material_names: expected a list of names"),
            ({"expression_range": np.array(1.0)}, r"expression_range: expected shape \(2\), got \(\)"),
            ({"expression_range": np.zeros(0)}, "expression_range: expected shape"),
            ({"expression_range": np.array([0, np.nan])}, "expression_range: expected finite"),
            ({"expression_range": np.array([1, 0])}, r"expression_range: expected low < high, got \(1\.0, 0\.0\)"),
            ({"expression_range": np.array(["a", "b"])}, "expression_range: expected numbers"),
            ({"shape_basis": np.zeros((2, 6, 3), complex)}, "shape_basis: expected numbers, got dtype complex128"),
            ({"expression_basis": np.zeros((3, 6, 3), "S1")}, "expression_basis: expected numbers"),
            ({"shape_basis": np.full((2, 6, 3), 1e300)}, r"basis: expected finite values, got 36 that are NaN or inf"),
            ({"mean": np.array(1.0)}, r"shape_basis: expected shape"),
            ({"mean": np.zeros((6, 3), complex)}, "mean: expected numbers"),
            ({"triangles": np.array(1)}, r"triangles: expected shape"),
            ({"region_x": np.array(1)}, "region_x: expected shape"),
            ({"mean": np.full((6, 3), 3e38)}, r"FaceModel\.mean: expected numbers of at most 1e\+09"),
            ({"landmark_weights": np.full((68, 3), -1e30)}, r"FaceModel\.landmark_weights: expected numbers of at"),
        ],
    )
    def test_what_does_not_fit_is_named(self, tmp_path, changes, message):
        path = saved(tmp_path, six_vertices(**changes))
        with pytest.raises((TypeError, ValueError), match=message) as caught:
            FaceModel.load(path)
        assert str(path) in str(caught.value)

    def test_files_that_are_none(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"none\.npz: no such face model"):
            FaceModel.load(tmp_path / "none.npz")
        for name, data in (
            ("empty.npz", b""),
            ("text.npz", b"hello"),
            ("cut.npz", b"PK\x03\x04" + b"\0" * 50),
        ):
            (tmp_path / name).write_bytes(data)
            with pytest.raises(ValueError, match=name):
                FaceModel.load(tmp_path / name)

    def test_a_pickle_is_not_loaded(self, tmp_path):
        path = saved(tmp_path, six_vertices(unit=np.array({"a": 1}, dtype=object)))
        with pytest.raises(ValueError, match="not a face model"):
            FaceModel.load(path)

    def test_a_file_that_claims_too_much_is_refused_before_it_is_read(self, tmp_path, monkeypatch):
        path = saved(tmp_path, six_vertices())
        monkeypatch.setattr("tddfa.model.face_model.MAX_BYTES", 100)
        with pytest.raises(ValueError, match="expected at most 100 bytes of unpacked arrays"):
            FaceModel.load(path)

    def test_a_truncated_file(self, tmp_path):
        path = saved(tmp_path, six_vertices())
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(ValueError, match=r"face\.npz: not a face model"):
            FaceModel.load(path)

    def test_a_damaged_file(self, tmp_path):
        path = saved(tmp_path, six_vertices())
        with zipfile.ZipFile(path) as archive:
            offset = archive.getinfo("mean.npy").header_offset + 150
        data = bytearray(path.read_bytes())
        data[offset] ^= 0xFF
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"face\.npz: not a face model"):
            FaceModel.load(path)


def test_a_small_file_with_many_offsets_is_refused(tmp_path):
    offsets = np.zeros((70_000, 6, 3), np.float16)
    with pytest.raises(ValueError, match=r"expected at most 4194304 offsets in all, got 7\d+ for each of 68 points"):
        FaceModel.load(saved(tmp_path, six_vertices(shape_basis=offsets)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape_count": 1.5}, "shape_count: expected a whole number, got 1.5"),
        ({"shape_count": None}, "shape_count: expected a whole number, got None"),
        ({"shape_count": 6}, "shape_count: expected 0..5, got 6"),
        ({"shape_count": -1}, "shape_count: expected 0..5, got -1"),
        ({"expression_range": (0.0, 1.0, 2.0)}, r"expression_range: expected shape \(2\), got \(3,\)"),
        ({"expression_range": (0.0, np.inf)}, "expression_range: expected finite"),
        ({"expression_range": (1.0, 1.0)}, r"expression_range: expected low < high, got \(1\.0, 1\.0\)"),
        ({"regions": {"nose": [0.5]}}, r"regions\['nose'\]: expected whole numbers"),
        ({"regions": {"nose": ["a"]}}, r"regions\['nose'\]: expected numbers"),
        ({"regions": {"nose": [[0]]}}, r"regions\['nose'\]: expected shape \(n\)"),
        ({"regions": {"nose": [0, 6]}}, r"regions\['nose'\]: expected indices 0\.\.5, got 0\.\.6"),
    ],
)
def test_what_does_not_fit_a_model_of_arrays_is_named(changes, message):
    with pytest.raises((TypeError, ValueError), match=rf"FaceModel\.{message}"):
        make_face_model(**changes)


def test_regions_may_be_lists():
    region = make_face_model(regions={"nose": [0, 5]}).regions["nose"]
    assert region.dtype == np.int32
    assert region.tolist() == [0, 5]


def test_a_flat_face_has_colours_too():
    colors = make_face_model(mean=np.float32([[0, 0, 4], [1, 2, 4]] * 3)).normalized_coordinates
    np.testing.assert_array_equal(colors, [[0, 0, 0], [1, 1, 0]] * 3)
