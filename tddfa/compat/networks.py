"""3DDFA_V2's networks as ONNX files, built from their released weights.

The layers follow the papers, MobileNet V1 (Howard et al., 2017) and FaceBoxes (Zhang et al., IJCB 2017), and the names
and shapes of the weights. Each BatchNorm is folded into the convolution before it. Pre- and postprocessing (layout,
normalisation, whitening, softmax) is part of the file. `tddfa.onnx_tools.optimise` then makes the network faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.errors import TddfaError
from tddfa.onnx_tools.builder import Builder, folded

State = Mapping[str, NDArray[np.float32]]

SHAPE_COUNT, EXPRESSION_COUNT = 40, 10
CROP_SIZE = 120
_BATCH_NORM_EPSILON = 1e-5
_PRODUCER = "tddfa.convert"
# MobileNet V1: name of each block, and the stride of its depthwise convolution
_BLOCKS = (
    ("dw2_1", 1), ("dw2_2", 2), ("dw3_1", 1), ("dw3_2", 2), ("dw4_1", 1), ("dw4_2", 2), ("dw5_1", 1),
    ("dw5_2", 1), ("dw5_3", 1), ("dw5_4", 1), ("dw5_5", 1), ("dw5_6", 2), ("dw6", 1),
)  # fmt: skip
_DETECTOR_MEAN = (104.0, 117.0, 123.0)  # BGR
# FaceBoxes: priors per cell of its three feature maps
_PRIORS = (21, 1, 1)


class ConversionError(TddfaError, ValueError):
    """Weights do not fit the network."""


class _Graph(Builder):
    """A network while it is built from weights by name."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self.state = state
        self.used: set[str] = set()

    def weight(self, name: str, *shape: int | None) -> NDArray[np.float64]:
        """Get weights by name and check their shape; None stands for any length."""
        if name not in self.state:
            raise ConversionError(f"missing weights {name!r}")
        value = self.state[name]
        if value.ndim != len(shape) or any(
            want is not None and want != got for want, got in zip(shape, value.shape, strict=True)
        ):
            wanted = ", ".join("n" if want is None else str(want) for want in shape)
            raise ConversionError(f"{name}: expected shape ({wanted}), got {value.shape}")
        self.used.add(name)
        return value.astype(np.float64)

    def normalized(self, convolution: str, norm: str, channels: int, side: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Weights and bias of a convolution (k, channels, side, side) with its BatchNorm folded in."""
        weight = self.weight(f"{convolution}.weight", None, channels, side, side)
        count = len(weight)
        gamma, beta, mean, variance = (
            self.weight(f"{norm}.{part}", count) for part in ("weight", "bias", "running_mean", "running_var")
        )
        if (variance < 0).any():
            raise ConversionError(f"{norm}.running_var: expected variances of 0 or more, got {variance.min():g}")
        return folded(weight, gamma, beta, mean, variance, _BATCH_NORM_EPSILON)


def regressor(state: State, mean: NDArray[np.float32], std: NDArray[np.float32]) -> bytes:
    """Convert 3DDFA_V2's MobileNet V1, of any width.

    Its 62 outputs become named outputs. Its camera maps to a crop with y up and pixels counted from 1; the converted
    one has y down and counts from 0, as everywhere in this package.

    Parameters
    ----------
    state : mapping of str to ndarray
        The released weights by name.
    mean, std : ndarray (62,)
        Whitening of the outputs: 12 of the camera, 40 of the shape, 10 of the expression.

    Returns
    -------
    bytes
        ONNX: ``crops`` (n, 120, 120, 3) uint8 BGR to ``camera`` (n, 3, 4), ``shape`` (n, 40), ``expression`` (n, 10).

    Raises
    ------
    ConversionError
        If a weight is missing or has another shape.
    """
    count = 12 + SHAPE_COUNT + EXPRESSION_COUNT
    for name, array in (("mean", mean), ("std", std)):
        if np.shape(array) != (count,):
            raise ConversionError(f"{name}: expected shape ({count},), got {np.shape(array)}")
    graph = _Graph(state)
    x = graph.node("Sub", [graph.planes("crops"), graph.constant(np.full((1, 3, 1, 1), 127.5))])
    weight, bias = graph.normalized("conv1", "bn1", 3, 3)
    x = graph.relu(graph.convolution(x, weight / 128, bias, stride=2))
    channels = len(weight)
    for block, stride in _BLOCKS:
        weight, bias = graph.normalized(f"{block}.conv_dw", f"{block}.bn_dw", 1, 3)
        if len(weight) != channels:
            raise ConversionError(f"{block}.conv_dw.weight: expected {channels} channels, got {len(weight)}")
        x = graph.relu(graph.convolution(x, weight, bias, stride, group=channels))
        weight, bias = graph.normalized(f"{block}.conv_sep", f"{block}.bn_sep", channels, 1)
        x = graph.relu(graph.convolution(x, weight, bias))
        channels = len(weight)
    x = graph.node("Flatten", [graph.node("GlobalAveragePool", [x])], axis=1)

    weight, bias = graph.weight("fc_param.weight", count, channels), graph.weight("fc_param.bias", count)
    weight, bias = weight * std[:, None].astype(np.float64), bias * std + mean.astype(np.float64)
    # rows x, y, z of the camera: x - 1, 120 - y, z - 1
    weight[4:8] *= -1
    bias[4:8] *= -1
    bias[[3, 7, 11]] += (-1, CROP_SIZE, -1)
    parts = (("rows", slice(0, 12)), ("shape", slice(12, 52)), ("expression", slice(52, 62)))
    for name, part in parts:
        graph.node("Gemm", [x, graph.constant(weight[part]), graph.constant(bias[part])], [name], transB=1)
    graph.node("Reshape", ["rows", graph.constant([-1, 3, 4], np.int64)], ["camera"])
    return graph.model(
        "3ddfa_v2",
        ("crops", ["n", CROP_SIZE, CROP_SIZE, 3]),
        {"camera": ["n", 3, 4], "shape": ["n", SHAPE_COUNT], "expression": ["n", EXPRESSION_COUNT]},
        "3DDFA_V2's MobileNet V1 (Guo et al., ECCV 2020), converted. camera: model (um) to px of the crop, x right, y "
        "down, pixel centres at whole numbers.",
        _PRODUCER,
    )


def detector(state: State) -> bytes:
    """Convert 3DDFA_V2's FaceBoxes.

    Returns
    -------
    bytes
        ONNX: ``image`` (1, h, w, 3) uint8 BGR to ``scores`` (1, n), ``offsets`` (1, n, 4), for the priors of
        `FaceBoxes.anchors`.

    Raises
    ------
    ConversionError
        If a weight is missing or has another shape.
    """
    graph = _Graph(state)

    def block(source: str, name: str, channels: int, side: int, stride: int = 1) -> str:
        return graph.convolution(source, *graph.normalized(f"{name}.conv", f"{name}.bn", channels, side), stride)

    def inception(source: str, name: str) -> str:
        pooled = graph.node(
            "AveragePool", [source], kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1], count_include_pad=1
        )
        one = graph.relu(block(source, f"{name}.branch1x1", 128, 1))
        two = graph.relu(block(pooled, f"{name}.branch1x1_2", 128, 1))
        three = graph.relu(block(source, f"{name}.branch3x3_reduce", 128, 1))
        three = graph.relu(block(three, f"{name}.branch3x3", 24, 3))
        four = graph.relu(block(source, f"{name}.branch3x3_reduce_2", 128, 1))
        four = graph.relu(block(four, f"{name}.branch3x3_2", 24, 3))
        four = graph.relu(block(four, f"{name}.branch3x3_3", 32, 3))
        return graph.node("Concat", [one, two, three, four], axis=1)

    mean = np.array(_DETECTOR_MEAN).reshape(1, 3, 1, 1)
    x = graph.node("Sub", [graph.planes("image"), graph.constant(mean)])
    x = graph.halved(graph.both_signs(block(x, "conv1", 3, 7, stride=4)))
    x = graph.halved(graph.both_signs(block(x, "conv2", 48, 5, stride=2)))
    for name in ("inception1", "inception2", "inception3"):
        x = inception(x, name)
    maps = [x]
    x = graph.relu(block(x, "conv3_1", 128, 1))
    maps.append(graph.relu(block(x, "conv3_2", 128, 3, stride=2)))
    x = graph.relu(block(maps[-1], "conv4_1", 256, 1))
    maps.append(graph.relu(block(x, "conv4_2", 128, 3, stride=2)))

    logits, offsets = [], []
    for i, (source, priors, channels) in enumerate(zip(maps, _PRIORS, (128, 256, 256), strict=True)):
        place = graph.weight(f"loc.{i}.weight", 4 * priors, channels, 3, 3), graph.weight(f"loc.{i}.bias", 4 * priors)
        kind = graph.weight(f"conf.{i}.weight", 2 * priors, channels, 3, 3), graph.weight(f"conf.{i}.bias", 2 * priors)
        # the softmax of two numbers is the sigmoid of their difference
        weight, bias = (np.concatenate([a, b[1::2] - b[::2]]) for a, b in zip(place, kind, strict=True))
        cells = graph.node("Transpose", [graph.convolution(source, weight, bias)], perm=[0, 2, 3, 1])
        place_cells, kind_cells = f"offsets{i}", f"logits{i}"
        graph.node("Split", [cells, graph.constant([4 * priors, priors], np.int64)], [place_cells, kind_cells], axis=3)
        offsets.append(graph.node("Reshape", [place_cells, graph.constant([1, -1, 4], np.int64)]))
        logits.append(graph.node("Reshape", [kind_cells, graph.constant([1, -1], np.int64)]))
    graph.node("Concat", offsets, ["offsets"], axis=1)
    graph.node("Sigmoid", [graph.node("Concat", logits, axis=1)], ["scores"])
    return graph.model(
        "faceboxes",
        ("image", [1, "h", "w", 3]),
        {"scores": [1, "n"], "offsets": [1, "n", 4]},
        "3DDFA_V2's FaceBoxes (Zhang et al., IJCB 2017), converted. Offsets without their variances.",
        _PRODUCER,
    )
