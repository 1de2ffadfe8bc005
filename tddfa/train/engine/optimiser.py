"""How weights move: AdamW, a learning rate that rises and falls, and the moving average that is kept."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from tddfa.train.engine.settings import Schedule


class MovingAverage:
    """Exponential moving average of a network's weights and BatchNorm statistics.

    Parameters
    ----------
    network : nn.Module
        Whose; `network` holds the average and starts as a copy.
    decay : float
        Share of the old average in the new; less in the first steps, so that the start is soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the network as it is."""
        self.updates += 1
        share = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        for mine, other in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(other, share)
            else:
                mine.copy_(other)


def rate_at(progress: float, schedule: Schedule) -> float:
    """Learning rate after a share 0..1 of the training: a line up, then half a cosine down."""
    progress = min(max(progress, 0.0), 1.0)
    if progress < schedule.warmup_fraction:
        return schedule.learning_rate * progress / schedule.warmup_fraction
    fallen = (progress - schedule.warmup_fraction) / max(1 - schedule.warmup_fraction, 1e-9)
    share = schedule.final_lr_ratio + (1 - schedule.final_lr_ratio) * 0.5 * (1 + math.cos(math.pi * fallen))
    return schedule.learning_rate * share


def optimizer_of(network: nn.Module, schedule: Schedule) -> torch.optim.AdamW:
    """AdamW; offsets and BatchNorm do not decay."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    decaying = [parameter for parameter in parameters if parameter.ndim > 1]
    others = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups = [{"params": decaying, "weight_decay": schedule.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=schedule.learning_rate)
