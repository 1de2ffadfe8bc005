"""Ground-truth volumes of points: the maximum of one Gaussian per point."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tddfa.jvcr.grid import voxel_map

SIGMA = 1.0
"""Standard deviation of the Gaussians, voxels."""
REACH = 3.0
"""The Gaussians end at this many standard deviations along each axis."""


def volumes(points: Tensor, size: int, side: int, depth: int, sigma: float = SIGMA) -> Tensor:
    """Compute the volumes of points.

    A voxel has the largest value of all points' Gaussians at its centre. A volume of one slice has no depth: its
    Gaussians are those of x and y.

    Parameters
    ----------
    points : Tensor (n, k, 3)
        px of a crop of `size` px, see `tddfa.jvcr.grid`. A point with a coordinate that is not finite is left out; with
        one slice, z is ignored.
    size : int
        Side of the crop, px.
    side, depth : int
        Shape of each volume.
    sigma : float
        Standard deviation of the Gaussians, voxels.

    Returns
    -------
    Tensor (n, depth, side, side)
        0..1.

    Examples
    --------
    >>> import torch
    >>> from tddfa.train.jvcr.targets import volumes
    >>> volume = volumes(torch.tensor([[[18.0, 10.0, 2.0]]]), size=128, side=32, depth=32)
    >>> volume.shape, bool(volume.max() > 0.9), int(volume.argmax())  # slice 16, row 2, column 4
    (torch.Size([1, 32, 32, 32]), True, 16452)
    """
    n = len(points)
    factor, offset = (torch.as_tensor(value, dtype=torch.float32) for value in voxel_map(size, side, depth))
    at = points.float() * factor.to(points.device) + offset.to(points.device)
    if depth == 1:
        at = torch.cat([at[..., :2], torch.zeros_like(at[..., :1])], dim=2)
    known = at.isfinite().all(dim=2)
    at = torch.where(known[..., None], at, torch.full_like(at, -1e6))
    reach = math.ceil(REACH * sigma)
    steps = torch.arange(-reach, reach + 1, device=points.device)
    middle = at.round()
    weights, indices, inside = [], [], []
    for axis, count in ((0, side), (1, side), (2, depth)):
        own = steps[: 1 if count == 1 else None] * (count > 1)
        index = middle[..., axis, None] + own
        away = index - at[..., axis, None]
        weights.append(torch.exp(-(away**2) / (2 * sigma**2)))
        inside.append((index >= 0) & (index < count) & (away.abs() <= REACH * sigma))
        indices.append(index.clamp(0, count - 1).long())
    (wx, wy, wz), (ix, iy, iz), (okx, oky, okz) = weights, indices, inside
    values = wz[..., :, None, None] * wy[..., None, :, None] * wx[..., None, None, :]
    values = values * (okz[..., :, None, None] & oky[..., None, :, None] & okx[..., None, None, :])
    flat = (iz[..., :, None, None] * side + iy[..., None, :, None]) * side + ix[..., None, None, :]
    out = torch.zeros((n, depth * side * side), device=points.device)
    out.scatter_reduce_(1, flat.flatten(1), values.flatten(1), "amax", include_self=True)
    return out.reshape(n, depth, side, side)
