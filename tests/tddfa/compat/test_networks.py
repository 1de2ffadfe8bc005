import cv2
import numpy as np
import pytest

from FaceBoxes import Detector
from tddfa.compat import networks
from tddfa.compat.restricted_pickle import read_pickle
from tddfa.compat.torch_file import read_state
from tddfa.model.runtime import Model

pytest.importorskip("onnx")


@pytest.fixture(scope="module", params=["JianzhuGuo", "trump_hillary", "emma"])
def photo(request, upstream):
    return cv2.imread(str(upstream / f"examples/{request.param}.jpg"))


def model(tmp_path, data):
    (tmp_path / "network.onnx").write_bytes(data)
    return Model(tmp_path / "network.onnx", "cpu", 1)


def whitened(outputs, whitening):
    """The 62 outputs of the original network, from the named outputs."""
    camera = outputs["camera"].astype(np.float64)
    camera[:, 1] *= -1
    camera[:, :, 3] += (1, 120, 1)
    rows = np.concatenate([camera.reshape(len(camera), -1), outputs["shape"], outputs["expression"]], axis=1)
    return (rows - whitening["mean"]) / whitening["std"]


class TestRegressor:
    def test_equals_the_plain_network_at_any_batch(self, tmp_path, rng, reference, mobilenet_state, whitening):
        run = model(tmp_path, networks.regressor(mobilenet_state, **whitening))
        crops = rng.integers(0, 256, (3, 120, 120, 3), dtype=np.uint8)
        outputs = run(crops)
        assert {name: value.shape for name, value in outputs.items()} == {
            "camera": (3, 3, 4), "shape": (3, 40), "expression": (3, 10)
        }  # fmt: skip
        expected = np.array([reference.mobilenet(mobilenet_state, crop) for crop in crops])
        assert np.ptp(expected, axis=0).min() > 1e-3  # it does look at the crop
        np.testing.assert_allclose(whitened(outputs, whitening), expected, atol=1e-4)
        np.testing.assert_allclose(run(crops[:1])["shape"], outputs["shape"][:1], rtol=1e-4)

    def test_the_file_is_reproducible(self, mobilenet_state, whitening):
        assert networks.regressor(mobilenet_state, **whitening) == networks.regressor(mobilenet_state, **whitening)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda s: s.pop("dw4_1.bn_dw.bias"), "missing weights 'dw4_1.bn_dw.bias'"),
            (lambda s: s.update({"conv1.weight": np.zeros((4, 1, 3, 3))}), r"conv1.weight: expected shape \(n, 3, 3"),
            (lambda s: s.update({"fc_param.bias": np.zeros(102)}), r"fc_param.bias: expected shape \(62\), got \(102,"),
            (lambda s: s.update({"dw6.conv_dw.weight": np.zeros((5, 1, 3, 3))}), "dw6.bn_dw.weight: expected shape"),
            (lambda s: s.update({"bn1.running_var": np.full(4, -1.0)}), "expected variances of 0 or more, got -1"),
        ],
    )
    def test_wrong_weights_give_an_error_with_their_name(self, mobilenet_state, whitening, change, message):
        state = dict(mobilenet_state)
        change(state)
        with pytest.raises(networks.ConversionError, match=message):
            networks.regressor(state, **whitening)

    def test_wrong_whitening_gives_an_error(self, mobilenet_state, whitening):
        with pytest.raises(networks.ConversionError, match=r"std: expected shape \(62,\), got \(72,\)"):
            networks.regressor(mobilenet_state, whitening["mean"], np.ones(72))


class TestDetector:
    @pytest.mark.parametrize("size", [(128, 128), (150, 231), (33, 40), (1, 1)])
    def test_equals_the_plain_network_at_any_size(self, tmp_path, rng, reference, faceboxes_state, size):
        run = model(tmp_path, networks.detector(faceboxes_state))
        image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        outputs = run(image[None])
        scores, offsets = reference.faceboxes(faceboxes_state, image)
        assert len(scores) == len(reference.prior_boxes(*size))
        assert np.ptp(scores) > 0.1
        np.testing.assert_allclose(outputs["scores"][0], scores, atol=1e-4)
        np.testing.assert_allclose(outputs["offsets"][0], offsets, atol=1e-3)

    def test_a_missing_weight_gives_an_error(self, faceboxes_state):
        state = {name: value for name, value in faceboxes_state.items() if name != "conf.1.bias"}
        with pytest.raises(networks.ConversionError, match=r"conf\.1\.bias"):
            networks.detector(state)


@pytest.mark.upstream
class TestReleased:
    """The released weights, on 3DDFA_V2's own photos."""

    def test_boxes_and_scores(self, photo, upstream, upstream_cache, reference):
        expected = reference.detect(read_state(upstream / "FaceBoxes/weights/FaceBoxesProd.pth"), photo)
        found = Detector(Model(upstream_cache / "3ddfa_v2/faceboxes.onnx", "cpu"))(photo)
        boxes, scores = np.abs(found.xyxy - expected[:, :4]).max(), np.abs(found.scores - expected[:, 4]).max()
        print(f"\n{len(found)} faces: boxes differ by {boxes:.1e} px, scores by {scores:.1e}")
        assert boxes < 0.05
        assert scores < 1e-4

    def test_parameters(self, photo, upstream, upstream_cache, reference):
        with (upstream / "configs/param_mean_std_62d_120x120.pkl").open("rb") as file:
            whitening = read_pickle(file)
        state = read_state(upstream / "weights/mb05_120x120.pth")
        found = Detector(Model(upstream_cache / "3ddfa_v2/faceboxes.onnx", "cpu"))(photo)
        crops = np.array([reference.crop_at(photo, reference.square_of_box(box)) for box in found.xyxy])
        expected = np.array([reference.mobilenet(state, crop) for crop in crops])
        got = whitened(Model(upstream_cache / "3ddfa_v2/mb05_120x120.onnx", "cpu")(crops), whitening)
        worst = np.abs(got - expected).max()
        print(f"\n{len(crops)} faces: parameters differ by {worst:.1e} standard deviations")
        assert worst < 1e-4
