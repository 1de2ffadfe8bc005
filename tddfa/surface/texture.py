"""The texture of a face: colours of an image on the UV map of the face model.

Only visible parts of the face are sampled. A visible part is not hidden by another surface and does not face away. It
is not so near to the outline that an alignment error would sample the background. Around the face, it has the colour of
skin. Other parts are copied from the other side of the face, mirrored, with the light of their own side. Parts that are
visible on neither side are filled smoothly from their surroundings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from Sim3DR import bounds, empty, interpolate, rasterize
from tddfa._shared.arrays import cached_by_arrays, checked_image
from tddfa.model.face_model import INNER_MOUTH
from tddfa.surface._texels import complete, mix_sides, paint_eye, sample_surface
from tddfa.surface.mouth import MouthTexels, sample_mouth
from tddfa.surface.sampling import sample
from tddfa.surface.skin import skin_trust
from tddfa.surface.visibility import uncovered, visibility, visibility_and_rim, without_holes
from tddfa.types import Mesh

SEEN, MIRRORED, FILLED = 255, 170, 85
"""Values of `Texture.mask`: the source of a texel's colour. 0 is outside of the UV map."""

# Texels that are coloured beyond the edge of the UV map, so that filtering in a viewer does not blend in black.
_PADDING = 4
# Fill and change of light are smooth, so they are computed on a map this small.
_FILL_PX = 128
# Weight of "no difference in light" compared with an observed difference.
_RELIT_NEARBY = 0.03
# An eyeball is not replaced by the other one if at least the first fraction of it is visible, and at least the second
# fraction of what is visible of the other one. With less, the image shows lashes and the nose. Iris and pupil have a
# `Mesh.tone` under the third value.
_EYE_SEEN, _AS_WELL_SEEN, _IRIS_UNDER = 0.15, 0.5, 0.6
# Colours of an eye that is not visible: grey of its white relative to the brightest channel of the skin; maximum grey;
# fraction of the skin's colour in the white; iris (BGR) relative to the grey. If at least the next number of texels is
# visible, their median colour is taken instead. What is taken for a white may be a lid, lashes or tinted glass: it gets
# at most the next fraction of the skin's saturation, and at least the last fraction of the grey.
_EYE_RULE = (1.15, 235.0, 0.2, (0.25, 0.33, 0.42), 12, 0.5, 0.6)
# Powers of the shade for blue, green and red inside the mouth.
_MOUTH_TINT = (1.25, 1.25, 0.85)


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

    def new_texture(self) -> Texture:
        """A texture of which the rows that the UV map does not cover are 0."""
        size = self.raster.depth.shape[1]
        texture = Texture(np.empty((size, size, 3), dtype=np.uint8), np.empty((size, size), dtype=np.uint8))
        for array in (texture.image, texture.mask):
            array[: self.rows.start] = 0
            array[self.rows.stop :] = 0
        return texture


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


# Maps of textures up to this size are kept, 20 MB each; one of 8192 px takes 1.3 GB.
_LARGEST_KEPT = 1024


@cached_by_arrays(maxsize=4)
def _uv_map(uv: NDArray[np.float32], triangles: NDArray[np.int32], size: int) -> _UvMap:
    return _UvMap(uv, triangles, size)


def unwrap(image: NDArray[np.uint8], mesh: Mesh, *, size: int = 512, others: Sequence[Mesh] = ()) -> Texture:
    """Compute the texture of a face from the image that shows it.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    mesh : Mesh
        The face in image px, with `uv`. The UV map is assumed to be symmetric about u = 0.5.
    size : int
        Side of the texture in px, 16..8192.
    others : sequence of Mesh
        Other faces of the image: where a nearer one covers the face, the image is not sampled. A larger face counts as
        nearer. The mesh itself may be among them.

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
    image = np.ascontiguousarray(checked_image("image", image))
    if mesh.uv is None:
        raise ValueError("mesh: expected a mesh with uv, got none")
    if not isinstance(size, int | np.integer) or not 16 <= size <= 8192:
        raise ValueError(f"size: expected 16..8192 px, got {size!r}")
    if not len(mesh.vertices):
        return Texture(np.zeros((size, size, 3), dtype=np.uint8), np.zeros((size, size), dtype=np.uint8))
    uv_map = (_uv_map if size <= _LARGEST_KEPT else _UvMap)(mesh.uv, mesh.triangles, size)
    texture = uv_map.new_texture()
    raster = uv_map.raster
    shape = raster.depth.shape
    # These buffers take megabytes. `empty` reuses memory, because the system would need longer than this function.
    direct, weight = empty((*shape, 3), np.uint8), empty(shape, np.float32)
    parts = _parts(mesh, size, uv_map)
    seen, rim, test = visibility_and_rim(mesh, image.shape[:2])
    seen *= uncovered(mesh, others)
    seen *= skin_trust(image, mesh, seen, rim)
    shrunk, scale = _shrunk(image, mesh, size)
    triangle_id = raster.triangle_id if parts is None else parts.outside_mouth
    sample_surface(triangle_id, raster.barycentric, mesh.triangles, mesh.vertices, seen, shrunk, *scale, direct, weight)
    if parts is not None:
        sample_mouth(shrunk, scale, mesh, test, parts.mouth, direct, weight)
    change, fill = _completed(direct, weight)
    mirrorable, paint = uv_map.inside, _NO_PAINT
    if parts is not None:
        mirrorable, paint = parts.paint(direct, weight, fill, mirrorable)
    mask = texture.mask[uv_map.rows]
    mix_sides(
        direct,
        weight,
        mirrorable,
        change,
        fill,
        paint,
        uv_map.coloured,
        uv_map.inside,
        mask,
        texture.image[uv_map.rows],
    )
    mask *= np.uint8(FILLED)  # MIRRORED and SEEN are two and three times FILLED
    return texture


def vertex_colors(
    image: NDArray[np.uint8], mesh: Mesh, texture: Texture | None = None, *, others: Sequence[Mesh] = ()
) -> NDArray[np.float32]:
    """Compute the colours of a face's vertices.

    A visible vertex gets its colour from the image, a hidden one from the texture.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    mesh : Mesh
        In image px.
    texture : Texture, optional
        Result of `unwrap` for this image and mesh, if it is computed already. A mesh without `uv` has no texture; all
        of its vertices get their colours from the image.
    others : sequence of Mesh
        Other faces of the image, see `unwrap`.

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
        texture = unwrap(image, mesh, others=others) if texture is None else texture
        seen = (visibility(mesh, image.shape[:2]) * uncovered(mesh, others))[:, None]
        colors = colors * seen + sample(texture.image, texel_positions(mesh.uv, len(texture.image))) * (1 - seen)
    return np.ascontiguousarray(colors[:, ::-1] / np.float32(255))


def _shrunk(image: NDArray[np.uint8], mesh: Mesh, size: int) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """Shrink an image whose pixels are much smaller than the texels; return it, and its scales in x and y.

    A bilinear sample reads four pixels. The pixels between the samples of neighbouring texels would be lost.
    """
    low, high = bounds(mesh.vertices)
    # an image shrinks to a pixel at most, however far a vertex is from the others
    factor = int(min(float((high - low)[:2].max()) / size, max(image.shape[:2])))
    if factor < 2:
        return image, (1.0, 1.0)
    sides = np.array(image.shape[1::-1])
    shrunk = np.maximum(sides // factor, 1)
    small = cv2.resize(image, shrunk.tolist(), interpolation=cv2.INTER_AREA)
    scale_x, scale_y = (shrunk / sides).tolist()
    return np.asarray(small), (scale_x, scale_y)


def _completed(direct: NDArray[np.uint8], weight: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The change of light of mirrored colours, plus 128, and the fill, both smooth and small.

    Where a texel and its mirror image are both visible, the difference of light between the sides is known. Continued
    smoothly, it joins mirrored parts without a seam.
    """
    height, width = (max(1, round(side * min(1, _FILL_PX / max(weight.shape)))) for side in weight.shape)
    change, fill = np.empty((2, height, width, 3), np.uint8)
    complete(direct, weight, _RELIT_NEARBY, change, fill)
    return change, fill


class _Eye(NamedTuple):
    """Texels (flat indices) of an eyeball, their shade, which of them are white and iris, and the mix of both."""

    texels: NDArray[np.int64]
    shade: NDArray[np.float32]
    white: NDArray[np.uint8]
    iris: NDArray[np.uint8]
    mix: NDArray[np.float64]

    @classmethod
    def of(cls, texels: NDArray[np.int64], shade: NDArray[np.float32], tones: NDArray[np.float32]) -> _Eye:
        """From the `Mesh.tone` of the texels. The pupil is dark, the iris has its colour, and the rest is white."""
        dark_to_white = (0.16, 0.42, 1.06)
        mix = np.stack([np.interp(tones, dark_to_white, parts) for parts in ((0.2, 1, 0), (0, 0, 1))], axis=1)
        iris = (tones > 0.3) & (tones < _IRIS_UNDER)
        return cls(texels, shade, (tones > 1).view(np.uint8), iris.view(np.uint8), mix)


# Texels of the fill that are darkened, their factors, texels that get other colours, and those.
_Paint = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64], NDArray[np.uint8]]
_NONE = np.zeros(0, np.int64)
_NO_PAINT: _Paint = _NONE, np.zeros((0, 3), np.float32), _NONE, np.zeros((0, 3), np.uint8)


class _Parts(NamedTuple):
    """Texels (flat indices) of eyes and inside of the mouth, which have other colours than the skin around them.

    `outside_mouth` is the triangle at each texel, -1 inside the mouth, where each texel has a depth test of its own.
    `eyes_order` sorts the texels of all eyes.
    """

    outside_mouth: NDArray[np.int32]
    dark: NDArray[np.int64]
    shade: NDArray[np.float32]
    mouth: MouthTexels
    eyes: tuple[_Eye, ...]
    eyes_texels: NDArray[np.int64]
    eyes_order: NDArray[np.intp]

    def paint(
        self,
        direct: NDArray[np.uint8],
        weight: NDArray[np.float32],
        fill: NDArray[np.uint8],
        mirrorable: NDArray[np.uint8],
    ) -> tuple[NDArray[np.uint8], _Paint]:
        """Return where the other side may be mirrored (not onto a visible eye), and how the fill is painted.

        The inside of the mouth is dark red; whites, irises and pupils have the colours of those that are visible.
        """
        mirrorable, trust = mirrorable.copy(), weight.reshape(-1)
        seen = [np.count_nonzero(trust[eye.texels] > 0.5) / len(eye.texels) for eye in self.eyes]
        least = max(_EYE_SEEN, _AS_WELL_SEEN * max(seen, default=0))
        painted = [np.empty((len(eye.texels), 3), np.uint8) for eye in self.eyes]
        for eye, fraction, out in zip(self.eyes, seen, painted, strict=True):
            is_open = bool(fraction > least)  # closed: what is visible may be the lids
            if is_open:
                mirrorable.reshape(-1)[eye.texels] = 0
            paint_eye(fill, eye, _EYE_RULE, direct, weight, is_open, out)
        colors = np.concatenate([np.empty((0, 3), np.uint8), *painted])
        return mirrorable, (self.dark, self.shade, self.eyes_texels, colors[self.eyes_order])


def _parts(mesh: Mesh, size: int, uv_map: _UvMap) -> _Parts | None:
    if mesh.shade is None or mesh.tone is None or mesh.part is None:
        return None
    assert mesh.uv is not None
    if size > _LARGEST_KEPT:
        return _make_parts(uv_map, mesh.triangles, mesh.shade, mesh.tone, mesh.part)
    return _kept_parts(mesh.uv, mesh.triangles, mesh.shade, mesh.tone, mesh.part, size)


@cached_by_arrays(maxsize=4)
def _kept_parts(
    uv: NDArray[np.float32],
    triangles: NDArray[np.int32],
    shade: NDArray[np.float32],
    tone: NDArray[np.float32],
    part: NDArray[np.uint8],
    size: int,
) -> _Parts:
    return _make_parts(_uv_map(uv, triangles, size), triangles, shade, tone, part)


def _make_parts(
    uv_map: _UvMap,
    triangles: NDArray[np.int32],
    shade: NDArray[np.float32],
    tone: NDArray[np.float32],
    part: NDArray[np.uint8],
) -> _Parts:
    columns = np.column_stack([shade, tone, *(part == number for number in (1, 2))])
    shades, tones, *eyes = np.moveaxis(interpolate(uv_map.raster, triangles, columns).reshape(-1, 4), 1, 0)
    inside = uv_map.inside.reshape(-1) > 0
    dark = np.flatnonzero(inside & (shades < 1))
    # darker than skin, the more so in green and blue
    tint = np.power(np.clip(shades[:, None], 0, 1), np.array(_MOUTH_TINT, dtype=np.float32)).astype(np.float32)
    balls = (np.flatnonzero(inside & (eye > 0.99)) for eye in eyes)
    mouth = MouthTexels.of(uv_map.raster, triangles, part == INNER_MOUTH)
    outside_mouth = uv_map.raster.triangle_id.copy()
    outside_mouth.reshape(-1)[mouth.texels] = -1
    of_eyes = tuple(_Eye.of(ball, tint[ball], tones[ball]) for ball in balls if len(ball))
    of_all = np.concatenate([_NONE, *(eye.texels for eye in of_eyes)])
    order = np.argsort(of_all, kind="stable")
    return _Parts(outside_mouth, dark, tint[dark], mouth, of_eyes, of_all[order], order)
