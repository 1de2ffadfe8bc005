"""Losses of JVCR. Coordinates that are not known are not scored: z of photos with 2D landmarks, and their jaw."""

from __future__ import annotations

import torch
from torch import Tensor

from tddfa.jvcr.grid import POINT_COUNT
from tddfa.landmarks68 import EYES, JAW, MOUTH


def point_weights(eyes: float, mouth: float) -> Tensor:
    """Weights (71,) of the points, with a mean of 1. The centres of eyes and mouth have the weights of these parts."""
    weights = torch.ones(POINT_COUNT)
    weights[EYES], weights[MOUTH] = eyes, mouth
    weights[68:70], weights[70] = eyes, mouth
    return weights / weights.mean().clamp_min(1e-12)


def volume_loss(predicted: Tensor, target: Tensor, deep: Tensor, foreground: float = 0.0) -> Tensor:
    """Mean squared error of volumes (n, depth, side, side) to ground truth of the same shape.

    Parameters
    ----------
    predicted, target : Tensor (n, depth, side, side)
    deep : Tensor (n,) bool
        Whether z is known. Where it is not, `target` has its values in the first slice, and the maximum of the slices
        is compared with it.
    foreground : float
        The error of a voxel has weight 1 plus this times its ground truth.
    """
    squares = (predicted - target).square() * (1 + foreground * target)
    per_crop = squares.mean(dim=(1, 2, 3))
    if predicted.shape[1] == 1 or bool(deep.all()):
        return per_crop.mean()
    flat = target[:, 0]
    projected = (predicted.amax(dim=1) - flat).square() * (1 + foreground * flat)
    # as if the error was in one slice, so that a photo weighs no more than a crop with depth
    return torch.where(deep, per_crop, projected.mean(dim=(1, 2)) / predicted.shape[1]).mean()


def coordinate_loss(predicted: Tensor, target: Tensor, size: int, weights: Tensor, kind: str = "mse") -> Tensor:
    """Error of points (n, 71, 3) in fractions of the crop, mean over the known coordinates.

    Parameters
    ----------
    predicted, target : Tensor (n, 71, 3)
        px. Coordinates of `target` that are NaN are not known. Where z is not, the jaw is left out, because annotators
        of photos mark the visible outline there.
    size : int
        Side of the crop, px.
    weights : Tensor (71,)
        Weight of each point.
    kind : {"mse", "l1"}
        Squared or absolute error.
    """
    known = target.isfinite() * weights[:, None]
    known[~target[..., 2].isfinite().all(dim=1), JAW] = 0
    error = (predicted - torch.nan_to_num(target)) / (size - 1)
    error = error.square() if kind == "mse" else error.abs()
    return (error * known).sum() / known.sum().clamp_min(1e-12)
