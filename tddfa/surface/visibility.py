"""Visibility of the points of a surface: a depth test against the surface itself."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from Sim3DR import Raster, Rendering, bounds, rasterize, render, vertex_normals
from tddfa.model.face_model import INNER_MOUTH
from tddfa.surface import _texels
from tddfa.surface.neighbours import rings_of
from tddfa.types import Mesh

Floats = NDArray[np.float32]

# `visibility` renders the mesh at most this large: the spacing of the vertices is coarser than these pixels.
_VERTEX_TEST_PX = 320
# Tolerance of its depth test, a fraction of the face's size: more than the steps of the rendering, less than the
# thickness of an eyelid.
_VERTEX_TOLERANCE = 0.004
# Cosines between normal and line of sight: up to the first a vertex is invisible, from the second on fully visible.
_GRAZING, _FACING = 0.12, 0.38
# An alignment has an error of about 1 % of the face's size. Up to the first distance from the outline, a fraction of
# the size, the image may show the background, and from the second on it does not. Within the third distance of a
# surface in front, px of the rendering, it may show that surface.
_RIM, _INSIDE, _OVERHANG_PX = 0.0115, 0.026, 2
# `visible_points` renders the mesh this large, whatever its size.
_POINT_TEST_PX = 256
# A point this far behind the nearest surface, a fraction of the face's size, is hidden. An eyelid is 0.01 in front of
# the eyeball; the corner of the far eye is 0.1 behind the nose.
_HIDDEN_FROM = 0.03
# A nearer face covers another one within its convex outline, which is enlarged by the first number for errors of the
# alignment, and extended upwards by the second one for hair; fractions of the face's size.
_MARGIN, _HAIR = 0.02, 0.2
# columns and rows of a pixel and its eight neighbours
_NEIGHBOURHOOD = np.indices((3, 3)).reshape(2, 1, 9) - 1


class DepthTest:
    """A small rendering of a mesh, to test whether its nearest surface hides a point.

    Parameters
    ----------
    mesh : Mesh
        In image px, with at least one vertex; z larger is nearer.
    size : int
        Length of the mesh's longest extent in the rendering, px.
    enlarge : bool
        Render a smaller mesh at this size too.
    cull : {"none", "back", "front"}
        As in `Sim3DR.rasterize`.
    triangles : bool
        Rasterise, so that the triangle at each pixel is known. That takes longer.

    Attributes
    ----------
    extent : float
        Longest side of the mesh's bounding box in x, y and z, image px.
    scale : float
        Px of the rendering per image px.
    size : float
        The extent in px of the rendering.
    vertices : ndarray (n, 3) float32
        The mesh's vertices in px of the rendering.
    raster : Raster or Rendering
        The rendering: its depth, and its triangles on request.
    """

    def __init__(
        self, mesh: Mesh, size: int, *, enlarge: bool = True, cull: str = "back", triangles: bool = False
    ) -> None:
        self._low, high = bounds(mesh.vertices)
        sides = high - self._low
        self.extent = max(float(sides.max()), 1e-6)
        longest = size if enlarge else min(size, self.extent)
        self.scale = longest / self.extent
        self.size = float(longest)
        self.vertices = self.place(mesh.vertices)
        columns, rows = (int(side * longest / self.extent) + 2 for side in sides[:2].tolist())
        window = (0, 0, columns, rows)
        self.raster: Raster | Rendering = (
            rasterize(self.vertices, mesh.triangles, window, cull=cull)
            if triangles
            else render(self.vertices, mesh.triangles, None, window, cull=cull)
        )

    def place(self, points: Floats) -> Floats:
        """Convert points (k, 3) from image px to px of the rendering."""
        placed = np.empty_like(points)
        for axis in range(3):  # a third of the time of a subtraction of rows
            np.subtract(points[:, axis], self._low[axis], out=placed[:, axis])
        placed *= np.float32(self.scale)
        return placed

    @property
    def placing(self) -> tuple[float, float, float, float]:
        """The three numbers that `place` subtracts, and its scale."""
        x, y, z = self._low.tolist()
        return x, y, z, self.scale

    @staticmethod
    def pixels(placed: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the pixels nearest to placed points."""
        return np.rint(placed[:, 1]).astype(np.intp), np.rint(placed[:, 0]).astype(np.intp)

    def nearest_depth(self, reach: int) -> Floats:
        """Depth of the nearest surface within `reach` px of each pixel (h, w)."""
        square = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
        return np.asarray(cv2.dilate(self.raster.depth, square), dtype=np.float32)

    def vertices_behind(self, reach: int = 0) -> Floats:
        """Depth (n,) by which each vertex is behind the nearest surface within `reach` px, in px of the rendering."""
        depth = self.nearest_depth(reach) if reach else self.raster.depth
        return np.asarray(depth[self.pixels(self.vertices)] - self.vertices[:, 2], dtype=np.float32)


def inside_image(points: Floats, image_size: tuple[int, int]) -> NDArray[np.bool_]:
    """Whether points are inside an image, borders of its pixels included.

    Parameters
    ----------
    points : ndarray (n, 2 or more) float32
        x and y in px; further columns are ignored.
    image_size : tuple of int
        Height and width of the image, px.

    Returns
    -------
    ndarray (n,) bool

    Examples
    --------
    >>> inside_image(np.float32([[0, 0], [9.4, 5], [9.6, 5]]), (8, 10)).tolist()
    [True, True, False]
    """
    height, width = image_size
    x, y = points[:, 0], points[:, 1]
    return np.asarray((x > -0.5) & (y > -0.5) & (x < width - 0.5) & (y < height - 0.5))


def visibility(mesh: Mesh, image_size: tuple[int, int]) -> Floats:
    """Compute how well the camera sees each vertex.

    Parameters
    ----------
    mesh : Mesh
        In image px.
    image_size : tuple of int
        Height and width of the image, px.

    Returns
    -------
    ndarray (n,) float32
        1 for a vertex seen from the front, less at a grazing angle, 0 for a hidden vertex and one outside of the image.

    Examples
    --------
    >>> weights = visibility(mesh, image.shape[:2])
    >>> weights.shape == (len(mesh.vertices),)
    True
    """
    return visibility_and_rim(mesh, image_size)[0] if len(mesh.vertices) else np.zeros(0, dtype=np.float32)


def visibility_and_rim(mesh: Mesh, image_size: tuple[int, int]) -> tuple[Floats, Floats, DepthTest]:
    """Compute `visibility`, each vertex's distance (n,) to the outline relative to the face's size, and the test.

    Distances are measured up to 0.09; those of hidden vertices are 0.
    """
    test = DepthTest(mesh, _VERTEX_TEST_PX, enlarge=False)
    facing, weight, rim = (np.empty(len(mesh.vertices), dtype=np.float32) for _ in range(3))
    _texels.unhidden(
        test.vertices,
        vertex_normals(mesh.vertices, mesh.triangles),
        mesh.part,
        test.raster.depth,
        # The nearest surface around hides everything well behind it. On a slope, depth changes over that distance too.
        # What an open mouth shows is visible at any angle: the teeth in front of its inside face the camera.
        test.nearest_depth(_OVERHANG_PX),
        (_GRAZING, _FACING, _VERTEX_TOLERANCE * test.size, 1.5 * _OVERHANG_PX + 0.7, 0.7, INNER_MOUTH),
        facing,
    )
    low, high = _RIM * test.size + 0.5, _INSIDE * test.size + 1.5
    rings, outline = rings_of(mesh.triangles, len(mesh.vertices)), _outline_distance(test)
    _texels.feather(
        *rings, test.vertices, mesh.part, outline, low, high, mesh.vertices, image_size, facing, weight, rim
    )
    rim /= np.float32(test.size)
    return weight, rim, test


def uncovered(mesh: Mesh, others: Sequence[Mesh]) -> Floats:
    """Compute which vertices no nearer face covers.

    Parameters
    ----------
    mesh : Mesh
        In image px.
    others : sequence of Mesh
        Other faces of the image. One view shows no distances, but heads are of about one size: a larger face is nearer.

    Returns
    -------
    ndarray (n,) float32
        0 for a vertex within the outline of a nearer face, enlarged by a margin for hair and errors; 1 for the others.

    Examples
    --------
    >>> bool(uncovered(mesh, [mesh]).all())
    True
    """
    free = np.ones(len(mesh.vertices), dtype=np.float32)
    others = [other for other in others if other is not mesh and len(other.vertices)]
    if not others:
        return free
    low, high = bounds(mesh.vertices)
    size = np.linalg.norm(high - low)
    for other in others:
        first, last = bounds(other.vertices)
        other_size = np.linalg.norm(last - first)
        reach = (_MARGIN + _HAIR) * other_size
        apart = ((first - reach)[:2] > high[:2]).any() or ((last + reach)[:2] < low[:2]).any()
        if apart or other_size <= size:
            continue
        corners = _outline_of_head(other, float(other_size))
        # a point is inside a convex outline if it is on one side of all edges
        x, y = mesh.vertices[:, 0], mesh.vertices[:, 1]
        inside = np.ones(len(free), dtype=np.bool_)
        for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            inside &= (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) >= 0
        free[inside] = 0
    return free


def _outline_of_head(mesh: Mesh, size: float) -> NDArray[np.float64]:
    """Corners (k, 2) of a convex outline of a head with its hair, clockwise in the image."""
    points = mesh.vertices[:, :2].astype(np.float64)
    hull = cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float64)
    middle = hull.mean(axis=0)
    away = hull - middle
    hull = hull + _MARGIN * size * away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
    if mesh.uv is not None:
        # v rises towards the hair
        up = (mesh.uv[:, 1] - mesh.uv[:, 1].mean()) @ (points - points.mean(axis=0))
        hair = hull + _HAIR * size * up / max(float(np.linalg.norm(up)), 1e-6)
        hull = cv2.convexHull(np.concatenate([hull, hair]).astype(np.float32))[:, 0].astype(np.float64)
    return hull


def _outline_distance(test: DepthTest) -> Floats:
    """Distance, up to 29 px, of each pixel of the rendering, with a border of one pixel, to the outline.

    Openings are no outline.
    """
    rows, columns = test.raster.depth.shape
    padded = np.zeros((rows + 2, columns + 2), dtype=np.uint8)
    padded[1:-1, 1:-1] = test.raster.mask
    distance = np.empty(padded.shape, dtype=np.float32)
    _texels.outline_distance(_without_holes(padded), distance)
    return distance


def visible_points(
    mesh: Mesh,
    triangles: NDArray[np.int32],
    weights: NDArray[np.float32],
    image_size: tuple[int, int] | None = None,
) -> NDArray[np.bool_]:
    """Test which points of a surface the camera sees.

    A point on the outline is visible: it is hidden only if every surface rendered around it is well in front of it.
    From behind, where a face model has no surface, only the linings of mouth, nostrils and lids are visible.

    Parameters
    ----------
    mesh : Mesh
        In image px, z larger is nearer.
    triangles : ndarray (k, 3) int32
        Vertices around each point.
    weights : ndarray (k, 3) float32
        Their barycentric weights.
    image_size : tuple of int, optional
        Height and width of the image, px: a point outside of it is not visible.

    Returns
    -------
    ndarray (k,) bool

    Examples
    --------
    >>> model = aligner.face_model
    >>> visible_points(mesh, model.landmark_triangles, model.landmark_weights).shape
    (68,)
    """
    if not len(mesh.triangles):
        return np.zeros(len(triangles), dtype=np.bool_)  # without a surface, nothing faces the viewer
    points = np.asarray((mesh.vertices[triangles] * weights[..., None]).sum(axis=1))
    test = DepthTest(mesh, _POINT_TEST_PX, cull="none", triangles=True)
    placed, raster = test.place(points), test.raster
    assert isinstance(raster, Raster)
    rows, columns = raster.depth.shape
    row, column = (pixel[:, None] + step for pixel, step in zip(test.pixels(placed), _NEIGHBOURHOOD, strict=True))
    at = np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)
    depth, mask = raster.depth[at], raster.mask[at]
    first, second, third = test.vertices[mesh.triangles[raster.triangle_id[at]], :2].transpose(2, 0, 1, 3)
    (ax, ay), (bx, by) = np.moveaxis(second - first, -1, 0), np.moveaxis(third - first, -1, 0)
    facing = mask & (ax * by < ay * bx)
    # A head is not hollow. Where the viewer would see the inside of the surface, skull and hair hide everything behind.
    # Beyond the outline, nothing can hide a point.
    depth = np.where(facing, depth, np.where(mask, np.inf, -np.inf))
    visible = placed[:, 2] >= depth.min(axis=1) - _HIDDEN_FROM * test.extent * test.scale
    # if nothing in the neighbourhood faces the viewer, the point is on the outline of the inside
    visible &= facing.any(axis=1)
    if image_size is not None:
        visible &= inside_image(points, image_size)
    return np.asarray(visible)


def without_holes(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fill the holes of a mask: zeros that are not connected to its border, such as the opening of the mouth.

    Examples
    --------
    >>> ring = np.uint8([[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 0, 1, 0], [0, 1, 1, 1, 0]])
    >>> without_holes(ring)[2].tolist()
    [0, 1, 1, 1, 0]
    """
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return np.ascontiguousarray(_without_holes(padded)[1:-1, 1:-1])


def _without_holes(padded: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same for a mask with a border of zeros, in place."""
    _, flooded, _, _ = cv2.floodFill(padded, None, (0, 0), 2)
    return np.asarray(flooded != 2, dtype=np.uint8)
