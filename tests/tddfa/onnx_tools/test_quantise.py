import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from tddfa.model.runtime import Model  # noqa: E402
from tddfa.onnx_tools import quantise as module  # noqa: E402
from tddfa.onnx_tools.graph import GraphError  # noqa: E402
from tddfa.onnx_tools.quantise import quantise  # noqa: E402


@pytest.fixture
def network(rng):
    """Two convolutions with ReLU, one of an average, and one whose output has both signs."""
    sizes = [(8, 3, 3), (8, 8, 3), (6, 8, 1), (4, 6, 1)]
    constants, nodes = {}, [
        helper.make_node("Transpose", ["crops"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["x0"], to=1),
    ]  # fmt: skip
    for k, (count, channels, side) in enumerate(sizes):
        weight = rng.normal(size=(count, channels, side, side)) / (side * np.sqrt(channels))
        # channels of very different sizes: one scale for all would lose the small ones
        weight *= 10.0 ** rng.uniform(-2, 0, (count, 1, 1, 1)) / (100 if k == 0 else 1)
        constants |= {f"w{k}": weight.astype(np.float32), f"b{k}": rng.normal(size=count).astype(np.float32)}
        last = k == len(sizes) - 1
        if k == 2:
            nodes.append(helper.make_node("AveragePool", ["x2"], ["mean"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
        source = "mean" if k == 2 else f"x{k}"
        nodes.append(
            helper.make_node("Conv", [source, f"w{k}", f"b{k}"], ["out" if last else f"c{k}"], pads=[side // 2] * 4)
        )
        if not last:
            nodes.append(helper.make_node("Relu", [f"c{k}"], [f"x{k + 1}"]))
    graph = helper.make_graph(
        nodes, "test",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["n", 16, 16, 3])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 4, 16, 16])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.fixture
def crops(rng):
    return rng.integers(0, 256, (30, 16, 16, 3), dtype=np.uint8)


def run(tmp_path, data, batch):
    (tmp_path / "network.onnx").write_bytes(data)
    return Model(tmp_path / "network.onnx", "cpu", 1)(batch)["out"]


def kinds(data):
    return [node.op_type for node in onnx.load_from_string(data).graph.node]


@pytest.mark.parametrize("keep", [0, 1])
def test_results_on_unseen_crops_are_nearly_equal(tmp_path, rng, network, crops, keep):
    data = quantise(network, crops, keep)
    fresh = rng.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    expected, actual = run(tmp_path, network, fresh), run(tmp_path, data, fresh)
    for k in range(4):  # each channel by its own spread
        assert np.abs(actual[:, k] - expected[:, k]).max() < 0.05 * np.ptp(expected)
    assert np.abs(actual - expected).max() > 0  # it is not the float network again


def test_what_stays_in_float(network, crops):
    whole = [value.dtype.name for value in weights(quantise(network, crops, 0))]
    # that of the average stays
    assert whole == ["int8", "int8", "float32", "int8"]
    assert next(value.dtype.name for value in weights(quantise(network, crops, 1))) == "float32"


def weights(data):
    """Weights of each convolution as they are stored."""
    graph = onnx.load_from_string(data).graph
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    makers = {node.output[0]: node for node in graph.node}
    for node in graph.node:
        if node.op_type == "Conv":
            name = node.input[1]
            yield constants[makers[name].input[0] if name in makers else name]


def test_weights_leave_room_for_the_sum_of_two_products(network, crops):
    for value in weights(quantise(network, crops, 0)):
        if value.dtype == np.int8:
            assert np.abs(value).max() == 63


def test_a_relu_is_the_zero_point(network, crops):
    # that of the convolution which stays in float remains
    assert kinds(network).count("Relu") == 3
    assert kinds(quantise(network, crops, 0)).count("Relu") == 1


def test_wrong_arguments_give_an_error(network, crops):
    with pytest.raises(ValueError, match=r"crops: expected shape \(n, h, w, 3\) uint8, got \(0, 16, 16, 3\)"):
        quantise(network, crops[:0])
    with pytest.raises(ValueError, match="float64"):
        quantise(network, crops.astype(float))
    with pytest.raises(ValueError, match="keep: expected 0 or more, got -3"):
        quantise(network, crops, -3)
    with pytest.raises(GraphError, match="expected more than 4 convolutions"):
        quantise(network, crops, 4)
    with pytest.raises(GraphError, match="not an ONNX model"):
        quantise(b"no model", crops)


@pytest.mark.parametrize("name", ["faceboxes", "open_mb05"])
def test_shipped_networks_of_both_precisions_have_equal_inputs_and_outputs(root, name):
    one, other = (onnx.load(root / f"weights/{name}{kind}.onnx").graph for kind in ("", "_int8"))
    assert one.input == other.input
    assert one.output == other.output


class TestCommand:
    def test_it_writes_the_file(self, tmp_path, network, crops):
        (tmp_path / "in.onnx").write_bytes(network)
        np.save(tmp_path / "crops.npy", crops)
        names = [str(tmp_path / name) for name in ("in.onnx", "crops.npy", "out.onnx")]
        assert module.main([*names, "--keep", "1"]) == 0
        assert "QuantizeLinear" in kinds((tmp_path / "out.onnx").read_bytes())

    def test_bad_files_give_one_line(self, tmp_path, network, crops, capsys):
        (tmp_path / "in.onnx").write_bytes(network)
        np.save(tmp_path / "crops.npy", np.array([object()], dtype=object), allow_pickle=True)
        names = [str(tmp_path / name) for name in ("in.onnx", "crops.npy", "out.onnx")]
        np.savez(tmp_path / "crops.npz", crops)
        for bad in ("crops.npy", "crops.npz", "none.npy"):
            names[1] = str(tmp_path / bad)
            assert module.main(names) == 1
            err = capsys.readouterr().err
            assert err.count("\n") == 1
            assert bad in err
        assert not (tmp_path / "out.onnx").exists()

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("crops.npy", b"# a text", "crops.npy: expected a .npy file of numbers (n, h, w, 3) uint8, got something"),
            ("in.onnx", b"# a text", "in.onnx: not an ONNX model"),
            ("in.onnx", None, "in.onnx: No such file or directory\n"),
        ],
    )
    def test_errors_name_the_file_once(self, tmp_path, network, crops, capsys, name, content, message):
        (tmp_path / "in.onnx").write_bytes(network)
        np.save(tmp_path / "crops.npy", crops)
        (tmp_path / name).unlink()
        if content is not None:
            (tmp_path / name).write_bytes(content)
        assert module.main([str(tmp_path / each) for each in ("in.onnx", "crops.npy", "out.onnx")]) == 1
        err = capsys.readouterr().err
        assert message in err
        assert err.count(name) == 1

    @pytest.mark.parametrize("keep", ["-1", "x"])
    def test_a_wrong_number_names_its_option(self, capsys, keep):
        with pytest.raises(SystemExit):
            module.main(["in.onnx", "crops.npy", "out.onnx", f"--keep={keep}"])
        assert f"argument --keep: expected a whole number from 0, got {keep!r}" in capsys.readouterr().err


def test_convolutions_of_volumes_stay_as_they_are(root, rng, tmp_path):
    data = (root / "weights/jvcr_s.onnx").read_bytes()
    crops = rng.integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
    results = []
    for number, network in enumerate((data, quantise(data, crops))):
        (tmp_path / f"{number}.onnx").write_bytes(network)
        results.append(Model(tmp_path / f"{number}.onnx", "cpu", 2)(crops)["points"])
    assert results[1].shape == results[0].shape
    assert np.abs(results[1] - results[0]).max() > 0
