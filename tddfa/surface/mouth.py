"""The texture of the inside of an open mouth: what is visible between the lips.

The triangles there are large, and most are seen in part. So each texel has a depth test of its own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from Sim3DR import Raster, bounds, rasterize
from tddfa.surface import _texels
from tddfa.surface.visibility import DepthTest
from tddfa.types import Mesh

# Tolerance of the depth test, and distance behind the lips over which visible colours continue and fade out, as
# fractions of the face's size. On steep walls, the depths of neighbouring pixels differ much.
_TOLERANCE, _CONTINUED = 0.05, 0.03


class MouthTexels(NamedTuple):
    """The texels inside the mouth.

    Attributes
    ----------
    texels : ndarray (k,) int64
        Flat indices.
    corners : ndarray (k, 3) int32
        The vertices around each.
    weights : ndarray (k, 3) float32
        Barycentric weights.
    triangles : ndarray (k,) int64
        The triangle of each texel, a row of `lining`.
    vertices : ndarray (j,) int64
        The vertices inside the mouth.
    lining : ndarray (l, 3) int32
        The triangles inside the mouth, of rows of `vertices`.
    """

    texels: NDArray[np.int64]
    corners: NDArray[np.int32]
    weights: NDArray[np.float32]
    triangles: NDArray[np.int64]
    vertices: NDArray[np.int64]
    lining: NDArray[np.int32]

    @classmethod
    def of(cls, uv_map: Raster, triangles: NDArray[Any], inside: NDArray[np.bool_]) -> MouthTexels:
        """Find the texels on a UV map, from the vertices (n,) that are inside the mouth."""
        lining = inside[triangles].all(axis=1)
        covered = np.flatnonzero(uv_map.mask)
        texels = covered[lining[uv_map.triangle_id.reshape(-1)[covered]]]
        first, second = uv_map.barycentric.reshape(-1, 2)[texels].T
        weights = np.stack([first, second, 1 - first - second], axis=1)
        triangle_id = uv_map.triangle_id.reshape(-1)[texels]
        row_of, triangle_of = (np.cumsum(chosen, dtype=np.int64) - 1 for chosen in (inside, lining))
        rows = row_of[triangles[lining]].astype(np.int32)
        return cls(texels, triangles[triangle_id], weights, triangle_of[triangle_id], np.flatnonzero(inside), rows)


def sample_mouth(
    image: NDArray[np.uint8],
    scale: tuple[float, float],
    mesh: Mesh,
    test: DepthTest,
    mouth: MouthTexels,
    colors: NDArray[np.uint8],
    weight: NDArray[np.float32],
) -> None:
    """Sample the inside of a mouth, in place, where it is visible between the lips.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    scale : tuple of float
        Px of `image` per px of the mesh, in x and y.
    mesh : Mesh
        The face.
    test : DepthTest
        Of the mesh, culled at the back.
    mouth : MouthTexels
        The texels.
    colors : ndarray (H, W, 3) uint8
        BGR, of all texels; 0 inside the mouth.
    weight : ndarray (H, W) float32
        How well each texel is seen; 0 inside the mouth.
    """
    if not len(mouth.texels):
        return
    placed = test.vertices[mouth.vertices]
    low, high = bounds(placed)
    left, top = max(int(low[0]) - 1, 0), max(int(low[1]) - 1, 0)
    depth = np.ascontiguousarray(test.raster.depth[top : int(high[1]) + 3, left : int(high[0]) + 3])
    if not depth.size:
        return
    rows, columns = depth.shape
    lining = rasterize(placed, mouth.lining, (left, top, columns, rows), cull="back")
    shows = lining.mask & (lining.depth >= depth)  # the same triangles in the same pixels have equal depth
    if not shows.any():
        return
    # triangles between the lips, and those beside them
    near = np.zeros(len(placed), dtype=bool)
    near[mouth.lining[lining.triangle_id[shows]]] = True
    chosen = np.asarray(near[mouth.lining].any(axis=1))
    away, labels = cv2.distanceTransformWithLabels(
        (~shows).view(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.zeros(int(labels.max()) + 1, dtype=np.int32)
    nearest[labels[shows]] = np.flatnonzero(shows)
    _texels.sample_mouth(
        mouth[:4],
        chosen.view(np.uint8),
        (left, top, depth, away, nearest[labels]),
        test.placing,
        mesh.vertices,
        (_TOLERANCE * test.size, _CONTINUED * test.size),
        image,
        *scale,
        colors,
        weight,
    )
