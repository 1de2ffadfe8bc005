"""A picture's colours on the face model's UV sheet.

Only what the camera sees is sampled. What it does not see is taken from the other side of the face, mirrored, and what
is seen on neither side is filled smoothly from around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from Sim3DR import empty, interpolate, rasterize, vertex_normals
from tddfa._shared.arrays import bounds, checked_image
from tddfa.surface.sampling import sample
from tddfa.types import Mesh

SEEN, MIRRORED, FILLED = 255, 170, 85
"""Values of `Texture.mask`: where a texel's colour comes from; 0 lies outside the sheet."""

# The depth test runs on a rendering at most this large: vertices lie farther apart than its pixels.
_DEPTH_TEST_PX = 320
# Tolerance of the depth test, a share of the face's size: more than the rendering's steps, less than a lid's depth.
_DEPTH_TOLERANCE = 0.004
# Cosines between surface and line of sight up to which a point counts as not seen, and from which as fully seen.
_GRAZING, _FACING = 0.25, 0.6
# The mesh's outline is not exactly the face's. So near it (px of the depth test's rendering) may lie background; and so
# near to a surface that lies in front, that surface.
_RIM_PX, _OVERHANG_PX = 6, 2
# Texels that are painted beyond the sheet's edge, so that filtering in a viewer pulls in no black.
_PADDING = 4
# The fill is smooth, so it is computed on a sheet this small.
_FILL_PX = 128


@dataclass(frozen=True, eq=False)
class Texture:
    """A UV texture.

    Attributes
    ----------
    image : ndarray (size, size, 3) uint8
        BGR; v is up, so row 0 is v = 1.
    mask : ndarray (size, size) uint8
        `SEEN`, `MIRRORED` or `FILLED`; 0 outside the sheet.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]


class _Sheet:
    """The triangles of a UV sheet, rasterised: the same for every face of one face model."""

    def __init__(self, uv: NDArray[np.float32], triangles: NDArray[np.int32], size: int) -> None:
        flat = np.zeros((len(uv), 3), dtype=np.float32)
        flat[:, 0] = uv[:, 0] * size - 0.5
        flat[:, 1] = (1 - uv[:, 1]) * size - 0.5
        # Only the rows that the sheet covers are worked on; by the sixteen, so that they shrink by whole factors.
        low, high = bounds(flat[:, :2])
        top, bottom = (int(low[1]) - _PADDING) // 16 * 16, -((-int(high[1]) - _PADDING - 2) // 16) * 16
        self.rows = slice(int(np.clip(top, 0, size - 1)), int(np.clip(bottom, 1, size)))
        self.raster = rasterize(flat, triangles, (0, self.rows.start, size, self.rows.stop - self.rows.start))
        self.inside = self.raster.mask.astype(np.uint8)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _PADDING + 1, 2 * _PADDING + 1))
        self.painted = without_holes(cv2.dilate(self.inside, kernel))


class SameArray:
    """An array as a key: that array, or one of equal values; it lives as long as the key."""

    def __init__(self, array: NDArray[np.generic]) -> None:
        self.array = array

    def __hash__(self) -> int:
        # Of few of the values: comparing takes a twentieth of what a hash of all does.
        return hash((self.array.shape, self.array[:: len(self.array) // 16 + 1].tobytes()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SameArray) and (other.array is self.array or np.array_equal(other.array, self.array))


@lru_cache(maxsize=4)
def _sheet(uv: SameArray, triangles: SameArray, size: int) -> _Sheet:
    return _Sheet(uv.array, triangles.array, size)  # type: ignore[arg-type]


def unwrap(image: NDArray[np.uint8], mesh: Mesh, size: int = 512) -> Texture:
    """Texture of a face from the picture it was found in.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    mesh : Mesh
        With `uv`; the sheet is taken to be symmetric about u = 0.5.
    size : int
        Side of the texture in px, 16..8192.

    Returns
    -------
    Texture

    Raises
    ------
    TypeError, ValueError
        If an argument is something else, or if the mesh has no `uv`.
    """
    checked_image("image", image)
    if mesh.uv is None:
        raise ValueError("mesh: expected a mesh with uv, got none")
    if not isinstance(size, int | np.integer) or not 16 <= size <= 8192:
        raise ValueError(f"size: expected 16..8192 px, got {size!r}")
    whole = Texture(np.zeros((size, size, 3), dtype=np.uint8), np.zeros((size, size), dtype=np.uint8))
    if not len(mesh.vertices):
        return whole
    sheet = _sheet(SameArray(mesh.uv), SameArray(mesh.triangles), size)
    at = interpolate(sheet.raster, mesh.triangles, np.ascontiguousarray(mesh.vertices[:, :2]))
    weight = interpolate(sheet.raster, mesh.triangles, visibility(mesh, image.shape[:2])[:, None])[..., 0]
    direct = sample(*_shrunk(image, at, mesh, size))

    # All of this is of megabytes: `empty`, for it takes longer to get them from the system than to work on them.
    other = cv2.flip(weight, 1, dst=empty(weight.shape, np.float32))
    # of two sides that are both seen, the one that faces the camera counts for more: it is the sharper one
    share = np.maximum(weight, other, out=empty(weight.shape, np.float32))
    np.divide(weight, np.maximum(share, 1e-6, out=share), out=share)
    weight *= np.square(share, out=share)
    other *= np.subtract(1, weight, out=share)
    mirrored = cv2.flip(direct, 1, dst=empty(direct.shape, np.uint8))
    texture = cv2.blendLinear(direct, mirrored, weight, other, dst=empty(direct.shape, np.uint8))
    known = np.minimum(np.add(weight, other, out=share), 1, out=share)
    cv2.copyTo(_fill(texture, known), sheet.painted, dst=whole.image[sheet.rows])
    # FILLED, MIRRORED and SEEN are one, two and three times FILLED
    mask = sheet.inside + (known >= 0.5) * sheet.inside + (weight >= 0.5) * sheet.inside
    mask *= np.uint8(FILLED)
    whole.mask[sheet.rows] = mask
    return whole


def vertex_colors(image: NDArray[np.uint8], mesh: Mesh, texture: Texture | None = None) -> NDArray[np.float32]:
    """Colours of a face's vertices: the picture's where they are seen, the texture's where they are not.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    mesh : Mesh
        In px of the picture.
    texture : Texture, optional
        What `unwrap` gave for them, if that is at hand. A mesh without `uv` has none, and takes the picture's colours
        all over.

    Returns
    -------
    ndarray (n, 3) float32
        RGB in 0..1.
    """
    colors = sample(checked_image("image", image), mesh.vertices).astype(np.float32)
    if mesh.uv is not None and len(mesh.vertices):
        texture = unwrap(image, mesh) if texture is None else texture
        size = len(texture.image)
        at = np.column_stack([mesh.uv[:, 0] * size - 0.5, (1 - mesh.uv[:, 1]) * size - 0.5]).astype(np.float32)
        seen = visibility(mesh, image.shape[:2])[:, None]
        colors = colors * seen + sample(texture.image, at) * (1 - seen)
    return np.ascontiguousarray(colors[:, ::-1] / np.float32(255))


def visibility(mesh: Mesh, image_size: tuple[int, int]) -> NDArray[np.float32]:
    """How well the camera sees each vertex: 1 from the front, less at a grazing angle, 0 hidden or out of the picture.

    Parameters
    ----------
    mesh : Mesh
        In image px.
    image_size : tuple of int
        Height and width of the picture, px.

    Returns
    -------
    ndarray (n,) float32
        In 0..1.
    """
    if not len(mesh.vertices):
        return np.zeros(0, dtype=np.float32)
    facing = vertex_normals(mesh.vertices, mesh.triangles)[:, 2]
    weight = np.clip((facing - _GRAZING) * (1 / (_FACING - _GRAZING)), 0, 1)
    x, y = mesh.vertices[:, 0], mesh.vertices[:, 1]
    height, width = image_size
    weight *= (x > -0.5) & (y > -0.5) & (x < width - 0.5) & (y < height - 0.5)

    low, high = bounds(mesh.vertices)
    extent = float((high - low).max())
    scale = min(1.0, _DEPTH_TEST_PX / max(extent, 1e-6))
    small = (mesh.vertices - low) * np.float32(scale)
    columns, rows = (int(side * scale) + 2 for side in (high - low)[:2].tolist())
    raster = rasterize(small, mesh.triangles, (0, 0, columns, rows), cull="back")
    at = np.rint(small[:, 1]).astype(np.intp), np.rint(small[:, 0]).astype(np.intp)
    # The nearest surface around hides what lies well behind it. On a slope, depth changes over that distance too.
    around = np.ones((2 * _OVERHANG_PX + 1, 2 * _OVERHANG_PX + 1), np.uint8)
    nearest = cv2.dilate(raster.depth, around)[at]
    steepness = np.sqrt(np.clip(1 - facing * facing, 0, 1)) / np.maximum(facing, _GRAZING)
    weight *= small[:, 2] >= nearest - (_DEPTH_TOLERANCE * extent * scale + (1.5 * _OVERHANG_PX + 0.7) * steepness)
    silhouette = without_holes(raster.mask.view(np.uint8))
    rim = cv2.distanceTransform(cv2.copyMakeBorder(silhouette, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3)
    weight *= np.clip(rim[at[0] + 1, at[1] + 1] / _RIM_PX - 0.2, 0, 1)
    return np.asarray(weight, dtype=np.float32)


def without_holes(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fill what is 0 and not connected to the mask's border; the mouth's opening, say."""
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    _, flooded, _, _ = cv2.floodFill(padded, None, (0, 0), 2)
    return np.asarray(flooded[1:-1, 1:-1] != 2, dtype=np.uint8)


def _shrunk(
    image: NDArray[np.uint8], points: NDArray[np.float32], mesh: Mesh, size: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Shrink a picture whose pixels are much smaller than the texels, and the points in it with it.

    A bilinear sample looks at four pixels; between those of neighbouring texels the rest would be lost.
    """
    low, high = bounds(mesh.vertices[:, :2])
    factor = int(float((high - low).max()) / size)
    if factor < 2:
        return image, points
    sides = np.array(image.shape[1::-1])
    shrunk = np.maximum(sides // factor, 1)
    small = cv2.resize(image, shrunk.tolist(), interpolation=cv2.INTER_AREA)
    return np.asarray(small), (points + np.float32(0.5)) * (shrunk / sides).astype(np.float32) - np.float32(0.5)


def _fill(texture: NDArray[np.uint8], known: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Blend a smooth continuation in where `known` (0..1) is low: push-pull (Gortler et al., SIGGRAPH 1996)."""
    shape = tuple(max(1, round(side * min(1, _FILL_PX / max(known.shape)))) for side in known.shape[::-1])
    colors = cv2.resize(texture, shape, interpolation=cv2.INTER_AREA).astype(np.float32)
    weight = cv2.resize(known, shape, interpolation=cv2.INTER_AREA)[..., None]
    levels = [np.dstack([colors * weight, weight])]
    while max(levels[-1].shape[:2]) > 1:
        half = tuple(max(1, side // 2) for side in levels[-1].shape[1::-1])
        levels.append(cv2.resize(levels[-1], half, interpolation=cv2.INTER_AREA))
    coarsest = levels.pop().reshape(1, 1, 4)
    filled = coarsest[..., :3] / np.maximum(coarsest[..., 3:], 1e-6)
    for level in reversed(levels):
        filled = cv2.resize(filled, level.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        filled = level[..., :3] + (1 - level[..., 3:]) * filled
    filled = np.clip(filled, 0, 255).astype(np.uint8)
    smooth = cv2.resize(filled, known.shape[::-1], dst=empty(texture.shape, np.uint8), interpolation=cv2.INTER_LINEAR)
    unknown = np.subtract(1, known, out=empty(known.shape, np.float32))
    return np.asarray(cv2.blendLinear(texture, smooth, known, unknown, dst=empty(texture.shape, np.uint8)))
