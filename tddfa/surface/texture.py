"""The texture of a face: colours of an image on the UV map of the face model.

Only the visible part of the face is sampled. The hidden part is copied from the other side of the face, mirrored. What
is visible on neither side is filled smoothly from its surroundings.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from Sim3DR import bounds, empty, interpolate, rasterize
from tddfa._shared.arrays import checked_image
from tddfa.surface._texels import blend_known, darken, mix_sides, sample_surface
from tddfa.surface.sampling import push_pull, sample
from tddfa.surface.visibility import visibility, without_holes
from tddfa.types import Mesh

SEEN, MIRRORED, FILLED = 255, 170, 85
"""Values of `Texture.mask`: the source of a texel's colour. 0 is outside of the UV map."""

# Texels that are coloured beyond the edge of the UV map, so that filtering in a viewer does not blend in black.
_PADDING = 4
# The fill is smooth, so it is computed on a map this small.
_FILL_PX = 128


@dataclass(frozen=True, eq=False)
class Texture:
    """A UV texture.

    Attributes
    ----------
    image : ndarray (size, size, 3) uint8
        BGR; v is up, so row 0 is v = 1.
    mask : ndarray (size, size) uint8
        `SEEN`, `MIRRORED` or `FILLED`; 0 outside of the UV map.

    Examples
    --------
    >>> texture = unwrap(image, mesh, size=64)
    >>> bool((texture.mask == SEEN).any())
    True
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]


class _UvMap:
    """The triangles of a UV map, rasterised: the same for every face of one face model."""

    def __init__(self, uv: NDArray[np.float32], triangles: NDArray[np.int32], size: int) -> None:
        flat = np.zeros((len(uv), 3), dtype=np.float32)
        flat[:, :2] = texel_positions(uv, size)
        # Only the rows that the UV map covers are processed; in multiples of 16, so that they shrink by whole factors.
        low, high = bounds(flat[:, :2])
        top, bottom = (int(low[1]) - _PADDING) // 16 * 16, -((-int(high[1]) - _PADDING - 2) // 16) * 16
        self.rows = slice(int(np.clip(top, 0, size - 1)), int(np.clip(bottom, 1, size)))
        self.raster = rasterize(flat, triangles, (0, self.rows.start, size, self.rows.stop - self.rows.start))
        self.inside = self.raster.mask.astype(np.uint8)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _PADDING + 1, 2 * _PADDING + 1))
        self.coloured = without_holes(cv2.dilate(self.inside, kernel))


def texel_positions(uv: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Convert texture coordinates to px of a square texture.

    Parameters
    ----------
    uv : ndarray (n, 2) float32
        u and v in 0..1; v is up.
    size : int
        Side of the texture, px.

    Returns
    -------
    ndarray (n, 2) float32
        x right, y down; the centre of the first texel is (0, 0).

    Examples
    --------
    >>> texel_positions(np.float32([[0, 1], [0.5, 0.5]]), 100).tolist()
    [[-0.5, -0.5], [49.5, 49.5]]
    """
    return np.column_stack([uv[:, 0] * size - 0.5, (1 - uv[:, 1]) * size - 0.5]).astype(np.float32)


class SameArray:
    """An array as the key of a cache; arrays with equal values are equal keys. The key keeps the array alive."""

    def __init__(self, array: NDArray[np.generic]) -> None:
        self.array = array

    def __hash__(self) -> int:
        # of a few values: a comparison takes 5 % of the time of a hash of all values
        return hash((self.array.shape, self.array[:: len(self.array) // 16 + 1].tobytes()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SameArray) and (other.array is self.array or np.array_equal(other.array, self.array))


@lru_cache(maxsize=4)
def _uv_map(uv: SameArray, triangles: SameArray, size: int) -> _UvMap:
    return _UvMap(uv.array, triangles.array, size)  # type: ignore[arg-type]


def unwrap(image: NDArray[np.uint8], mesh: Mesh, *, size: int = 512) -> Texture:
    """Compute the texture of a face from the image that shows it.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    mesh : Mesh
        The face in image px, with `uv`. The UV map is assumed to be symmetric about u = 0.5.
    size : int
        Side of the texture in px, 16..8192.

    Returns
    -------
    Texture

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or dtype, or if the mesh has no `uv`.

    Examples
    --------
    >>> unwrap(image, mesh, size=64).image.shape
    (64, 64, 3)
    """
    checked_image("image", image)
    if mesh.uv is None:
        raise ValueError("mesh: expected a mesh with uv, got none")
    if not isinstance(size, int | np.integer) or not 16 <= size <= 8192:
        raise ValueError(f"size: expected 16..8192 px, got {size!r}")
    texture = Texture(np.zeros((size, size, 3), dtype=np.uint8), np.zeros((size, size), dtype=np.uint8))
    if not len(mesh.vertices):
        return texture
    uv_map = _uv_map(SameArray(mesh.uv), SameArray(mesh.triangles), size)
    raster = uv_map.raster
    shape = raster.depth.shape
    # These buffers are megabytes. `empty` reuses memory: the system would take longer to provide it than this to run.
    direct, colors = empty((*shape, 3), np.uint8), empty((*shape, 3), np.uint8)
    weight, known = empty(shape, np.float32), empty(shape, np.float32)
    seen = visibility(mesh, image.shape[:2])
    shrunk, scale = _shrunk(image, mesh, size)
    sample_surface(
        raster.triangle_id, raster.barycentric, mesh.triangles, mesh.vertices, seen, shrunk, *scale, direct, weight
    )
    # where both sides are visible, the one that faces the camera counts for more: it is the sharper one
    mix_sides(direct, weight, known, colors)
    filled = _fill(colors, known, uv_map.coloured)
    if mesh.shade is not None:
        dark = _dark_texels(SameArray(mesh.uv), SameArray(mesh.triangles), size, SameArray(mesh.shade))
        # what no photo shows of dark parts, such as the inside of the mouth
        darken(*dark, known, filled)
    cv2.copyTo(filled, uv_map.coloured, dst=texture.image[uv_map.rows])
    # FILLED, MIRRORED and SEEN are one, two and three times FILLED
    mask = uv_map.inside + (known >= 0.5) * uv_map.inside + (weight >= 0.5) * uv_map.inside
    mask *= np.uint8(FILLED)
    texture.mask[uv_map.rows] = mask
    return texture


def vertex_colors(image: NDArray[np.uint8], mesh: Mesh, texture: Texture | None = None) -> NDArray[np.float32]:
    """Compute the colours of a face's vertices.

    A visible vertex gets its colour from the image, a hidden one from the texture.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    mesh : Mesh
        In image px.
    texture : Texture, optional
        The result of `unwrap` for them, if it is available. A mesh without `uv` has no texture; all of its vertices get
        their colours from the image.

    Returns
    -------
    ndarray (n, 3) float32
        RGB in 0..1.

    Raises
    ------
    TypeError, ValueError
        If `image` has the wrong type, shape or dtype.

    Examples
    --------
    >>> colors = vertex_colors(image, mesh)
    >>> colors.shape == mesh.vertices.shape
    True
    """
    colors = sample(checked_image("image", image), mesh.vertices).astype(np.float32)
    if mesh.uv is not None and len(mesh.vertices):
        texture = unwrap(image, mesh) if texture is None else texture
        seen = visibility(mesh, image.shape[:2])[:, None]
        colors = colors * seen + sample(texture.image, texel_positions(mesh.uv, len(texture.image))) * (1 - seen)
    return np.ascontiguousarray(colors[:, ::-1] / np.float32(255))


def _shrunk(image: NDArray[np.uint8], mesh: Mesh, size: int) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """Shrink an image whose pixels are much smaller than the texels; return it, contiguous, and its scales in x and y.

    A bilinear sample reads four pixels. The pixels between the samples of neighbouring texels would be lost.
    """
    low, high = bounds(mesh.vertices)
    factor = int(float((high - low)[:2].max()) / size)
    if factor < 2:
        return np.ascontiguousarray(image), (1.0, 1.0)
    sides = np.array(image.shape[1::-1])
    shrunk = np.maximum(sides // factor, 1)
    small = cv2.resize(image, shrunk.tolist(), interpolation=cv2.INTER_AREA)
    scale_x, scale_y = (shrunk / sides).tolist()
    return np.asarray(small), (scale_x, scale_y)


@lru_cache(maxsize=4)
def _dark_texels(
    uv: SameArray, triangles: SameArray, size: int, shade: SameArray
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Indices and shades of the texels of a UV map (its rows alone) that are darker than the skin."""
    uv_map = _uv_map(uv, triangles, size)
    values = interpolate(uv_map.raster, triangles.array, shade.array[:, None])[..., 0].reshape(-1)
    dark = np.flatnonzero((uv_map.inside.reshape(-1) > 0) & (values < 1))
    return dark.astype(np.int64), values[dark]


def _fill(texture: NDArray[np.uint8], known: NDArray[np.float32], where: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blend in a smooth continuation where `known` (0..1) is low; only texels of `where` are computed."""
    shape = tuple(max(1, round(side * min(1, _FILL_PX / max(known.shape)))) for side in known.shape[::-1])
    colors = cv2.resize(texture, shape, interpolation=cv2.INTER_AREA).astype(np.float32)
    weight = cv2.resize(known, shape, interpolation=cv2.INTER_AREA)[..., None]
    filled = push_pull(np.dstack([colors * weight, weight]))
    filled = np.clip(filled, 0, 255).astype(np.uint8)
    smooth = cv2.resize(filled, known.shape[::-1], dst=empty(texture.shape, np.uint8), interpolation=cv2.INTER_LINEAR)
    blended = empty(texture.shape, np.uint8)
    blend_known(texture, np.asarray(smooth), known, where, blended)
    return blended
