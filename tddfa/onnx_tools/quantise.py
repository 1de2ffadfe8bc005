"""Quantise the convolutions of a network to int8: ``python -m tddfa.onnx_tools.quantise IN CROPS OUT``.

Static quantisation (Jacob et al., CVPR 2018): activations are uint8 with one scale per tensor, from their range on real
crops; weights are int8 with one scale per output channel. The file has pairs of QuantizeLinear and DequantizeLinear,
which ONNX Runtime fuses into integer convolutions.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import checked_number
from tddfa.model.runtime import Model
from tddfa.onnx_tools.command import convert, failed
from tddfa.onnx_tools.graph import Graph, GraphError

# Number of first convolutions that stay in float: with few channels of many px, int8 is not faster.
KEEP = 4
# CPUs without VNNI add two products in 16 bits; with 7-bit weights the sum cannot overflow.
_LARGEST_WEIGHT = 63
_BATCH = 20


def quantise(model: bytes, crops: NDArray[np.uint8], keep: int = KEEP) -> bytes:
    """Quantise the convolutions of a network to int8.

    Parameters
    ----------
    model : bytes
        ONNX, from `tddfa.onnx_tools.optimise`: each convolution has its BatchNorm folded in.
    crops : ndarray (n, h, w, 3) uint8
        Typical inputs of the network; a few hundred.
    keep : int
        Number of convolutions, counted from the input, that stay in float.

    Returns
    -------
    bytes
        ONNX with the same inputs and outputs.

    Raises
    ------
    GraphError
        If `model` cannot be read, or has no convolution after the first `keep`.
    ValueError
        If the network cannot run on `crops`.
    """
    _check_crops(crops)
    checked_number("keep", keep, 0, whole=True)
    graph = Graph(model)
    convolutions = [node for node in graph.nodes if node.op_type == "Conv" and _is_of_images(graph, node)]
    # average pooling of 8-bit values takes ONNX Runtime twenty times as long as of floats
    convolutions = [node for node in convolutions[keep:] if not _is_average(graph.producer(node.input[0]))]
    if not convolutions:
        raise GraphError(f"expected more than {keep} convolutions of images with constant weights")
    results = {id(node): _result(graph, node) for node in convolutions}
    tensors = list(dict.fromkeys([node.input[0] for node in convolutions] + list(results.values())))
    ranges = _ranges(model, tensors, crops)
    sources = [node.input[0] for node in convolutions]
    scales = {name: _activation(graph, name, *ranges[name]) for name in tensors}
    for node, source in zip(convolutions, sources, strict=True):
        result = results[id(node)]
        if result != node.output[0]:
            # with a zero point of 0, quantisation clips negative values as the ReLU does
            graph.remove(graph.producer(result))
            node.output[0] = result
        _weights(graph, node, scales[source])
    return graph.to_bytes()


def _check_crops(crops: object) -> None:
    if not isinstance(crops, np.ndarray):
        raise TypeError(f"crops: expected an array (n, h, w, 3) uint8, got {type(crops).__name__}")
    if crops.ndim != 4 or crops.dtype != np.uint8 or not len(crops):
        raise ValueError(f"crops: expected shape (n, h, w, 3) uint8, got {crops.shape} {crops.dtype}")


def _is_of_images(graph: Graph, node: Any) -> bool:
    """Whether a convolution has constant weights (out, in, h, w), and not those of volumes (JVCR)."""
    return node.input[1] in graph.constants and graph.constants[node.input[1]].ndim == 4


def _is_average(node: Any) -> bool:
    return node is not None and node.op_type == "AveragePool"


def _result(graph: Graph, node: Any) -> str:
    relu = graph.only_consumer(node.output[0], "Relu")
    return str(node.output[0] if relu is None else relu.output[0])


def _ranges(model: bytes, tensors: Sequence[str], crops: NDArray[np.uint8]) -> dict[str, tuple[float, float]]:
    """Minimum and maximum of each tensor on the crops; 0 is always within."""
    watched = Graph(model)
    for name in tensors:
        if name not in watched.outputs:
            watched.declare(name, [f"{name}_{k}" for k in range(4)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "watched.onnx"
        path.write_bytes(watched.to_bytes())
        run = Model(path, "cpu")
        low, high = dict.fromkeys(tensors, 0.0), dict.fromkeys(tensors, 0.0)
        batch = watched.max_batch() or _BATCH
        for start in range(0, len(crops), batch):
            outputs = run(crops[start : start + batch])
            for name in tensors:
                low[name] = min(low[name], float(outputs[name].min()))
                high[name] = max(high[name], float(outputs[name].max()))
    return {name: (low[name], high[name]) for name in tensors}


def _activation(graph: Graph, name: str, low: float, high: float) -> float:
    """Quantise and dequantise a tensor for all of its consumers; return the scale."""
    scale = max(high - low, 1e-12) / 255
    settings = [graph.constant(np.float32(scale)), graph.constant(round(-low / scale), np.uint8)]
    consumers = graph.consumers(name)
    short = graph.add("QuantizeLinear", [name, *settings])
    long = graph.add("DequantizeLinear", [short, *settings])
    for node in consumers:
        for k, taken in enumerate(node.input):
            if taken == name:
                node.input[k] = long
    return float(np.float32(scale))


def _weights(graph: Graph, node: Any, scale: float) -> None:
    """Quantise weights to 8 bits and the bias to 32, per output channel."""
    weight = graph.weights(node.input[1])
    scales = np.maximum(np.abs(weight).reshape(len(weight), -1).max(axis=1), 1e-12) / _LARGEST_WEIGHT
    scales = scales.astype(np.float32).astype(np.float64)
    short = np.rint(weight / scales.reshape(-1, *[1] * (weight.ndim - 1)))
    none = graph.constant(np.zeros(len(weight)), np.int8)
    node.input[1] = graph.add(
        "DequantizeLinear", [graph.constant(short, np.int8), graph.constant(scales), none], axis=0
    )
    if len(node.input) > 2:
        both = (scales * scale).astype(np.float32)
        bias = np.clip(np.rint(graph.constants[node.input[2]] / both.astype(np.float64)), -(2**31), 2**31 - 1)
        none = graph.constant(np.zeros(len(weight)), np.int32)
        node.input[2] = graph.add(
            "DequantizeLinear", [graph.constant(bias, np.int32), graph.constant(both), none], axis=0
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``python -m tddfa.onnx_tools.quantise``; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tddfa.onnx_tools.quantise",
        description="Quantise the convolutions of a network to int8.",
        allow_abbrev=False,
    )
    parser.add_argument("source", type=Path, metavar="IN", help="network to read, .onnx")
    parser.add_argument("crops", type=Path, metavar="CROPS", help="typical inputs: .npy (n, h, w, 3) uint8")
    parser.add_argument("target", type=Path, metavar="OUT", help="network to write, .onnx")
    parser.add_argument(
        "--keep", type=_count, default=KEEP, metavar="N",
        help="number of first convolutions that stay in float (default: %(default)s)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        crops = _read_crops(options.crops)
    except (OSError, ValueError, TypeError) as error:
        return failed(error, options.crops)
    return convert(options.source, options.target, lambda model: quantise(model, crops, options.keep))


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, got {text!r}")
    return int(text)


def _read_crops(path: Path) -> NDArray[np.uint8]:
    try:
        crops = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:  # NumPy takes any file that it does not know for a pickle
        raise ValueError("expected a .npy file of numbers (n, h, w, 3) uint8, got something else") from error
    _check_crops(crops)
    return np.asarray(crops)


if __name__ == "__main__":
    sys.exit(main())
