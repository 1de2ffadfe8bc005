import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from tddfa.model.runtime import Model  # noqa: E402
from tddfa.onnx_tools import optimise as module  # noqa: E402
from tddfa.onnx_tools.builder import Builder  # noqa: E402
from tddfa.onnx_tools.graph import Graph, GraphError  # noqa: E402
from tddfa.onnx_tools.optimise import optimise  # noqa: E402

IMAGE = ("image", TensorProto.UINT8, [1, "h", "w", 3])


def network(nodes, constants, outputs, image=IMAGE):
    """An ONNX file of nodes (kind, inputs, outputs, attributes)."""
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, outputs, **attributes) for kind, inputs, outputs, attributes in nodes],
        "test",
        [helper.make_tensor_value_info(*image)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def kinds(data):
    return [node.op_type for node in onnx.load_from_string(data).graph.node]


def run(tmp_path, data, image):
    (tmp_path / "network.onnx").write_bytes(data)
    return Model(tmp_path / "network.onnx", "cpu", 1)(image)


def assert_same(tmp_path, before, after, image):
    expected = run(tmp_path, before, image)
    for name, value in run(tmp_path, after, image).items():
        assert value.shape == expected[name].shape
        assert np.ptp(expected[name]) > 1e-2  # it does look at the image
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-5 * np.abs(expected[name]).max())


def weights(rng, *shape):
    return (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def first_layer(rng, before, mean, scale=1.0):
    """Cast, mean, scale and layout in the order `before`, and a convolution with uneven borders."""
    chain, name = [], "image"
    constants = {"weight": weights(rng, 5, 3, 5, 3), "bias": weights(rng, 5), "scale": np.float32(scale)}
    for k, kind in enumerate(before):
        inputs, settings = [name], {}
        if kind == "Cast":
            settings = {"to": 1}
        elif kind == "Transpose":
            settings = {"perm": [0, 3, 1, 2]}
        elif kind == "Mul":
            inputs.append("scale")
        else:
            planes = "Transpose" in before[:k]
            constants["mean"] = np.asarray(mean, np.float32).reshape((-1, 1, 1) if planes else (-1,))
            inputs.append("mean")
        name = f"x{k}"
        chain.append((kind, inputs, [name], settings))
    chain.append(
        ("Conv", [name, "weight", "bias"], ["out"], {"kernel_shape": [5, 3], "pads": [2, 1, 1, 0], "strides": [3, 2]})
    )
    return network(chain, constants, {"out": [1, 5, "a", "b"]})


@pytest.mark.parametrize("before", [("Cast", "Sub", "Mul", "Transpose"), ("Transpose", "Cast", "Sub", "Mul")])
@pytest.mark.parametrize("mean", [[104.0, 117.0, 123.0], [127.5], [0.0]])
def test_the_first_layer_reads_image_rows(tmp_path, rng, before, mean):
    data = first_layer(rng, before, mean, scale=1 / 128)
    after = optimise(data)
    assert not {"Transpose", "Mul"} & set(kinds(after))
    assert kinds(after).count("Sub") == (mean != [0.0])
    for size in ((1, 11, 14, 3), (1, 30, 17, 3)):
        assert_same(tmp_path, data, after, rng.integers(0, 256, size, dtype=np.uint8))


def test_a_scale_of_zero_or_per_pixel_is_not_rewritten(rng):
    data = first_layer(rng, ("Cast", "Sub", "Mul", "Transpose"), [127.5], scale=0.0)
    assert "Transpose" in kinds(optimise(data))
    data = first_layer(rng, ("Cast", "Sub", "Transpose"), np.arange(14 * 3).reshape(14, 3).ravel()[:3])
    assert "Transpose" not in kinds(optimise(data))


def c_relu(rng, channels, shared=False):
    constants = {
        "weight": weights(rng, channels, 3, 3, 3), "bias": weights(rng, channels),
        "after": weights(rng, 4, 2 * channels, 3, 3),
    }  # fmt: skip
    nodes = [
        ("Transpose", ["image"], ["planes"], {"perm": [0, 3, 1, 2]}),
        ("Cast", ["planes"], ["numbers"], {"to": 1}),
        ("Conv", ["numbers", "weight", "bias"], ["raw"], {"kernel_shape": [3, 3], "strides": [2, 2]}),
        ("Neg", ["raw"], ["negative"], {}),
        ("Concat", ["raw", "negative"], ["both"], {"axis": 1}),
        ("Relu", ["both"], ["positive"], {}),
        ("MaxPool", ["positive"], ["pooled"], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ("Conv", ["pooled", "after"], ["out"], {"kernel_shape": [3, 3]}),
    ]
    outputs = {"out": [1, 4, "a", "b"]}
    if shared:
        outputs["raw"] = [1, channels, "c", "d"]
    return network(nodes, constants, outputs)


@pytest.mark.parametrize(
    ("channels", "block", "convolutions"),
    [(24, 16, 4), (24, 8, 3), (16, 16, 3), (28, 16, 3), (6, 16, 3), (20, 16, 4)],
    ids=["half a block", "whole blocks", "one block", "too full to share", "under a block", "a quarter"],
)
def test_both_signs_of_a_convolution(tmp_path, rng, channels, block, convolutions):
    data = c_relu(rng, channels)
    after = optimise(data, block)
    assert "Neg" not in kinds(after)
    assert kinds(after).count("Conv") == convolutions
    assert_same(tmp_path, data, after, rng.integers(0, 256, (1, 37, 44, 3), dtype=np.uint8))


def test_a_tensor_with_other_consumers_is_not_rewritten(tmp_path, rng):
    data = c_relu(rng, 24, shared=True)
    after = optimise(data)
    assert "Neg" in kinds(after)
    assert_same(tmp_path, data, after, rng.integers(0, 256, (1, 37, 44, 3), dtype=np.uint8))


def two_heads(rng, index=1):
    constants = {"pairs": np.array([1, -1, 2]), "fours": np.array([1, -1, 4]), "second": np.int64(index)}
    nodes, ends = [
        ("Transpose", ["image"], ["planes"], {"perm": [0, 3, 1, 2]}), ("Cast", ["planes"], ["level0"], {"to": 1}),
    ], {"pairs": [], "fours": []}  # fmt: skip
    for level in (0, 1):
        for name, channels in (("pairs", 6), ("fours", 12)):
            key = f"{name}{level}"
            constants |= {f"{key}.weight": weights(rng, channels, 3, 3, 3) / 99, f"{key}.bias": weights(rng, channels)}
            nodes += [
                ("Conv", [f"level{level}", f"{key}.weight", f"{key}.bias"], [key], {"pads": [1, 1, 1, 1]}),
                ("Transpose", [key], [f"{key}.turned"], {"perm": [0, 2, 3, 1]}),
                ("Reshape", [f"{key}.turned", name], [f"{key}.list"], {}),
            ]
            ends[name].append(f"{key}.list")
        nodes.append(("MaxPool", [f"level{level}"], [f"level{level + 1}"], {"kernel_shape": [2, 2], "strides": [2, 2]}))
    nodes += [
        ("Concat", ends["fours"], ["offsets"], {"axis": 1}),
        ("Concat", ends["pairs"], ["logits"], {"axis": 1}),
        ("Softmax", ["logits"], ["shares"], {"axis": 2}),
        ("Gather", ["shares", "second"], ["scores"], {"axis": 2}),
    ]
    return network(nodes, constants, {"scores": [1, "n"], "offsets": [1, "n", 4]})


def test_heads_are_merged_and_softmax_becomes_a_sigmoid(tmp_path, rng):
    data = two_heads(rng)
    after = optimise(data)
    assert kinds(after).count("Conv") == 2
    assert "Softmax" not in kinds(after)
    assert_same(tmp_path, data, after, rng.integers(0, 256, (1, 12, 19, 3), dtype=np.uint8))


def test_the_first_of_two_classes_is_not_rewritten(tmp_path, rng):
    data = two_heads(rng, index=0)
    after = optimise(data)
    assert "Softmax" in kinds(after)
    assert_same(tmp_path, data, after, rng.integers(0, 256, (1, 12, 19, 3), dtype=np.uint8))


def test_rows_are_convolved_also_behind_padding(tmp_path, rng):
    builder = Builder()
    x = builder.planes(builder.padded("image", 8))
    x = builder.convolution(x, rng.normal(0, 0.1, (4, 3, 3, 3)), rng.normal(0, 1, 4))
    data = builder.model("padded", ("image", [1, "h", "w", 3]), {x: [1, 4, "h", "w"]}, "", "test")
    assert "Transpose" not in kinds(data)
    path = tmp_path / "padded.onnx"
    path.write_bytes(data)
    image = rng.integers(0, 256, (1, 13, 22, 3), dtype=np.uint8)
    padded = np.pad(image, ((0, 0), (0, 3), (0, 2), (0, 0)))
    (small,), (whole,) = (Model(path, "cpu")(each).values() for each in (image, padded))
    assert small.shape == (1, 4, 16, 24) and np.array_equal(small, whole)


@pytest.mark.parametrize("name", ["faceboxes", "open_mb05"])
def test_shipped_networks_are_optimised_already(root, name):
    data = (root / f"weights/{name}.onnx").read_bytes()
    assert kinds(optimise(data)) == kinds(data)
    assert not {"Neg", "Softmax"} & set(kinds(data))


class TestCommand:
    def test_it_writes_the_file(self, tmp_path, rng):
        (tmp_path / "in.onnx").write_bytes(two_heads(rng))
        assert module.main([str(tmp_path / "in.onnx"), str(tmp_path / "out.onnx"), "--block", "8"]) == 0
        assert "Sigmoid" in kinds((tmp_path / "out.onnx").read_bytes())

    @pytest.mark.parametrize("content", [b"no model", b"", None])
    def test_a_file_that_is_no_model_gives_an_error_and_nothing_is_written(self, tmp_path, capsys, content):
        if content is not None:
            (tmp_path / "in.onnx").write_bytes(content)
        assert module.main([str(tmp_path / "in.onnx"), str(tmp_path / "out.onnx")]) == 1
        error = capsys.readouterr().err
        assert error.startswith("tddfa: error: ")
        assert "in.onnx" in error
        assert error.count("\n") == 1
        assert not (tmp_path / "out.onnx").exists()


def test_unused_nodes_and_constants_are_removed(rng):
    graph = Graph(two_heads(rng))
    graph.add("Neg", ["level0"])
    graph.constant(np.zeros(100))
    assert "Neg" not in kinds(graph.to_bytes())
    with pytest.raises(GraphError, match="not an ONNX model"):
        Graph(b"no model")
