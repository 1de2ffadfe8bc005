"""What a regressor is trained by: distances of surface points, landmarks and coefficients, as plain functions.

All take predictions and truth of n crops and give one number, the mean over the rows that count. Lengths are px of the
crop.
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
    """Mean of values (n,) over some rows; 0 of none.

    Parameters
    ----------
    values : Tensor (n,)
    rows : Tensor (n,)
        Bool, or weights from 0 on.
    """
    weight = rows.to(values.dtype)
    # what stands in other rows may be NaN, and 0 times NaN is NaN
    return torch.where(weight > 0, values * weight, torch.zeros_like(values)).sum() / weight.sum().clamp_min(1.0)


class Surface(nn.Module):
    """Points of a face model that predictions are compared at: the 68 landmarks, then vertices spread over the face.

    Parameters
    ----------
    model : FaceModel
        Whose coefficients are regressed.
    vertices : int
        How many vertices.

    Attributes
    ----------
    basis_norms : Tensor (s + e,)
        Length of each basis vector over all points, in the model's unit (for `weighted_parameter_distance`).
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
        """Points (n, k, 3) in the model's frame and unit."""
        flat = torch.addmm(self.mean, torch.cat([shape, expression], dim=1), self.basis)
        return flat.view(len(shape), -1, 3)

    def forward(self, camera: Tensor, shape: Tensor, expression: Tensor) -> Tensor:
        """Points (n, k, 3) in px of the crop; the first 68 are the landmarks."""
        return torch.baddbmm(camera[:, None, :, 3], self.in_model(shape, expression), camera[:, :, :3].transpose(1, 2))


def spread_vertices(points: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Choose `count` of the points (n, 3), each the farthest from those before it; the first is the foremost.

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
    by_region = {
        "jaw": jaw, "right_brow": brows, "left_brow": brows, "nose_bridge": nose, "nose_tip": nose,
        "right_eye": eyes, "left_eye": eyes, "outer_lips": mouth, "inner_lips": mouth,
    }  # fmt: skip
    weights = torch.zeros(68)
    for name, part in PARTS.items():
        weights[part] = by_region[name]
    return weights


def surface_distance(found: Tensor, truth: Tensor, rows: Tensor, depth: float = 1.0) -> Tensor:
    """Mean of |x| + |y| + `depth` |z| between points (n, k, 3), px."""
    distance = (found - truth).abs()
    return mean_of_rows((distance[..., 0] + distance[..., 1] + depth * distance[..., 2]).mean(dim=1), rows)


def landmark_distance(found: Tensor, truth: Tensor, weights: Tensor, rows: Tensor) -> Tensor:
    """Weighted mean of |x| + |y| between landmarks (n, 68, 2), px; those that are NaN in `truth` do not count.

    Parameters
    ----------
    found, truth : Tensor (n, 68, 2)
    weights : Tensor (68,) or (n, 68)
        Of the points.
    rows : Tensor (n,)
    """
    known = truth.isfinite().all(dim=2)
    weight = known * weights
    distance = (found - truth.nan_to_num()).abs().sum(dim=2)
    return mean_of_rows((weight * distance).sum(dim=1) / weight.sum(dim=1).clamp_min(_TINY), rows)


def pair_distance(found: Tensor, truth: Tensor, pairs: tuple[tuple[int, int], ...], rows: Tensor) -> Tensor:
    """Mean of |x| + |y| between the differences of pairs of landmarks (n, 68, 2), px.

    In a difference the head's place cancels, so a lid's error is not hidden behind that of the pose: without this term
    eyes do not learn to close.
    """
    first, second = (torch.tensor(side, device=found.device) for side in zip(*pairs, strict=True))
    wanted = truth[:, first] - truth[:, second]
    known = wanted.isfinite().all(dim=2)
    distance = (found[:, first] - found[:, second] - wanted.nan_to_num()).abs().sum(dim=2)
    return mean_of_rows((known * distance).sum(dim=1) / known.sum(dim=1).clamp_min(1), rows)


def coefficient_distance(found: Tensor, truth: Tensor, rows: Tensor) -> Tensor:
    """Mean absolute difference of whitened coefficients (n, k)."""
    return mean_of_rows((found - truth).abs().mean(dim=1), rows)


def score_loss(logit: Tensor, face: Tensor) -> Tensor:
    """Cross entropy of the face score's logits (n,) against whether there is a face (n,)."""
    return nn.functional.binary_cross_entropy_with_logits(logit, face.to(logit.dtype))


def with_depth_of(camera: Tensor, truth: Tensor) -> Tensor:
    """Cameras (n, 3, 4) with the z offset of others: it is free, so no distance should count it."""
    return torch.cat([camera[:, :2], torch.cat([camera[:, 2:, :3], truth[:, 2:, 3:]], dim=2)], dim=1)


def vertex_distance(found: Tensor, truth: Tensor, rows: Tensor) -> Tensor:
    """VDC: mean squared distance of points (n, k, 3), px² (Zhu et al., CVPR 2016, equation 7).

    As in 3DDFA the points found are to have the truth's z offset (`with_depth_of`).
    """
    return mean_of_rows((found - truth).square().sum(dim=2).mean(dim=1), rows)


def weighted_parameter_distance(
    surface: Surface,
    camera: tuple[Tensor, Tensor],
    coefficients: tuple[Tensor, Tensor],
    std: Tensor,
    rows: Tensor,
) -> Tensor:
    """WPDC: squared errors of whitened parameters, each weighted by what it moves (Zhu et al., 2016, equations 8-9).

    The weight of a parameter is how far the points would move for its present error alone, by the largest such weight
    of its row; no gradient passes the weights. That of the z offset is 0.

    Parameters
    ----------
    surface : Surface
        The points.
    camera : pair of Tensor (n, 3, 4)
        Predicted and true.
    coefficients : pair of Tensor (n, s + e)
        Shape and expression, predicted and true.
    std : Tensor (12 + s + e,)
        Spread by which the parameters are whitened.
    rows : Tensor (n,)
        Which rows count.
    """
    count = surface.basis.shape[0]
    error = torch.cat([(camera[0] - camera[1]).flatten(1), coefficients[0] - coefficients[1]], dim=1)
    with torch.no_grad():
        flat = torch.addmm(surface.mean, coefficients[1], surface.basis)
        points = flat.view(len(error), -1, 3)
        # how far all points move for one unit: of a row's entry by their coordinate, of an offset all alike
        axes = torch.cat([points.norm(dim=1), points.new_full((len(points), 1), points.shape[1] ** 0.5)], dim=1)
        scale = camera[1][:, :, :3].norm(dim=2).mean(dim=1, keepdim=True)
        moved = torch.cat([axes.repeat(1, 3), scale * surface.basis_norms.expand(len(error), count)], dim=1)
        weight = error.abs() * moved + _TINY
        weight = weight / weight.max(dim=1, keepdim=True).values
        weight[:, 11] = 0
    return mean_of_rows((weight * (error / std).square()).mean(dim=1), rows)
