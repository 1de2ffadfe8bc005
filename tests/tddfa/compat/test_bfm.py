import numpy as np
import pytest
from scipy.io import savemat

from tddfa.compat.bfm import face_model, read_bases, read_pickled
from tddfa.compat.restricted_pickle import RefusedError
from tddfa.model.face_model import FaceModel


@pytest.fixture
def files(tmp_path, tiny_bases, pickled_file):
    """bases, triangles, uv, indices, as `face_model` takes them."""
    rng = np.random.default_rng(4)
    triangles = rng.integers(0, 120, (3, 90)).astype(np.int32)
    savemat(tmp_path / "BFM_UV.mat", {"UV": rng.uniform(0, 1, (500, 2))})
    np.save(tmp_path / "indices.npy", np.sort(rng.permutation(500)[:120]).astype(np.int32))
    return [
        pickled_file("bfm.pkl", tiny_bases), pickled_file("tri.pkl", triangles), tmp_path / "BFM_UV.mat",
        tmp_path / "indices.npy",
    ]  # fmt: skip


def loaded(tmp_path, data):
    (tmp_path / "face.npz").write_bytes(data)
    return FaceModel.load(tmp_path / "face.npz")


def test_it_decodes_by_the_formula(tmp_path, files, tiny_bases, rng):
    model = loaded(tmp_path, face_model(*files))
    shape, expression = rng.normal(0, 1e5, 40).astype(np.float32), rng.normal(size=10).astype(np.float32)
    flat = tiny_bases["u"][:, 0].astype(np.float64) + tiny_bases["w_shp"] @ shape + tiny_bases["w_exp"] @ expression
    vertices = model.vertices(shape, expression)
    np.testing.assert_allclose(vertices, flat.reshape(-1, 3), rtol=1e-5, atol=0.1)
    landmarks = flat[tiny_bases["keypoints"]].reshape(68, 3)
    np.testing.assert_allclose(model.landmarks(shape, expression), landmarks, rtol=1e-5, atol=0.1)


def test_arrays_of_the_face_model(tmp_path, files):
    model = loaded(tmp_path, face_model(*files))
    np.testing.assert_array_equal(model.triangles, read_pickled(files[1])[::-1].T)
    assert model.uv.shape == (120, 2)
    assert (model.unit, model.shape_count, model.expression_count) == ("um", 40, 10)
    assert model.expression_range is None
    assert "academic use only" in model.licence
    assert model.convention == "300w-lp"


def test_a_npz_of_the_same_arrays(tmp_path, files, tiny_bases):
    np.savez(tmp_path / "bases.npz", **tiny_bases, more=np.zeros(3))
    assert face_model(tmp_path / "bases.npz", *files[1:]) == face_model(*files)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("u", np.zeros(361), "u: expected 3 numbers per vertex, got 361"),
        ("u", None, "u: expected 3 numbers"),
        ("u", np.full((360, 1), np.nan), "u: expected finite"),
        ("w_shp", np.zeros((360, 39)), r"w_shp: expected shape \(360, 40\), got \(360, 39\)"),
        ("w_exp", np.zeros((300, 10)), r"w_exp: expected shape \(360, 10\), got \(300, 10\)"),
        ("w_exp", None, "w_exp: expected shape"),
        ("keypoints", np.arange(204) + 1, "the x, y and z rows of 68 vertices"),
        ("keypoints", 3 * np.arange(204), "the x, y and z rows of 68 vertices"),
        ("keypoints", np.arange(204) + 300, "the x, y and z rows of 68 vertices"),
        ("keypoints", np.zeros(204), "expected whole numbers"),
        ("keypoints", np.zeros(68, int), r"keypoints: expected shape \(204\), got \(68,\)"),
    ],
)
def test_wrong_arrays_give_an_error_with_their_name(pickled_file, tiny_bases, name, value, message):
    content = {k: v for k, v in (tiny_bases | {name: value}).items() if v is not None}
    with pytest.raises(ValueError, match=message) as caught:
        read_bases(pickled_file("bad.pkl", content))
    assert "bad.pkl" in str(caught.value)


def test_more_columns_than_are_used(pickled_file, tiny_bases):
    wide = tiny_bases | {"w_shp": np.pad(tiny_bases["w_shp"], [(0, 0), (0, 159)])}
    np.testing.assert_array_equal(read_bases(pickled_file("wide.pkl", wide))["w_shp"], tiny_bases["w_shp"])


def test_other_files_are_refused(tmp_path, files, pickled_file):
    (tmp_path / "none.npz").write_bytes(b"PK no")
    with pytest.raises(ValueError, match=r"none\.npz: not a file of arrays"):
        read_bases(tmp_path / "none.npz")
    with pytest.raises(RefusedError, match=r"code\.pkl: .*builtins\.print"):
        read_pickled(pickled_file("code.pkl", print))
    with pytest.raises(ValueError, match="expected named arrays, got list"):
        read_bases(pickled_file("list.pkl", [1]))
    for missing in ("bases.npz", "bases.pkl"):
        with pytest.raises(FileNotFoundError, match="no such file"):
            read_bases(tmp_path / missing)


def _claims_gigabytes(path):
    """The file, whose variable claims 2 GiB."""
    data = bytearray(path.read_bytes())
    data[132:136] = (1 << 31).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("which", "make", "message"),
    [
        (1, lambda p: np.array([[0], [1], [120]]), "expected vertices 0..119, got 0..120"),
        (1, lambda p: np.zeros((90, 3)), r"expected whole numbers of shape \(3, m\), got float64 \(90, 3\)"),
        (2, lambda p: savemat(p, {"XY": np.zeros((500, 2))}), "expected a variable UV, got XY"),
        (2, lambda p: savemat(p, {"UV": np.zeros((500, 3))}), r"UV: expected shape \(n, 2\), got \(500, 3\)"),
        (2, lambda p: p.write_bytes(_claims_gigabytes(p)), r"not a \.mat file"),
        (2, lambda p: p.write_bytes(b"no matlab" * 30), r"not a \.mat file"),
        (3, lambda p: np.save(p, np.arange(119)), r"not an array of shape \(120\)"),
        (3, lambda p: np.save(p, np.arange(120) + 400), "expected 120 vertices 0..499"),
        (3, lambda p: p.write_bytes(b"no numbers"), r"not an array of shape \(120\)"),
        (3, lambda p: np.save(p, np.arange(120) + 0.5), "expected 120 vertices 0..499"),
    ],
)
def test_files_that_do_not_fit_give_an_error(tmp_path, files, pickled_file, which, make, message):
    made = make(files[which])
    if made is not None:
        pickled_file(files[which].name, made)
    with pytest.raises(ValueError, match=message) as caught:
        face_model(*files)
    assert files[which].name in str(caught.value)


@pytest.mark.upstream
class TestReleased:
    def test_its_pncc_colours_are_the_released_ones(self, upstream, upstream_cache):
        model = FaceModel.load(upstream_cache / "3ddfa_v2/bfm_noneck_v3.npz")
        codes = np.load(upstream / "configs/ncc_code.npy")
        np.testing.assert_allclose(model.normalized_coordinates, codes.T, atol=1e-6)

    def test_it_is_a_face_seen_from_outside(self, upstream_cache):
        model = FaceModel.load(upstream_cache / "3ddfa_v2/bfm_noneck_v3.npz")
        corners = model.mean[model.triangles]
        facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] > 0
        assert facing.mean() > 0.9
        landmarks = model.landmarks(np.zeros(40, np.float32), np.zeros(10, np.float32))
        assert landmarks[0, 0] < 0 < landmarks[16, 0]  # the subject's right is to the left
        assert landmarks[8, 1] < landmarks[30, 1] < landmarks[27, 1]
        assert landmarks[30, 2] > landmarks[[0, 16], 2].max()
        uv = model.uv[model.landmark_triangles[:, 0]]
        assert uv[30, 0] == pytest.approx(0.5, abs=0.01)
        assert uv[8, 1] < uv[30, 1] < uv[27, 1]
        np.testing.assert_allclose(uv[36, 0] + uv[45, 0], 1, atol=0.02)
        lips = model.mean[model.regions["lips"]]
        assert np.abs(lips[:, 1].mean() - landmarks[48:, 1].mean()) < 5e3
