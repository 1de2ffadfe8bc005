"""Loss of 3D-aware multiview-consistent fine-tuning, for any network that predicts landmarks.

The landmarks predicted in some views of a head are triangulated, and the 3D points are projected into all views: where
views disagree, each is pulled towards the others (Zeng et al., "3D-aware Facial Landmark Detection via Multi-view
Consistent Training on Synthetic Data", CVPR 2023).

Cameras are as in `tddfa.geometry.triangulation`; the third row of a weak perspective camera is 0, 0, 0, 1.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tddfa.geometry.triangulation import SOURCES
from tddfa.landmarks68 import JAW


def project(cameras: Tensor, points: Tensor) -> Tensor:
    """Project points (n, 3) by cameras (v, 3, 4): (v, n, 2)."""
    homogeneous = points @ cameras[:, :, :3].transpose(1, 2) + cameras[:, None, :, 3]
    return homogeneous[..., :2] / homogeneous[..., 2:]


def triangulate(cameras: Tensor, points: Tensor) -> Tensor:
    """Triangulate points as `tddfa.geometry.triangulation.triangulate` does, with gradients.

    Parameters
    ----------
    cameras : Tensor (v, 3, 4)
        At least two, from different directions; otherwise the result is not finite.
    points : Tensor (v, n, 2)
        In the cameras' unit.

    Returns
    -------
    Tensor (n, 3)
        In the unit of the cameras' space.

    Raises
    ------
    ValueError
        If a shape is wrong, or if there are fewer than two views.
    """
    _check("cameras", cameras, (None, 3, 4))
    _check("points", points, (len(cameras), None, 2))
    if len(cameras) < 2:
        raise ValueError(f"cameras: expected two views or more, got {len(cameras)}")
    # scale the third row of a pinhole camera to length 1, so that all residuals have the same unit
    directions = cameras[:, 2, :3].norm(dim=1)
    scales = torch.where(directions > 0, directions, cameras[:, 2, 3])
    cameras = cameras / scales[:, None, None]
    equations = cameras[:, None, :2] - points[..., None] * cameras[:, None, 2:]
    equations = equations.transpose(0, 1).flatten(1, 2)
    q, r = torch.linalg.qr(equations[..., :3])
    right_side = -(q.transpose(1, 2) @ equations[..., 3:])
    return torch.linalg.solve_triangular(r, right_side, upper=True).squeeze(2)


class Terms(NamedTuple):
    """Terms of the loss: mean absolute differences, in the unit of the points.

    Attributes
    ----------
    projection : Tensor ()
        Between predicted and projected triangulated landmarks, in the views that were not triangulated from.
    source : Tensor ()
        Between labels and projected triangulated landmarks, in the source views.
    landmarks : Tensor ()
        Between predicted landmarks and labels, in all views.
    """

    projection: Tensor
    source: Tensor
    landmarks: Tensor

    @property
    def total(self) -> Tensor:
        """Sum of the terms."""
        return self.projection + self.source + self.landmarks


class MultiviewLoss(nn.Module):
    """The three L1 terms for views of one head. It is independent of the network.

    Parameters
    ----------
    source_views : int
        Number of views to triangulate from: the first ones. The points are projected into the others.
    jaw_weight : float
        Weight of the jaw in the `landmarks` term; other landmarks have weight 1.
    """

    weights: Tensor

    def __init__(self, source_views: int = SOURCES, jaw_weight: float = 1.0) -> None:
        super().__init__()
        if source_views < 2:
            raise ValueError(f"source_views: expected two views or more, got {source_views}")
        if not jaw_weight >= 0:
            raise ValueError(f"jaw_weight: expected a weight of 0 or more, got {jaw_weight}")
        self.source_views = source_views
        weights = torch.ones(68, dtype=torch.float64)
        weights[JAW] = jaw_weight
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, points: Tensor, cameras: Tensor, labels: Tensor) -> Terms:
        """Compute the terms.

        Parameters
        ----------
        points : Tensor (v, 68, 2)
            Predicted landmarks in each view, in fractions of the view: 0 is its left or top edge, 1 its right or
            bottom edge. More views than `source_views`.
        cameras : Tensor (v, 3, 4)
            From the head's space to fractions of each view.
        labels : Tensor (v, 68, 2)
            Labels, in the unit of `points`; they get no gradient.

        Raises
        ------
        ValueError
            If a shape is wrong, or if there are too few views.
        """
        _check("points", points, (None, 68, 2))
        _check("cameras", cameras, (len(points), 3, 4))
        _check("labels", labels, (len(points), 68, 2))
        if len(points) <= self.source_views:
            raise ValueError(
                f"points: expected more than the {self.source_views} views triangulated from, got {len(points)}"
            )
        # in float32, similar views leave no significant digits of the depth
        points, cameras, labels = points.double(), cameras.double(), labels.double().detach()
        first, rest = slice(self.source_views), slice(self.source_views, None)
        projected = project(cameras, triangulate(cameras[first], points[first]))
        weighted = (points - labels).abs() * self.weights[:, None]
        return Terms((points - projected)[rest].abs().mean(), (labels - projected)[first].abs().mean(), weighted.mean())


def _check(name: str, value: Tensor, shape: tuple[int | None, ...]) -> None:
    sides = zip(shape, value.shape, strict=False)
    if value.ndim != len(shape) or any(expected not in (None, got) for expected, got in sides):
        text = ", ".join("n" if side is None else str(side) for side in shape)
        raise ValueError(f"{name}: expected shape ({text}), got {tuple(value.shape)}")
