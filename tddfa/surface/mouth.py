"""The texture of the inside of an open mouth: what is visible between the lips.

The triangles there are large, and most are seen in part. So each texel has a depth test of its own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from Sim3DR import Raster, bounds
from tddfa.surface.sampling import sample
from tddfa.surface.visibility import DepthTest, inside_image
from tddfa.types import Mesh

INNER_MOUTH = 3
"""The value of `Mesh.part` inside the mouth."""

# Tolerance of the depth test, and the distance behind the lips over which what is seen continues, fading out: fractions
# of the face's size. On steep walls, the depth of neighbouring pixels differs much.
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
    lining : ndarray (m,) bool
        Whether each triangle of the mesh is inside the mouth.
    vertices : ndarray (j,) int64
        The vertices inside the mouth.
    lining_corners : ndarray (l, 3) int32
        The vertices of the triangles inside the mouth.
    triangles : ndarray (k,) int64
        The triangle of each texel, a row of `lining_corners`.
    """

    texels: NDArray[np.int64]
    corners: NDArray[np.int32]
    weights: NDArray[np.float32]
    lining: NDArray[np.bool_]
    vertices: NDArray[np.int64]
    lining_corners: NDArray[np.int32]
    triangles: NDArray[np.int64]

    @classmethod
    def of(cls, uv_map: Raster, triangles: NDArray[Any], inside: NDArray[np.bool_]) -> MouthTexels:
        """Find them on a UV map, from the vertices (n,) that are inside the mouth."""
        lining = inside[triangles].all(axis=1)
        texels = np.flatnonzero(uv_map.mask & lining[uv_map.triangle_id])
        first, second = uv_map.barycentric.reshape(-1, 2)[texels].T
        weights = np.stack([first, second, 1 - first - second], axis=1)
        triangle_id = uv_map.triangle_id.reshape(-1)[texels]
        rows = np.cumsum(lining) - 1
        corners = triangles[triangle_id]
        return cls(texels, corners, weights, lining, np.flatnonzero(inside), triangles[lining], rows[triangle_id])


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
        Of the mesh, with its triangles.
    mouth : MouthTexels
        The texels.
    colors : ndarray (H, W, 3) uint8
        BGR, of all texels; 0 inside the mouth.
    weight : ndarray (H, W) float32
        How well each texel is seen; 0 inside the mouth.
    """
    raster = test.raster
    if not len(mouth.texels):
        return
    assert isinstance(raster, Raster)
    low, high = bounds(test.vertices[mouth.vertices])
    left, top = max(int(low[0]) - 1, 0), max(int(low[1]) - 1, 0)
    window = slice(top, int(high[1]) + 3), slice(left, int(high[0]) + 3)
    depth, triangle_id = raster.depth[window], raster.triangle_id[window]
    lining = (triangle_id >= 0) & mouth.lining[triangle_id]
    if not lining.any():
        return
    # triangles between the lips, and those beside them
    near = np.zeros(len(mesh.vertices), dtype=bool)
    near[mesh.triangles[triangle_id[lining]]] = True
    beside = np.asarray(near[mouth.lining_corners].any(axis=1))
    chosen = np.flatnonzero(beside[mouth.triangles])
    texels, corners, weights = mouth.texels[chosen], mouth.corners[chosen], mouth.weights[chosen]
    points = np.zeros((len(chosen), 3), dtype=np.float32)
    for k in range(3):
        points += mesh.vertices[corners[:, k]] * weights[:, k, None]

    away, labels = cv2.distanceTransformWithLabels(
        (~lining).view(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.zeros(int(labels.max()) + 1, dtype=np.intp)
    nearest[labels[lining]] = np.flatnonzero(lining)
    placed = test.place(points)
    row, column = test.pixels(placed)
    at = (row - top) * lining.shape[1] + column - left
    shown = nearest[labels.reshape(-1)[at]]
    behind = np.where(shown == at, depth[row - top, column - left] - placed[:, 2], 0)
    trust = 1 - away.reshape(-1)[at] / np.float32(_CONTINUED * test.size)
    # behind the lips, the nearest point between them
    hidden = np.flatnonzero(shown != at)
    seen_at = np.column_stack([shown[hidden] % lining.shape[1] + left, shown[hidden] // lining.shape[1] + top])
    points[hidden, :2] += (seen_at - placed[hidden, :2]) / np.float32(test.scale)

    on_image = (points[:, :2] + np.float32(0.5)) * np.array(scale, dtype=np.float32) - np.float32(0.5)
    trust *= (behind <= _TOLERANCE * test.size) & inside_image(on_image, image.shape[:2])
    seen = trust > 0
    weight.reshape(-1)[texels[seen]] = trust[seen]
    colors.reshape(-1, 3)[texels[seen]] = sample(image, on_image[seen])
