"""The regressor as a torch network: MobileNet V1 of any width, and a head of whitened coefficients.

`load_onnx` reads the weights of a released file, so that a training can start from them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tddfa.landmarks68 import COUNT
from tddfa.model.runtime import Model

CAMERA_COUNT = 12

# (x - 127.5) / 128, as the released weights were trained
PIXEL_MEAN, PIXEL_SCALE = 127.5, 128.0
# Output channels at width 1 of each depthwise separable block, and its stride (Howard et al., 2017, table 1).
_BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
_FIRST_CHANNELS = 32
# A constant coefficient, such as the camera's z offset, has no standard deviation to divide by.
_MIN_STD = 1e-6
# Largest difference between a network and the file it was read from, relative to the output's largest value or 1.
_TOLERANCE, _COMPARED_CROPS = 1e-4, 16


class Prediction(NamedTuple):
    """Prediction of the regressor for n crops.

    Attributes
    ----------
    camera : Tensor (n, 3, 4)
        Face model's unit to px of the crop (frames: `tddfa.geometry.camera`).
    shape : Tensor (n, s)
    expression : Tensor (n, e)
    logit : Tensor (n,)
        Logit of the face score: that a face is there, or after `tddfa.train.score` that the alignment is right.
    whitened : Tensor (n, 12 + s + e)
        Camera (row by row), shape and expression as the head outputs them, each of mean 0 and standard deviation 1.
    confidence : Tensor (n, 68) or None
        Logits of the confidence of each landmark.
    """

    camera: Tensor
    shape: Tensor
    expression: Tensor
    logit: Tensor
    whitened: Tensor
    confidence: Tensor | None = None

    def rows(self, part: slice) -> Prediction:
        """The prediction for some of the crops."""
        confidence = None if self.confidence is None else self.confidence[part]
        first = self.camera[part], self.shape[part], self.expression[part], self.logit[part], self.whitened[part]
        return Prediction(*first, confidence)

    def outputs(self) -> dict[str, Tensor]:
        """Outputs of the exported network: camera, shape, expression, score and, if there is one, confidence."""
        confidence = {} if self.confidence is None else {"confidence": self.confidence.sigmoid()}
        return {
            "camera": self.camera,
            "shape": self.shape,
            "expression": self.expression,
            "score": self.logit.sigmoid(),
            **confidence,
        }


def _convolution(source: int, target: int, side: int, stride: int, groups: int = 1) -> list[nn.Module]:
    """Build a convolution, its BatchNorm and its ReLU."""
    return [
        nn.Conv2d(source, target, side, stride, side // 2, groups=groups, bias=False),
        nn.BatchNorm2d(target),
        nn.ReLU(inplace=True),
    ]


def _channels(width: float) -> list[int]:
    """Channels of the layers of a width."""
    return [max(8, 8 * round(width * count / 8)) for count in (_FIRST_CHANNELS, *(c for c, _ in _BLOCKS))]


def _width_of(channels: Sequence[int]) -> float:
    """The width whose layers have these channels; no width in particular if there is none."""
    counts = (_FIRST_CHANNELS, *(c for c, _ in _BLOCKS))
    bounds = [((own - 4) / count, (own + 4) / count) for own, count in zip(channels, counts, strict=False)]
    low = max(first if own > 8 else 0.05 for own, (first, _) in zip(channels, bounds, strict=False))
    width = float(np.clip((low + min(last for _, last in bounds)) / 2, 0.05, 4))
    first = channels[0] / _FIRST_CHANNELS  # a round number, in most files
    return first if _channels(first) == list(channels) else width


class MobileNet(nn.Sequential):
    """MobileNet V1 (Howard et al., 2017) without its classifier: (n, 3, h, w) to (n, `channels`).

    Parameters
    ----------
    width : float
        Width multiplier: channels of each layer relative to the paper, rounded to a multiple of 8, at least 8.

    Raises
    ------
    ValueError
        If `width` is not in 0.05..4.
    """

    def __init__(self, width: float = 1.0) -> None:
        if not 0.05 <= width <= 4:
            raise ValueError(f"width: expected 0.05..4, got {width}")
        self.width = width
        channels = _channels(width)
        layers = _convolution(3, channels[0], 3, 2)
        for source, target, (_, stride) in zip(channels[:-1], channels[1:], _BLOCKS, strict=True):
            layers += _convolution(source, source, 3, stride, source)
            layers += _convolution(source, target, 1, 1)
        super().__init__(*layers)
        self.channels = channels[-1]
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=_he_std(layer))

    def forward(self, images: Tensor) -> Tensor:
        """Compute features (n, channels) of images (n, 3, h, w)."""
        features = images
        for layer in self:
            features = layer(features)
        return features.mean(dim=(2, 3))

    def convolutions(self) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
        """List each convolution with its BatchNorm, in order."""
        return [
            (layer, norm)
            for layer, norm in pairwise(self)
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        ]


def _he_std(layer: nn.Conv2d) -> float:
    """Standard deviation of weights that preserves variance through a ReLU (He et al., 2015, equation 10)."""
    return float(np.sqrt(2 / layer.weight[0].numel()))


class Regressor(nn.Module):
    """Crops to camera, shape, expression and face score.

    Parameters
    ----------
    width : float
        Width multiplier of its `MobileNet`.
    shape_count, expression_count : int
        Numbers of coefficients of the face model.
    score_hidden : int
        Width of a hidden layer of the score, which is added to the head's logit; 0 has none
        (`tddfa.train.score`).
    confidence_hidden : int
        Width of the hidden layer of the landmarks' confidence; 0 has no confidence.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        width: float,
        shape_count: int,
        expression_count: int,
        score_hidden: int = 0,
        confidence_hidden: int = 0,
    ) -> None:
        super().__init__()
        self.shape_count, self.expression_count = shape_count, expression_count
        self.backbone = MobileNet(width)
        count = CAMERA_COUNT + shape_count + expression_count
        self.head = nn.Linear(self.backbone.channels, count + 1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        self.score_hidden = score_hidden
        self.score = score_layers(self.backbone.channels, score_hidden) if score_hidden else None
        self.confidence_hidden = 0
        self.confidence: nn.Sequential | None = None
        if confidence_hidden:
            self.add_confidence(confidence_hidden)
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("std", torch.ones(count))

    def add_confidence(self, hidden: int) -> None:
        """Add untrained layers for the confidence of the landmarks; all other outputs stay."""
        self.confidence_hidden = hidden
        self.confidence = confidence_layers(self.backbone.channels, hidden)

    @property
    def coefficient_count(self) -> int:
        """Length of the whitened vector: 12 + s + e."""
        return len(self.mean)

    def whiten_by(self, mean: NDArray[np.float32], std: NDArray[np.float32]) -> None:
        """Set mean and standard deviation (12 + s + e,) of the coefficients over the training crops.

        Raises
        ------
        ValueError
            If they have another length, or if a standard deviation is negative.
        """
        count = self.coefficient_count
        for name, value in (("mean", mean), ("std", std)):
            if value.shape != (count,) or not np.isfinite(value).all():
                raise ValueError(f"{name}: expected {count} finite numbers, got shape {value.shape}")
        if (std < 0).any():
            raise ValueError(f"std: expected 0 or more, got {std.min()}")
        self.mean.copy_(torch.from_numpy(np.asarray(mean, dtype=np.float32)))
        self.std.copy_(torch.from_numpy(np.maximum(std, _MIN_STD).astype(np.float32)))

    def whitened(self, camera: Tensor, shape: Tensor, expression: Tensor) -> Tensor:
        """Whiten coefficients: (n, 12 + s + e), as `Prediction.whitened`."""
        return (torch.cat([camera.flatten(1), shape, expression], dim=1) - self.mean) / self.std

    def forward(self, crops: Tensor) -> Prediction:
        """Predict from crops (n, 120, 120, 3), uint8, BGR."""
        # a view with other strides: channels stay last in memory
        images = (crops.to(self.head.weight.dtype) - PIXEL_MEAN) / PIXEL_SCALE
        features = self.backbone(images.permute(0, 3, 1, 2))
        raw = self.head(features).float()
        whitened, logit = raw[:, :-1], raw[:, -1]
        if self.score is not None:
            logit = logit + self.score(features).float()[:, 0]
        values = whitened * self.std + self.mean
        camera, shape, expression = values.split([CAMERA_COUNT, self.shape_count, self.expression_count], dim=1)
        confidence = None if self.confidence is None else self.confidence(features).float()
        return Prediction(camera.reshape(-1, 3, 4), shape, expression, logit, whitened, confidence)


def score_layers(channels: int, hidden: int) -> nn.Sequential:
    """Make the layers of the score that are not linear: features (n, channels) to logits (n, 1)."""
    return nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, 1, bias=False))


def confidence_layers(channels: int, hidden: int) -> nn.Sequential:
    """Make the layers of the landmarks' confidence: features (n, channels) to logits (n, 68)."""
    return nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, COUNT))


def load_onnx(
    path: str | os.PathLike[str],
    calibration: NDArray[np.uint8],
    mean: NDArray[np.float32] | None = None,
    std: NDArray[np.float32] | None = None,
) -> Regressor:
    """Read a network from a released file: the same function, with BatchNorm so that it can be trained further.

    BatchNorm is folded into the file's convolutions. Each convolution gets a BatchNorm again that cancels out: its mean
    and variance are those of the convolution's outputs on `calibration`, its scale and offset restore the outputs.
    Filters are scaled to the standard deviation of an initialised network; BatchNorm cancels that too.

    Parameters
    ----------
    path : path
        ``.onnx``, a MobileNet V1 of any width with outputs camera, shape, expression and score.
    calibration : ndarray (n, 120, 120, 3) uint8
        Some hundreds of crops, augmented as in the training.
    mean, std : ndarray (12 + s + e,), optional
        Whitening by the training crops (`Regressor.whiten_by`). Without it, outputs are not whitened.

    Returns
    -------
    Regressor
        In evaluation mode.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file holds a different network.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such network")
    convolutions, head, (score, confidence), counts = _read_onnx(path)
    width = _width_of([len(kernel) for kernel, _ in convolutions[::2]])
    hidden = [len(layers[0]) if layers else 0 for layers in (score, confidence)]
    network = Regressor(width, counts[0], counts[1], *hidden)
    count = network.coefficient_count
    mean = np.zeros(count, dtype=np.float32) if mean is None else mean
    std = np.ones(count, dtype=np.float32) if std is None else std
    network.whiten_by(mean, std)
    layers = network.backbone.convolutions()
    if len(layers) != len(convolutions):
        raise ValueError(f"{path}: expected {len(layers)} convolutions, as MobileNet V1 has, got {len(convolutions)}")
    for i, ((layer, _), (kernel, _)) in enumerate(zip(layers, convolutions, strict=True)):
        if kernel.shape != tuple(layer.weight.shape):
            raise ValueError(
                f"{path}: convolution {i}: expected weights {tuple(layer.weight.shape)}, got {kernel.shape}"
            )
    if head[0].shape != tuple(network.head.weight.shape):
        raise ValueError(f"{path}: head: expected weights {tuple(network.head.weight.shape)}, got {head[0].shape}")
    network.eval()
    with torch.no_grad():
        weight, bias = (torch.from_numpy(value) for value in head)
        weight[:-1] /= network.std[:, None]
        bias[:-1] = (bias[:-1] - network.mean) / network.std
        network.head.weight.copy_(weight)
        network.head.bias.copy_(bias)
        for layers_of, read in ((network.score, score), (network.confidence, confidence)):
            if layers_of is not None:
                for parameter, value in zip(layers_of.parameters(), read, strict=True):
                    parameter.copy_(torch.from_numpy(value).reshape(parameter.shape))
        images = (torch.from_numpy(calibration).float() - PIXEL_MEAN) / PIXEL_SCALE
        features = images.permute(0, 3, 1, 2)
        for (layer, norm), (kernel, offset) in zip(layers, convolutions, strict=True):
            features = _insert_norm(layer, norm, torch.from_numpy(kernel), torch.from_numpy(offset), features)
    _compare(network, path, calibration[:_COMPARED_CROPS])
    return network


@torch.no_grad()
def _compare(network: Regressor, path: Path, crops: NDArray[np.uint8]) -> None:
    """Raise ValueError if the outputs of a network and of a file differ."""
    expected = Model(path, device="cpu", threads=1)(crops)
    for name, value in network(torch.from_numpy(crops)).outputs().items():
        difference = np.abs(value.numpy() - expected[name]) / max(np.abs(expected[name]).max(initial=0), 1)
        if not difference.max(initial=0) <= _TOLERANCE:
            raise ValueError(
                f"{path}: expected a MobileNet V1 of 3 x 3 and 1 x 1 convolutions with ReLU; as one, its {name} is off "
                f"by {difference.max():.2g}"
            )


def _insert_norm(layer: nn.Conv2d, norm: nn.BatchNorm2d, kernel: Tensor, offset: Tensor, features: Tensor) -> Tensor:
    """Set a convolution and its BatchNorm to equal the given convolution; return their output after ReLU."""
    spread = kernel.flatten(1).square().mean(dim=1).sqrt()
    scale = torch.where(spread > 0, _he_std(layer) / spread.clamp_min(1e-30), torch.ones_like(spread))
    layer.weight.copy_(kernel * scale[:, None, None, None])
    before = layer(features)
    norm.running_mean = before.mean(dim=(0, 2, 3))
    norm.running_var = before.var(dim=(0, 2, 3))
    norm.weight.copy_((norm.running_var + norm.eps).sqrt() / scale)
    norm.bias.copy_(offset + norm.running_mean / scale)
    return torch.relu(norm(before))


def _read_onnx(
    path: Path,
) -> tuple[list[tuple[NDArray[Any], NDArray[Any]]], tuple[NDArray[Any], NDArray[Any]], Any, Any]:
    """Read weights and biases of the convolutions in order, those of the head, and the numbers of coefficients.

    Before the last, the weights of the own layers of score and confidence, as `score_layers` and `confidence_layers`
    have them; empty if it has none.

    The first convolution is returned for pixels (x - 127.5) / 128, wherever the file scales them. One that convolves
    interleaved b, g, r values (`tddfa.onnx_tools.optimise`) is converted back.
    """
    import onnx
    from onnx import numpy_helper

    try:
        graph = onnx.load_model_from_string(path.read_bytes()).graph
        values = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
        values |= {
            node.output[0]: numpy_helper.to_array(node.attribute[0].t)
            for node in graph.node
            if node.op_type == "Constant"
        }
        counts = {item.name: item.type.tensor_type.shape.dim[-1].dim_value for item in graph.output}
        convolutions = [(values[n.input[1]], values[n.input[2]]) for n in graph.node if n.op_type == "Conv"]
        products = [n for n in graph.node if n.op_type == "Gemm"]
        makers = {name: n for n in graph.node for name in n.output}
        confident = _products_before("confidence", makers)
        confidence = [np.array(values[name], dtype=np.float32) for n in confident for name in n.input[1:]]
        others = [n for n in products if not any(n is each for each in confident)]
        heads = [[values[name] for name in n.input[1:]] for n in others]
        scales = [float(values[n.input[1]]) for n in graph.node if n.op_type == "Mul" and values[n.input[1]].size == 1]
        first, offset = convolutions[0]
        (weight, bias), *own = heads
        score = [np.array(value, dtype=np.float32) for value in (*own[0], own[1][0])] if own else []
        shape, expression = counts["shape"], counts["expression"]
    except Exception as error:  # onnx's and protobuf's errors share no class
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: expected a regressor with convolutions and one matrix product: {reason}") from error
    if first.shape[1:] == (1, 3, 9):
        first = first.reshape(len(first), 3, 3, 3).transpose(0, 3, 1, 2)
    first = first / np.float32(np.prod(scales) * PIXEL_SCALE if scales else 1 / PIXEL_SCALE)
    layers = [(first, offset), *convolutions[1:], (weight, bias)]
    *owned, head = [(np.array(w, dtype=np.float32), np.array(b, dtype=np.float32)) for w, b in layers]
    return owned, head, (score, confidence), (shape, expression)


def _products_before(output: str, makers: Mapping[str, Any]) -> list[Any]:
    """The two matrix products behind an output that has a hidden layer, first to last; none if there is no output."""
    found: list[Any] = []
    name = output
    while name in makers and len(found) < 2:
        node = makers[name]
        if node.op_type == "Gemm":
            found.insert(0, node)
        name = node.input[0]
    return found
