"""A scan: the points of a surface, and the triangles between them if there are any."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from Sim3DR import vertex_normals
from tddfa._shared.arrays import checked

Floats = NDArray[np.float64]

# Neighbours of a point of a cloud from which its normal is computed.
_NORMAL_NEIGHBOURS = 16


@dataclass(frozen=True, eq=False)
class Scan:
    """A mesh, or a point cloud if there are no triangles.

    Attributes
    ----------
    vertices : ndarray (n, 3) float64
        In the scan's own unit and frame; at least one.
    triangles : ndarray (m, 3) int32
        Counter-clockwise as seen from outside; (0, 3) for a point cloud.
    colors : ndarray (n, 3) float32 or None
        RGB, 0..1.

    Examples
    --------
    >>> from tddfa.scan.mesh import Scan
    >>> corner = Scan(np.eye(3), [[0, 1, 2]])
    >>> corner.is_cloud, [round(float(number), 3) for number in corner.normals[0]]
    (False, [0.577, 0.577, 0.577])
    """

    vertices: Floats
    triangles: NDArray[np.int32]
    colors: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Check the arrays against each other."""
        vertices = checked("Scan.vertices", self.vertices, (None, 3), np.float64)
        if not len(vertices):
            raise ValueError("Scan.vertices: expected at least one, got none")
        triangles = checked("Scan.triangles", self.triangles, (None, 3), np.int32)
        if triangles.size and (triangles.min() < 0 or triangles.max() >= len(vertices)):
            raise ValueError(
                f"Scan.triangles: expected indices 0..{len(vertices) - 1}, got {triangles.min()}..{triangles.max()}"
            )
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "triangles", triangles)
        if self.colors is not None:
            object.__setattr__(self, "colors", checked("Scan.colors", self.colors, (len(vertices), 3)))

    @property
    def is_cloud(self) -> bool:
        """Whether there are no triangles."""
        return not len(self.triangles)

    @cached_property
    def normals(self) -> NDArray[np.float32]:
        """Unit normals (n, 3) of the vertices; those of a cloud point away from its middle."""
        if self.is_cloud:
            return _cloud_normals(self.vertices)
        # float32 needs small numbers: a scan may lie far from the origin
        low = self.vertices.min(axis=0)
        size = max(float(np.ptp(self.vertices, axis=0).max()), 1e-12)
        # the renderer's frame is left-handed
        return -vertex_normals(((self.vertices - low) / size).astype(np.float32), self.triangles)

    @cached_property
    def areas(self) -> Floats:
        """Area (m,) of each triangle."""
        a, b, c = (self.vertices[self.triangles[:, k]] for k in range(3))
        return np.asarray(np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2)


def _cloud_normals(points: Floats) -> NDArray[np.float32]:
    """Normals of points from their neighbours: the direction in which these spread least."""
    count = min(_NORMAL_NEIGHBOURS, len(points))
    _, near = cKDTree(points).query(points, k=count)
    around = points[near.reshape(len(points), -1)]
    around = around - around.mean(axis=1, keepdims=True)
    _, directions = np.linalg.eigh(np.einsum("nki,nkj->nij", around, around))
    normals = directions[:, :, 0]
    outwards = np.einsum("ni,ni->n", normals, points - points.mean(axis=0)) >= 0
    return np.asarray(np.where(outwards[:, None], normals, -normals), dtype=np.float32)
