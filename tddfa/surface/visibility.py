"""Which points of a surface its own depth hides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from Sim3DR import rasterize
from tddfa._shared.arrays import bounds
from tddfa.types import Mesh

# The surface is drawn this large, whatever its size: its vertices lie farther apart than these pixels.
_DRAWN_PX = 256
# A point so far behind the nearest surface, a share of the face's size, is hidden. A lid lies 0.01 before the eyeball,
# the far eye's corner 0.1 behind the nose.
_HIDDEN_FROM = 0.03
# columns and rows of a pixel and those around it
_AROUND = np.indices((3, 3)).reshape(2, 1, 9) - 1


def visible_points(
    mesh: Mesh,
    triangles: NDArray[np.int32],
    weights: NDArray[np.float32],
    image_size: tuple[int, int] | None = None,
) -> NDArray[np.bool_]:
    """Whether the camera sees points of a surface.

    A point on the outline counts as seen: it is hidden where all that is drawn around it lies well before it. From
    behind, where a face model has no surface, only the linings of mouth, nostrils and lids count as seen.

    Parameters
    ----------
    mesh : Mesh
        In image px, z larger is nearer.
    triangles : ndarray (k, 3) int32
        Vertices around each point.
    weights : ndarray (k, 3) float32
        Their weights.
    image_size : tuple of int, optional
        Height and width of the picture, px: a point outside of it is not seen.

    Returns
    -------
    ndarray (k,) bool
    """
    points = np.asarray((mesh.vertices[triangles] * weights[..., None]).sum(axis=1))
    low, high = bounds(mesh.vertices)
    extent = max(float((high - low).max()), 1e-6)
    scale = np.float32(_DRAWN_PX / extent)
    columns, rows = (int(side * scale) + 2 for side in (high - low)[:2].tolist())
    drawn = (mesh.vertices - low) * scale
    raster = rasterize(drawn, mesh.triangles, (0, 0, columns, rows))
    small = (points - low) * scale
    column, row = np.rint(small[:, :2]).astype(np.intp).T[..., None] + _AROUND
    at = np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)
    depth, mask = raster.depth[at], raster.mask[at]
    first, second, third = drawn[mesh.triangles[raster.triangle_id[at]], :2].transpose(2, 0, 1, 3)
    (ax, ay), (bx, by) = np.moveaxis(second - first, -1, 0), np.moveaxis(third - first, -1, 0)
    facing = mask & (ax * by < ay * bx)
    # A head is no hollow mask: where the viewer would look at its inside, there is skull and hair, and nothing behind.
    # Beyond the outline there is nothing that could hide a point.
    depth = np.where(facing, depth, np.where(mask, np.inf, -np.inf))
    seen = small[:, 2] >= depth.min(axis=1) - _HIDDEN_FROM * extent * float(scale)
    # where nothing around faces the viewer, there is only the inside's outline
    seen &= facing.any(axis=1)
    if image_size is not None:
        height, width = image_size
        x, y = points[:, 0], points[:, 1]
        seen &= (x > -0.5) & (y > -0.5) & (x < width - 0.5) & (y < height - 0.5)
    return np.asarray(seen)
