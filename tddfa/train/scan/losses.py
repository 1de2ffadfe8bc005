"""Adaptive wing loss of heat (Wang et al., ICCV 2019), with more weight where a landmark is near."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_OMEGA, _THETA, _EPSILON, _ALPHA = 14.0, 0.5, 1.0, 2.1
# Weight of hot points, and from which heat on they are.
_WEIGHT, _HOT = 50.0, 0.1


def adaptive_wing(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean loss of heat, 0..1, tensors of one shape; its slope near zero depends on the target.

    Examples
    --------
    >>> import torch
    >>> from tddfa.train.scan.losses import adaptive_wing
    >>> round(float(adaptive_wing(torch.zeros(2, 68), torch.zeros(2, 68))), 6)
    0.0
    """
    away = (target - predicted).abs()
    power = _ALPHA - target
    near = _OMEGA * torch.log1p((away / _EPSILON).clamp_min(1e-6) ** power)
    edge = (math.log(_THETA / _EPSILON) * power).exp()
    slope = _OMEGA / (1 + edge) * power * edge / _THETA
    far = slope * (away - _THETA) + _OMEGA * torch.log1p(edge)
    loss = torch.where(away < _THETA, near, far)
    return (loss * (1 + _WEIGHT * (target > _HOT))).mean()
