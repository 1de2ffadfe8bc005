"""Export of a regressor to ONNX for `tddfa.model.runtime`; outputs are compared with torch before a file is written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tddfa.landmarks68 import COUNT
from tddfa.onnx_tools.builder import Builder, folded
from tddfa.onnx_tools.graph import Graph, GraphError
from tddfa.train.data.augment import CROP_SIZE
from tddfa.train.engine.export import write_checked
from tddfa.train.regressor.networks import CAMERA_COUNT, PIXEL_MEAN, PIXEL_SCALE, Regressor

Floats = NDArray[np.float32]

FEATURES = "features"
"""Output that `tddfa.train.score` adds to a regressor."""


def export_regressor(
    network: Regressor, path: str | os.PathLike[str], crops: NDArray[np.uint8], notes: Mapping[str, str]
) -> float:
    """Export a regressor. The file is written completely or not at all.

    Parameters
    ----------
    network : Regressor
        Network to export; its running BatchNorm statistics are folded into the convolutions.
    path : path
        ``.onnx`` file to write: crops (n, 120, 120, 3) uint8 BGR to camera (n, 3, 4), shape, expression, score and, if
        the network has one, the confidence (n, 68) of the landmarks.
    crops : ndarray (n, 120, 120, 3) uint8
        Crops on which the outputs are compared with torch.
    notes : mapping of str to str
        Metadata of the file, such as ``face_model`` and ``licence``.

    Returns
    -------
    float
        Largest difference from torch, relative to the output's largest value or 1.

    Raises
    ------
    ValueError
        If there are no crops.
    ExportError
        If an output differs by more than `tddfa.train.engine.export.TOLERANCE`.
    OSError
        If the file cannot be written.
    """
    if not len(crops):
        raise ValueError("crops: expected at least one to compare outputs on, got none")
    data = regressor_onnx(network, notes)
    was_training = network.training
    network.eval()
    with torch.no_grad():
        expected = network(torch.from_numpy(crops).to(network.mean.device)).outputs()
    network.train(was_training)
    return write_checked(path, data, expected, lambda model: model(crops))


def regressor_onnx(network: Regressor, notes: Mapping[str, str]) -> bytes:
    """Build the ONNX file. It includes normalisation, BatchNorm and whitening; the batch size is dynamic."""
    graph = Builder()
    node, constant = graph.node, graph.constant
    now = graph.planes("crops")
    now = node("Sub", [now, constant(PIXEL_MEAN)])
    now = node("Mul", [now, constant(1 / PIXEL_SCALE)])
    for layer, norm in network.backbone.convolutions():
        now = graph.relu(graph.convolution(now, *_folded(layer, norm), layer.stride[0], layer.groups))
    features = node("ReduceMean", [now], axes=[2, 3], keepdims=0)
    weight, bias, mean, std = (
        value.detach().cpu().numpy().astype(np.float64)
        for value in (network.head.weight, network.head.bias, network.mean, network.std)
    )
    weight[:-1] *= std[:, None]
    bias[:-1] = bias[:-1] * std + mean
    now = node("Gemm", [features, constant(weight), constant(bias)], transB=1)
    counts = [CAMERA_COUNT, network.shape_count, network.expression_count, 1]
    node("Split", [now, constant(counts, np.int64)], ["rows", "shape", "expression", "logits"], axis=1)
    node("Reshape", ["rows", constant([0, 3, 4], np.int64)], ["camera"])
    logits = "logits"
    if network.score is not None:
        first, first_bias, second = (value.detach().cpu().numpy() for value in network.score.parameters())
        inside = node("Relu", [node("Gemm", [features, constant(first), constant(first_bias)], transB=1)])
        logits = node("Add", [logits, node("Gemm", [inside, constant(second)], transB=1)])
    node("Sigmoid", [node("Squeeze", [logits, constant([1], np.int64)])], ["score"])

    confidence: dict[str, list[Any]] = {}
    if network.confidence is not None:
        layers = [value.detach().cpu().numpy() for value in network.confidence.parameters()]
        inside = node("Relu", [node("Gemm", [features, *map(constant, layers[:2])], transB=1)])
        node("Sigmoid", [node("Gemm", [inside, *map(constant, layers[2:])], transB=1)], ["confidence"])
        confidence["confidence"] = ["n", COUNT]

    outputs: dict[str, list[Any]] = {
        "camera": ["n", 3, 4],
        "shape": ["n", counts[1]],
        "expression": ["n", counts[2]],
        "score": ["n"],
        **confidence,
    }
    image = ("crops", ["n", CROP_SIZE, CROP_SIZE, 3])
    return graph.model("regressor", image, outputs, "", "tddfa.train", notes)


def head_of(graph: Graph) -> Any:
    """The matrix product that gives all outputs of a regressor; its first input are the features.

    Raises
    ------
    GraphError
        If the file has none.
    """
    split = next((node for node in graph.nodes if node.op_type == "Split" and "shape" in node.output), None)
    head = None if split is None else graph.producer(split.input[0])
    if head is None or head.op_type != "Gemm" or "score" not in graph.outputs:
        raise GraphError("expected a regressor with a score, whose outputs come from one matrix product")
    return head


def with_score(model: bytes, weight: Floats, bias: float, layers: Sequence[Floats] = ()) -> bytes:
    """Replace the score of a regressor; its other outputs stay equal to the bit.

    Parameters
    ----------
    model : bytes
        ONNX, from `regressor_onnx`; also one that was optimised or quantised.
    weight : ndarray (c,)
        Weights of the features for the logit.
    bias : float
    layers : sequence of ndarray
        Weights of a hidden layer that is added to it, as of `tddfa.train.regressor.networks.score_layers`: (h, c), (h,)
        and (1, h).

    Returns
    -------
    bytes
        ONNX with the same inputs and outputs.

    Raises
    ------
    GraphError
        If `model` cannot be read or is no such regressor.
    ValueError
        If the weights are for another number of features.
    """
    graph = Graph(model)
    head = head_of(graph)
    features, weights, biases = head.input[0], graph.constants[head.input[1]].copy(), graph.constants[head.input[2]]
    if weight.shape != weights.shape[1:]:
        raise ValueError(f"weight: expected {weights.shape[1]} weights, got shape {weight.shape}")
    weights[-1], biases = weight, np.append(biases[:-1], np.float32(bias))
    head.input[1], head.input[2] = graph.constant(weights), graph.constant(biases)
    logits = graph.only_consumer(head.output[0], "Split").output[-1]
    graph.remove(graph.producer("score"))
    if layers:
        first, first_bias, second = (graph.constant(value) for value in layers)
        inside = graph.add("Relu", [graph.add("Gemm", [features, first, first_bias], transB=1)])
        logits = graph.add("Add", [logits, graph.add("Gemm", [inside, second], transB=1)])
    graph.add("Sigmoid", [graph.add("Squeeze", [logits, graph.constant([1], np.int64)])], ["score"])
    return graph.to_bytes()


def _folded(layer: torch.nn.Conv2d, norm: torch.nn.BatchNorm2d) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fold BatchNorm into a convolution; return weights and bias."""
    assert norm.running_mean is not None and norm.running_var is not None
    values = (layer.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var)
    kernel, gamma, beta, mean, variance = (value.detach().cpu().numpy() for value in values)
    return folded(kernel, gamma, beta, mean, variance, norm.eps)
