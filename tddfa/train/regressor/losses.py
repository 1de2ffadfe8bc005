"""Losses of the regressor: distances of surface points, landmarks and coefficients, as plain functions.

Each takes predictions and targets of n crops and returns one number, the mean over the rows that count. Lengths are in
px of the crop.

Zhu et al., "Face Alignment Across Large Poses: A 3D Solution", CVPR 2016, define VDC and WPDC.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tddfa.landmarks68 import PARTS
from tddfa.model.face_model import FaceModel

_TINY = 1e-6


def mean_of_rows(values: Tensor, rows: Tensor) -> Tensor:
    """Mean of values (n,) over selected rows; 0 if no row is selected.

    Parameters
    ----------
    values : Tensor (n,)
    rows : Tensor (n,)
        Bool, or weights of 0 or more.
    """
    weight = rows.to(values.dtype)
    # other rows may be NaN, and 0 times NaN is NaN
    return torch.where(weight > 0, values * weight, torch.zeros_like(values)).sum() / weight.sum().clamp_min(1.0)


class Surface(nn.Module):
    """Points of a face model at which shapes are compared: the 68 landmarks, then vertices spread over the face.

    Parameters
    ----------
    model : FaceModel
        Face model of the regressed coefficients.
    vertices : int
        Number of vertices.

    Attributes
    ----------
    basis_norms : Tensor (s + e,)
        Norm of each basis vector over all points, in the model's unit (for `weighted_parameter_distance`).
    """

    mean: Tensor
    basis: Tensor
    basis_norms: Tensor

    def __init__(self, model: FaceModel, vertices: int = 402) -> None:
        super().__init__()
        chosen = spread_vertices(model.mean, vertices)
        corners, weights = model.landmark_triangles, model.landmark_weights[..., None]
        mean = np.concatenate([(model.mean[corners] * weights).sum(axis=1), model.mean[chosen]])
        basis = np.concatenate([(model.basis[:, corners] * weights).sum(axis=2), model.basis[:, chosen]], axis=1)
        self.register_buffer("mean", torch.from_numpy(mean.astype(np.float32).reshape(-1)))
        self.register_buffer("basis", torch.from_numpy(basis.astype(np.float32).reshape(len(basis), -1)))
        self.register_buffer("basis_norms", self.basis.norm(dim=1))

    def __len__(self) -> int:
        return len(self.mean) // 3

    def in_model(self, shape: Tensor, expression: Tensor) -> Tensor:
        """Compute points (n, k, 3) in the model's frame and unit."""
        flat = torch.addmm(self.mean, torch.cat([shape, expression], dim=1), self.basis)
        return flat.view(len(shape), -1, 3)

    def forward(self, camera: Tensor, shape: Tensor, expression: Tensor) -> Tensor:
        """Compute points (n, k, 3) in px of the crop; the first 68 are the landmarks."""
        return torch.baddbmm(camera[:, None, :, 3], self.in_model(shape, expression), camera[:, :, :3].transpose(1, 2))


def spread_vertices(points: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Select `count` of the points (n, 3) by farthest point sampling, starting at the point of largest z.

    Raises
    ------
    ValueError
        If there are fewer points.
    """
    if not 1 <= count <= len(points):
        raise ValueError(f"vertices: expected 1..{len(points)}, got {count}")
    chosen = np.empty(count, dtype=np.intp)
    nearest = np.full(len(points), np.inf)
    chosen[0] = np.argmax(points[:, 2])
    for i in range(count - 1):
        nearest = np.minimum(nearest, ((points - points[chosen[i]]) ** 2).sum(axis=1))
        chosen[i + 1] = np.argmax(nearest)
    return chosen


def landmark_weights(jaw: float, brows: float, nose: float, eyes: float, mouth: float) -> Tensor:
    """Weights (68,) of the landmarks by part of the face."""
    by_part = {
        "jaw": jaw,
        "right_brow": brows,
        "left_brow": brows,
        "nose_bridge": nose,
        "nose_tip": nose,
        "right_eye": eyes,
        "left_eye": eyes,
        "outer_lips": mouth,
        "inner_lips": mouth,
    }
    weights = torch.zeros(68)
    for name, part in PARTS.items():
        weights[part] = by_part[name]
    return weights


def surface_distance(predicted: Tensor, target: Tensor, rows: Tensor, depth: float = 1.0) -> Tensor:
    """Mean of |x| + |y| + `depth` |z| between points (n, k, 3), px."""
    distance = (predicted - target).abs()
    return mean_of_rows((distance[..., 0] + distance[..., 1] + depth * distance[..., 2]).mean(dim=1), rows)


def landmark_distance(predicted: Tensor, target: Tensor, weights: Tensor, rows: Tensor) -> Tensor:
    """Weighted mean of |x| + |y| between landmarks (n, 68, 2), px; landmarks that are NaN in `target` are left out.

    Parameters
    ----------
    predicted, target : Tensor (n, 68, 2)
    weights : Tensor (68,) or (n, 68)
        Weight of each landmark.
    rows : Tensor (n,)
        See `mean_of_rows`.
    """
    known = target.isfinite().all(dim=2)
    weight = known * weights
    distance = (predicted - target.nan_to_num()).abs().sum(dim=2)
    return mean_of_rows((weight * distance).sum(dim=1) / weight.sum(dim=1).clamp_min(_TINY), rows)


def pair_distance(predicted: Tensor, target: Tensor, pairs: tuple[tuple[int, int], ...], rows: Tensor) -> Tensor:
    """Mean of |x| + |y| between the offsets from the first to the second landmark of each pair, px.

    Errors of the pose cancel in an offset and do not hide the error of an eyelid: without this term the network does
    not learn closed eyes.

    Parameters
    ----------
    predicted, target : Tensor (n, 68, 2)
        NaN in `target` where unknown.
    pairs : tuple of (int, int)
        Indices of landmarks, as `tddfa.landmarks68.LID_PAIRS`.
    rows : Tensor (n,)
        See `mean_of_rows`.
    """
    first, second = (torch.tensor(side, device=predicted.device) for side in zip(*pairs, strict=True))
    offset = target[:, first] - target[:, second]
    known = offset.isfinite().all(dim=2)
    distance = (predicted[:, first] - predicted[:, second] - offset.nan_to_num()).abs().sum(dim=2)
    return mean_of_rows((known * distance).sum(dim=1) / known.sum(dim=1).clamp_min(1), rows)


def coefficient_distance(predicted: Tensor, target: Tensor, rows: Tensor) -> Tensor:
    """Mean absolute difference of whitened coefficients (n, k)."""
    return mean_of_rows((predicted - target).abs().mean(dim=1), rows)


def blendshape_distance(predicted: Tensor, target: Tensor, rows: Tensor) -> Tensor:
    """Mean squared difference of expression weights (n, e), 0..1, not whitened.

    `coefficient_distance` is smallest at the median of the weights that a crop may show. For nearly every expression,
    this median is rest, so the network learns weights that are too small. The square is smallest at the mean.
    """
    return mean_of_rows((predicted - target).square().mean(dim=1), rows)


def score_loss(logit: Tensor, face: Tensor) -> Tensor:
    """Binary cross entropy between logits of the face score (n,) and the presence of a face (n,)."""
    return nn.functional.binary_cross_entropy_with_logits(logit, face.to(logit.dtype))


def with_depth_of(camera: Tensor, target: Tensor) -> Tensor:
    """Replace the z offset of cameras (n, 3, 4) by that of the target: under weak perspective it is arbitrary."""
    return torch.cat([camera[:, :2], torch.cat([camera[:, 2:, :3], target[:, 2:, 3:]], dim=2)], dim=1)


def vertex_distance(predicted: Tensor, target: Tensor, rows: Tensor) -> Tensor:
    """VDC, the vertex distance cost: mean squared distance of points (n, k, 3), px² (Zhu et al., 2016, equation 7).

    As in 3DDFA, the predicted points must have the z offset of the target (`with_depth_of`).
    """
    return mean_of_rows((predicted - target).square().sum(dim=2).mean(dim=1), rows)


def weighted_parameter_distance(
    surface: Surface,
    camera: tuple[Tensor, Tensor],
    coefficients: tuple[Tensor, Tensor],
    std: Tensor,
    rows: Tensor,
) -> Tensor:
    """WPDC, the weighted parameter distance cost (Zhu et al., 2016, equations 8-9).

    Squared errors of whitened parameters. The weight of a parameter is the displacement of the points for its current
    error alone, divided by the largest weight of the row. No gradient flows through the weights. The weight of the z
    offset is 0.

    Parameters
    ----------
    surface : Surface
        Points that the parameters move.
    camera : pair of Tensor (n, 3, 4)
        Predicted, and target.
    coefficients : pair of Tensor (n, s + e)
        Shape and expression: predicted, and target.
    std : Tensor (12 + s + e,)
        Standard deviation by which the parameters are whitened.
    rows : Tensor (n,)
        See `mean_of_rows`.
    """
    count = surface.basis.shape[0]
    error = torch.cat([(camera[0] - camera[1]).flatten(1), coefficients[0] - coefficients[1]], dim=1)
    with torch.no_grad():
        flat = torch.addmm(surface.mean, coefficients[1], surface.basis)
        points = flat.view(len(error), -1, 3)
        # displacement per unit: an entry of the linear part moves a point by its coordinate, an offset moves all alike
        axes = torch.cat([points.norm(dim=1), points.new_full((len(points), 1), points.shape[1] ** 0.5)], dim=1)
        scale = camera[1][:, :, :3].norm(dim=2).mean(dim=1, keepdim=True)
        moved = torch.cat([axes.repeat(1, 3), scale * surface.basis_norms.expand(len(error), count)], dim=1)
        weight = error.abs() * moved + _TINY
        weight = weight / weight.max(dim=1, keepdim=True).values
        weight[:, 11] = 0
    return mean_of_rows((weight * (error / std).square()).mean(dim=1), rows)
