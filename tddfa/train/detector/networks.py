"""FaceBoxes as a torch network (Zhang et al., "FaceBoxes: A CPU Real-time Face Detector", IJCB 2017), from and to ONNX.

Layers have the names of 3DDFA_V2's released weights, so that `tddfa.compat.networks.detector` converts both.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tddfa.compat import networks
from tddfa.onnx_tools.graph import Graph, GraphError, attributes
from tddfa.train.detector.teacher import Teacher

MEAN = (104.0, 117.0, 123.0)
"""Mean that is subtracted from blue, green and red."""
PRIORS = (21, 1, 1)
"""Prior boxes per cell of the three feature maps, with anchor densification: `FaceBoxes.anchors`."""

_EPSILON = 1e-5
# An untrained network gives every prior box a score of about 0.1.
_FIRST_LOGIT, _HEAD_STD = -2.2, 0.01
# Largest accepted difference between torch and the exported file, whose sums have another order.
_MAX_SCORE_ERROR, _MAX_OFFSET_ERROR = 1e-3, 1e-2


class Block(nn.Module):
    """A convolution without bias, followed by BatchNorm."""

    def __init__(self, source: int, target: int, side: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(source, target, side, stride, side // 2, bias=False)
        self.bn = nn.BatchNorm2d(target, eps=_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, k, ceil(h / stride), ceil(w / stride))."""
        return self.bn(self.conv(x))


class Inception(nn.Module):
    """Four branches of 32 channels with receptive fields of 1 to 5 px (section 3.1.2): (n, 128, h, w) to the same."""

    def __init__(self) -> None:
        super().__init__()
        self.branch1x1 = Block(128, 32, 1)
        self.branch1x1_2 = Block(128, 32, 1)
        self.branch3x3_reduce = Block(128, 24, 1)
        self.branch3x3 = Block(24, 32, 3)
        self.branch3x3_reduce_2 = Block(128, 24, 1)
        self.branch3x3_2 = Block(24, 32, 3)
        self.branch3x3_3 = Block(32, 32, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Concatenate the branches."""
        relu = functional.relu
        one = relu(self.branch1x1(x))
        two = relu(self.branch1x1_2(functional.avg_pool2d(x, 3, 1, 1)))
        three = relu(self.branch3x3(relu(self.branch3x3_reduce(x))))
        four = relu(self.branch3x3_2(relu(self.branch3x3_reduce_2(x))))
        return torch.cat([one, two, three, relu(self.branch3x3_3(four))], 1)


class FaceBoxes(nn.Module):
    """Rapidly digested convolutional layers with C.ReLU, then layers at three scales, each with its prior boxes.

    Attributes
    ----------
    frozen_norms : bool
        Keep every BatchNorm in evaluation mode during training. This is set for networks that are read from a file:
        their BatchNorms were folded into the convolutions and have no statistics.
    """

    def __init__(self) -> None:
        super().__init__()
        self.frozen_norms = False
        self.conv1 = Block(3, 24, 7, 4)
        self.conv2 = Block(48, 64, 5, 2)
        self.inception1, self.inception2, self.inception3 = Inception(), Inception(), Inception()
        self.conv3_1, self.conv3_2 = Block(128, 128, 1), Block(128, 256, 3, 2)
        self.conv4_1, self.conv4_2 = Block(256, 128, 1), Block(128, 256, 3, 2)
        channels = (128, 256, 256)
        self.loc = nn.ModuleList(nn.Conv2d(c, 4 * p, 3, padding=1) for c, p in zip(channels, PRIORS, strict=True))
        self.conf = nn.ModuleList(nn.Conv2d(c, 2 * p, 3, padding=1) for c, p in zip(channels, PRIORS, strict=True))
        self.mean: Tensor
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        for block in self.modules():
            if isinstance(block, Block):
                nn.init.kaiming_normal_(block.conv.weight)
        for head in (*self.loc, *self.conf):
            assert isinstance(head, nn.Conv2d) and head.bias is not None
            nn.init.normal_(head.weight, 0, _HEAD_STD)
            nn.init.zeros_(head.bias)
        for head in self.conf:
            assert isinstance(head, nn.Conv2d) and head.bias is not None
            with torch.no_grad():
                head.bias[1::2] = _FIRST_LOGIT

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Predict scores and boxes of the prior boxes.

        Parameters
        ----------
        images : Tensor (n, 3, h, w)
            BGR, 0..255, of any type.

        Returns
        -------
        logits : Tensor (n, p)
            Logits of the face scores, one per prior box of `FaceBoxes.anchors.priors(h, w)`. The network has two
            outputs per prior box; the softmax of two is the sigmoid of their difference.
        offsets : Tensor (n, p, 4)
            From the prior boxes to the faces, divided by their variances: `FaceBoxes.anchors.decode`.
        """
        x = images.to(self.conv1.conv.weight.dtype) - self.mean
        for block in (self.conv1, self.conv2):
            x = block(x)
            x = functional.max_pool2d(functional.relu(torch.cat([x, -x], 1)), 3, 2, 1)
        x = self.inception3(self.inception2(self.inception1(x)))
        maps = [x]
        for first, second in ((self.conv3_1, self.conv3_2), (self.conv4_1, self.conv4_2)):
            maps.append(functional.relu(second(functional.relu(first(maps[-1])))))
        logits, offsets = [], []
        for features, box_head, score_head in zip(maps, self.loc, self.conf, strict=True):
            two = score_head(features).permute(0, 2, 3, 1).reshape(len(x), -1, 2)
            logits.append(two[..., 1] - two[..., 0])
            offsets.append(box_head(features).permute(0, 2, 3, 1).reshape(len(x), -1, 4))
        return torch.cat(logits, 1), torch.cat(offsets, 1)

    def train(self, mode: bool = True) -> FaceBoxes:
        """Set training or evaluation mode; frozen BatchNorms stay in evaluation mode."""
        super().train(mode)
        if self.frozen_norms:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self


def train_only(network: FaceBoxes, maps: Collection[int]) -> None:
    """Freeze all layers that other feature maps than these use; if map 0 is among them, nothing is frozen.

    The last two maps detect large faces. Training them alone keeps the predictions for small faces unchanged.
    """
    branch = {1: ("conv3_1", "conv3_2"), 2: ("conv4_1", "conv4_2")}
    trained = {f"{head}.{i}" for i in maps for head in ("loc", "conf")}
    trained |= {name for i in range(1, 3) if any(k in maps for k in range(1, i + 1)) for name in branch[i]}
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(0 in maps or any(name.startswith(f"{layer}.") for layer in trained))


def map_of_priors(height: int, width: int) -> NDArray[np.intp]:
    """Feature map (0, 1 or 2) of each prior box of `FaceBoxes.anchors.priors`."""
    cells = [-(-height // step) * -(-width // step) for step in (32, 64, 128)]
    return np.repeat(np.arange(3), [count * priors for count, priors in zip(cells, PRIORS, strict=True)])


@torch.no_grad()
def blended(first: FaceBoxes, second: FaceBoxes, fraction: float) -> FaceBoxes:
    """Interpolate the weights of two networks: `fraction` of the first, the rest of the second.

    The average of the weights before and after fine-tuning keeps what a short training forgets (WiSE-FT: Wortsman et
    al., "Robust fine-tuning of zero-shot models", CVPR 2022). The BatchNorms of both must be frozen.

    Raises
    ------
    ValueError
        If a network has BatchNorm statistics, which cannot be averaged.
    """
    if not (first.frozen_norms and second.frozen_norms):
        raise ValueError("networks: expected both with frozen BatchNorms, as read from a file")
    result = copy.deepcopy(second)
    for mine, other in zip(result.parameters(), first.parameters(), strict=True):
        mine.lerp_(other, fraction)
    return result


@torch.no_grad()
def shift_scores(network: FaceBoxes, logits: Sequence[float]) -> None:
    """Add a number to the score logits of each feature map. Within a map, the order of the scores does not change."""
    for head, logit in zip(network.conf, logits, strict=True):
        assert isinstance(head, nn.Conv2d) and head.bias is not None
        head.bias[1::2] += logit


def to_onnx(network: FaceBoxes, metadata: Mapping[str, str], notes: str = "") -> bytes:
    """Export the network for `FaceBoxes.Detector`, and compare the outputs with torch.

    Parameters
    ----------
    network : FaceBoxes
        Network to export; its BatchNorms are folded into the convolutions.
    metadata : mapping of str to str
        Metadata of the file.
    notes : str
        Description of the file.

    Returns
    -------
    bytes
        ONNX: ``image`` (1, h, w, 3) uint8 BGR to ``scores`` (1, n) and ``offsets`` (1, n, 4).

    Raises
    ------
    ValueError
        If the outputs of the file differ from those of the network.
    """
    import onnx

    state = {name: value.detach().cpu().float().numpy() for name, value in network.state_dict().items()}
    model = onnx.load_from_string(networks.detector(state))
    model.producer_name, model.doc_string = "tddfa.train", notes
    onnx.helper.set_model_props(model, dict(metadata))
    data: bytes = model.SerializeToString(deterministic=True)
    score, offset = difference(network, data)
    if not (score <= _MAX_SCORE_ERROR and offset <= _MAX_OFFSET_ERROR):
        raise ValueError(
            f"the exported network: expected torch's scores within {_MAX_SCORE_ERROR:g} and offsets within "
            f"{_MAX_OFFSET_ERROR:g}, got differences of {score:.3g} and {offset:.3g}"
        )
    return data


def difference(network: FaceBoxes, data: bytes) -> tuple[float, float]:
    """Compute the largest differences of scores and of offsets between a network and an ONNX file, on random images."""
    rng = np.random.default_rng(0)
    run = Teacher(data)
    device = network.conv1.conv.weight.device
    was, worst = network.training, np.zeros(2)
    network.eval()
    try:
        for height, width in ((160, 224), (97, 131)):
            coarse = rng.integers(0, 256, (1, height // 8 + 1, width // 8 + 1, 3)).repeat(8, axis=1).repeat(8, axis=2)
            image = np.ascontiguousarray(coarse[:, :height, :width], dtype=np.uint8)
            with torch.no_grad():
                logits, offsets = network(torch.from_numpy(image).to(device).permute(0, 3, 1, 2))
            ours = logits[0].sigmoid().cpu().numpy(), offsets[0].cpu().numpy()
            for k, (one, other) in enumerate(zip(ours, run(image[0]), strict=True)):
                worst[k] = max(worst[k], float(np.abs(one - other).max()))
    finally:
        network.train(was)
    return float(worst[0]), float(worst[1])


def load_onnx(path: str | os.PathLike[str]) -> FaceBoxes:
    """Read a network from a detector's ONNX file: a shipped one, one of `to_onnx`, or 3DDFA_V2's after conversion.

    The file's BatchNorms are folded into its convolutions. Those of the network only add the biases, and are frozen.
    The outputs of network and file are compared.

    Raises
    ------
    ValueError
        If the file holds a different network.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        return _read(data)
    except (OSError, GraphError, _OtherError) as error:
        raise ValueError(
            f"{path}: expected a FaceBoxes detector (.onnx) as written by this package: {error}"
        ) from error


class _OtherError(ValueError):
    """The graph holds a different network."""


def _read(data: bytes) -> FaceBoxes:
    network = FaceBoxes()
    network.frozen_norms = True
    graph = Graph(data)
    convolutions = list(_convolutions(graph))
    blocks = [module for module in network.modules() if isinstance(module, Block)]
    heads = []
    weights: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    for weight, bias in _joined_signs(convolutions):
        if len(weights) < len(blocks) and weight.shape == tuple(blocks[len(weights)].conv.weight.shape):
            weights.append((weight, bias))
        else:
            heads.append((weight, bias))
    shapes = [weight.shape for weight, _ in heads]
    expected = [(5 * p, c, 3, 3) for p, c in zip(PRIORS, (128, 256, 256), strict=True)]
    if len(weights) != len(blocks) or shapes != expected:
        raise _OtherError(f"got {len(weights)} of {len(blocks)} blocks, and heads of shapes {shapes}, not {expected}")
    with torch.no_grad():
        for block, (weight, bias) in zip(blocks, weights, strict=True):
            block.conv.weight.copy_(torch.from_numpy(weight))
            block.bn.bias.copy_(torch.from_numpy(bias))
            block.bn.running_var.fill_(1 - _EPSILON)  # type: ignore[union-attr]
        for box_head, score_head, (weight, bias) in zip(network.loc, network.conf, heads, strict=True):
            assert isinstance(box_head, nn.Conv2d) and isinstance(score_head, nn.Conv2d)
            priors = len(weight) // 5
            for name, value in (("weight", torch.from_numpy(weight)), ("bias", torch.from_numpy(bias))):
                getattr(box_head, name).copy_(value[: 4 * priors])
                getattr(score_head, name)[::2] = -value[4 * priors :] / 2
                getattr(score_head, name)[1::2] = value[4 * priors :] / 2
    score, offset = difference(network, data)
    if not (score <= _MAX_SCORE_ERROR and offset <= _MAX_OFFSET_ERROR):
        raise _OtherError(f"its outputs differ from the network's by {score:.3g} (scores) and {offset:.3g} (offsets)")
    return network


def _convolutions(graph: Graph) -> Iterator[tuple[str, NDArray[np.float64], NDArray[np.float64]]]:
    """List input name, weight (k, c, h, w) and bias (k,) of each convolution with a bias, in order."""
    for node in graph.nodes:
        if node.op_type != "Conv" or len(node.input) != 3 or not all(k in graph.constants for k in node.input[1:]):
            continue
        weight, bias = (graph.constants[name].astype(np.float64) for name in node.input[1:])
        if weight.ndim != 4 or attributes(node).get("group", 1) != 1:
            continue
        if weight.shape[1:] == (1, 7, 21):
            # `tddfa.onnx_tools.optimise.rows_for_planes`
            weight = weight.reshape(len(weight), 7, 7, 3).transpose(0, 3, 1, 2)
        yield node.input[0], weight, bias


def _joined_signs(
    convolutions: list[tuple[str, NDArray[np.float64], NDArray[np.float64]]],
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Undo `tddfa.onnx_tools.optimise.both_signs`, which splits the first convolution and reorders its channels."""
    first = [pair for pair in convolutions if pair[1].shape[1:] == (3, 7, 7)]
    rest = [pair for pair in convolutions if pair[1].shape[1:] != (3, 7, 7)]
    if len(first) == 2 and len(first[0][1]) + len(first[1][1]) // 2 == 24 and rest:
        whole, shared = first
        half = len(shared[1]) // 2
        first = [(whole[0], np.r_[shared[1][:half], whole[1]], np.r_[shared[2][:half], whole[2]])]
        order = np.r_[half:24, 0:half, 24 : 24 + half, 24 + half : 48]
        if rest[0][1].shape[1] == len(order):
            back = np.empty_like(rest[0][1])
            back[:, order] = rest[0][1]
            rest[0] = (rest[0][0], back, rest[0][2])
    for _, weight, bias in first + rest:
        yield weight, bias
