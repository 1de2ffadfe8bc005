"""A photo's own face drawn anew: its texture on its mesh, laid over a picture with soft edges."""

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
"""u and v of two corners of the place on the sheet that the mouth's inside has; a face model leaves it free."""

# A texture's texels are smaller than the px of a crop of 160.
_TEXTURE_SIZE = 256
# `visibility` falls off where a surface is seen at a slant; a slant is still better than what the other side shows.
_CERTAINTY = 6.0
# The face is drawn this many times larger, and averaged.
_SUPERSAMPLE = 2
# From the mesh's edge inwards, a share of the face's height, it fades into the picture: colours seldom meet there.
_FADE = 0.11
# The mouth's inside: each ring's share of the rim's width, and how far behind it, in widths of the mouth.
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
        As of the face model, with the mouth's inside where that has nothing.
    fade : ndarray (n,) float32
        0 at the outer edge to 1 a little inside.
    rim : ndarray (k,) int
        Vertices around the mouth's opening; none if the face model has no such opening.
    """

    model: FaceModel
    triangles: NDArray[np.int32]
    uv: Floats
    fade: Floats
    rim: NDArray[np.intp]

    def vertices(self, face: Floats) -> Floats:
        """All vertices (n, 3) from those of the face model, in its frame."""
        if not len(self.rim):
            return face
        rim = face[self.rim]
        width = float(np.ptp(rim[:, 0]))
        middle = rim.mean(axis=0)
        back = np.array([0, 0, width])
        rings = [np.asarray(middle + (rim - middle) * share - depth * back, np.float32) for share, depth in _RINGS]
        return np.asarray(np.concatenate([face, *rings]), dtype=np.float32)

    def mesh(self, camera: Floats, face: Floats) -> Mesh:
        """The surface in px, from a face model's vertices and a camera (3, 4)."""
        projected = self.vertices(face) @ camera[:, :3].T + camera[:, 3]
        return Mesh(np.ascontiguousarray(projected, dtype=np.float32), self.triangles, uv=self.uv)


@lru_cache(maxsize=4)
def surface_of(model: FaceModel) -> Surface:
    """The surface of a face model, which has `uv`; computed once a model."""
    assert model.uv is not None
    rim = _mouth_rim(model)
    count, n = len(rim), len(model.mean)
    triangles: list[NDArray[np.integer]] = [model.triangles]
    uv: list[NDArray[np.floating]] = [model.uv]
    if count:
        uv += [_mouth_sheet(model, rim, share) for share, _ in _RINGS]
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
    """A face drawn by itself.

    Attributes
    ----------
    color : ndarray (size, size, 3) uint8
        BGR.
    cover : ndarray (size, size) float32
        How much of each pixel it covers, 0..1, faded towards the surface's edge.
    """

    color: Image
    cover: Floats

    def over(self, picture: Image, share: Floats | None = None) -> Image:
        """Lay it over a picture of the same size, no more of each pixel than a `share` (size, size)."""
        cover = self.cover if share is None else np.minimum(self.cover, share)
        return np.asarray(cv2.blendLinear(self.color, picture, cover, 1 - cover))


class Pixels:
    """What a picture of a surface shows where, at twice the picture's size.

    Parameters
    ----------
    surface : Surface
        What is drawn.
    vertices : ndarray (n, 3)
        All of its vertices, in px of the picture.
    size : int
        Side of the picture, px.
    """

    def __init__(self, surface: Surface, vertices: Floats, size: int) -> None:
        self.surface, self.size = surface, size
        self._raster = rasterize(vertices, surface.triangles, (0, 0, size, size), cull="back", factor=_SUPERSAMPLE)

    @property
    def in_mouth(self) -> NDArray[np.bool_]:
        """Where the mouth's inside is seen, (2 size, 2 size)."""
        return self._raster.triangle_id >= len(self.surface.model.triangles)

    def blend(self, attributes: NDArray[np.generic]) -> Floats:
        """Attributes (n, c) of the vertices over the pixels (2 size, 2 size, c); 0 where there is no surface."""
        return interpolate(self._raster, self.surface.triangles, attributes)

    def blend_reduced(self, attribute: Floats) -> Floats:
        """An attribute (n,) of the vertices over the image's own pixels (size, size)."""
        return self._reduced(self.blend(attribute[:, None])[..., 0])

    def _reduced(self, values: Floats) -> Floats:
        return np.asarray(cv2.resize(values, (self.size, self.size), interpolation=cv2.INTER_AREA))

    def drawing(self, color: Image) -> Drawing:
        """Colours (2 size, 2 size, 3) averaged to the picture's size."""
        cover = self.blend(self.surface.fade[:, None])[..., 0]
        # averaged with the weight of what is covered, so that nothing of the empty pixels' colour comes in
        premultiplied = color.astype(np.float32) * cover[..., None]
        share, mixed = self._reduced(cover), self._reduced(premultiplied)
        mixed /= np.maximum(share, 1e-6)[..., None]
        return Drawing(np.rint(np.clip(mixed, 0, 255)).astype(np.uint8), share)


def photo_colors(crop: Image, mesh: Mesh, pixels: Pixels) -> Image:
    """Colours (2 size, 2 size, 3) of a surface's pixels, from the photo in which the surface is `mesh`.

    What the photo shows is taken from it; what it does not, from its unwrapped texture, where the other side of the
    face or the neighbourhood stands in (`tddfa.surface.texture.unwrap`).
    """
    assert mesh.uv is not None
    seen = np.clip(_CERTAINTY * visibility(mesh, crop.shape[:2]), 0, 1)
    values = pixels.blend(np.column_stack([mesh.vertices[:, :2], mesh.uv, seen]))
    direct = _at(crop, values[..., :2])
    texture = unwrap(crop, mesh, size=_TEXTURE_SIZE).image
    on_sheet = values[..., 2:4] * np.float32(_TEXTURE_SIZE) * np.array([1, -1], np.float32)
    on_sheet += np.array([-0.5, _TEXTURE_SIZE - 0.5], np.float32)
    share = np.ascontiguousarray(values[..., 4])
    return np.asarray(cv2.blendLinear(direct, _at(texture, on_sheet), share, 1 - share))


def moved_colors(crop: Image, before: Floats, pixels: Pixels) -> Image:
    """Colours (2 size, 2 size, 3) of a surface's pixels, from a photo where its vertices (n, 3) lie at `before`."""
    return _at(crop, pixels.blend(before[:, :2]))


def _at(image: Image, places: Floats) -> Image:
    return np.asarray(cv2.remap(image, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _fade(model: FaceModel) -> NDArray[np.float64]:
    from scipy.spatial import cKDTree

    distance, _ = cKDTree(model.mean[bust_of(model).loop]).query(model.mean)
    share = np.clip(distance / (_FADE * float(np.ptp(model.mean[:, 1]))), 0, 1)
    share[model.part > 0] = 1
    return np.asarray(share * share * (3 - 2 * share))


def _mouth_rim(model: FaceModel) -> NDArray[np.intp]:
    """The edge of the mesh around the mouth, in order; none where there is no such, or no place for it on the sheet."""
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


def _mouth_sheet(model: FaceModel, rim: NDArray[np.intp], share: float) -> NDArray[np.float64]:
    """Where a ring of the mouth's inside lies on the sheet: on an ellipse, its upper half the upper lip's."""
    left, low, right, high = MOUTH
    x = model.mean[rim, 0] - model.mean[rim, 0].mean()
    across = np.clip(x / np.abs(x).max(), -1, 1)
    # which lip a vertex belongs to shows where the mouth opens; at rest they touch
    order = np.arange(len(rim))
    corners = sorted((int(np.argmin(x)), int(np.argmax(x))))
    between = (order > corners[0]) & (order < corners[1])
    y = model.mean[rim, 1]
    upper = between if y[between].mean() > y[~between].mean() else ~between
    height = np.sqrt(1 - across * across) * np.where(upper, 1, -1)
    u = (left + right) / 2 + share * across * (right - left) / 2
    return np.column_stack([u, (low + high) / 2 + share * height * (high - low) / 2])
