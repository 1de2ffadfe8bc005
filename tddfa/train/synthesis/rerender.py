"""Re-rendering of a photo's face: its texture on its mesh, composited over an image with soft edges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from Sim3DR import interpolate, rasterize
from tddfa.model.face_model import INNER_MOUTH, FaceModel
from tddfa.surface.texture import unwrap
from tddfa.surface.visibility import visibility
from tddfa.synthetic.bust import bust_of
from tddfa.types import Mesh

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Large enough that texels are smaller than the px of a 160 px crop.
_TEXTURE_SIZE = 256
# Factor of `visibility`, which is small on a slanted surface: a slanted view is still better than the mirrored side.
_CERTAINTY = 6.0
# The face is drawn at this factor of the size, and averaged.
_SUPERSAMPLE = 2
# Width of the fade at the mesh's edge, as a fraction of the face's height: colours seldom match there.
_FADE = 0.11


@dataclass(frozen=True, eq=False)
class Surface:
    """A face model's surface with a soft edge.

    Attributes
    ----------
    model : FaceModel
        Of the face, with `uv`.
    fade : ndarray (n,) float32
        0 at the outer edge to 1 a little inside.
    mouth : tuple of float
        Left, bottom, right and top, in u and v, of the inside of the mouth on the UV map; empty if there is none.
    """

    model: FaceModel
    fade: Floats
    mouth: tuple[float, ...]

    def mesh(self, camera: Floats, face: Floats) -> Mesh:
        """Project the surface to px, from a face model's vertices and a camera (3, 4)."""
        projected = face @ camera[:, :3].T + camera[:, 3]
        return Mesh(np.ascontiguousarray(projected, dtype=np.float32), self.model.triangles, uv=self.model.uv)


@lru_cache(maxsize=4)
def surface_of(model: FaceModel) -> Surface:
    """The surface of a face model that has `uv`; computed once per model."""
    assert model.uv is not None
    inside = model.uv[model.part == INNER_MOUTH]
    mouth = (*inside.min(axis=0).tolist(), *inside.max(axis=0).tolist()) if len(inside) else ()
    return Surface(model, _fade(model).astype(np.float32), mouth)


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
        self._raster = rasterize(
            vertices, surface.model.triangles, (0, 0, size, size), cull="back", factor=_SUPERSAMPLE
        )

    @property
    def in_mouth(self) -> NDArray[np.bool_]:
        """Where the inside of the mouth is visible, (2 size, 2 size)."""
        model = self.surface.model
        inside = model.part[model.triangles[:, 0]] == INNER_MOUTH
        covered = self._raster.triangle_id
        return np.asarray((covered >= 0) & inside[covered])

    def blend(self, attributes: NDArray[np.generic]) -> Floats:
        """Interpolate attributes (n, c) of the vertices: (2 size, 2 size, c), 0 outside the surface."""
        return interpolate(self._raster, self.surface.model.triangles, attributes)

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
