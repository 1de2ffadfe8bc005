"""Export of JVCR to ONNX for `tddfa.jvcr`; outputs are compared with torch before a file is written."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.nn import functional

from tddfa.jvcr.grid import POINT_COUNT
from tddfa.onnx_tools.builder import Builder
from tddfa.train.engine.export import write_checked
from tddfa.train.jvcr.networks import Jvcr
from tddfa.train.regressor.networks import PIXEL_MEAN, PIXEL_SCALE


def export_jvcr(
    network: Jvcr, path: str | os.PathLike[str], crops: NDArray[np.uint8], notes: Mapping[str, str]
) -> float:
    """Export a network. The file is written completely or not at all.

    Parameters
    ----------
    network : Jvcr
    path : path
        ``.onnx`` file to write: crops (n, size, size, 3) uint8 BGR to ``points`` (n, 71, 3), px of the crop, and the
        volumes ``volume_1``, ``volume_2``, … (n, depth, side, side), one per stack.
    crops : ndarray (n, size, size, 3) uint8
        Crops on which the outputs are compared with torch.
    notes : mapping of str to str
        Metadata of the file.

    Returns
    -------
    float
        See `tddfa.train.regressor.export.export_regressor`, also for the exceptions.
    """
    if not len(crops):
        raise ValueError("crops: expected at least one to compare outputs on, got none")
    was_training = network.training
    network.eval()
    data = jvcr_onnx(network, notes)
    with torch.no_grad():
        predicted = network(torch.from_numpy(crops).to(next(network.parameters()).device))
    network.train(was_training)
    expected = {"points": predicted.points, **{_volume(i): own for i, own in enumerate(predicted.volumes)}}
    return write_checked(path, data, expected, lambda model: model(crops))


def _volume(index: int) -> str:
    return f"volume_{index + 1}"


def jvcr_onnx(network: Jvcr, notes: Mapping[str, str]) -> bytes:
    """Build the ONNX file of a network in evaluation mode. It includes normalisation; the batch size is dynamic."""
    settings = network.settings
    graph = Builder()
    images = graph.planes("crops")
    images = graph.node(
        "Mul", [graph.node("Sub", [images, graph.constant(PIXEL_MEAN)]), graph.constant(1 / PIXEL_SCALE)]
    )
    made = _traced(graph, network.volumes, [images])
    for i, own in enumerate(made):
        graph.node("Identity", [own], [_volume(i)])
    volume = graph.node("Unsqueeze", [made[-1], graph.constant([1], np.int64)])
    (flat,) = _traced(graph, nn.Sequential(network.coordinates.layers, network.coordinates.head).eval(), [volume])
    fractions = graph.node("Reshape", [flat, graph.constant([0, POINT_COUNT, 3], np.int64)])
    graph.node("Mul", [fractions, graph.constant(settings.size - 1)], ["points"])
    side = settings.side
    shapes: dict[str, Sequence[Any]] = {"points": ["n", POINT_COUNT, 3]}
    shapes |= {_volume(i): ["n", depth, side, side] for i, depth in enumerate(settings.depths)}
    return graph.model(
        "jvcr",
        ("crops", ["n", settings.size, settings.size, 3]),
        shapes,
        "JVCR: square face crops (BGR) to 68 landmarks in 3D and three centres, and to volumes of voxels.",
        "tddfa.train.jvcr",
        notes,
    )


def _traced(graph: Builder, module: nn.Module, inputs: Sequence[str]) -> list[str]:
    """Add the nodes of a module in evaluation mode; return the names of its outputs."""
    traced = fx.symbolic_trace(module)
    children = dict(traced.named_modules())
    given = iter(inputs)
    names: dict[fx.Node, str] = {}
    for node in traced.graph.nodes:
        sources = [names[each] for each in node.args if isinstance(each, fx.Node)]
        if node.op == "placeholder":
            names[node] = next(given)
        elif node.op == "call_module":
            names[node] = _layer(graph, children[node.target], sources[0])
        elif node.op == "call_function" and node.target is operator.add:
            names[node] = graph.node("Add", sources)
        elif node.op == "call_function" and node.target is functional.max_pool2d:
            side = node.args[1]
            names[node] = graph.node("MaxPool", sources, kernel_shape=[side, side], strides=[side, side])
        elif node.op == "call_function" and node.target is functional.interpolate:
            factor = node.kwargs["scale_factor"]
            scales = graph.constant([1, 1, factor, factor])
            names[node] = graph.node(
                "Resize", [sources[0], "", scales], mode="nearest",
                coordinate_transformation_mode="asymmetric", nearest_mode="floor",
            )  # fmt: skip
        elif node.op == "output":
            outputs = node.args[0]
            return [names[each] for each in (outputs if isinstance(outputs, list | tuple) else [outputs])]
        else:
            raise TypeError(f"expected an operation that is exported, got {node.op} {node.target}")
    raise TypeError("expected a module with an output, got none")


def _layer(graph: Builder, layer: nn.Module, source: str) -> str:
    """Add the nodes of a layer of torch; return the name of its output."""
    if isinstance(layer, nn.Conv2d | nn.Conv3d):
        inputs = [source, graph.constant(_array(layer.weight))]
        if layer.bias is not None:
            inputs.append(graph.constant(_array(layer.bias)))
        pads = [int(pad) for pad in layer.padding]
        return graph.node(
            "Conv", inputs, kernel_shape=list(layer.kernel_size), strides=list(layer.stride), pads=[*pads, *pads],
            group=layer.groups,
        )  # fmt: skip
    if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d):
        assert layer.running_mean is not None and layer.running_var is not None
        values = (layer.weight, layer.bias, layer.running_mean, layer.running_var)
        constants = [graph.constant(_array(value)) for value in values]
        return graph.node("BatchNormalization", [source, *constants], epsilon=layer.eps)
    if isinstance(layer, nn.ReLU):
        return graph.relu(source)
    if isinstance(layer, nn.LeakyReLU):
        return graph.node("LeakyRelu", [source], alpha=layer.negative_slope)
    if isinstance(layer, nn.Flatten):
        return graph.node("Flatten", [source], axis=1)
    if isinstance(layer, nn.Linear):
        return graph.node(
            "Gemm", [source, graph.constant(_array(layer.weight)), graph.constant(_array(layer.bias))], transB=1
        )
    if isinstance(layer, nn.Identity):
        return source
    raise TypeError(f"expected a layer that is exported, got {type(layer).__name__}")


def _array(value: Tensor) -> NDArray[np.float32]:
    return np.asarray(value.detach().cpu().numpy(), dtype=np.float32)
