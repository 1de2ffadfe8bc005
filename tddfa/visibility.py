"""Which points of a surface its own depth hides."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from Sim3DR import rasterize
from tddfa.arrays import bounds
from tddfa.types import Mesh

# The surface is drawn this large at most: its vertices lie farther apart than these pixels.
_DRAWN_PX = 256
# A point so far behind the nearest surface, a share of the face's size, is hidden. A lid lies 0.01 before the eyeball,
# the far eye's corner 0.1 behind the nose.
_HIDDEN_FROM = 0.03
_AROUND = np.ones((3, 3), np.uint8)

def visible_points(
    mesh: Mesh,
    triangles: NDArray[np.int32],
    weights: NDArray[np.float32],
    image_size: tuple[int, int] | None = None,
) -> NDArray[np.bool_]:
    """Whether the camera sees points of a surface.

    A point on the outline counts as seen: it is hidden where all that is drawn around it lies well before it.

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
    scale = np.float32(min(1.0, _DRAWN_PX / extent))
    columns, rows = (int(side * scale) + 2 for side in (high - low)[:2].tolist())
    raster = rasterize((mesh.vertices - low) * scale, mesh.triangles, (0, 0, columns, rows), cull="back")
    small = (points - low) * scale
    column, row = np.rint(small[:, :2]).astype(np.intp).T
    # beyond the outline there is nothing that could hide a point, and its depth is -inf: the farthest counts
    farthest = cv2.erode(raster.depth, _AROUND, borderType=cv2.BORDER_REPLICATE)[row, column]
    seen = small[:, 2] >= farthest - _HIDDEN_FROM * extent * scale
    # where all around turns its back, the viewer looks at the surface's inside
    seen &= cv2.dilate(raster.mask.view(np.uint8), _AROUND)[row, column] > 0
    if image_size is not None:
        height, width = image_size
        x, y = points[:, 0], points[:, 1]
        seen &= (x > -0.5) & (y > -0.5) & (x < width - 0.5) & (y < height - 0.5)
    return np.asarray(seen)
