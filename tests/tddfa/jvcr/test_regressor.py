import numpy as np
import pytest

from tddfa.aligner import Aligner
from tddfa.crop import roi_from_landmarks
from tddfa.decoder import Decoder
from tddfa.jvcr.grid import with_centres
from tddfa.jvcr.landmark_model import landmark_model
from tddfa.jvcr.regressor import JvcrRegressor
from tddfa.landmarks68 import MIRRORED
from tddfa.model.config import CropRule
from tddfa.outputs import KINDS, Outputs
from tddfa.tracking.smoothing import OneEuro

RULE = CropRule(size=128, box_shift_y=0.155, box_scale=1.11, landmark_scale=1.25)
FACE = np.array([100.0, 60, 200, 180])


class Network:
    """Predicts the same face, turned, in every crop."""

    def __init__(self, model):
        points = model.landmarks(np.zeros(model.shape_count, np.float32), np.zeros(model.expression_count, np.float32))
        points = points @ np.diag([1, -1, 1]) * 5
        points[:, 0] += 0.3 * points[:, 2]
        points += [64, 64, 0] - points.mean(axis=0)
        self.points = with_centres(points)
        self.calls = 0

    def __call__(self, crops):
        self.calls += 1
        n = len(crops)
        volume = np.zeros((n, 32, 32, 32), np.float32)
        volume[:, 20, 10, 12] = 1
        return {
            "points": np.repeat(self.points[None], n, axis=0),
            "volume_1": volume.max(axis=1, keepdims=True),
            "volume_2": volume,
        }


@pytest.fixture(scope="module")
def open_model(aligner):
    return aligner.face_model


@pytest.fixture(scope="module")
def points_aligner(open_model):
    model = landmark_model(open_model)
    return Aligner(JvcrRegressor(Network(open_model), model), Decoder(model, RULE))


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)


def test_landmarks_are_the_networks_points_in_the_image(points_aligner, image):
    (face,) = points_aligner(image, boxes=[FACE])
    scale = face.roi.side / 128
    expected = points_aligner.regressor.network.points[:68] * scale
    expected[:, :2] += face.roi.left + scale / 2, face.roi.top + scale / 2
    assert np.allclose(face.landmarks, expected, atol=2e-3)


def test_flipped_passes_see_the_mirrored_face(open_model, image):
    """A network that mirrors its answer with the crop gives the same landmarks with and without the flip."""
    own = Network(open_model)
    mirrored = own.points[:68][MIRRORED] * [-1, 1, 1] + [127, 0, 0]

    def network(crops):
        # the crop's bright side tells whether it is flipped
        flipped = crops[:, :, 64:].mean(axis=(1, 2, 3)) > crops[:, :, :64].mean(axis=(1, 2, 3))
        points = np.stack([with_centres(mirrored) if flip else own.points for flip in flipped])
        return {"points": points}

    bright = np.zeros_like(image)
    bright[:, :150] = 255
    model = landmark_model(open_model)
    aligner = Aligner(JvcrRegressor(network, model), Decoder(model, RULE))
    (plain,) = aligner(bright, boxes=[FACE])
    roi = roi_from_landmarks(plain.landmarks, RULE)
    (second,) = aligner(bright, rois=[roi])
    both = Aligner(JvcrRegressor(network, model), Decoder(model, RULE), refine=1, flip=True)
    (face,) = both(bright, boxes=[FACE])
    # the squares of the passes differ, so the second one counts alone: it took a flipped crop
    assert np.allclose(face.landmarks, second.landmarks, atol=0.02)
    assert not np.allclose(face.landmarks, plain.landmarks, atol=1)


def test_records_have_no_mesh(points_aligner, image):
    (face,) = points_aligner(image, boxes=[FACE])
    record = face.to_dict(points_aligner.decoder)
    assert [record[key] for key in ("shape", "expression", "gaze", "visible", "six_dof")] == 5 * [None]
    assert len(record["landmarks"]) == 68
    assert record["landmark_convention"] == "300w"
    assert -90 < record["pose"]["yaw"] < 90


def test_conventions_move_the_points(points_aligner, image):
    (face,) = points_aligner(image, boxes=[FACE])
    decoder = points_aligner.decoder
    moved = decoder.landmarks(face, "300w-lp") - face.landmarks
    offset = decoder.face_model.landmark_offsets["300w-lp"]
    assert np.allclose(moved, offset @ face.camera.matrix[:, :3].T, atol=1e-3)
    assert np.abs(moved).max() > 0.1


def test_kinds_that_take_a_mesh_say_so(points_aligner, aligner, image):
    faces = points_aligner(image, boxes=[FACE])
    outputs = Outputs(image, faces, points_aligner)
    for name, kind in KINDS.items():
        missing = kind.missing(points_aligner)
        if kind.takes == "mesh":
            assert missing is not None
            assert name in missing
            assert "--fit-mesh" in missing
            assert "\n" not in missing
        else:
            assert missing is None
            assert outputs.draw(name).any()
    with pytest.raises(ValueError, match="expected a model with a mesh, got one of 68 points"):
        outputs.draw("3d")
    with pytest.raises(ValueError, match="expected a model that predicts volumes"):
        Outputs(image, aligner(image, boxes=[FACE]), aligner).draw("volume")


def test_several_faces_have_several_sheets(points_aligner, image):
    faces = points_aligner(image, boxes=[FACE, FACE + 30])
    one, two = (Outputs(image, faces[:count], points_aligner).draw("volume") for count in (1, 2))
    assert two.shape == (2 * one.shape[0], one.shape[1], 3)


def test_a_mesh_is_fitted_to_the_points(open_model, image, tmp_path):
    network = Network(open_model)
    network.points[:, 0] -= 0.3 * network.points[:, 2]
    aligner = Aligner(JvcrRegressor(network, open_model), Decoder(open_model, RULE))
    (face,) = aligner(image, boxes=[FACE])
    scale = face.roi.side / 128
    expected = network.points[:68, :2] * scale + [face.roi.left + scale / 2, face.roi.top + scale / 2]
    assert np.abs(face.landmarks[:, :2] - expected).mean() < 0.5
    outputs = Outputs(image, [face], aligner)
    for name in ("3d", "pncc", "uv_tex", "2d_dense", "6dof", "volume"):
        assert outputs.draw(name).any()
    assert outputs.save("ply", tmp_path / "face")[0].is_file()
    assert face.to_dict(aligner.decoder)["expression"]["jawOpen"] >= 0


def test_smoothing_works_on_points(points_aligner, image):
    (face,) = points_aligner(image, boxes=[FACE])
    smoother = OneEuro(points_aligner.decoder)
    smoother(face, 0)
    assert np.allclose(smoother(face, 0.04).landmarks, face.landmarks, atol=0.01)


def test_landmarks_as_csv(points_aligner, image, tmp_path):
    faces = points_aligner(image, boxes=[FACE, FACE + 30])
    paths = Outputs(image, faces, points_aligner).save_landmarks(tmp_path / "me")
    assert [path.name for path in paths] == ["me_landmarks_0.csv", "me_landmarks_1.csv"]
    assert np.allclose(np.loadtxt(paths[1], delimiter=","), faces[1].landmarks, atol=1e-3)
    assert len(paths[0].read_text().splitlines()) == 68


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"camera": 1}, "expected an output 'points'"),
        ({"points": np.zeros((1, 68, 3))}, r"expected shape \(1, 71, 3\)"),
    ],
)
def test_another_network_is_refused(open_model, outputs, message):
    with pytest.raises(ValueError, match=message):
        JvcrRegressor(lambda _: outputs, open_model)(np.zeros((1, 128, 128, 3), np.uint8))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_points_that_are_no_numbers_are_an_error(aligner, value):
    network = Network(aligner.face_model)
    network.points = np.full_like(network.points, value)
    with pytest.raises(ValueError, match="points: expected finite numbers"):
        JvcrRegressor(network, aligner.face_model).points(np.zeros((1, 128, 128, 3), np.uint8))


def test_the_last_volume_is_that_of_the_highest_number(aligner):
    class Stacks(Network):
        def __call__(self, crops):
            outputs = super().__call__(crops)
            volume = outputs.pop("volume_2")
            return {**outputs, **{f"volume_{k}": volume * k for k in range(1, 13)}}

    regressor = JvcrRegressor(Stacks(aligner.face_model), aligner.face_model)
    volumes, _ = regressor.volumes(np.zeros((1, 128, 128, 3), np.uint8))
    assert [float(volume.max()) for volume in volumes] == list(range(1, 13))
