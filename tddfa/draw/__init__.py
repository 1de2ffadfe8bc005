"""Draw faces over their image. Every function returns a new image; none changes its arguments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from Sim3DR import Raster, bounds, close_holes, composite, covered_window, interpolate, rasterize, shade, vertex_normals
from tddfa._shared.arrays import checked_image
from tddfa.draw.detections import boxes as boxes
from tddfa.landmarks68 import CLOSED_PARTS, NOSE_TIP, PARTS
from tddfa.surface.texture import Texture
from tddfa.types import Face, Mesh

Image = NDArray[np.uint8]
Background = Literal["image", "black"]

# BGR
_PART_COLORS = {
    "jaw": (240, 236, 228),
    "right_brow": (120, 200, 255),
    "left_brow": (120, 200, 255),
    "nose_bridge": (170, 235, 190),
    "nose_tip": (170, 235, 190),
    "right_eye": (255, 220, 110),
    "left_eye": (255, 220, 110),
    "outer_lips": (170, 150, 255),
    "inner_lips": (170, 150, 255),
}
_DOT = (250, 250, 250)
_DENSE = (255, 232, 110)
# Faces smaller than this, px, are rendered at twice their size and averaged.
_SUPERSAMPLED_UNDER = 260
# In a crowd of faces smaller than this, px, a full label per face would hide the next face.
_LABELLED_IN_FULL_FROM = 80
# Holes of a rendering with up to this fraction of the face's size, squared, are closed.
_PINHOLE = 0.015
# Least distance of the far side of the head behind the near side, a fraction of the face's size.
_FAR_SIDE = 0.25
# Vertices with at least this cosine between normal and line of sight determine the range of the depth image.
_FACING = 0.2
_DOT_SPACING_PX = 2.5
_MAX_STAMP_PX = 16  # radius of dots that are drawn pixel by pixel of all dots at once
_SHADOW = (40, 30, 24)
# a dark rim separates lines from the image; on a face smaller than this, px, it would cover the landmarks
_OUTLINED_FROM = 250
_BOX_FRONT, _BOX_REAR = (110, 230, 80), (70, 150, 50)
_AXES = ((80, 80, 240), (90, 210, 90), (245, 150, 60))  # x red, y green, z blue
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


def _face_size(points: NDArray[np.float32]) -> float:
    low, high = bounds(points)
    return float((high - low)[:2].max())


def _line_width(size: float) -> int:
    return max(1, round(size / 220))


# px: on a smaller face, dots would cover the eyes; only lines are drawn.
_DOTTED_FROM = 60


def landmarks(image: Image, faces: Sequence[Face]) -> Image:
    """Draw the 68 landmarks, connected by the parts of the face (``2d_sparse``).

    Examples
    --------
    >>> drawn = landmarks(image, [face])
    >>> drawn.shape == image.shape
    True
    """
    out = checked_image("image", image).copy()
    for face in faces:
        # 1/16 px: OpenCV draws at fractions of a pixel if coordinates are scaled by a power of two
        points = np.rint(np.clip(face.landmarks[:, :2], -1e6, 1e6) * 16).astype(np.int32)
        size = _face_size(face.landmarks)
        width, radius = _line_width(size), max(0.5, size / 150)
        outlined = size > _OUTLINED_FROM
        parts = [(points[PARTS[name]], name in CLOSED_PARTS, color) for name, color in _PART_COLORS.items()]
        if outlined:
            for part, closed, _ in parts:
                cv2.polylines(out, [part], closed, _SHADOW, width + 2, cv2.LINE_AA, 4)
        for part, closed, color in parts:
            cv2.polylines(out, [part], closed, color, width, cv2.LINE_AA, 4)
        if size < _DOTTED_FROM:
            continue
        for point in points.tolist():
            if outlined:
                cv2.circle(out, point, round((radius + 0.8) * 16), _SHADOW, -1, cv2.LINE_AA, 4)
            cv2.circle(out, point, round(radius * 16), _DOT, -1, cv2.LINE_AA, 4)
    return out


def points(image: Image, meshes: Sequence[Mesh]) -> Image:
    """Draw the vertices that face the viewer as dots (``2d_dense``), nearer faces over farther ones.

    Examples
    --------
    >>> drawn = points(image, [mesh])
    >>> drawn.shape == image.shape
    True
    """
    out = checked_image("image", image).copy()
    height, width = out.shape[:2]
    pixels = out.reshape(-1, 3)
    for mesh in _farthest_first(meshes):
        facing = vertex_normals(mesh.vertices, mesh.triangles)[:, 2]
        size = _face_size(mesh.vertices)
        cell, radius = max(_DOT_SPACING_PX, size / 110), max(0.5, size / 420)
        seen = np.flatnonzero(facing > 0)
        # one dot per cell: equally dense on the cheeks and where the mesh is fine
        seen = seen[_first_of_each_cell(np.floor(mesh.vertices[seen, :2] / cell).astype(np.int64))]
        centers = np.rint(mesh.vertices[seen, :2]).astype(np.intp)
        color = np.multiply.outer(0.6 + 0.4 * facing[seen], _DENSE).astype(np.uint8)
        reach = int(radius)
        near = ((centers >= -reach) & (centers < (width + reach, height + reach))).all(axis=1)
        centers, color = centers[near], color[near]
        if reach > _MAX_STAMP_PX:  # of the few dots that are so large, only what is in the image is drawn
            for center, shade in zip(centers, color, strict=True):
                _draw_dot(out, center, radius, shade)
            continue
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                if dx * dx + dy * dy <= radius * radius:
                    x, y = centers[:, 0] + dx, centers[:, 1] + dy
                    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
                    # indexing by one array is much faster than by two
                    pixels[y[inside] * width + x[inside]] = color[inside]
    return out


def _draw_dot(image: Image, center: NDArray[np.intp], radius: float, color: NDArray[np.uint8]) -> None:
    reach = int(radius)
    left, top = np.maximum(center - reach, 0)
    right, bottom = np.minimum(center + reach + 1, (image.shape[1], image.shape[0]))
    y, x = np.ogrid[top - center[1] : bottom - center[1], left - center[0] : right - center[0]]
    image[top:bottom, left:right][y * y + x * x <= radius * radius] = color


def _first_of_each_cell(cells: NDArray[np.int64]) -> NDArray[np.intp]:
    """Indices of the first point in each cell, in the order of the rows of cells; `cells` is (n, 2)."""
    if not len(cells):
        return np.zeros(0, dtype=np.intp)
    columns, rows = (axis - axis.min() for axis in cells.T)
    first = np.full((int(rows.max()) + 1) * (int(columns.max()) + 1), -1)
    # of several values written to one element, the last stays
    first[(rows * (columns.max() + 1) + columns)[::-1]] = np.arange(len(cells))[::-1]
    return first[first >= 0]


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
    for surface in _farthest_first(meshes):
        # lids and nostrils of a small face are finer than a pixel: it is rendered larger, and averaged
        factor = 2 if _face_size(surface.vertices) < _SUPERSAMPLED_UNDER else 1
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


def pose(image: Image, faces: Sequence[Face], *, style: Literal["box", "axes"] = "box") -> Image:
    """Draw each head's pose, with its angles (``pose``).

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    faces : sequence of Face
        Their cameras and landmarks are used.
    style : {"box", "axes"}
        A box that widens in the direction of view; or the axes: red to the subject's left, green up, blue out of the
        face.

    Returns
    -------
    ndarray (h, w, 3) uint8
        A new image.

    Examples
    --------
    >>> drawn = pose(image, [face], style="axes")
    >>> drawn.shape == image.shape
    True
    """
    if style not in ("box", "axes"):
        raise ValueError(f"style: expected box or axes, got {style!r}")
    out = checked_image("image", image).copy()
    sized = [(_face_size(face.landmarks), face) for face in faces]
    for size, face in sorted(sized, key=lambda pair: pair[0]):
        (_draw_box if style == "box" else _draw_axes)(out, face, size)
    for size, face in sized:
        yaw, pitch, roll = face.camera.euler_degrees()
        track = "" if face.track_id is None else f"{face.track_id}:  "
        if size >= _LABELLED_IN_FULL_FROM:
            _label(out, face, size, f"{track}yaw {yaw:+.1f}  pitch {pitch:+.1f}  roll {roll:+.1f}")
        else:
            _label(out, face, size, f"{track}{round(yaw):+d} {round(pitch):+d} {round(roll):+d}")
    return out


def textures(textures: Sequence[Texture]) -> Image:
    """Join UV textures of one size side by side (``uv_tex``).

    Examples
    --------
    >>> from tddfa.surface.texture import unwrap
    >>> texture = unwrap(image, mesh, size=64)
    >>> textures([texture, texture]).shape
    (64, 128, 3)
    """
    if not textures:
        raise ValueError("textures: expected one at least, got none")
    return np.hstack([texture.image for texture in textures])


def _canvas(image: Image, background: Background) -> Image:
    if background not in ("image", "black"):
        raise ValueError(f"background: expected image or black, got {background!r}")
    checked_image("image", image)
    return image.copy() if background == "image" else np.zeros_like(image, order="C")


def _farthest_first(meshes: Sequence[Mesh]) -> list[Mesh]:
    # Distances between faces cannot be measured from one view, but heads are of about one size: a larger one is nearer.
    # Heads do not intersect, so drawing whole faces in this order equals the result of a shared depth buffer.
    def size(mesh: Mesh) -> float:
        low, high = bounds(mesh.vertices)
        return float(np.linalg.norm(high - low))

    listed = [mesh for mesh in meshes if len(mesh.vertices)]
    return listed if len(listed) < 2 else sorted(listed, key=size)


def _rendered(image: Image, meshes: Sequence[Mesh], threads: int = 1) -> Iterator[tuple[Mesh, Raster]]:
    """Rasterise each mesh in its own part of the image, farthest first; skip meshes outside of the image."""
    for surface in _farthest_first(meshes):
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
    size = factor * _face_size(surface.vertices)
    close_holes(raster, (size * _PINHOLE) ** 2, size * _FAR_SIDE)
    return raster


def _project(face: Face, offsets: NDArray[np.float64], origin: NDArray[np.float32]) -> NDArray[np.int32]:
    view = offsets @ face.camera.rotation.T
    flat = np.clip(origin[:2] + view[:, :2] * (1, -1), -1e6, 1e6)
    return np.rint(flat * 16).astype(np.int32)


# Corners of the frustum of 3DDFA_V2: a rear square +-1 at depth 0, a front square +-4/3 at depth 4/3.
_FRUSTUM = np.array(
    [
        (x * side, y * side, depth)
        for side, depth in ((1, 0), (4 / 3, 4 / 3))
        for x, y in ((-1, -1), (-1, 1), (1, 1), (1, -1))
    ]
)


def _draw_box(out: Image, face: Face, size: float) -> None:
    corners = _project(face, _FRUSTUM * (float(np.sqrt(2)) * size / 3), face.landmarks[:27].mean(axis=0))
    rear_px, front_px = corners[:4], corners[4:]
    width = max(1, round(size / 110))
    cv2.polylines(out, [rear_px], True, _BOX_REAR, width, cv2.LINE_AA, 4)
    for start, end in zip(rear_px.tolist(), front_px.tolist(), strict=True):
        cv2.line(out, start, end, _BOX_FRONT, width, cv2.LINE_AA, 4)
    cv2.polylines(out, [front_px], True, _BOX_FRONT, width, cv2.LINE_AA, 4)


def _draw_axes(out: Image, face: Face, size: float) -> None:
    length = 0.6 * size
    center, *ends = _project(face, np.vstack([np.zeros(3), np.eye(3) * length]), face.landmarks[NOSE_TIP]).tolist()
    width = _line_width(size) + 2
    # the axis that points away from the viewer is drawn first
    for axis in np.argsort(face.camera.rotation[2]):
        cv2.arrowedLine(out, center, ends[axis], _SHADOW, width + 2, cv2.LINE_AA, 4, 0.12)
        cv2.arrowedLine(out, center, ends[axis], _AXES[axis], width, cv2.LINE_AA, 4, 0.12)


def _label(out: Image, face: Face, size: float, text: str) -> None:
    """Write a line of text under a face, on a dark plate, moved so that it is inside the image."""
    height, width = out.shape[:2]
    font = cv2.FONT_HERSHEY_SIMPLEX
    scale = min(max(size / 520, 0.3), 3.0)
    thickness = max(1, round(scale * 1.6))
    (text_width, text_height), baseline = cv2.getTextSize(text, font, scale, thickness)
    pad = max(3, text_height // 2)
    x = int(min(max(face.landmarks[:, 0].mean() - text_width / 2, pad), max(pad, width - text_width - pad)))
    below = face.landmarks[:, 1].max() + 0.12 * size + text_height + pad
    y = int(min(max(below, text_height + pad), max(text_height + pad, height - baseline - pad)))
    plate = out[max(y - text_height - pad, 0) : y + baseline + pad, max(x - pad, 0) : x + text_width + pad]
    plate[:] = plate // 3
    cv2.putText(out, text, (x, y), font, scale, (245, 245, 245), thickness, cv2.LINE_AA)
