"""Draw the vertices of meshes as dots, coloured by depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from Sim3DR import vertex_normals
from tddfa._shared.arrays import checked_image
from tddfa.draw._common import Image, face_size, farthest_first
from tddfa.surface.visibility import DepthTest
from tddfa.types import Mesh

# Distance between dots: a fraction of the face's size, and a minimum in px. Their radius as a fraction of it.
_SPACING, _MIN_SPACING_PX, _RADIUS = 1 / 64, 4.0, 0.27
# A dark rim makes the dots readable on skin: a fraction of the spacing; its opacity.
_RIM, _RIM_OPACITY = 0.12, 0.55
# BGR from far to near.
_FAR_TO_NEAR = np.array(
    [(190, 60, 70), (235, 150, 50), (150, 225, 90), (80, 230, 245), (90, 130, 255)], dtype=np.float32
)
# The depth test renders the face at most this large. A vertex this far behind the nearest surface, a fraction of the
# face's size, is hidden.
_DEPTH_TEST_PX, _HIDDEN_FROM = 160, 0.02
_MAX_REACH = 16  # px, of dots that are drawn pixel by pixel of all dots at once
_FARTHEST = 1e9  # px: a dot farther from the image is not in it


def points(image: Image, meshes: Sequence[Mesh]) -> Image:
    """Draw the vertices that the camera sees as dots, from blue (far) to red (near) (``2d_dense``).

    The density of the dots is the same over the whole face. A small face has as many as fit. Nearer faces are
    drawn over farther ones.

    Examples
    --------
    >>> drawn = points(image, [mesh])
    >>> drawn.shape == image.shape
    True
    """
    out = checked_image("image", image).copy()
    for mesh in farthest_first(meshes):
        spacing = max(_MIN_SPACING_PX, _SPACING * face_size(mesh.vertices))
        chosen = _spread_out(mesh.vertices[:, :2], np.flatnonzero(_visible(mesh)), spacing)
        centers = np.rint(np.clip(mesh.vertices[chosen, :2], -_FARTHEST, _FARTHEST)).astype(np.intp)
        colors = _colors(mesh.vertices[:, 2], chosen)
        dot = _Dot(_RADIUS * spacing, _RIM * spacing)
        inside = ((centers >= -dot.reach) & (centers < np.add(out.shape[1::-1], dot.reach))).all(axis=1)
        centers, colors = centers[inside], colors[inside]
        if dot.reach > _MAX_REACH:  # of the few dots that are so large, only what is in the image is drawn
            for center, color in zip(centers, colors, strict=True):
                _draw_dot(out, center, dot, color)
        else:
            _draw_dots(out, centers, dot, colors)
    return out


class _Dot(NamedTuple):
    """A dot with a rim, px."""

    radius: float
    rim: float

    @property
    def reach(self) -> int:
        return int(min(np.ceil(self.radius + self.rim), _FARTHEST))

    def opacity(self, x: NDArray[np.intp], y: NDArray[np.intp]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """How opaque colour and rim are, 0..1, at these columns and rows from its centre."""
        distance = np.hypot(x, y[:, None]).astype(np.float32)
        # an edge is one pixel wide
        color, outer = (np.clip(edge + 0.5 - distance, 0, 1) for edge in (self.radius, self.radius + self.rim))
        return color, _RIM_OPACITY * outer * (1 - color)


def _visible(mesh: Mesh) -> NDArray[np.bool_]:
    test = DepthTest(mesh, _DEPTH_TEST_PX, enlarge=False)
    behind = test.vertices_behind() > _HIDDEN_FROM * test.extent * test.scale
    return np.asarray((vertex_normals(mesh.vertices, mesh.triangles)[:, 2] > 0) & ~behind)


def _spread_out(points: NDArray[np.float32], chosen: NDArray[np.intp], spacing: float) -> NDArray[np.intp]:
    """Choose the point nearest the centre of each cell of a hexagonal pattern, of those chosen among `points`."""
    if not len(chosen):
        return chosen
    scaled = points[chosen] * np.array([1 / spacing, 1 / (spacing * np.sqrt(0.75))], dtype=np.float32)
    rows = np.floor(scaled[:, 1])
    across = scaled[:, 0] + np.float32(0.5) * (rows % 2)
    columns = np.floor(across)
    off_center = np.square(across - columns - 0.5) + np.square(scaled[:, 1] - rows - 0.5)
    row, column = ((axis - axis.min()).astype(np.intp) for axis in (rows, columns))
    best = np.full((int(row.max()) + 1) * (int(column.max()) + 1), -1)
    # of several values written to one element, the last stays
    order = np.argsort(-off_center, kind="stable")
    best[(row * (column.max() + 1) + column)[order]] = order
    return chosen[best[best >= 0]]


def _colors(depth: NDArray[np.float32], chosen: NDArray[np.intp]) -> NDArray[np.uint8]:
    """BGR (k, 3) of the chosen depths: from the farthest to the nearest of them."""
    if not len(chosen):
        return np.zeros((0, 3), dtype=np.uint8)
    low, high = float(depth[chosen].min()), float(depth[chosen].max())
    at = (depth[chosen] - low) * ((len(_FAR_TO_NEAR) - 1) / max(high - low, 1e-6))
    stops = np.arange(len(_FAR_TO_NEAR))
    channels = [np.interp(at, stops, channel) for channel in _FAR_TO_NEAR.T]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def _draw_dots(image: Image, centers: NDArray[np.intp], dot: _Dot, colors: NDArray[np.uint8]) -> None:
    height, width = image.shape[:2]
    pixels, wide = image.reshape(-1, 3), colors.astype(np.float32)
    around = np.arange(-dot.reach, dot.reach + 1)
    opacity = dot.opacity(around, around)
    for row, column in zip(*np.nonzero(opacity[0] + opacity[1] > 0), strict=True):
        color, rim = (float(weight[row, column]) for weight in opacity)
        x, y = centers[:, 0] + around[column], centers[:, 1] + around[row]
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        # indexing by one array is much faster than by two
        at = y[inside] * width + x[inside]
        if color == 1:
            pixels[at] = colors[inside]
        else:
            pixels[at] = pixels[at] * np.float32(1 - color - rim) + wide[inside] * np.float32(color)


def _draw_dot(image: Image, center: NDArray[np.intp], dot: _Dot, color: NDArray[np.uint8]) -> None:
    left, top = np.maximum(center - dot.reach, 0)
    right, bottom = np.minimum(center + dot.reach + 1, image.shape[1::-1])
    weights = dot.opacity(np.arange(left, right) - center[0], np.arange(top, bottom) - center[1])
    opacity, rim = (weight[..., None] for weight in weights)
    patch = image[top:bottom, left:right]
    patch[:] = patch * (1 - opacity - rim) + color * opacity
