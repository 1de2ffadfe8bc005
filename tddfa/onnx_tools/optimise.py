"""Rewrite a network to run faster with the same results: ``python -m tddfa.onnx_tools.optimise IN OUT``.

ONNX Runtime computes convolutions near the peak of the CPU, on channels in a blocked layout. The time is lost between
them: a mean subtracted along a last axis of three, conversions of the layout, negations that have no blocked form. Each
rewrite here removes one of these and keeps the function.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa.onnx_tools.command import convert
from tddfa.onnx_tools.graph import Graph, attributes

# Channels per block of ONNX Runtime: 16 with AVX-512, 8 with AVX2.
BLOCK = 16
_TO_PLANES, _TO_PIXELS = [0, 3, 1, 2], [0, 2, 3, 1]


def optimise(model: bytes, block: int = BLOCK) -> bytes:
    """Rewrite a network to run faster; parts that no rewrite fits stay as they are.

    Parameters
    ----------
    model : bytes
        ONNX that takes images (n, h, w, c) uint8.
    block : int
        Channels per block on the target machine; `both_signs` fills such blocks.

    Returns
    -------
    bytes
        ONNX with the same inputs and outputs; results are equal except for the order of sums.

    Raises
    ------
    GraphError
        If `model` cannot be read.
    """
    graph = Graph(model)
    rows_for_planes(graph)
    both_signs(graph, block)
    difference_for_softmax(graph)
    one_convolution_a_map(graph)
    return graph.to_bytes()


def rows_for_planes(graph: Graph) -> None:
    """Convolve the rows of the image in memory order, (n, 1, h, 3 w), instead of three planes.

    A kernel k px wide becomes one of 3 k values with three times the stride, and nothing is transposed. The scale is
    folded into the weights. The mean cannot be folded in, because the border is padded with zeros; it is subtracted by
    rows, which are long enough for vector instructions, unlike three channels.
    """
    for source, value in graph.inputs.items():
        dims = value.type.tensor_type.shape.dim
        if len(dims) != 4 or dims[3].dim_value < 2:
            continue
        channels = int(dims[3].dim_value)
        source = _padded(graph, source)
        found = _chain_to_convolution(graph, source, channels)
        if found is None:
            continue
        nodes, convolution, scale, mean = found
        settings = attributes(convolution)
        weight = graph.weights(convolution.input[1]) * scale[:, None, None]
        count, _, height, width = weight.shape
        top, left, bottom, right = settings.get("pads", [0, 0, 0, 0])
        down, across = settings.get("strides", [1, 1])
        joined = graph.add("Reshape", [source, graph.constant([0, 0, -1], np.int64)])
        numbers = graph.add("Cast", [joined], to=1)
        rows = graph.add("Unsqueeze", [numbers, graph.constant([1], np.int64)])
        if np.ptp(mean) > 0:
            size = graph.add("Shape", [source], start=2, end=4)
            row = graph.add("Expand", [graph.constant(mean[None]), size])
            rows = graph.add("Sub", [rows, graph.add("Reshape", [row, graph.constant([1, 1, 1, -1], np.int64)])])
        elif mean[0] != 0:
            rows = graph.add("Sub", [rows, graph.constant(mean[0])])
        graph.remove(*nodes, convolution)
        kernel = graph.constant(weight.transpose(0, 2, 3, 1).reshape(count, 1, height, width * channels))
        graph.add(
            "Conv", [rows, kernel, *convolution.input[2:]], list(convolution.output),
            kernel_shape=[height, width * channels], strides=[down, across * channels],
            pads=[top, left * channels, bottom, right * channels],
        )  # fmt: skip


def _padded(graph: Graph, source: str) -> str:
    """The images after they are padded (`Builder.padded`); the input itself if they are not."""
    pads = [node for node in graph.consumers(source) if node.op_type == "Pad" and node.input[0] == source]
    others = [node for node in graph.consumers(source) if node.op_type not in ("Pad", "Shape")]
    return pads[0].output[0] if len(pads) == 1 and not others else source


def _chain_to_convolution(
    graph: Graph, name: str, channels: int
) -> tuple[list[Any], Any, NDArray[np.float64], NDArray[np.float64]] | None:
    """Nodes between an input and the first convolution, that node, and scale and mean of ``scale * (x - mean)``.

    None if other operations are between them, or if the convolution has unsupported settings.
    """
    nodes: list[Any] = []
    scale, offset = np.ones(channels), np.zeros(channels)
    axis = 3
    while True:
        node = graph.only_consumer(name)
        if node is None:
            return None
        settings = attributes(node)
        if node.op_type == "Conv":
            break
        if node.op_type == "Transpose" and settings.get("perm") == _TO_PLANES and axis == 3:
            axis = 1
        elif node.op_type in ("Sub", "Add", "Mul", "Div") and node.input[0] == name:
            value = _by_channel(graph.constants.get(node.input[1]), axis, channels)
            if value is None or (node.op_type in ("Mul", "Div") and not value.all()):
                return None
            if node.op_type in ("Sub", "Add"):
                offset = offset + (value if node.op_type == "Add" else -value)
            else:
                factor = value if node.op_type == "Mul" else 1 / value
                scale, offset = scale * factor, offset * factor
        elif node.op_type != "Cast" or settings.get("to") != 1:
            return None
        nodes.append(node)
        name = node.output[0]
    weight = graph.constants.get(node.input[1])
    plain = (
        settings.get("group", 1) == 1
        and settings.get("auto_pad", b"NOTSET") == b"NOTSET"
        and set(settings.get("dilations", [1])) == {1}
    )
    if axis != 1 or node.input[0] != name or weight is None or weight.ndim != 4 or not plain:
        return None
    return nodes, node, scale, -offset / scale


def _by_channel(value: NDArray[Any] | None, axis: int, channels: int) -> NDArray[np.float64] | None:
    """A constant operand of an image (n, h, w, c) or (n, c, h, w) as one number per channel; None if it is not."""
    if value is None or value.ndim > 4:
        return None
    if value.size == 1:
        return np.full(channels, float(value.reshape(())))
    shape = [1] * (4 - value.ndim) + list(value.shape)
    if shape[axis] != channels or value.size != channels:
        return None
    return value.reshape(channels).astype(np.float64)


def both_signs(graph: Graph, block: int = BLOCK) -> None:
    """C.ReLU (Shang et al., 2016) in the blocked layout: the negation becomes a depthwise convolution by -1.

    ReLU moves behind the maximum pooling, where it has a quarter of the values. If the last block of channels is at
    most half full, the negatives of its channels are computed in its other half, and only those of the full blocks by
    the depthwise convolution.
    """
    for negation in [node for node in graph.nodes if node.op_type == "Neg"]:
        source = negation.input[0]
        convolution, others = graph.producer(source), graph.consumers(source)
        join = graph.only_consumer(negation.output[0], "Concat")
        if convolution is None or convolution.op_type != "Conv" or join is None or source in graph.outputs:
            continue
        weight = graph.constants.get(convolution.input[1])
        relu = graph.only_consumer(join.output[0], "Relu")
        pool = None if relu is None else graph.only_consumer(relu.output[0], "MaxPool")
        if weight is None or len(others) != 2 or pool is None or len(pool.output) != 1:
            continue
        if list(join.input) != [source, negation.output[0]] or attributes(join).get("axis") != 1:
            continue
        count = len(weight)
        rest = count % block
        taker = graph.only_consumer(pool.output[0], "Conv")
        halved = taker is not None and attributes(taker).get("group", 1) == 1 and taker.input[1] in graph.constants
        graph.remove(negation, join, relu, pool)
        if rest and 2 * rest <= block and count > block and halved:
            # channels from `rest` on fill whole blocks; the first `rest` share a block with their negatives
            graph.remove(convolution)
            first, whole = slice(0, rest), slice(rest, count)
            settings = attributes(convolution)
            bias = graph.constants[convolution.input[2]] if len(convolution.input) > 2 else np.zeros(count)
            blocks = graph.add(
                "Conv", [convolution.input[0], graph.constant(weight[whole]), graph.constant(bias[whole])], **settings
            )
            shared = graph.add(
                "Conv",
                [
                    convolution.input[0],
                    graph.constant(np.concatenate([weight[first], -weight[first]])),
                    graph.constant(np.concatenate([bias[first], -bias[first]])),
                ],
                **settings,
            )
            parts = [blocks, shared, _negated(graph, blocks, count - rest)]
            order = np.r_[rest:count, 0:rest, count : count + rest, count + rest : 2 * count]
            taker.input[1] = graph.constant(graph.constants[taker.input[1]][:, order])
        else:
            parts = [source, _negated(graph, source, count)]
        joined = graph.add("Concat", [graph.add("MaxPool", [part], **attributes(pool)) for part in parts], axis=1)
        graph.add("Relu", [joined], list(pool.output))


def _negated(graph: Graph, source: str, channels: int) -> str:
    minus = graph.constant(np.full((channels, 1, 1, 1), -1))
    return graph.add("Conv", [source, minus], kernel_shape=[1, 1], group=channels)


def difference_for_softmax(graph: Graph) -> None:
    """Replace the second output of a softmax of two by the sigmoid of their difference; convolutions compute that."""
    for softmax in [node for node in graph.nodes if node.op_type == "Softmax"]:
        gather = graph.only_consumer(softmax.output[0], "Gather")
        join = graph.producer(softmax.input[0])
        if gather is None or join is None or join.op_type != "Concat" or attributes(join).get("axis") != 1:
            continue
        index = graph.constants.get(gather.input[1])
        axes = attributes(softmax).get("axis", -1), attributes(gather).get("axis", 0)
        if index is None or index.ndim != 0 or int(index) != 1 or not set(axes) <= {2, -1}:
            continue
        chains = [_pairs(graph, name) for name in join.input]
        if graph.only_consumer(join.output[0]) is None or not all(chains):
            continue
        logits = []
        for chain in chains:
            assert chain is not None
            convolution, turn, reshape = chain
            for k in (1, 2):
                value = graph.weights(convolution.input[k])
                convolution.input[k] = graph.constant(value[1::2] - value[::2])
            logits.append(graph.add("Reshape", [turn.output[0], graph.constant([1, -1], np.int64)]))
            graph.remove(reshape)
        graph.remove(join, softmax, gather)
        graph.add("Sigmoid", [graph.add("Concat", logits, axis=1)], list(gather.output))


def _pairs(graph: Graph, name: str) -> tuple[Any, Any, Any] | None:
    """Convolution, Transpose and Reshape to (1, n, 2) that produce a tensor; None if it is produced otherwise."""
    reshape = graph.producer(name)
    if reshape is None or reshape.op_type != "Reshape" or graph.only_consumer(name) is None:
        return None
    shape = graph.constants.get(reshape.input[1])
    turn = graph.producer(reshape.input[0])
    if shape is None or shape.tolist() != [1, -1, 2] or graph.only_consumer(reshape.input[0]) is None:
        return None
    if turn is None or turn.op_type != "Transpose" or attributes(turn).get("perm") != _TO_PIXELS:
        return None
    convolution = graph.producer(turn.input[0])
    if convolution is None or convolution.op_type != "Conv" or graph.only_consumer(turn.input[0]) is None:
        return None
    if len(convolution.input) != 3 or any(k not in graph.constants for k in convolution.input[1:]):
        return None
    return convolution, turn, reshape


def one_convolution_a_map(graph: Graph) -> None:
    """Merge the convolutions of one feature map whose outputs are only transposed, so that one last block is padded."""
    for source in {name for node in graph.nodes if node.op_type == "Conv" for name in node.input[:1]}:
        heads: dict[str, list[tuple[Any, Any]]] = {}
        for convolution in graph.consumers(source):
            if convolution.op_type != "Conv" or attributes(convolution).get("group", 1) != 1:
                continue
            turn = graph.only_consumer(convolution.output[0], "Transpose")
            known = len(convolution.input) == 3 and all(name in graph.constants for name in convolution.input[1:])
            if turn is not None and attributes(turn).get("perm") == _TO_PIXELS and known:
                heads.setdefault(str(sorted(attributes(convolution).items())), []).append((convolution, turn))
        for group in heads.values():
            if len(group) < 2:
                continue
            weights, biases = ([graph.constants[convolution.input[k]] for convolution, _ in group] for k in (1, 2))
            graph.remove(*(node for pair in group for node in pair))
            joined = graph.add(
                "Conv", [source, graph.constant(np.concatenate(weights)), graph.constant(np.concatenate(biases))],
                **attributes(group[0][0]),
            )  # fmt: skip
            turned = graph.add("Transpose", [joined], perm=_TO_PIXELS)
            sizes = graph.constant([len(bias) for bias in biases], np.int64)
            graph.add("Split", [turned, sizes], [turn.output[0] for _, turn in group], axis=3)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``python -m tddfa.onnx_tools.optimise``; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tddfa.onnx_tools.optimise",
        description="Rewrite a network to run faster with the same results.",
        allow_abbrev=False,
    )
    parser.add_argument("source", type=Path, metavar="IN", help="network to read, .onnx")
    parser.add_argument("target", type=Path, metavar="OUT", help="network to write, .onnx")
    parser.add_argument(
        "--block", type=int, choices=(8, 16), default=BLOCK,
        help="channels per block: 16 with AVX-512, 8 with AVX2 (default: %(default)s)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    return convert(options.source, options.target, lambda model: optimise(model, options.block))


if __name__ == "__main__":
    sys.exit(main())
