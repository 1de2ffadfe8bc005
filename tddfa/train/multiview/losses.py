"""The loss of 3D-aware multiview-consistent fine-tuning, as one module for any network that finds landmarks.

The landmarks found in some views of a head are triangulated, and the points in space are seen again by all its cameras:
where views disagree, each is pulled towards the others (Zeng et al., "3D-aware Facial Landmark Detection via Multi-view
Consistent Training on Synthetic Data", CVPR 2023).

Cameras are as in `tddfa.geometry.triangulation`; those of a weak perspective have 0, 0, 0, 1 for a third row.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tddfa.geometry.triangulation import SOURCES
from tddfa.landmarks68 import JAW


def project(cameras: Tensor, points: Tensor) -> Tensor:
    """Where cameras (v, 3, 4) see points (n, 3): (v, n, 2)."""
    homogeneous = points @ cameras[:, :, :3].transpose(1, 2) + cameras[:, None, :, 3]
    return homogeneous[..., :2] / homogeneous[..., 2:]


def triangulate(cameras: Tensor, points: Tensor) -> Tensor:
    """Triangulate points seen by several cameras, as `tddfa.geometry.triangulation.triangulate`; gradients pass.

    Parameters
    ----------
    cameras : Tensor (v, 3, 4)
        At least two, from different directions: of others the result is not finite.
    points : Tensor (v, n, 2)
        In the cameras' unit.

    Returns
    -------
    Tensor (n, 3)
        In the unit of the cameras' space.

    Raises
    ------
    ValueError
        If shapes are others, or if there are less than two views.
    """
    _check("cameras", cameras, (None, 3, 4))
    _check("points", points, (len(cameras), None, 2))
    if len(cameras) < 2:
        raise ValueError(f"cameras: expected two views or more, got {len(cameras)}")
    # the third row's length says what a unit of the residual is worth; that of a pinhole is made 1
    directions = cameras[:, 2, :3].norm(dim=1)
    scales = torch.where(directions > 0, directions, cameras[:, 2, 3])
    cameras = cameras / scales[:, None, None]
    equations = cameras[:, None, :2] - points[..., None] * cameras[:, None, 2:]
    equations = equations.transpose(0, 1).flatten(1, 2)
    q, r = torch.linalg.qr(equations[..., :3])
    wanted = -(q.transpose(1, 2) @ equations[..., 3:])
    return torch.linalg.solve_triangular(r, wanted, upper=True).squeeze(2)


class Terms(NamedTuple):
    """What views of one head disagree by: means of absolute differences, in the unit of the points.

    Attributes
    ----------
    projection : Tensor ()
        In the other views, found points from where the triangulated ones lie.
    source : Tensor ()
        In the views triangulated from, labels from where the triangulated points lie.
    landmarks : Tensor ()
        In all views, found points from labels.
    """

    projection: Tensor
    source: Tensor
    landmarks: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum, each with weight 1."""
        return self.projection + self.source + self.landmarks


class MultiviewLoss(nn.Module):
    """The three L1 terms of views of one head.

    It knows nothing of the network: whatever gives two numbers a landmark can be trained by it.

    Parameters
    ----------
    source_views : int
        The first so many views are triangulated from, the others are reprojected into.
    jaw_weight : float
        Weight of the jaw line in the `landmarks` term; that of other points is 1.
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
        """Compare.

        Parameters
        ----------
        points : Tensor (v, 68, 2)
            What the network found in each view, as shares of the view: 0 is its left or top edge, 1 its right or
            bottom one. More views than `source_views`.
        cameras : Tensor (v, 3, 4)
            From the head's space to shares of each view.
        labels : Tensor (v, 68, 2)
            Where the landmarks are said to be, as `points`; no gradient passes them.

        Raises
        ------
        ValueError
            If shapes are others.
        """
        _check("points", points, (None, 68, 2))
        _check("cameras", cameras, (len(points), 3, 4))
        _check("labels", labels, (len(points), 68, 2))
        if len(points) <= self.source_views:
            raise ValueError(
                f"points: expected more than the {self.source_views} views triangulated from, got {len(points)}"
            )
        # of cameras in float32, views that are much alike leave no digits of the depth
        points, cameras, labels = points.double(), cameras.double(), labels.double().detach()
        first, rest = slice(self.source_views), slice(self.source_views, None)
        seen = project(cameras, triangulate(cameras[first], points[first]))
        weighted = (points - labels).abs() * self.weights[:, None]
        return Terms((points - seen)[rest].abs().mean(), (labels - seen)[first].abs().mean(), weighted.mean())


def _check(name: str, value: Tensor, shape: tuple[int | None, ...]) -> None:
    if value.ndim != len(shape) or any(w is not None and w != g for w, g in zip(shape, value.shape, strict=True)):
        wanted = ", ".join("n" if want is None else str(want) for want in shape)
        raise ValueError(f"{name}: expected shape ({wanted}), got {tuple(value.shape)}")
