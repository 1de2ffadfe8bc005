"""A trained detector with fewer channels: those that the loss depends on least are left out.

The importance of a channel is the first-order one of Molchanov et al., "Importance Estimation for Neural Network
Pruning", CVPR 2019: the square of the change of the loss, to first order, if the weights that produce the channel
become zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict

import torch
from torch import Tensor, nn

from tddfa.train.detector.networks import Block, FaceBoxes, Separable


def importance(network: FaceBoxes, losses: Iterable[Tensor]) -> list[Tensor]:
    """Importance of the channels of each feature map.

    Parameters
    ----------
    network : FaceBoxes
    losses : iterable of Tensor ()
        Losses of batches, each computed by `network` when it is asked for.

    Returns
    -------
    list of Tensor (c,)
        For each map, the mean of the squares over the batches.
    """
    producers = [
        [layer.point for layer in _layers(stage)] + beside
        for stage, beside in zip(network.stages, _beside(network), strict=True)
    ]
    sums = [torch.zeros(channels) for channels in network.architecture.channels]
    count = 0
    for loss in losses:
        network.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for total, blocks in zip(sums, producers, strict=True):
            total += torch.stack([_change(block) for block in blocks]).sum(0).square()
        count += 1
    network.zero_grad()
    return [total / max(count, 1) for total in sums]


def _layers(stage: nn.Module) -> list[Separable]:
    return [layer for layer in stage.children() if isinstance(layer, Separable)]


def _beside(network: FaceBoxes) -> list[list[Block]]:
    """The blocks of the top-down path that add to each map."""
    found: list[list[Block]] = [[] for _ in network.stages]
    for i, (lateral, fused) in enumerate(zip(network.lateral, network.fused, strict=True)):
        assert isinstance(lateral, Block) and isinstance(fused, Separable)
        found[i] = [lateral, fused.point]
    return found


def _change(block: Block) -> Tensor:
    """First-order change of the loss (c,) if a channel's weights become zero."""
    change = torch.zeros(block.conv.out_channels)
    for weight in (block.bn.weight, block.bn.bias):
        if weight.grad is not None:
            change += (weight.detach() * weight.grad).cpu()
    return change


def narrowed(network: FaceBoxes, channels: Sequence[int], scores: Sequence[Tensor]) -> FaceBoxes:
    """Return a network with fewer channels in its feature maps: those with the highest scores.

    Parameters
    ----------
    network : FaceBoxes
    channels : sequence of int
        Channels of each map, at most as many as now.
    scores : sequence of Tensor (c,)
        See `importance`.

    Raises
    ------
    ValueError
        If there is no number for each map, or one that is not in its range.

    Examples
    --------
    >>> network = FaceBoxes()
    >>> ones = [torch.ones(channels) for channels in network.architecture.channels]
    >>> narrowed(network, (32, 64, 128, 128), ones).architecture.channels
    (32, 64, 128, 128)
    """
    now = network.architecture.channels
    if len(channels) != len(now) or not all(1 <= few <= many for few, many in zip(channels, now, strict=True)):
        raise ValueError(f"channels: expected {len(now)} numbers from 1 to {now}, got {tuple(channels)}")
    described = network.describe()
    narrow = FaceBoxes.of_description({
        **described, "architecture": {**asdict(network.architecture), "channels": tuple(channels)}
    })  # fmt: skip
    kept = [score.argsort(descending=True)[:count].sort().values for score, count in zip(scores, channels, strict=True)]
    # each convolution: the map that it reads, and the one that it makes; -1 is the stem's, -2 the head's numbers
    ends: dict[str, tuple[int, int]] = {"stem": (-2, -2)}
    for i in range(len(now)):
        for k in range(len(_layers(network.stages[i]))):
            source = i - 1 if k == 0 else i
            ends |= {f"stages.{i}.{k}.depth": (source, source), f"stages.{i}.{k}.point": (source, i)}
        ends |= {f"context.{i}": (i, i), f"heads.{i}": (i, -2)}
    for i in range(len(network.lateral)):
        ends |= {f"lateral.{i}": (i + 1, i), f"fused.{i}.depth": (i, i), f"fused.{i}.point": (i, i)}
    weights = {}
    for name, value in network.state_dict().items():
        reads, makes = next(pair for prefix, pair in ends.items() if name.startswith(prefix + "."))
        if value.ndim and makes >= 0:
            value = value[kept[makes]]
        if value.ndim == 4 and reads >= 0 and value.shape[1] > 1:  # depthwise convolutions have one
            value = value[:, kept[reads]]
        weights[name] = value.clone()
    narrow.load_state_dict(weights)
    return narrow.train(network.training)


@torch.no_grad()
def with_statistics(network: FaceBoxes, forward: Callable[[FaceBoxes], object]) -> FaceBoxes:
    """Give statistics to the BatchNorms of a network from an ONNX file, so that they can be trained again.

    The outputs in evaluation mode stay the same.

    Parameters
    ----------
    network : FaceBoxes
        Changed and returned.
    forward : callable
        Runs the network on images from which the statistics are taken.
    """
    was_training = network.training
    network.eval()
    sums: dict[nn.BatchNorm2d, list[Tensor]] = {}

    def measured(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        x = inputs[0].double().transpose(0, 1).flatten(1)
        total = sums.setdefault(module, [torch.zeros(n, dtype=torch.float64) for n in ((), len(x), len(x))])
        for term, value in zip(total, (torch.tensor(x.shape[1]), x.sum(1), x.square().sum(1)), strict=True):
            term += value.cpu()

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(measured) for norm in norms]
    try:
        forward(network)
    finally:
        for hook in hooks:
            hook.remove()
    for norm, (count, total, squares) in sums.items():
        assert norm.running_mean is not None and norm.running_var is not None
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        # y = scale x + shift, before and after
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        shift = norm.bias - norm.running_mean * scale
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_(scale * (norm.running_var + norm.eps).sqrt())
        norm.bias.copy_(shift + norm.running_mean * scale)
    network.frozen_norms = False
    return network.train(was_training)
