"""Draw surfaces: lit, as depth, and as projected normalised coordinate code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from Sim3DR import Raster, close_holes, composite, covered_window, interpolate, rasterize, shade, vertex_normals
from tddfa._shared.arrays import checked_image
from tddfa.draw._common import Background, Image, face_size, farthest_first
from tddfa.types import Mesh

# Faces smaller than this, px, are rendered at twice their size and averaged.
_SUPERSAMPLED_UNDER = 260
# Holes of a rendering with up to this fraction of the face's size, squared, are closed.
_PINHOLE = 0.015
# Least distance of the far side of the head behind the near side, a fraction of the face's size.
_FAR_SIDE = 0.25
# Vertices with at least this cosine between normal and line of sight determine the range of the depth image.
_FACING = 0.2
# Colours of the lit surface, BGR, from shadow to highlight: intensities 0, 1/4, 1/2, 3/4, 1.
_CLAY = ((46, 38, 36), (112, 100, 96), (178, 168, 164), (224, 219, 217), (255, 254, 253))

# from above, slightly from the viewer's left: frontal light makes a face look flat
_LIGHT: dict[str, Any] = {
    "ambient": 0.25,
    "directional": 0.65,
    "specular": 0.1,
    "exponent": 8.0,
    "light_direction": (-0.25, -0.45, 1.0),
}


def _ramp(stops: Sequence[tuple[int, int, int]]) -> Image:
    at = np.linspace(0, 255, len(stops))
    channels = [np.interp(np.arange(256), at, [stop[c] for stop in stops]) for c in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


_CLAY_RAMP = _ramp(_CLAY)
_GREY_RAMP = _ramp(((0, 0, 0), (255, 255, 255)))


def mesh(
    image: Image,
    meshes: Sequence[Mesh],
    *,
    alpha: float = 0.85,
    background: Background = "image",
    threads: int = 1,
) -> Image:
    """Draw the lit surfaces (``3d``).

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    meshes : sequence of Mesh
        In image px. A larger face counts as nearer, and hides a smaller one. `Mesh.colors` are used if present.
    alpha : float
        Opacity, 0..1.
    background : {"image", "black"}
        The background of the surfaces.
    threads : int
        Maximum number of threads, used for large faces. The result does not depend on it.

    Returns
    -------
    ndarray (h, w, 3) uint8
        A new image.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or dtype.

    Examples
    --------
    >>> from tddfa import draw
    >>> drawn = draw.mesh(image, [mesh], background="black")
    >>> drawn[0, 0].tolist()
    [0, 0, 0]
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha: expected a number from 0 to 1, got {alpha}")
    out = _canvas(image, background)
    for surface in farthest_first(meshes):
        # lids and nostrils of a small face are finer than a pixel: it is rendered larger, and averaged
        factor = 2 if face_size(surface.vertices) < _SUPERSAMPLED_UNDER else 1
        raster = _rasterized(image, surface, factor, threads=threads)
        if raster is None:
            continue
        light = shade(vertex_normals(surface.vertices, surface.triangles), **_LIGHT)
        intensity = light.diffuse + light.specular
        if surface.shade is not None and surface.colors is None:
            intensity = intensity * surface.shade
        albedo = np.float32(255) if surface.colors is None else 255 * surface.colors[:, ::-1]
        layer = interpolate(raster, surface.triangles, albedo * intensity[:, None], dtype=np.uint8, threads=threads)
        palette = _CLAY_RAMP if surface.colors is None else None
        # a translucent face shows the image behind it, not a farther face
        behind = image if background == "image" else out
        composite(out, raster, layer, alpha=alpha, background=behind, palette=palette, factor=factor, threads=threads)
    return out


def depth(image: Image, meshes: Sequence[Mesh], *, background: Background = "image", threads: int = 1) -> Image:
    """Draw the depth, white is near (``depth``).

    The depth range of each face, of the parts that face the viewer, is scaled to the full range of greys.
    `background` and `threads` are those of `mesh`.

    Examples
    --------
    >>> from tddfa import draw
    >>> drawn = draw.depth(image, [mesh], background="black")
    >>> int(drawn.max())
    255
    """
    out = _canvas(image, background)
    for surface, raster in _rendered(image, meshes, threads):
        # parts that face away (the back of the ears, the neck) are hidden, and would take half of the greys
        facing = vertex_normals(surface.vertices, surface.triangles)[:, 2] > _FACING
        seen = surface.vertices[facing, 2] if facing.any() else surface.vertices[:, 2]
        low, high = float(seen.min()), float(seen.max())
        scale = 255 / max(high - low, 1e-6)
        np.maximum(raster.depth, np.float32(low), out=raster.depth)
        grey = np.asarray(cv2.convertScaleAbs(raster.depth, alpha=scale, beta=-low * scale))
        composite(out, raster, grey[..., None], palette=_GREY_RAMP, threads=threads)
    return out


def depth_px(image: Image, meshes: Sequence[Mesh], *, threads: int = 1) -> NDArray[np.float32]:
    """Compute the depth map (h, w) in px, larger is nearer, NaN where there is no face: the values behind `depth`.

    z = 0 is the origin of each face's own model: the distance between faces cannot be measured from a single view.
    `threads` is that of `mesh`.

    Examples
    --------
    >>> values = depth_px(image, [mesh])
    >>> values.shape == image.shape[:2], bool(np.isnan(values[0, 0]))
    (True, True)
    """
    out = np.full(checked_image("image", image).shape[:2], np.nan, dtype=np.float32)
    for _, raster in _rendered(image, meshes, threads):
        (height, width), left, top = raster.depth.shape, raster.left, raster.top
        np.copyto(out[top : top + height, left : left + width], raster.depth, where=raster.mask)
    return out


def pncc(
    image: Image,
    meshes: Sequence[Mesh],
    coordinates: NDArray[np.float32],
    *,
    background: Background = "image",
    threads: int = 1,
) -> Image:
    """Draw the projected normalised coordinate code (``pncc``; Zhu et al., CVPR 2016).

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    meshes : sequence of Mesh
        All of one face model.
    coordinates : ndarray (n, 3) float32
        `FaceModel.normalized_coordinates`; x, y, z become the first, second and third channel, as in 3DDFA_V2.
    background : {"image", "black"}
        The background of the surfaces.
    threads : int
        As of `mesh`.

    Returns
    -------
    ndarray (h, w, 3) uint8
        A new image.

    Examples
    --------
    >>> drawn = pncc(image, [mesh], aligner.face_model.normalized_coordinates)
    >>> drawn.shape == image.shape
    True
    """
    out = _canvas(image, background)
    colors = coordinates * np.float32(255)
    for surface, raster in _rendered(image, meshes, threads):
        layer = interpolate(raster, surface.triangles, colors, dtype=np.uint8, threads=threads)
        composite(out, raster, layer, threads=threads)
    return out


def _canvas(image: Image, background: Background) -> Image:
    if background not in ("image", "black"):
        raise ValueError(f"background: expected image or black, got {background!r}")
    checked_image("image", image)
    return image.copy() if background == "image" else np.zeros_like(image, order="C")


def _rendered(image: Image, meshes: Sequence[Mesh], threads: int = 1) -> Iterator[tuple[Mesh, Raster]]:
    """Rasterise each mesh in its own part of the image, farthest first; skip meshes outside of the image."""
    for surface in farthest_first(meshes):
        raster = _rasterized(image, surface, threads=threads)
        if raster is not None:
            yield surface, raster


def _rasterized(image: Image, surface: Mesh, factor: int = 1, *, threads: int = 1) -> Raster | None:
    """Rasterise a mesh in the part of the image that it covers, each pixel split into `factor` x `factor`."""
    window = covered_window(surface.vertices, image.shape[:2])
    if window is None:
        return None
    raster = rasterize(surface.vertices, surface.triangles, window, cull="back", factor=factor, threads=threads)
    # On a turned head there are gaps between the eyeball and the lids of the model, which show nothing, or the far side
    # of the head. They are closed. The opening of the mouth is larger, and stays.
    size = factor * face_size(surface.vertices)
    close_holes(raster, (size * _PINHOLE) ** 2, size * _FAR_SIDE)
    return raster
