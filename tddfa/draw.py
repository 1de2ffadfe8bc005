"""Faces drawn over their picture. Every function returns a new picture; none changes its arguments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from Sim3DR import Raster, interpolate, rasterize, shade, vertex_normals
from tddfa.arrays import bounds, checked_image
from tddfa.texture import Texture
from tddfa.types import Face, Mesh

Image = NDArray[np.uint8]
Background = Literal["image", "black"]

# (first, behind last) landmark, closed, BGR
_LINES: tuple[tuple[int, int, bool, tuple[int, int, int]], ...] = (
    (0, 17, False, (240, 236, 228)),
    (17, 22, False, (120, 200, 255)),
    (22, 27, False, (120, 200, 255)),
    (27, 31, False, (170, 235, 190)),
    (31, 36, False, (170, 235, 190)),
    (36, 42, True, (255, 220, 110)),
    (42, 48, True, (255, 220, 110)),
    (48, 60, True, (170, 150, 255)),
    (60, 68, True, (170, 150, 255)),
)
_DOT = (250, 250, 250)
_DENSE = (255, 232, 110)
# Faces smaller than this, px, are drawn at twice their size and averaged.
_SUPERSAMPLED_UNDER = 260
# In a crowd of faces smaller than this, px, a whole line of text a face would hide the next one.
_LABELLED_IN_FULL_FROM = 80
# Holes of a mesh's rendering up to this share of its size, squared, are closed.
_PINHOLE = 0.015
_PINHOLE_PX = 9
# Cosine to the line of sight from which a part of the face counts for the range of its depth picture.
_FACING = 0.2
_DOT_SPACING_PX = 2.5
_SHADOW = (40, 30, 24)
# a dark rim sets lines off from the photo; on a face smaller than this, px, it would cover what it should show
_OUTLINED_FROM = 250
_BOX_FRONT, _BOX_REAR = (110, 230, 80), (70, 150, 50)
_AXES = ((80, 80, 240), (90, 210, 90), (245, 150, 60))  # x red, y green, z blue
# Colours of the lit surface, BGR, from shadow to highlight: intensities 0, 1/4, 1/2, 3/4, 1.
_CLAY = ((46, 38, 36), (112, 100, 96), (178, 168, 164), (224, 219, 217), (255, 254, 253))

# from above, and a little from the viewer's left: light from straight ahead leaves a face flat
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
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)[:, None]


_CLAY_RAMP = _ramp(_CLAY)


def _face_size(points: NDArray[np.float32]) -> float:
    low, high = bounds(points[:, :2])
    return float((high - low).max())


def _line_width(size: float) -> int:
    return max(1, round(size / 220))


def landmarks(image: Image, faces: Sequence[Face]) -> Image:
    """Draw the 68 landmarks, joined by the parts of the face (``2d_sparse``)."""
    out = checked_image("image", image).copy()
    for face in faces:
        # 1/16 px: OpenCV draws at fractions of a pixel where coordinates are scaled by a power of two
        points = np.rint(np.clip(face.landmarks[:, :2], -1e6, 1e6) * 16).astype(np.int32)
        size = _face_size(face.landmarks)
        width, radius = _line_width(size), max(0.5, size / 150)
        outlined = size > _OUTLINED_FROM
        parts = [(points[first:last], closed, color) for first, last, closed, color in _LINES]
        if outlined:
            for part, closed, _ in parts:
                cv2.polylines(out, [part], closed, _SHADOW, width + 2, cv2.LINE_AA, 4)
        for part, closed, color in parts:
            cv2.polylines(out, [part], closed, color, width, cv2.LINE_AA, 4)
        for point in points.tolist():
            if outlined:
                cv2.circle(out, point, round((radius + 0.8) * 16), _SHADOW, -1, cv2.LINE_AA, 4)
            cv2.circle(out, point, round(radius * 16), _DOT, -1, cv2.LINE_AA, 4)
    return out


def points(image: Image, meshes: Sequence[Mesh]) -> Image:
    """Draw the vertices that face the viewer as dots (``2d_dense``); a nearer face's over a farther one's."""
    out = checked_image("image", image).copy()
    height, width = out.shape[:2]
    for mesh in _farthest_first(meshes):
        facing = vertex_normals(mesh.vertices, mesh.triangles)[:, 2]
        size = _face_size(mesh.vertices)
        cell, radius = max(_DOT_SPACING_PX, size / 110), max(0.5, size / 420)
        seen = np.flatnonzero(facing > 0)
        # one dot a cell: as dense on the cheeks as where the mesh is fine
        cells = np.floor(mesh.vertices[seen, :2] / cell).astype(np.int64)
        seen = seen[np.unique(cells[:, 1] * (1 << 32) + cells[:, 0], return_index=True)[1]]
        centers = np.rint(mesh.vertices[seen, :2]).astype(np.intp)
        color = np.multiply.outer(0.6 + 0.4 * facing[seen], _DENSE).astype(np.uint8)
        reach = int(radius)
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                if dx * dx + dy * dy <= radius * radius:
                    x, y = centers[:, 0] + dx, centers[:, 1] + dy
                    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
                    out[y[inside], x[inside]] = color[inside]
    return out


def mesh(image: Image, meshes: Sequence[Mesh], *, alpha: float = 0.85, background: Background = "image") -> Image:
    """Draw the lit surfaces (``3d``).

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    meshes : sequence of Mesh
        A larger face is nearer, and hides a smaller one. A mesh with `colors` is drawn in them.
    alpha : float
        Opacity, 0..1.
    background : {"image", "black"}
        What the surfaces lie on.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha: expected a number from 0 to 1, got {alpha}")
    out = _canvas(image, background)
    for surface in _farthest_first(meshes):
        # lids and nostrils of a small face are finer than its pixels: it is drawn larger, and averaged
        factor = 2 if _face_size(surface.vertices) < _SUPERSAMPLED_UNDER else 1
        raster = _rasterized(image, surface, factor)
        if raster is None:
            continue
        light = shade(vertex_normals(surface.vertices, surface.triangles), **_LIGHT)
        intensity = light.diffuse + light.specular
        if surface.colors is None:
            levels = _bytes(interpolate(raster, surface.triangles, intensity[:, None]))
            layer = cv2.applyColorMap(levels, _CLAY_RAMP)
        else:
            layer = _bytes(interpolate(raster, surface.triangles, surface.colors[:, ::-1] * intensity[:, None]))
        source = image if background == "image" else out
        if factor == 1:
            _blend(source, out, layer, raster, alpha)
        else:
            _blend_averaged(source, out, layer, raster, alpha, factor)
    return out


def depth(image: Image, meshes: Sequence[Mesh], *, background: Background = "image") -> Image:
    """Draw the depth, white is near (``depth``); what faces the viewer of each face fills the greys."""
    out = _canvas(image, background)
    for surface, raster in _rendered(image, meshes):
        # what turns away is not seen, and would take half of the greys: the back of the ears, the neck
        facing = vertex_normals(surface.vertices, surface.triangles)[:, 2] > _FACING
        seen = surface.vertices[facing, 2] if facing.any() else surface.vertices[:, 2]
        low, high = float(seen.min()), float(seen.max())
        scale = 255 / max(high - low, 1e-6)
        grey = cv2.convertScaleAbs(np.maximum(raster.depth, np.float32(low)), alpha=scale, beta=-low * scale)
        _blend(out, out, cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), raster, 1.0)
    return out


def depth_px(image: Image, meshes: Sequence[Mesh]) -> NDArray[np.float32]:
    """Depth map (h, w) in px, larger is nearer, NaN where no face is: the numbers under `depth`.

    z = 0 is where each face's own model has it: one view does not tell how far one face lies behind another.
    """
    out = np.full(checked_image("image", image).shape[:2], np.nan, dtype=np.float32)
    for _, raster in _rendered(image, meshes):
        np.copyto(_window(out, raster), raster.depth, where=raster.mask)
    return out


def pncc(
    image: Image,
    meshes: Sequence[Mesh],
    coordinates: NDArray[np.float32],
    *,
    background: Background = "image",
) -> Image:
    """Draw the projected normalised coordinate code (``pncc``; Zhu et al., CVPR 2016).

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    meshes : sequence of Mesh
        All of one face model.
    coordinates : ndarray (n, 3) float32
        `FaceModel.normalized_coordinates`; x, y, z become the channels in the order of the file, as in 3DDFA_V2.
    background : {"image", "black"}
        What the surfaces lie on.
    """
    out = _canvas(image, background)
    for surface, raster in _rendered(image, meshes):
        layer = _bytes(interpolate(raster, surface.triangles, coordinates))
        _blend(out, out, layer, raster, 1.0)
    return out


def pose(image: Image, faces: Sequence[Face], *, style: Literal["box", "axes"] = "box") -> Image:
    """Draw each head's pose as a box that opens where it looks, or as its axes, with the angles (``pose``).

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    faces : sequence of Face
        Their cameras and landmarks are used.
    style : {"box", "axes"}
        Axes: red to the subject's left, green up, blue out of the face.
    """
    if style not in ("box", "axes"):
        raise ValueError(f"style: expected box or axes, got {style!r}")
    out = checked_image("image", image).copy()
    for face in sorted(faces, key=lambda face: _face_size(face.landmarks)):
        (_draw_box if style == "box" else _draw_axes)(out, face)
    for face in faces:
        yaw, pitch, roll = face.camera.euler_degrees()
        who = "" if face.track_id is None else f"{face.track_id}:  "
        if _face_size(face.landmarks) >= _LABELLED_IN_FULL_FROM:
            _label(out, face, f"{who}yaw {yaw:+.1f}  pitch {pitch:+.1f}  roll {roll:+.1f}")
        else:
            _label(out, face, f"{who}{round(yaw):+d} {round(pitch):+d} {round(roll):+d}")
    return out


def textures(textures: Sequence[Texture]) -> Image:
    """Lay UV textures of one size side by side (``uv_tex``)."""
    if not textures:
        raise ValueError("textures: expected one at least, got none")
    return np.hstack([texture.image for texture in textures])


def _canvas(image: Image, background: Background) -> Image:
    if background not in ("image", "black"):
        raise ValueError(f"background: expected image or black, got {background!r}")
    checked_image("image", image)
    return image.copy() if background == "image" else np.zeros_like(image, order="C")


def _farthest_first(meshes: Sequence[Mesh]) -> list[Mesh]:
    # One view does not tell how far faces are apart, but heads are of one size: the larger it looks, the nearer it is.
    # Heads do not run into each other, so drawing whole faces in this order is what a shared depth buffer would give.
    def size(mesh: Mesh) -> float:
        low, high = bounds(mesh.vertices)
        return float(np.linalg.norm(high - low))

    listed = [mesh for mesh in meshes if len(mesh.vertices)]
    return listed if len(listed) < 2 else sorted(listed, key=size)


def _rendered(image: Image, meshes: Sequence[Mesh]) -> Iterator[tuple[Mesh, Raster]]:
    """Rasterise each mesh in its own part of the picture, farthest first; those outside the picture are left out."""
    for surface in _farthest_first(meshes):
        raster = _rasterized(image, surface)
        if raster is not None:
            yield surface, raster


def _rasterized(image: Image, surface: Mesh, factor: int = 1) -> Raster | None:
    """Rasterise a mesh in the part of the picture that it covers, each pixel split into `factor` x `factor`."""
    height, width = image.shape[:2]
    low, high = bounds(surface.vertices[:, :2])
    left, top = (int(v) for v in np.clip(np.floor(low), 0, (width, height)))
    right, bottom = (int(v) for v in np.clip(np.ceil(high) + 1, 0, (width, height)))
    if left >= right or top >= bottom:
        return None
    vertices, window = surface.vertices, (left, top, right - left, bottom - top)
    if factor > 1:
        # a pixel's edge, half a pixel from its centre, stays an edge
        vertices = vertices * np.float32(factor)
        vertices[:, :2] += (factor - 1) / 2
        window = (left * factor, top * factor, (right - left) * factor, (bottom - top) * factor)
    raster = rasterize(vertices, surface.triangles, window, cull="back")
    _close_pinholes(raster, (_face_size(vertices) * _PINHOLE) ** 2)
    return raster


def _close_pinholes(raster: Raster, most_px: float) -> None:
    """Give holes of a few pixels what lies beside them.

    Between an eyeball and its lids a turned head shows gaps that no eye has. The mouth's opening is larger, and stays.
    """
    # In such a gap the far side of the head may show: a hole too. Where nothing shows, it is infinitely far behind.
    around = np.ones((_PINHOLE_PX, _PINHOLE_PX), np.uint8)
    nearest = cv2.dilate(raster.depth, around)
    with np.errstate(invalid="ignore"):  # where nothing is around either
        behind = nearest - raster.depth > 0.25 * float(np.sqrt(most_px)) / _PINHOLE
    empty = (behind | ~raster.mask).view(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(empty, connectivity=8, ltype=cv2.CV_16U)
    small = stats[:, cv2.CC_STAT_AREA] <= most_px
    small[0] = False
    if not small.any():
        return
    rows, columns = np.concatenate(
        [_pixels(labels, label, stats[label]) for label in np.flatnonzero(small).tolist()], axis=1
    )
    height, width = labels.shape
    # step by step away from the hole in four directions; the first covered pixel met gives its surface
    for step in range(1, int(np.sqrt(most_px)) + 2):
        for dy, dx in ((0, -step), (0, step), (-step, 0), (step, 0)):
            y, x = np.clip(rows + dy, 0, height - 1), np.clip(columns + dx, 0, width - 1)
            met = empty[y, x] == 0
            to, of = (rows[met], columns[met]), (y[met], x[met])
            for plane in (raster.depth, raster.triangle_id, raster.barycentric):
                plane[to] = plane[of]
            rows, columns = rows[~met], columns[~met]
        if not len(rows):
            break


def _pixels(labels: NDArray[np.generic], label: int, stats: NDArray[np.int32]) -> NDArray[np.intp]:
    left, top, width, height, _ = stats
    found = np.nonzero(labels[top : top + height, left : left + width] == label)
    return np.stack(found) + np.array([[top], [left]])


def _window(image: NDArray[np.generic], raster: Raster) -> NDArray[np.generic]:
    height, width = raster.depth.shape
    return image[raster.top : raster.top + height, raster.left : raster.left + width]


def _bytes(values: NDArray[np.float32]) -> Image:
    # convertScaleAbs rounds and saturates in one pass
    return np.asarray(cv2.convertScaleAbs(values, alpha=255.0))


def _blend(source: Image, out: Image, layer: Image, raster: Raster, alpha: float) -> None:
    """Lay `layer` over the raster's window of `source` and write it to `out`; the outline is softened by a pixel.

    `source` is the picture itself where the layer is translucent, so that a face behind does not shine through.
    """
    under, target = _window(source, raster), _window(out, raster)
    if alpha < 1:
        layer = cv2.addWeighted(layer, alpha, under, 1 - alpha, 0.0)
    mask = raster.mask.view(np.uint8) * np.uint8(255)
    near = cv2.blur(mask, (3, 3))
    # one index is found much faster than two
    at = np.flatnonzero((near < 255) & (mask > 0))
    edge = np.divmod(at, mask.shape[1])
    # a pixel on a straight outline has a third of its neighbours outside, one on a corner more
    share = np.clip(near.reshape(-1)[at] * (2.0 / 255) - 0.8, 0.2, 1.0)[:, None]
    softened = layer.reshape(-1, 3)[at] * share + target[edge] * (1 - share)
    cv2.copyTo(layer, mask, target)
    target[edge] = softened


def _project(face: Face, offsets: NDArray[np.float64], origin: NDArray[np.float32]) -> NDArray[np.int32]:
    view = offsets @ face.camera.rotation.T
    flat = np.clip(origin[:2] + view[:, :2] * (1, -1), -1e6, 1e6)
    return np.rint(flat * 16).astype(np.int32)


def _blend_averaged(source: Image, out: Image, layer: Image, raster: Raster, alpha: float, factor: int) -> None:
    """As `_blend`, with a layer of `factor` x `factor` pixels for each of the picture's."""
    height, width = (side // factor for side in raster.depth.shape)
    rows = slice(raster.top // factor, raster.top // factor + height)
    columns = slice(raster.left // factor, raster.left // factor + width)
    mask = raster.mask
    layer[~mask] = 0
    average = cv2.resize(layer, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    share = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)[..., None]
    covered = share[..., 0] > 0
    # where the picture under the face is not what `out` holds, a nearer face lies over a farther one
    under = np.where(share < 1, out[rows, columns], source[rows, columns])
    blended = average * alpha + under * (1 - share * alpha)
    out[rows, columns][covered] = np.rint(blended).astype(np.uint8)[covered]


def _draw_box(out: Image, face: Face) -> None:
    """The frustum of 3DDFA_V2: rear square +-d at depth 0, front square +-4/3 d at depth 4/3 d."""
    d = float(np.sqrt(2)) * _face_size(face.landmarks) / 3
    square = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)], dtype=np.float64)
    near = 4 / 3 * d
    rear = np.column_stack([square * d, np.zeros(4)])
    front = np.column_stack([square * near, np.full(4, near)])
    rear_px, front_px = np.split(_project(face, np.concatenate([rear, front]), face.landmarks[:27].mean(axis=0)), 2)
    width = max(1, round(_face_size(face.landmarks) / 110))
    cv2.polylines(out, [rear_px], True, _BOX_REAR, width, cv2.LINE_AA, 4)
    for start, end in zip(rear_px.tolist(), front_px.tolist(), strict=True):
        cv2.line(out, start, end, _BOX_FRONT, width, cv2.LINE_AA, 4)
    cv2.polylines(out, [front_px], True, _BOX_FRONT, width, cv2.LINE_AA, 4)


def _draw_axes(out: Image, face: Face) -> None:
    length = 0.6 * _face_size(face.landmarks)
    center, *ends = _project(face, np.vstack([np.zeros(3), np.eye(3) * length]), face.landmarks[30]).tolist()
    width = _line_width(_face_size(face.landmarks)) + 2
    # the axis that points away from the viewer is drawn first
    for axis in np.argsort(face.camera.rotation[2]):
        cv2.arrowedLine(out, center, ends[axis], _SHADOW, width + 2, cv2.LINE_AA, 4, 0.12)
        cv2.arrowedLine(out, center, ends[axis], _AXES[axis], width, cv2.LINE_AA, 4, 0.12)


def _label(out: Image, face: Face, text: str) -> None:
    """A line of text under a face, on a dark plate, moved into the picture where it would leave it."""
    height, width = out.shape[:2]
    font, size = cv2.FONT_HERSHEY_SIMPLEX, _face_size(face.landmarks)
    scale = float(np.clip(size / 520, 0.3, 3.0))
    thickness = max(1, round(scale * 1.6))
    (text_width, text_height), baseline = cv2.getTextSize(text, font, scale, thickness)
    pad = max(3, text_height // 2)
    x = int(np.clip(face.landmarks[:, 0].mean() - text_width / 2, pad, max(pad, width - text_width - pad)))
    below = face.landmarks[:, 1].max() + 0.12 * size + text_height + pad
    y = int(np.clip(below, text_height + pad, max(text_height + pad, height - baseline - pad)))
    plate = out[max(y - text_height - pad, 0) : y + baseline + pad, max(x - pad, 0) : x + text_width + pad]
    plate[:] = plate // 3
    cv2.putText(out, text, (x, y), font, scale, (245, 245, 245), thickness, cv2.LINE_AA)
