"""Draw surfaces: lit, as depth, and as projected normalised coordinate code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from Sim3DR import Rendering, close_holes, composite, covered_window, render, shade, vertex_normals
from tddfa._shared.arrays import checked, checked_image
from tddfa.draw._common import Background, Image, face_size, farthest_first
from tddfa.types import Mesh

Style = Literal["paper", "classic"]
DepthStyle = Literal["face", "classic"]

# Opacity of lit surfaces over an image, that of 3DDFA_V2: the face behind them stays recognisable.
_OPACITY = 0.6
# Faces smaller than this, px, are rendered at twice their size and averaged.
_SUPERSAMPLED_UNDER = 260
# Holes of a rendering with up to this fraction of the face's size, squared, are closed.
_PINHOLE = 0.015
# Least distance of the far side of the head behind the near side, a fraction of the face's size.
_FAR_SIDE = 0.25
# Vertices with at least this cosine between normal and line of sight determine the range of the depth image.
_FACING = 0.2
# The darkest greys are those of parts behind the face: ears and rim (`Mesh.opacity`).
_BEHIND_FACE = 40
# Colours of the lit surface, BGR, from shadow to highlight: intensities 0, 1/4, 1/2, 3/4, 1.
_CLAY = ((46, 38, 36), (112, 100, 96), (178, 168, 164), (224, 219, 217), (255, 254, 253))


def _ramp(stops: Sequence[tuple[int, int, int]]) -> Image:
    at = np.linspace(0, 255, len(stops))
    channels = [np.interp(np.arange(256), at, [stop[c] for stop in stops]) for c in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


_GREY_RAMP = _ramp(((0, 0, 0), (255, 255, 255)))


class _Look(NamedTuple):
    """How a lit surface looks: light, colours from dark to bright; and whether rim and ears fade out."""

    light: dict[str, Any]
    palette: Image
    fades: bool


_LOOKS: dict[Style, _Look] = {
    # light from above, slightly from the viewer's left: frontal light makes a face look flat
    "paper": _Look(
        light={
            "ambient": 0.25,
            "directional": 0.65,
            "specular": 0.1,
            "exponent": 8.0,
            "light_direction": (-0.25, -0.45, 1.0),
        },
        palette=_ramp(_CLAY),
        fades=True,
    ),
    # that of 3DDFA_V2: light from the front, which `shade` has by default
    "classic": _Look(light={}, palette=_GREY_RAMP, fades=False),
}


def mesh(
    image: Image,
    meshes: Sequence[Mesh],
    *,
    alpha: float | None = None,
    background: Background = "image",
    style: Style = "paper",
    threads: int = 1,
) -> Image:
    """Draw the surfaces of faces in light (``3d``).

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    meshes : sequence of Mesh
        In image px. A larger face counts as nearer, and hides a smaller one. `Mesh.colors` are used if present.
    alpha : float, optional
        Opacity, 0..1. None takes 0.6 over the image, and 1 over black.
    background : {"image", "black", "white"}
        The background of the surfaces.
    style : {"paper", "classic"}
        "paper" has light from above, dark irises and lips (`Mesh.tone`), and a rim and ears that fade out
        (`Mesh.opacity`). "classic" is the look of 3DDFA_V2: light from the front on an even grey.
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
    if style not in _LOOKS:
        raise ValueError(f"style: expected one of {', '.join(_LOOKS)}, got {style!r}")
    look = _LOOKS[style]
    if alpha is None:
        alpha = _OPACITY if background == "image" else 1.0
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha: expected a number from 0 to 1, got {alpha}")
    out = _canvas(image, background)
    for surface in farthest_first(meshes):
        # lids and nostrils of a small face are finer than a pixel: it is rendered larger, and averaged
        factor = 2 if face_size(surface.vertices) < _SUPERSAMPLED_UNDER else 1
        rendering = _rendered(image, surface, _lit(surface, look), factor, threads=threads)
        if rendering is None:
            continue
        palette = look.palette if surface.colors is None else None
        # a translucent face shows the image behind it, not a farther face
        behind = image if background == "image" else out
        composite(out, rendering, alpha=alpha, background=behind, palette=palette, factor=factor, threads=threads)
    return out


def _lit(surface: Mesh, look: _Look) -> NDArray[np.float32]:
    """Colour (BGR) or brightness of each vertex, 0..255, and its opacity where the look fades."""
    light = shade(vertex_normals(surface.vertices, surface.triangles), **look.light)
    intensity = light.diffuse + light.specular
    if surface.colors is None:
        darker = surface.tone if look.fades and surface.tone is not None else surface.shade
        columns = [intensity if darker is None else intensity * darker]
    else:
        columns = [intensity * channel for channel in surface.colors.T[::-1]]
    if look.fades and surface.opacity is not None:
        columns.append(surface.opacity)
    values = np.stack(columns, axis=-1)
    values *= 255
    return values


def depth(
    image: Image,
    meshes: Sequence[Mesh],
    *,
    background: Background = "image",
    style: DepthStyle = "face",
    threads: int = 1,
) -> Image:
    """Draw the depth of the faces; white is near (``depth``).

    Parameters
    ----------
    image, meshes, background, threads
        See `mesh`.
    style : {"face", "classic"}
        The depths that are scaled to the full range of greys, for each face. ``face``: those of the parts that face the
        viewer. Ears behind the face (`Mesh.opacity`) get only the darkest greys, so that most of the greys are used for
        the face. ``classic``: those of all vertices, as in 3DDFA_V2.

    Returns
    -------
    ndarray (h, w, 3) uint8
        BGR.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or value.

    Examples
    --------
    >>> from tddfa import draw
    >>> drawn = draw.depth(image, [mesh], background="black")
    >>> int(drawn.max())
    255
    """
    if style not in get_args(DepthStyle):
        raise ValueError(f"style: expected one of {', '.join(get_args(DepthStyle))}, got {style!r}")
    out = _canvas(image, background)
    for surface in farthest_first(meshes):
        rendering = _rendered(image, surface, None, threads=threads)
        if rendering is not None:
            greys = (_greys if style == "face" else _greys_of_all)(surface, rendering.depth)[..., None]
            composite(out, rendering, greys, palette=_GREY_RAMP, threads=threads)
    return out


def _greys(surface: Mesh, depth: NDArray[np.float32]) -> Image:
    """Grey of each depth: 0 for the farthest part that faces the viewer, 255 for the nearest."""
    z = surface.vertices[:, 2]
    # parts that face away (the back of the ears, the neck) are hidden, and would take half of the greys
    facing = vertex_normals(surface.vertices, surface.triangles)[:, 2] > _FACING
    if not facing.any():
        facing[:] = True
    face = facing if surface.opacity is None else facing & (surface.opacity == 1)
    if not face.any():
        face = facing
    lowest, low, high = float(z[facing].min()), float(z[face].min()), float(z[face].max())
    dark = _BEHIND_FACE if lowest < low else 0
    scale = (255 - dark) / max(high - low, 1e-6)
    grey = cv2.convertScaleAbs(np.maximum(depth, np.float32(low)), alpha=scale, beta=-low * scale)
    if dark:  # ears and rim, behind the face
        scale = dark / (low - lowest)
        behind = np.clip(depth, np.float32(lowest), np.float32(low))
        grey = cv2.add(grey, cv2.convertScaleAbs(behind, alpha=scale, beta=-lowest * scale))
    return np.asarray(grey)


def _greys_of_all(surface: Mesh, depth: NDArray[np.float32]) -> Image:
    """Grey of each depth: 0 for the farthest vertex, 255 for the nearest."""
    low, high = float(surface.vertices[:, 2].min()), float(surface.vertices[:, 2].max())
    scale = 255 / max(high - low, 1e-6)
    return np.asarray(cv2.convertScaleAbs(np.maximum(depth, np.float32(low)), alpha=scale, beta=-low * scale))


def depth_px(image: Image, meshes: Sequence[Mesh], *, threads: int = 1) -> NDArray[np.float32]:
    """Compute the depth map (h, w) in px, as `depth` draws it: larger is nearer, NaN where there is no face.

    z = 0 is the origin of each face's own model: the distance between faces cannot be measured from a single view.
    `threads` is that of `mesh`.

    Examples
    --------
    >>> values = depth_px(image, [mesh])
    >>> values.shape == image.shape[:2], bool(np.isnan(values[0, 0]))
    (True, True)
    """
    out = np.full(checked_image("image", image).shape[:2], np.nan, dtype=np.float32)
    for surface in farthest_first(meshes):
        rendering = _rendered(image, surface, None, threads=threads)
        if rendering is not None:
            (height, width), left, top = rendering.depth.shape, rendering.left, rendering.top
            np.copyto(out[top : top + height, left : left + width], rendering.depth, where=rendering.mask)
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
    background : {"image", "black", "white"}
        The background of the surfaces.
    threads : int
        As in `mesh`.

    Returns
    -------
    ndarray (h, w, 3) uint8
        A new image.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or dtype, for example `coordinates` of another face model.

    Examples
    --------
    >>> drawn = pncc(image, [mesh], aligner.face_model.normalized_coordinates)
    >>> drawn.shape == image.shape
    True
    """
    out = _canvas(image, background)
    colors = checked("coordinates", coordinates, (None, 3)) * np.float32(255)
    for surface in farthest_first(meshes):
        if len(colors) != len(surface.vertices):
            raise ValueError(
                f"coordinates: expected one row for each of {len(surface.vertices)} vertices, got {len(colors)}; "
                "use normalized_coordinates of the face model that made the mesh"
            )
        rendering = _rendered(image, surface, colors, threads=threads)
        if rendering is not None:
            composite(out, rendering, threads=threads)
    return out


def _canvas(image: Image, background: Background) -> Image:
    if background not in get_args(Background):
        raise ValueError(f"background: expected image, black or white, got {background!r}")
    checked_image("image", image)
    if background == "image":
        return image.copy()
    return np.full_like(image, 0 if background == "black" else 255, order="C")


def _rendered(
    image: Image, surface: Mesh, colors: NDArray[np.float32] | None, factor: int = 1, *, threads: int = 1
) -> Rendering | None:
    """Render a mesh in the part of the image that it covers, each pixel split into `factor` x `factor`.

    None if it covers no part of it.
    """
    window = covered_window(surface.vertices, image.shape[:2])
    if window is None:
        return None
    rendering = render(surface.vertices, surface.triangles, colors, window, cull="back", factor=factor, threads=threads)
    # On a turned head there are gaps between the eyeball and the lids of the model, which show nothing, or the far side
    # of the head. They are closed. The opening of the mouth is larger, and stays.
    size = factor * face_size(surface.vertices)
    close_holes(rendering, (size * _PINHOLE) ** 2, size * _FAR_SIDE)
    return rendering
