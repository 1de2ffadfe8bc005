"""Re-rendering of a photo's face: its texture on its mesh, composited over an image with soft edges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from Sim3DR import interpolate, rasterize
from tddfa.model.face_model import FaceModel
from tddfa.surface.texture import unwrap
from tddfa.surface.visibility import visibility
from tddfa.synthetic.bust import bust_of
from tddfa.types import Mesh

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

MOUTH = (0.35, 0.83, 0.65, 0.97)
"""Left, bottom, right and top, in u and v, of the inside of the mouth on the UV map; the face model leaves it free."""

# Large enough that texels are smaller than the px of a 160 px crop.
_TEXTURE_SIZE = 256
# Factor of `visibility`, which is small on a slanted surface: a slanted view is still better than the mirrored side.
_CERTAINTY = 6.0
# The face is drawn at this factor of the size, and averaged.
_SUPERSAMPLE = 2
# Width of the fade at the mesh's edge, as a fraction of the face's height: colours seldom match there.
_FADE = 0.11
# The inside of the mouth: the scale of each ring relative to the rim, and its depth behind the rim, in mouth widths.
_RINGS = ((1.0, 0.0), (0.85, 0.12), (0.5, 0.25), (0.0, 0.3))


@dataclass(frozen=True, eq=False)
class Surface:
    """A face model's surface with the mouth closed from within, so that an open mouth shows no hole.

    Attributes
    ----------
    model : FaceModel
        Of the face.
    triangles : ndarray (m, 3) int32
        Its own first.
    uv : ndarray (n, 2) float32
        Of the face model, with the inside of the mouth in a free place.
    fade : ndarray (n,) float32
        0 at the outer edge to 1 a little inside.
    rim : ndarray (k,) int
        Vertices around the opening of the mouth; empty if the face model has no opening.
    """

    model: FaceModel
    triangles: NDArray[np.int32]
    uv: Floats
    fade: Floats
    rim: NDArray[np.intp]

    def vertices(self, face: Floats) -> Floats:
        """All vertices (n, 3), from those of the face model, in its frame."""
        if not len(self.rim):
            return face
        rim = face[self.rim]
        width = float(np.ptp(rim[:, 0]))
        middle = rim.mean(axis=0)
        back = np.array([0, 0, width])
        rings = [
            np.asarray(middle + (rim - middle) * ring_scale - depth * back, np.float32) for ring_scale, depth in _RINGS
        ]
        return np.asarray(np.concatenate([face, *rings]), dtype=np.float32)

    def mesh(self, camera: Floats, face: Floats) -> Mesh:
        """Project the surface to px, from a face model's vertices and a camera (3, 4)."""
        projected = self.vertices(face) @ camera[:, :3].T + camera[:, 3]
        return Mesh(np.ascontiguousarray(projected, dtype=np.float32), self.triangles, uv=self.uv)


@lru_cache(maxsize=4)
def surface_of(model: FaceModel) -> Surface:
    """The surface of a face model that has `uv`; computed once per model."""
    assert model.uv is not None
    rim = _mouth_rim(model)
    count, n = len(rim), len(model.mean)
    triangles: list[NDArray[np.integer]] = [model.triangles]
    uv: list[NDArray[np.floating]] = [model.uv]
    if count:
        uv += [_mouth_uv(model, rim, ring_scale) for ring_scale, _ in _RINGS]
        k = np.arange(count)
        after = (k + 1) % count
        for ring in range(len(_RINGS) - 1):
            outer, inner = n + ring * count, n + (ring + 1) * count
            triangles.append(np.column_stack([outer + after, outer + k, inner + k]))
            triangles.append(np.column_stack([outer + after, inner + k, inner + after]))
    fade = np.concatenate([_fade(model), np.ones(len(_RINGS) * count)])
    return Surface(
        model,
        np.concatenate(triangles).astype(np.int32),
        np.concatenate(uv).astype(np.float32),
        fade.astype(np.float32),
        rim,
    )


@dataclass(frozen=True, eq=False)
class Drawing:
    """A rendered face without background.

    Attributes
    ----------
    color : ndarray (size, size, 3) uint8
        BGR.
    cover : ndarray (size, size) float32
        Opacity, 0..1, faded towards the surface's edge.
    """

    color: Image
    cover: Floats

    def over(self, background: Image, max_opacity: Floats | None = None) -> Image:
        """Composite the face over an image of the same size, with an opacity of at most `max_opacity` (size, size)."""
        cover = self.cover if max_opacity is None else np.minimum(self.cover, max_opacity)
        return np.asarray(cv2.blendLinear(self.color, background, cover, 1 - cover))


class Pixels:
    """A rasterised surface, at twice the size of the image.

    Parameters
    ----------
    surface : Surface
        The surface to draw.
    vertices : ndarray (n, 3)
        All of its vertices, in px of the image.
    size : int
        Side of the image, px.
    """

    def __init__(self, surface: Surface, vertices: Floats, size: int) -> None:
        self.surface, self.size = surface, size
        self._raster = rasterize(vertices, surface.triangles, (0, 0, size, size), cull="back", factor=_SUPERSAMPLE)

    @property
    def in_mouth(self) -> NDArray[np.bool_]:
        """Where the inside of the mouth is visible, (2 size, 2 size)."""
        return self._raster.triangle_id >= len(self.surface.model.triangles)

    def blend(self, attributes: NDArray[np.generic]) -> Floats:
        """Interpolate attributes (n, c) of the vertices: (2 size, 2 size, c), 0 outside the surface."""
        return interpolate(self._raster, self.surface.triangles, attributes)

    def blend_reduced(self, attribute: Floats) -> Floats:
        """Interpolate an attribute (n,) of the vertices, averaged to the size of the image: (size, size)."""
        return self._reduced(self.blend(attribute[:, None])[..., 0])

    def _reduced(self, values: Floats) -> Floats:
        return np.asarray(cv2.resize(values, (self.size, self.size), interpolation=cv2.INTER_AREA))

    def drawing(self, color: Image) -> Drawing:
        """Average colours (2 size, 2 size, 3) to the size of the image."""
        cover = self.blend(self.surface.fade[:, None])[..., 0]
        # weighted by the cover, so that empty pixels do not contribute
        premultiplied = color.astype(np.float32) * cover[..., None]
        small_cover, mixed = self._reduced(cover), self._reduced(premultiplied)
        mixed /= np.maximum(small_cover, 1e-6)[..., None]
        return Drawing(np.rint(np.clip(mixed, 0, 255)).astype(np.uint8), small_cover)


def photo_colors(crop: Image, mesh: Mesh, pixels: Pixels) -> Image:
    """Colours (2 size, 2 size, 3) of a surface's pixels, from the photo in which the surface is `mesh`.

    Visible points take the colour of the photo. Hidden points take that of its unwrapped texture, which fills them from
    the other side of the face or from their neighbourhood (`tddfa.surface.texture.unwrap`).
    """
    assert mesh.uv is not None
    seen = np.clip(_CERTAINTY * visibility(mesh, crop.shape[:2]), 0, 1)
    values = pixels.blend(np.column_stack([mesh.vertices[:, :2], mesh.uv, seen]))
    direct = _sampled(crop, values[..., :2])
    texture = unwrap(crop, mesh, size=_TEXTURE_SIZE).image
    on_map = values[..., 2:4] * np.float32(_TEXTURE_SIZE) * np.array([1, -1], np.float32)
    on_map += np.array([-0.5, _TEXTURE_SIZE - 0.5], np.float32)
    alpha = np.ascontiguousarray(values[..., 4])
    return np.asarray(cv2.blendLinear(direct, _sampled(texture, on_map), alpha, 1 - alpha))


def moved_colors(crop: Image, before: Floats, pixels: Pixels) -> Image:
    """Colours (2 size, 2 size, 3) of a surface's pixels, from a photo where its vertices are at `before` (n, 3)."""
    return _sampled(crop, pixels.blend(before[:, :2]))


def _sampled(image: Image, positions: Floats) -> Image:
    return np.asarray(cv2.remap(image, positions, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _fade(model: FaceModel) -> NDArray[np.float64]:
    from scipy.spatial import cKDTree

    distance, _ = cKDTree(model.mean[bust_of(model).loop]).query(model.mean)
    fade = np.clip(distance / (_FADE * float(np.ptp(model.mean[:, 1]))), 0, 1)
    fade[model.part > 0] = 1
    return np.asarray(fade * fade * (3 - 2 * fade))


def _mouth_rim(model: FaceModel) -> NDArray[np.intp]:
    """The edge of the mesh around the mouth, in order; empty without an opening, or without a place on the UV map."""
    none = np.zeros(0, dtype=np.intp)
    assert model.uv is not None
    landmarks = (model.mean[model.landmark_triangles] * model.landmark_weights[..., None]).sum(axis=1)
    mouth, width = landmarks[60:68].mean(axis=0), float(np.linalg.norm(landmarks[54] - landmarks[48]))
    if model.uv[:, 1].max() > MOUTH[1] - 0.02:
        return none
    for loop in bust_of(model).plugs:
        edge = model.mean[loop]
        if np.linalg.norm(edge.mean(axis=0) - mouth) < 0.4 * width and np.ptp(edge[:, 0]) > 0.4 * width:
            return np.asarray(loop, dtype=np.intp)
    return none


def _mouth_uv(model: FaceModel, rim: NDArray[np.intp], ring_scale: float) -> NDArray[np.float64]:
    """UV coordinates of a ring of the inside of the mouth: an ellipse, with the upper lip on its upper half."""
    left, low, right, high = MOUTH
    x = model.mean[rim, 0] - model.mean[rim, 0].mean()
    across = np.clip(x / np.abs(x).max(), -1, 1)
    # the lips touch at rest; the order along the rim separates them
    order = np.arange(len(rim))
    corners = sorted((int(np.argmin(x)), int(np.argmax(x))))
    between = (order > corners[0]) & (order < corners[1])
    y = model.mean[rim, 1]
    upper = between if y[between].mean() > y[~between].mean() else ~between
    height = np.sqrt(1 - across * across) * np.where(upper, 1, -1)
    u = (left + right) / 2 + ring_scale * across * (right - left) / 2
    return np.column_stack([u, (low + high) / 2 + ring_scale * height * (high - low) / 2])
