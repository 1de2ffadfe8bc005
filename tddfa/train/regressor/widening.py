"""A narrow network made wider without a change of what it computes, so that a training need not begin anew.

Net2WiderNet (Chen, Goodfellow and Shlens: Net2Net, ICLR 2016): channels are doubled up, and what reads them shares out
its weights among the copies. The shares are drawn for every reader, so the copies do not learn the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tddfa.train.regressor.networks import Regressor

# Shares of the copies of a channel, before they are made to sum to 1.
_MIN_SHARE, _MAX_SHARE = 0.5, 1.5


@torch.no_grad()
def widened(network: Regressor, width: float, seed: int = 0) -> Regressor:
    """Make a wider network with the same function.

    Parameters
    ----------
    network : Regressor
        In evaluation mode its function is kept; BatchNorm statistics are those of the copied channels.
    width : float
        Of the result's `MobileNet`, no less than that of `network`.
    seed : int
        Which channels are copied more often than others, and how readers share.

    Returns
    -------
    Regressor
        In evaluation mode.

    Raises
    ------
    ValueError
        If `width` is less than the network's.
    """
    if width < network.backbone.width:
        raise ValueError(f"width: expected {network.backbone.width} or more, got {width}")
    wide = Regressor(width, network.shape_count, network.expression_count).eval()
    generator = torch.Generator().manual_seed(seed)
    layers = zip(network.backbone.convolutions(), wide.backbone.convolutions(), strict=True)
    copied = torch.arange(3)
    for (narrow, narrow_norm), (layer, norm) in layers:
        read = copied
        if layer.groups == 1:
            copied = _copied(len(narrow.weight), len(layer.weight), generator)
            weight = _shared(narrow.weight.flatten(2)[copied], read, generator)
        else:  # depthwise: each channel reads itself
            weight = narrow.weight[copied]
        layer.weight.copy_(weight.reshape(layer.weight.shape))
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(norm, name).copy_(getattr(narrow_norm, name)[copied])
    wide.head.weight.copy_(_shared(network.head.weight[..., None], copied, generator)[..., 0])
    wide.head.bias.copy_(network.head.bias)
    wide.mean.copy_(network.mean)
    wide.std.copy_(network.std)
    return wide


def _copied(count: int, wanted: int, generator: torch.Generator) -> Tensor:
    """Of which of `count` channels each of `wanted` is a copy: all once, then all again, in an order drawn at last."""
    rounds = [torch.randperm(count, generator=generator) for _ in range(wanted // count)]
    return torch.cat([torch.arange(count), *rounds])[:wanted]


def _shared(weight: Tensor, read: Tensor, generator: torch.Generator) -> Tensor:
    """Weights (out, in, k) for inputs that are copies, `read` (wide in,) says of which: shares of one sum to 1."""
    shares = torch.empty(len(weight), len(read)).uniform_(_MIN_SHARE, _MAX_SHARE, generator=generator)
    total = torch.zeros(len(weight), weight.shape[1]).index_add_(1, read, shares)
    return weight[:, read] * (shares / total[:, read])[..., None]
