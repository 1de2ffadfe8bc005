"""AdamW, the schedule of the learning rate, and the moving average of the weights."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn

from tddfa.train.engine.settings import Schedule


class MovingAverage:
    """Exponential moving average of a network's weights and BatchNorm statistics.

    Parameters
    ----------
    network : nn.Module
        Averaged network; the attribute `network` holds the average and starts as a copy.
    decay : float
        Weight of the old average in the new; smaller in the first steps, so that the initial weights fade quickly.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Update the average with the current weights."""
        self.updates += 1
        step = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        for mine, other in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(other, step)
            else:
                mine.copy_(other)


def learning_rate_at(progress: float, schedule: Schedule) -> float:
    """Learning rate after a fraction 0..1 of the training: a linear warm-up, then half a cosine down."""
    progress = min(max(progress, 0.0), 1.0)
    if progress < schedule.warmup_fraction:
        return schedule.learning_rate * progress / schedule.warmup_fraction
    decayed = (progress - schedule.warmup_fraction) / max(1 - schedule.warmup_fraction, 1e-9)
    ratio = schedule.final_lr_ratio + (1 - schedule.final_lr_ratio) * 0.5 * (1 + math.cos(math.pi * decayed))
    return schedule.learning_rate * ratio


def make_optimizer(network: nn.Module, schedule: Schedule) -> torch.optim.AdamW:
    """AdamW; biases and BatchNorm have no weight decay."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in parameters if parameter.ndim > 1]
    others = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": schedule.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=schedule.learning_rate)


def load_moments(optimizer: torch.optim.AdamW, state: dict[str, Any]) -> None:
    """Restore the state that AdamW keeps for each weight; its settings stay those of the schedule.

    Raises
    ------
    ValueError
        If the state is not that of AdamW for these weights; `load_state_dict` may raise other errors too.
    """
    settings = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update(own)
    for weight, kept in optimizer.state.items():
        shapes = {name: getattr(value, "shape", None) for name, value in kept.items()}
        expected = {"step": (), "exp_avg": weight.shape, "exp_avg_sq": weight.shape}
        if shapes != expected or not kept["step"].is_floating_point():
            raise ValueError(f"optimizer: expected the state of AdamW for a weight {tuple(weight.shape)}, got {shapes}")
