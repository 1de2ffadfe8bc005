"""Export of the detector to ONNX; the outputs are compared with torch."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from FaceBoxes.anchors import METADATA_KEY
from tddfa._shared.errors import TddfaError
from tddfa._shared.reading.text import parse_json
from tddfa.model.runtime import Model
from tddfa.onnx_tools.builder import Builder, folded
from tddfa.onnx_tools.graph import Graph, GraphError
from tddfa.train.detector.networks import (
    MULTIPLE,
    SCALE,
    Block,
    FaceBoxes,
    Predictions,
    Separable,
)
from tddfa.train.engine.checkpoint import described_shapes

_DESCRIPTION_KEY = "network"
# Largest accepted differences between torch and the exported file, whose sums have another order.
_MAX_ERROR = {"scores": 1e-3, "offsets": 1e-2, "points": 1e-2, "rotations": 1e-2}


class ImportFailed(TddfaError, ValueError):
    """A file holds another network."""


def to_onnx(network: FaceBoxes, metadata: Mapping[str, str], notes: str = "") -> bytes:
    """Export the network for `FaceBoxes.Detector`, and compare the outputs with torch.

    Parameters
    ----------
    network : FaceBoxes
        Network to export; its BatchNorms are folded into the convolutions.
    metadata : mapping of str to str
        Metadata of the file, to which the layout of the prior boxes and the size of the network are added.
    notes : str
        Description of the file.

    Returns
    -------
    bytes
        ONNX: ``image`` (1, h, w, 3) uint8 BGR to ``scores`` (1, n), ``offsets`` (1, n, 4), ``points`` (1, n, 10)
        and, where the network has them, ``rotations`` (1, n, 6).

    Raises
    ------
    ValueError
        If the outputs of the file differ from those of the network.
    """
    graph = Builder()
    x = graph.planes(graph.padded("image", MULTIPLE))
    x = graph.halved(graph.both_signs(_block(graph, x, network.stem, 1 / SCALE)))
    maps: list[str] = []
    for stage in network.stages:
        assert isinstance(stage, nn.Sequential)
        for layer in stage:
            x = _separable(graph, x, layer)
        maps.append(x)
    for i in reversed(range(len(network.lateral))):
        above = graph.node(
            "Resize", [_block(graph, maps[i + 1], network.lateral[i]), "", graph.constant([1, 1, 2, 2])],
            mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        )  # fmt: skip
        maps[i] = _separable(graph, graph.node("Add", [maps[i], above]), network.fused[i])
    names = ("scores", "offsets", "points", "rotations")[: len(network.numbers)]
    parts: dict[str, list[str]] = {name: [] for name in names}
    for i, (features, context, head, priors) in enumerate(
        zip(maps, network.context, network.heads, network.priors, strict=True)
    ):
        assert isinstance(head, nn.Conv2d) and head.bias is not None
        weight, bias = (value.detach().cpu().numpy() for value in (head.weight, head.bias))
        y = graph.convolution(graph.relu(_block(graph, features, context)), weight, bias)
        cells = graph.node("Transpose", [y], perm=[0, 2, 3, 1])
        sizes = graph.constant([priors * count for count in network.numbers], np.int64)
        graph.node("Split", [cells, sizes], [f"{name}{i}" for name in names], axis=3)
        for name, count in zip(names, network.numbers, strict=True):
            shape = [1, -1] if name == "scores" else [1, -1, count]
            parts[name].append(graph.node("Reshape", [f"{name}{i}", graph.constant(shape, np.int64)]))
    graph.node("Sigmoid", [graph.node("Concat", parts["scores"], axis=1)], ["scores"])
    for name in names[1:]:
        graph.node("Concat", parts[name], [name], axis=1)
    sized = zip(names[1:], network.numbers[1:], strict=True)
    outputs: dict[str, list[int | str]] = {"scores": [1, "n"], **{name: [1, "n", count] for name, count in sized}}
    data = graph.model(
        "faceboxes",
        ("image", [1, "h", "w", 3]),
        outputs,
        notes,
        "tddfa.train",
        {**metadata, METADATA_KEY: network.anchors.to_json(), _DESCRIPTION_KEY: json.dumps(network.describe())},
    )
    worst = difference(network, data)
    if not all(worst[name] <= limit for name, limit in _MAX_ERROR.items()):
        raise ValueError(f"the exported network: expected torch's outputs within {_MAX_ERROR}, got {worst}")
    return data


def _block(graph: Builder, source: str, block: nn.Module, scale: float = 1.0) -> str:
    assert isinstance(block, Block) and block.bn.running_mean is not None and block.bn.running_var is not None
    values = (block.conv.weight, block.bn.weight, block.bn.bias, block.bn.running_mean, block.bn.running_var)
    arrays = [value.detach().cpu().numpy() for value in values]
    weight, bias = folded(arrays[0], arrays[1], arrays[2], arrays[3], arrays[4], block.bn.eps)
    return graph.convolution(source, scale * weight, bias, block.conv.stride[0], block.conv.groups)


def _separable(graph: Builder, source: str, layer: nn.Module) -> str:
    assert isinstance(layer, Separable)
    y = _block(graph, graph.relu(_block(graph, source, layer.depth)), layer.point)
    return graph.relu(graph.node("Add", [y, source]) if layer.residual else y)


def difference(network: FaceBoxes, data: bytes) -> dict[str, float]:
    """Compute the largest difference of each output between a network and an ONNX file, on random images."""
    rng = np.random.default_rng(0)
    worst = dict.fromkeys(_MAX_ERROR, 0.0)
    device = network.stem.conv.weight.device
    was_training = network.training
    network.eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detector.onnx"
        path.write_bytes(data)
        run = Model(path, "cpu", threads=1)
        for height, width in ((160, 224), (97, 131)):
            coarse = rng.integers(0, 256, (1, height // 8 + 1, width // 8 + 1, 3)).repeat(8, axis=1).repeat(8, axis=2)
            image: NDArray[np.uint8] = np.ascontiguousarray(coarse[:, :height, :width], dtype=np.uint8)
            with torch.no_grad():
                predicted: Predictions = network(torch.from_numpy(image).to(device).permute(0, 3, 1, 2))
            exported = run(image)
            expected = {"scores": predicted.logits.sigmoid(), "offsets": predicted.offsets, "points": predicted.points}
            if predicted.rotations is not None:
                expected["rotations"] = predicted.rotations
            for name, value in expected.items():
                worst[name] = max(worst[name], float(np.abs(exported[name] - value.cpu().numpy()).max()))
    network.train(was_training)
    return worst


def load_onnx(path: str | os.PathLike[str]) -> FaceBoxes:
    """Read a network from a file of `to_onnx`, in evaluation mode.

    Its BatchNorms only add the biases, and are frozen.

    Raises
    ------
    ImportFailed
        If the file holds another network.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        graph = Graph(data)
        described = {**parse_json(graph.metadata[_DESCRIPTION_KEY]), "frozen_norms": True}
        shapes = described_shapes(FaceBoxes.of_description, described, len(graph.constants))
        if sum(shape.numel() for shape in shapes.values()) > len(data):
            raise ValueError(f"it describes more weights than a file of {len(data)} bytes has")
        network = FaceBoxes.of_description(described).eval()
        _copy_weights(network, graph)
        worst = difference(network, data)
        if not all(worst[name] <= limit for name, limit in _MAX_ERROR.items()):
            raise ValueError(f"its outputs differ from the network's by {worst}")
    except (OSError, GraphError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ImportFailed(
            f"{path}: expected a detector (.onnx) as written by tddfa train detector: {reason}"
        ) from error
    return network


@torch.no_grad()
def _copy_weights(network: FaceBoxes, graph: Graph) -> None:
    weights = list(_convolutions(graph, network.stem.conv.weight.shape))
    # in the order in which `to_onnx` writes them
    layers: list[nn.Module] = [network.stem]
    layers += [block for stage in network.stages for layer in stage for block in (layer.depth, layer.point)]  # type: ignore[attr-defined]
    for i in reversed(range(len(network.lateral))):
        layers += [network.lateral[i], network.fused[i].depth, network.fused[i].point]  # type: ignore[list-item]
    for context, head in zip(network.context, network.heads, strict=True):
        layers += [context, head]
    for layer, (weight, bias) in zip(layers, weights, strict=True):
        convolution = layer.conv if isinstance(layer, Block) else layer
        assert isinstance(convolution, nn.Conv2d)
        if convolution.weight.shape != weight.shape:
            raise ValueError(f"expected weights of shape {tuple(convolution.weight.shape)}, got {weight.shape}")
        if isinstance(layer, Block):
            if layer is network.stem:
                weight = weight * SCALE
            layer.bn.bias.copy_(torch.from_numpy(bias))
            assert layer.bn.running_var is not None
            layer.bn.running_var.fill_(1 - layer.bn.eps)
        else:
            assert convolution.bias is not None
            convolution.bias.copy_(torch.from_numpy(bias))
        convolution.weight.copy_(torch.from_numpy(weight))


def _convolutions(graph: Graph, stem: torch.Size) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Weight (k, c, h, w) and bias (k,) of each convolution with a bias, in the order of `to_onnx`."""
    count, channels, height, width = stem
    # `tddfa.onnx_tools.optimise.rows_for_planes` has rewritten the first; the others keep their numbers
    rows = (count, 1, height, width * channels)
    found: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
    for node in graph.nodes:
        if node.op_type != "Conv" or len(node.input) != 3:
            continue
        weight, bias = map(graph.weights, node.input[1:])
        if weight.shape == rows:
            found[-1] = weight.reshape(count, height, width, channels).transpose(0, 3, 1, 2).copy(), bias
        else:
            found[int(node.input[1].removeprefix("c"))] = weight, bias
    for number in sorted(found):
        yield found[number]
