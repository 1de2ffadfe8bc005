"""Export of stage 1 to ONNX; its heat is compared with torch before the file is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tddfa.onnx_tools.builder import Builder
from tddfa.scan.graph import FEATURES, NEIGHBOURS, SUPERS, Graph, make_graph
from tddfa.train.engine.export import write_checked
from tddfa.train.scan.network import GATE, LIMIT, NEAR, GraphBatch, ScanNetwork, StratifiedLayer
from tddfa.train.scan.settings import ScanTrainingSettings

# Points of the trial graph on which the file is compared with torch.
_TRIAL_POINTS = 300


def export_scan(network: ScanNetwork, path: Path, settings: ScanTrainingSettings) -> float:
    """Export a network. The file is written completely or not at all.

    Parameters
    ----------
    network : ScanNetwork
    path : Path
        ``.onnx`` file to write: features (n, 13), neighbours (n, 32), supers (68,) and cells (n,) to heat (n, 68).
    settings : ScanTrainingSettings
        Frame, points, sigma and radius become metadata of the file.

    Returns
    -------
    float
        Largest difference from torch, relative to the largest heat or 1.

    Raises
    ------
    ExportError
        If the heat differs by more than `tddfa.train.engine.export.TOLERANCE`.
    OSError
        If the file cannot be written.
    """
    notes = {
        "name": settings.name,
        "licence": settings.licence,
        "scan": json.dumps(
            {key: getattr(settings, key) for key in ("points", "sigma", "jaw_sigma", "radius", "inner")}
        ),
    }
    data = scan_onnx(network.eval(), notes)
    rng = np.random.default_rng(0)
    graph = make_graph(*rng.normal(size=(2, _TRIAL_POINTS, 3)))
    with torch.no_grad():
        expected = {"heat": network(one_graph(graph))}
    return write_checked(path, data, expected, lambda model: model.run(vars(graph)))


def one_graph(graph: Graph) -> GraphBatch:
    """A batch of one graph."""
    arrays = (graph.features, graph.neighbours, graph.supers, graph.cells)
    return GraphBatch.of(*(torch.from_numpy(array)[None] for array in arrays))


def scan_onnx(network: ScanNetwork, notes: dict[str, str]) -> bytes:
    """Build the ONNX file; the number of points is dynamic."""
    graph = Builder()
    places = graph.node("Slice", ["features", *(graph.constant([value], np.int64) for value in (0, 3, 1))])
    squared = _squared_distances(graph, places, network)
    close = graph.node("Exp", [graph.node("Mul", [squared, graph.constant(-1 / (2 * NEAR**2))])])
    now = graph.relu(_linear(graph, graph.node("Concat", ["features", close], axis=1), network.enter))
    for layer in network.stratified:
        now = _layer(graph, now, places, layer)
    first, last = network.last
    now = _linear(graph, graph.relu(_linear(graph, now, first)), last)
    fraction = graph.node("Mul", [squared, graph.constant(1 / GATE**2)])
    open_ = graph.node("Exp", [graph.node("Neg", [graph.node("Mul", [fraction, fraction])])])
    graph.node("Mul", [now, open_], ["heat"])
    inputs: dict[str, tuple[Any, list[Any]]] = {
        "features": (np.float32, ["n", FEATURES]),
        "neighbours": (np.int64, ["n", NEIGHBOURS]),
        "supers": (np.int64, [SUPERS]),
        "cells": (np.int64, ["n"]),
    }
    return graph.model("scan", inputs, {"heat": ["n", 68]}, "", "tddfa.train", notes)


def _squared_distances(graph: Builder, places: str, network: ScanNetwork) -> str:
    anchors = _value(network.anchors)
    own = graph.node("ReduceSumSquare", [places], axes=[1], keepdims=1)
    product = graph.node("MatMul", [places, graph.constant(-2 * anchors.T)])
    both = graph.node("Add", [own, graph.constant(np.square(anchors).sum(axis=1))])
    return graph.relu(graph.node("Add", [both, product]))


def _value(tensor: Tensor) -> Any:
    return tensor.detach().cpu().numpy()


def _linear(graph: Builder, source: str, layer: nn.Linear) -> str:
    product = graph.node("MatMul", [source, graph.constant(_value(layer.weight).T)])
    return product if layer.bias is None else graph.node("Add", [product, graph.constant(_value(layer.bias))])


def _layer(graph: Builder, x: str, places: str, layer: StratifiedLayer) -> str:
    node, constant = graph.node, graph.constant
    moved = _linear(graph, places, layer.place)
    values = node("Clip", [node("Add", [_linear(graph, x, layer.near), moved]), constant(-LIMIT), constant(LIMIT)])
    # the exponential of each point, then the mean of the neighbours': fewer exponentials than the other way round
    around = node("Gather", [node("Exp", [values]), "neighbours"], axis=0)
    highest = node("Log", [node("ReduceMean", [around], axes=[1], keepdims=0)])
    local = node("Add", [node("Sub", [_linear(graph, x, layer.own), moved]), highest])

    nodes = node("Gather", [node("Concat", [x, places], axis=1), "supers"], axis=0)
    sent = node("Unsqueeze", [_linear(graph, nodes, layer.sender), constant([0], np.int64)])
    received = node("Unsqueeze", [_linear(graph, nodes, layer.receiver), constant([1], np.int64)])
    pairs = node("ReduceMean", [graph.relu(node("Add", [sent, received]))], axes=[1], keepdims=0)
    wide = node("Gather", [_linear(graph, pairs, layer.message), "cells"], axis=0)
    scale, bias = constant(_value(layer.norm.weight)), constant(_value(layer.norm.bias))
    parts = [
        node(
            "Add",
            [graph.relu(node("LayerNormalization", [part, scale, bias], axis=-1, epsilon=layer.norm.eps)), x],
        )
        for part in (local, wide)
    ]
    return _linear(graph, node("Concat", parts, axis=1), layer.mix)
