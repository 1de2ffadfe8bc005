import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from tddfa.model.runtime import Model  # noqa: E402
from tddfa.train.engine.export import ExportError  # noqa: E402
from tddfa.train.regressor.export import export_regressor, regressor_onnx  # noqa: E402
from tddfa.train.regressor.networks import MobileNet, Regressor, load_onnx  # noqa: E402

OUTPUTS = ("camera", "shape", "expression", "score")


def outputs(network, crops):
    with torch.no_grad():
        predicted = network(torch.from_numpy(crops))
    values = (predicted.camera, predicted.shape, predicted.expression, predicted.logit.sigmoid())
    return {name: value.numpy() for name, value in zip(OUTPUTS, values, strict=True)}


def agree(predicted, expected, tolerance=1e-4):
    for name in OUTPUTS:
        np.testing.assert_allclose(predicted[name], expected[name], rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.fixture(scope="module")
def crops():
    """Noise at several scales: every channel sees something."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (24, 12, 12, 3)).repeat(10, axis=1).repeat(10, axis=2)
    return np.clip(coarse + rng.normal(0, 30, (24, 120, 120, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def released(root):
    return root / "weights/open_mb05.onnx"


@pytest.fixture(scope="module")
def made(crops):
    """A narrow network that whitens, with BatchNorm statistics of its own."""
    torch.manual_seed(1)
    network = Regressor(0.25, 6, 4, score_hidden=5)
    rng = np.random.default_rng(1)
    network.whiten_by(rng.normal(0, 1, 22).astype(np.float32), rng.uniform(0.5, 2, 22).astype(np.float32))
    torch.nn.init.normal_(network.head.weight, std=0.1)
    with torch.no_grad():
        for _ in range(3):
            network.train()(torch.from_numpy(crops))
        for _, norm in network.backbone.convolutions():
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
    return network.eval()


@pytest.mark.parametrize(("width", "channels", "count"), [(0.5, 512, 27), (1.0, 1024, 27), (0.25, 256, 27)])
def test_widths(width, channels, count):
    network = MobileNet(width)
    assert network.channels == channels
    assert len(network.convolutions()) == count
    assert network(torch.zeros(2, 3, 120, 120)).shape == (2, channels)


def test_the_paper_counts_these_parameters():
    # Howard et al., 2017, table 8: 4.2 million with the classifier of 1000 classes at width 1
    classifier = 1024 * 1000 + 1000
    total = sum(parameter.numel() for parameter in MobileNet(1.0).parameters()) + classifier
    assert total == pytest.approx(4.2e6, rel=0.01)


@pytest.mark.parametrize("width", [0, -1, 5, float("nan")])
def test_a_width_that_makes_no_network_is_refused(width):
    with pytest.raises(ValueError, match=r"width: expected 0.05\.\.4"):
        MobileNet(width)


def test_outputs_have_their_shapes_and_whitening_inverts(made, crops):
    predicted = made(torch.from_numpy(crops[:3]))
    assert predicted.confidence is None
    assert [tuple(value.shape) for value in predicted[:-1]] == [(3, 3, 4), (3, 6), (3, 4), (3,), (3, 22)]
    again = made.whitened(predicted.camera, predicted.shape, predicted.expression)
    assert torch.allclose(again, predicted.whitened, atol=1e-5)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (np.zeros(21), np.ones(22), "mean: expected 22 finite"),
        (np.zeros(22), np.full(22, np.nan), "std: expected 22 finite"),
        (np.zeros(22), -np.ones(22), "std: expected 0 or more"),
    ],
)
def test_whitening_of_a_wrong_length_is_refused(mean, std, message):
    with pytest.raises(ValueError, match=message):
        Regressor(0.25, 6, 4).whiten_by(mean, std)


def test_the_released_network_is_read_with_its_function(released, crops):
    rng = np.random.default_rng(2)
    mean, std = rng.normal(0, 1, 107).astype(np.float32), rng.uniform(0.1, 2, 107).astype(np.float32)
    network = load_onnx(released, crops[:8], mean, std)
    assert not network.training
    assert network.backbone.width == 0.5
    agree(outputs(network, crops), Model(released, device="cpu", threads=1)(crops))


def test_in_training_mode_it_is_nearly_the_same_on_the_crops_it_was_measured_on(released, crops):
    network = load_onnx(released, crops)
    still = outputs(network, crops)
    moving = outputs(network.train(), crops)
    spread = still["camera"][:, 0, 3].std()
    assert np.abs(moving["camera"] - still["camera"])[:, 0, 3].mean() < 0.2 * spread + 1e-3


def test_an_exported_file_is_read_back(made, crops, tmp_path):
    path = tmp_path / "a.onnx"
    difference = export_regressor(made, path, crops[:4], {"face_model": "made"})
    assert difference < 1e-4
    expected = outputs(made, crops)
    agree(Model(path, device="cpu", threads=1)(crops), expected)
    again = load_onnx(path, crops[:8], made.mean.numpy(), made.std.numpy())
    agree(outputs(again, crops), expected)


@pytest.mark.parametrize("width", [0.05, 0.1, 0.35, 0.4, 0.6, 0.8, 1.1])
def test_a_file_of_any_width_is_read_back(width, crops, tmp_path):
    torch.manual_seed(1)
    network = Regressor(width, 3, 2).eval()
    export_regressor(network, tmp_path / "a.onnx", crops[:2], {"face_model": "made"})
    agree(outputs(load_onnx(tmp_path / "a.onnx", crops[:8]), crops[:2]), outputs(network, crops[:2]))


def test_the_file_has_the_interface_of_the_released_one(made, crops, released, tmp_path):
    network = copy.deepcopy(made)
    network.add_confidence(5)
    export_regressor(network, tmp_path / "a.onnx", crops[:1], {"licence": "MIT"})
    model, other = onnx.load(tmp_path / "a.onnx"), onnx.load(released)

    def described(values):
        return {
            value.name: (value.type.tensor_type.elem_type, len(value.type.tensor_type.shape.dim)) for value in values
        }

    assert described(model.graph.input) == described(other.graph.input)
    assert described(model.graph.output) == described(other.graph.output)
    assert {entry.key: entry.value for entry in model.metadata_props} == {"licence": "MIT"}
    run = Model(tmp_path / "a.onnx", device="cpu", threads=1)
    for count in (1, 5):
        shapes = {name: value.shape for name, value in run(crops[:count]).items()}
        coefficients = {"camera": (count, 3, 4), "shape": (count, 6), "expression": (count, 4)}
        assert shapes == {**coefficients, "score": (count,), "confidence": (count, 68)}


def test_the_mode_is_kept_and_statistics_are_not_touched(made, crops, tmp_path):
    made.train()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    export_regressor(made, tmp_path / "a.onnx", crops[:2], {})
    assert made.training
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    made.eval()


def test_a_file_that_differs_is_not_written(made, crops, tmp_path, monkeypatch):
    def other(network, notes):
        data = regressor_onnx(network, notes)
        model = onnx.load_model_from_string(data)
        gemm = next(node for node in model.graph.node if node.op_type == "Gemm")
        bias = next(item for item in model.graph.initializer if item.name == gemm.input[2])
        bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.01), bias.name))
        return model.SerializeToString()

    monkeypatch.setattr("tddfa.train.regressor.export.regressor_onnx", other)
    path = tmp_path / "a.onnx"
    path.write_bytes(b"what was there")
    with pytest.raises(ExportError, match="differs from torch by"):
        export_regressor(made, path, crops[:2], {})
    assert path.read_bytes() == b"what was there"
    assert list(tmp_path.iterdir()) == [path]


def test_a_network_of_no_numbers_is_not_written(made, crops, tmp_path):
    with torch.no_grad():
        kept = made.head.bias[0].clone()
        made.head.bias[0] = float("nan")
    try:
        with pytest.raises(ExportError, match="camera: differs"):
            export_regressor(made, tmp_path / "a.onnx", crops[:1], {})
    finally:
        with torch.no_grad():
            made.head.bias[0] = kept
    assert not list(tmp_path.iterdir())


def test_nothing_to_compare_on_is_refused(made, crops, tmp_path):
    with pytest.raises(ValueError, match="expected at least one"):
        export_regressor(made, tmp_path / "a.onnx", crops[:0], {})


def test_files_that_are_no_regressor_are_refused_by_name(root, crops, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such network"):
        load_onnx(tmp_path / "a.onnx", crops)
    (tmp_path / "b.onnx").write_bytes(b"not a network at all")
    for path in (tmp_path / "b.onnx", root / "weights/faceboxes.onnx", root / "weights/open_mb05_int8.onnx"):
        with pytest.raises(ValueError, match=path.name):
            load_onnx(path, crops)


def test_a_network_of_the_same_shapes_that_computes_something_else_is_refused(made, crops, tmp_path):
    model = onnx.load_model_from_string(regressor_onnx(made, {}))
    for node in model.graph.node:
        if node.op_type == "Relu":
            node.op_type = "Elu"
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="is off by"):
        load_onnx(tmp_path / "a.onnx", crops)


def test_confidence_survives_export_and_import(made, crops, tmp_path):
    sure = Regressor(0.25, 6, 4, score_hidden=5, confidence_hidden=7)
    sure.load_state_dict(made.state_dict(), strict=False)
    torch.nn.init.normal_(sure.confidence[2].weight)
    sure.eval()
    plain, own = outputs(made, crops[:4]), outputs(sure, crops[:4])
    agree(own, plain, 0)  # all other outputs stay
    expected = sure(torch.from_numpy(crops[:4])).outputs()["confidence"].detach().numpy()
    assert expected.shape == (4, 68) and 0 < expected.min() < 0.4 < 0.6 < expected.max() < 1
    path = tmp_path / "sure.onnx"
    export_regressor(sure, path, crops[:4], {})
    np.testing.assert_allclose(Model(path, device="cpu", threads=1)(crops[:4])["confidence"], expected, atol=1e-4)
    again = load_onnx(path, crops)
    assert (again.score_hidden, again.confidence_hidden) == (5, 7)
    np.testing.assert_allclose(
        again(torch.from_numpy(crops[:4])).outputs()["confidence"].detach().numpy(), expected, atol=1e-4
    )
    agree(outputs(again, crops[:4]), plain)


def test_a_confidence_can_be_added(made, crops):
    network = Regressor(0.25, 6, 4, score_hidden=5)
    network.load_state_dict(made.state_dict())
    before = outputs(network.eval(), crops[:2])
    network.add_confidence(6)
    agree(outputs(network, crops[:2]), before, 0)
    assert network(torch.from_numpy(crops[:2])).confidence.shape == (2, 68)
