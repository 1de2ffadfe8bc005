"""A wider network that computes the same function as a narrow one, to continue its training.

Net2WiderNet (Chen, Goodfellow and Shlens, "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016): channels
are copied, and the weights of each layer that reads them are split among the copies. The fractions are drawn anew for
every reader, so that copies diverge in training.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tddfa.train.regressor.networks import Regressor

# Range of the fractions of a channel's copies, before they are normalised to sum to 1.
_MIN_FRACTION, _MAX_FRACTION = 0.5, 1.5


@torch.no_grad()
def widened(network: Regressor, width: float, seed: int = 0) -> Regressor:
    """Make a wider network with the same function.

    Parameters
    ----------
    network : Regressor
        In evaluation mode its function is kept; BatchNorm statistics are those of the copied channels.
    width : float
        Width multiplier of the result, at least that of `network`.
    seed : int
        Seed of the choice of copied channels and of the fractions.

    Returns
    -------
    Regressor
        In evaluation mode.

    Raises
    ------
    ValueError
        If `width` is less than that of the network.
    """
    if width < network.backbone.width:
        raise ValueError(f"width: expected {network.backbone.width} or more, got {width}")
    counts = network.shape_count, network.expression_count, network.score_hidden, network.confidence_hidden
    wide = Regressor(width, *counts).eval()
    generator = torch.Generator().manual_seed(seed)
    layers = zip(network.backbone.convolutions(), wide.backbone.convolutions(), strict=True)
    copied = torch.arange(3)
    for (narrow, narrow_norm), (layer, norm) in layers:
        read = copied
        if layer.groups == 1:
            copied = _copied(len(narrow.weight), len(layer.weight), generator)
            weight = _split(narrow.weight.flatten(2)[copied], read, generator)
        else:  # depthwise: each channel reads itself
            weight = narrow.weight[copied]
        layer.weight.copy_(weight.reshape(layer.weight.shape))
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(norm, name).copy_(getattr(narrow_norm, name)[copied])
    wide.head.weight.copy_(_split(network.head.weight[..., None], copied, generator)[..., 0])
    wide.head.bias.copy_(network.head.bias)
    for (name, parameter), own in zip(_further(network), _further(wide), strict=True):
        reads_features = name == "0.weight"
        own[1].copy_(_split(parameter[..., None], copied, generator)[..., 0] if reads_features else parameter)
    wide.mean.copy_(network.mean)
    wide.std.copy_(network.std)
    return wide


def _further(network: Regressor) -> list[tuple[str, Tensor]]:
    """Parameters of the layers of score and confidence."""
    layers = (network.score, network.confidence)
    return [each for part in layers if part is not None for each in part.named_parameters()]


def _copied(count: int, width: int, generator: torch.Generator) -> Tensor:
    """Source channel of each of `width` channels: all `count` in order, then all again in random order."""
    rounds = [torch.randperm(count, generator=generator) for _ in range(width // count)]
    return torch.cat([torch.arange(count), *rounds])[:width]


def _split(weight: Tensor, read: Tensor, generator: torch.Generator) -> Tensor:
    """Split weights (out, in, k) among copies of the inputs; `read` (wide in,) is the input that each copies."""
    fractions = torch.empty(len(weight), len(read)).uniform_(_MIN_FRACTION, _MAX_FRACTION, generator=generator)
    total = torch.zeros(len(weight), weight.shape[1]).index_add_(1, read, fractions)
    return weight[:, read] * (fractions / total[:, read])[..., None]
