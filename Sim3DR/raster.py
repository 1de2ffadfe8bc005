"""Rasterise meshes: the visible triangle of each pixel, and vertex attributes interpolated over the pixels.

Frame: x right, y down, pixel centres at whole numbers; larger z is nearer to the viewer. Triangles are wound
counter-clockwise as seen from outside in a frame with y *up*, so here a front face has the negative signed area
``(x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)``.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from Sim3DR._checks import check_array, check_native, float_array, supersampling, thread_count, triangle_array
from Sim3DR._library import native

_CULL = {"none": 0, "back": 1, "front": 2}
# 4 GiB of raster: more than any image needs, and a limit for hostile sizes
_MAX_PIXELS = 2**28
_MAX_CORNER = 2**29


@dataclass(frozen=True, eq=False)
class Raster:
    """The visible surface at each pixel of a window of the image.

    The arrays of `rasterize` share one block of memory. It is released when none of them is referenced any more.

    Attributes
    ----------
    depth : ndarray (h, w) float32
        z of the nearest surface, larger is nearer; -inf in empty pixels.
    triangle_id : ndarray (h, w) int32
        Index of its triangle; -1 in empty pixels.
    barycentric : ndarray (h, w, 2) float32
        Weights of that triangle's first and second vertex; the third is 1 minus both. 0 in empty pixels.
    left, top : int
        Column and row of the image that element ``[0, 0]`` belongs to.
    """

    depth: NDArray[np.float32]
    triangle_id: NDArray[np.int32]
    barycentric: NDArray[np.float32]
    left: int = 0
    top: int = 0

    def __post_init__(self) -> None:
        """Check the invariants that the native code relies on."""
        shape = np.shape(self.triangle_id)
        if len(shape) != 2:
            raise ValueError(f"Raster.triangle_id: expected shape (h, w), got {shape}")
        check_native("Raster.depth", self.depth, shape, np.float32)
        check_native("Raster.triangle_id", self.triangle_id, shape, np.int32)
        check_native("Raster.barycentric", self.barycentric, (*shape, 2), np.float32)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Pixels with a surface, (h, w) bool."""
        return self.triangle_id >= 0


def bounds(points: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compute the minimum and the maximum of each column of some points.

    NumPy's ``min(axis=0)``, which reads rows of few values, takes a hundred times as long.

    Parameters
    ----------
    points : ndarray (n, k) float32
        At least one row, of finite numbers.

    Returns
    -------
    low, high : ndarray (k,) float32

    Raises
    ------
    ValueError
        If there is no row or no column.

    Examples
    --------
    >>> low, high = bounds(np.float32([[1, 7], [3, 5]]))
    >>> low.tolist(), high.tolist()
    ([1.0, 5.0], [3.0, 7.0])
    """
    points = np.asarray(points, dtype=np.float32)
    if points.ndim != 2 or not points.size:
        raise ValueError(f"points: expected shape (n, k) with at least one row, got {points.shape}")
    if points.strides[1] != points.itemsize or points.strides[0] % points.itemsize:
        points = np.ascontiguousarray(points)
    out = np.empty((2, points.shape[1]), dtype=np.float32)
    native.bounds(points, out)
    return out[0], out[1]


def covered_window(
    vertices: NDArray[np.float32], image_size: tuple[int, int], *, margin: int = 0
) -> tuple[int, int, int, int] | None:
    """Compute the smallest window of an image that contains all pixels a mesh covers.

    Parameters
    ----------
    vertices : ndarray (n, 2 or more) float32
        x and y in px; further columns are ignored.
    image_size : tuple of int
        Height and width of the image, px.
    margin : int
        Pixels added on each side.

    Returns
    -------
    (left, top, width, height) or None
        In whole px, clipped to the image, as `rasterize` takes it. None if the mesh lies outside of the image, or has
        no vertices.

    Raises
    ------
    ValueError
        If x or y of a vertex is NaN.

    Examples
    --------
    >>> triangle = np.float32([[2.5, 1, 0], [30, 4, 0], [3, 8.2, 0]])
    >>> covered_window(triangle, (20, 10))
    (2, 1, 8, 9)
    >>> covered_window(triangle - 99, (20, 10)) is None
    True
    """
    if not len(vertices):
        return None
    # the comparisons of `bounds` pass over NaN; all columns are read first, because that is faster
    if np.isnan(vertices).any() and (bad := np.count_nonzero(np.isnan(vertices[:, :2]))):
        raise ValueError(f"vertices: expected finite x and y, got {bad} that are NaN")
    low, high = bounds(vertices)
    spans = []
    for axis, side in enumerate(image_size[::-1]):
        first = int(np.clip(np.floor(low[axis]) - margin, 0, side))
        last = int(np.clip(np.ceil(high[axis]) + 1 + margin, 0, side))
        if first >= last:
            return None
        spans.append((first, last - first))
    (left, width), (top, height) = spans
    return left, top, width, height


def rasterize(
    vertices: ArrayLike,
    triangles: ArrayLike,
    window: Sequence[int],
    *,
    cull: str = "none",
    factor: int = 1,
    threads: int = 1,
) -> Raster:
    """Find the nearest triangle at each pixel of a window.

    A pixel belongs to a triangle if its centre lies inside, or on a left or top edge: a pixel on an edge that
    two triangles share is drawn once. At equal depth the triangle of lower index is visible. Triangles of no
    area are skipped. Several meshes hide each other when they are concatenated into one.

    Parameters
    ----------
    vertices : array_like (n, 3)
        x, y in px and z.
    triangles : array_like (m, 3) of int
        Vertex indices.
    window : (left, top, width, height)
        The part of the image to render, in whole pixels; its corner may lie outside of the image.
    cull : {"none", "back", "front"}
        Triangles to leave out: those with their back, or their front, to the viewer.
    factor : int
        Supersampling, 1..16: each pixel is split into `factor` x `factor`. The raster is `factor` times as large, and
        its `left`, `top` and depth are `factor` times those of the window, as `composite` expects it.
    threads : int
        Maximum number of threads, 1..256; fewer are used for small work. The result does not depend on it.

    Returns
    -------
    Raster

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or dtype.

    Examples
    --------
    >>> raster = rasterize([[0, 0, 5], [3, 0, 5], [0, 3, 5]], [[0, 1, 2]], (0, 0, 4, 3))
    >>> raster.triangle_id
    array([[ 0,  0,  0, -1],
           [ 0,  0, -1, -1],
           [ 0, -1, -1, -1]], dtype=int32)
    """
    scene = Scene.checked(vertices, triangles, window, cull, factor)
    left, top, width, height = scene.window
    pixels = width * height
    block = empty((4 * pixels,), np.float32)
    depth = block[:pixels].reshape(height, width)
    triangle_id = block[pixels : 2 * pixels].view(np.int32).reshape(height, width)
    barycentric = block[2 * pixels :].reshape(height, width, 2)
    native.rasterize(
        scene.vertices, scene.triangles, left, top, scene.cull, thread_count(threads), depth, triangle_id, barycentric
    )
    return Raster(depth, triangle_id, barycentric, left, top)


def interpolate(
    raster: Raster,
    triangles: ArrayLike,
    attributes: ArrayLike,
    *,
    background: ArrayLike = 0.0,
    dtype: DTypeLike = np.float32,
    out: NDArray[Any] | None = None,
    threads: int = 1,
) -> NDArray[Any]:
    """Interpolate vertex attributes over a raster.

    Parameters
    ----------
    raster : Raster
        The result of `rasterize` for these triangles.
    triangles : array_like (m, 3) of int
        Vertex indices.
    attributes : array_like (n, c)
        Any c numbers per vertex: colour, texture coordinates, normals. NaN and infinity spread over their
        triangles.
    background : float or array_like (c,)
        Value of empty pixels.
    dtype : {float32, uint8}
        Type of the result. Bytes are rounded to the nearest, half to even, and saturated; NaN gives 0.
    out : ndarray (h, w, c), optional
        Array for the result: of `dtype`, C-contiguous, sharing no memory with the other arguments.
    threads : int
        Maximum number of threads, 1..256; fewer are used for small work. The result does not depend on it.

    Returns
    -------
    ndarray (h, w, c)
        `out`, or a new array.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or dtype.

    Examples
    --------
    >>> triangles = [[0, 1, 2]]
    >>> raster = rasterize([[0, 0, 5], [4, 0, 5], [0, 4, 5]], triangles, (0, 0, 4, 1))
    >>> interpolate(raster, triangles, [[0], [100], [0]])[0, :, 0].tolist()
    [0.0, 25.0, 50.0, 75.0]
    """
    if not isinstance(raster, Raster):
        raise TypeError(f"raster: expected a Raster, got {type(raster).__name__}")
    values = float_array("attributes", attributes, (None, None), finite=False)
    rows, channels = values.shape
    if channels == 0:
        raise ValueError(f"attributes: expected at least one column, got shape {values.shape}")
    corners = triangle_array(triangles, "attributes", rows)
    seen = int(raster.triangle_id.max(initial=-1))
    if seen >= len(corners):
        raise ValueError(
            f"triangles: expected at least {seen + 1}, because the raster shows triangle {seen}, got {len(corners)}"
        )
    fill = float_array("background", background, () if np.ndim(background) == 0 else (channels,), finite=False)
    fill = np.ascontiguousarray(np.broadcast_to(fill, (channels,)))
    shape = (*raster.triangle_id.shape, channels)
    kind = np.dtype(dtype)
    if kind not in (np.float32, np.uint8):
        raise TypeError(f"dtype: expected float32 or uint8, got {kind}")
    if out is None:
        out = empty(shape, kind)
    else:
        _check_out(out, shape, kind, (raster.triangle_id, raster.barycentric, corners, values, fill))
    arguments = (raster.triangle_id, raster.barycentric, corners, values, fill, thread_count(threads))
    (native.interpolate if kind == np.float32 else native.interpolate_bytes)(*arguments, out)
    return out


def vertex_normals(vertices: ArrayLike, triangles: ArrayLike) -> NDArray[np.float32]:
    """Compute unit normals of the vertices, each triangle weighted by its area.

    Parameters
    ----------
    vertices : array_like (n, 3)
        x right, y down, z towards the viewer, all in one unit.
    triangles : array_like (m, 3) of int
        Vertex indices.

    Returns
    -------
    ndarray (n, 3) float32
        They point outward, in the frame of `vertices`: that of a front face has z > 0. The frame is left-handed,
        so the sum of ``cross(v2 - v0, v1 - v0)`` is normalised. Zero where a vertex has no triangle, or only triangles
        of no area.

    Examples
    --------
    >>> vertex_normals([[0, 0, 5], [0, 4, 5], [4, 0, 5]], [[0, 1, 2]])[0].tolist()
    [0.0, 0.0, 1.0]
    """
    points = float_array("vertices", vertices, (None, 3))
    corners = triangle_array(triangles, "vertices", len(points))
    normals = np.empty_like(points)
    native.vertex_normals(points, corners, normals)
    return normals


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an uninitialised array whose memory is reused by the next such array.

    Every face of a video needs megabytes of buffers; page faults in fresh memory would take longer than drawing. At
    most 64 MiB are kept for reuse.

    Examples
    --------
    >>> empty((2, 3), np.uint8).shape
    (2, 3)
    """
    kind, count = np.dtype(dtype), math.prod(shape)
    block = native.Block(max(count, 1) * kind.itemsize)
    return np.frombuffer(memoryview(block), dtype=kind, count=count).reshape(shape)


class Scene(NamedTuple):
    """Checked arguments of a rendering: the vertices and the window are those of the supersampled image."""

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    window: tuple[int, int, int, int]
    cull: int

    @classmethod
    def checked(cls, vertices: ArrayLike, triangles: ArrayLike, window: Sequence[int], cull: str, factor: int) -> Scene:
        """Check the arguments of `rasterize`."""
        points = float_array("vertices", vertices, (None, 3))
        corners = triangle_array(triangles, "vertices", len(points))
        left, top, width, height = _window(window)
        if not isinstance(cull, str) or cull not in _CULL:
            raise ValueError(f"cull: expected 'none', 'back' or 'front', got {cull!r}")
        factor = supersampling(factor)
        if factor > 1:
            # a pixel's edge, half a pixel from its centre, stays an edge
            with np.errstate(over="ignore"):  # a triangle with a corner beyond float32 is not drawn
                points = points * np.float32(factor)
            points[:, :2] += np.float32((factor - 1) / 2)
            left, top, width, height = _window([factor * value for value in (left, top, width, height)])
        return cls(points, corners, (left, top, width, height), _CULL[cull])


def _window(window: Sequence[int]) -> tuple[int, int, int, int]:
    try:
        left, top, width, height = (operator.index(value) for value in window)
    except (TypeError, ValueError):
        raise TypeError(f"window: expected four whole numbers (left, top, width, height), got {window!r}") from None
    if width < 0 or height < 0:
        raise ValueError(f"window: expected width and height of at least 0, got {width} x {height}")
    if max(width, height, width * height) > _MAX_PIXELS:
        raise ValueError(f"window: expected at most {_MAX_PIXELS} pixels, got {width} x {height}")
    if max(abs(left), abs(top)) > _MAX_CORNER:
        raise ValueError(f"window: expected left and top within +-{_MAX_CORNER}, got ({left}, {top})")
    return left, top, width, height


def _check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], inputs: Sequence[NDArray[Any]]) -> None:
    check_array("out", out, shape, dtype)
    if not out.flags.c_contiguous or not out.flags.writeable:
        got = f"C-contiguous {out.flags.c_contiguous}, writeable {out.flags.writeable}"
        raise ValueError(f"out: expected a C-contiguous, writeable array, got {got}")
    # Overwritten ids or triangles would be read as indices: out of bounds, which is worse than wrong pixels.
    if any(np.may_share_memory(out, array) for array in inputs):
        raise ValueError("out: expected memory of its own, got an array that shares it with another argument")
