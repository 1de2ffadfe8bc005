"""Images of a scan from any direction. Their depth maps a pixel back to the surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from Sim3DR import Raster, interpolate, rasterize
from tddfa.scan.mesh import Scan
from tddfa.scan.sampling import evenly_spread

Floats = NDArray[np.float64]

# BGR of a surface without colours, and of what is behind it.
_SKIN, _BEHIND = (150.0, 175.0, 210.0), 96.0
# Light of a surface seen from the side, and from the front.
_AMBIENT, _HEADLIGHT = 0.25, 0.75
# A cloud is drawn with so many points, each a fan of triangles over its neighbours.
_CLOUD_POINTS, _FAN = 20_000, 6


@dataclass(frozen=True, eq=False)
class View:
    """An image of a scan in parallel projection.

    Attributes
    ----------
    image : ndarray (size, size, 3) uint8
        BGR.
    raster : Raster
    rotation : ndarray (3, 3)
        Scan to view frame: x right, y up, z towards the viewer.
    centre : ndarray (3,)
        The point of the scan in the middle of the image.
    scale : float
        Px in a unit of the scan.
    """

    image: NDArray[np.uint8]
    raster: Raster
    rotation: Floats
    centre: Floats
    scale: float

    def pixels(self, points: Floats) -> Floats:
        """Points (n, 3) of the scan to px, with z towards the viewer in px too."""
        return place(points, self.rotation, self.centre, self.scale, len(self.image))

    def lifted(self, pixels: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Points (n, 3) of the surface at pixels (n, 2), and whether there is a surface."""
        size = len(self.image)
        at = np.rint(pixels).astype(np.intp)
        inside = ((at >= 0) & (at < size)).all(axis=1)
        x, y = at.clip(0, size - 1).T
        there = inside & (self.raster.triangle_id[y, x] >= 0)
        depth = np.where(there, self.raster.depth[y, x], 0.0)
        seen = np.column_stack([pixels[:, 0] - size / 2, size / 2 - pixels[:, 1], depth]) / self.scale
        return seen @ self.rotation + self.centre, there


def place(points: Floats, rotation: Floats, centre: Floats, scale: float, size: int) -> Floats:
    """Points (n, 3) to px of an image of `size`: x right, y down, z towards the viewer."""
    return np.asarray(((points - centre) @ rotation.T * scale) * (1, -1, 1) + (size / 2, size / 2, 0))


def drawable(scan: Scan) -> Scan:
    """The scan itself; for a cloud, a mesh of small fans of triangles that looks like it."""
    if not scan.is_cloud:
        return scan
    chosen = evenly_spread(scan.vertices, _CLOUD_POINTS, np.random.default_rng(0))
    points = scan.vertices[chosen]
    normals = scan.normals[chosen].astype(np.float64)
    count = min(_FAN + 1, len(points))
    near = cKDTree(points).query(points, k=count)[1].reshape(len(points), count)[:, 1:]
    if near.shape[1] < 2:
        return Scan(points, np.zeros((0, 3), np.int32))
    across = np.cross(normals, np.where(np.abs(normals[:, :1]) < 0.8, [[1.0, 0, 0]], [[0, 1.0, 0]]))
    other = np.cross(normals, across)
    moves = points[near] - points[:, None]
    angle = np.arctan2(np.einsum("nki,ni->nk", moves, other), np.einsum("nki,ni->nk", moves, across))
    around = np.take_along_axis(near, np.argsort(angle, axis=1), axis=1)
    own = np.broadcast_to(np.arange(len(points))[:, None], around.shape)
    triangles = np.stack([own, around, np.roll(around, -1, axis=1)], axis=2).reshape(-1, 3)
    colors = None if scan.colors is None else scan.colors[chosen]
    return Scan(points, triangles.astype(np.int32), colors)


def simplified(scan: Scan, cells: int) -> Scan:
    """Join the vertices in each cell of a grid of `cells` along the longest side of a mesh."""
    low = scan.vertices.min(axis=0)
    side = max(float(np.ptp(scan.vertices, axis=0).max()), 1e-12) / cells
    at = np.floor((scan.vertices - low) / side).astype(np.int64)
    _, first, inverse = np.unique(
        (at[:, 0] * (cells + 2) + at[:, 1]) * (cells + 2) + at[:, 2], return_index=True, return_inverse=True
    )
    inverse = inverse.reshape(-1)
    count = np.bincount(inverse)
    vertices = np.column_stack([np.bincount(inverse, scan.vertices[:, k]) / count for k in range(3)])
    triangles = inverse[scan.triangles]
    a, b, c = triangles.T
    triangles = triangles[(a != b) & (b != c) & (a != c)]
    colors = None if scan.colors is None else scan.colors[first]
    return Scan(vertices, triangles.astype(np.int32), colors)


def view(scan: Scan, rotation: Floats, centre: Floats, scale: float, size: int, *, colored: bool = True) -> View:
    """Draw a mesh, both sides of its surface, lit from the viewer.

    Parameters
    ----------
    scan : Scan
        With triangles (`drawable`).
    rotation : ndarray (3, 3)
        Scan to view frame: x right, y up, z towards the viewer.
    centre : ndarray (3,)
        Middle of the image.
    scale : float
        Px in a unit of the scan.
    size : int
        Side of the image, px.
    colored : bool
        Draw the scan's colours, if it has any.
    """
    placed = place(scan.vertices, rotation, centre, scale, size).astype(np.float32)
    raster = rasterize(placed, scan.triangles, (0, 0, size, size))
    facing = np.abs(scan.normals @ rotation[2].astype(np.float32))
    light = (_AMBIENT + _HEADLIGHT * facing)[:, None]
    own = 255 * scan.colors[:, ::-1] if colored and scan.colors is not None else np.asarray([_SKIN])
    image = interpolate(raster, scan.triangles, np.float32(light * own), background=_BEHIND)
    return View(np.rint(image.clip(0, 255)).astype(np.uint8), raster, rotation, centre, scale)
