"""The frame of exported files: the image's, with y up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from Sim3DR import vertex_normals

AXES = "x right, y up, z towards the viewer"
"""The axes of the files, for comments in them."""

# px; far larger than any image, and small enough for float32
_MAX_HEIGHT = 1e9


def checked_height(image_height: float) -> float:
    """Return `image_height` (px) if it is valid.

    Raises
    ------
    ValueError
        If it is negative, not finite, or over 1e9 px.
    """
    if not 0 <= image_height <= _MAX_HEIGHT:
        raise ValueError(f"image_height: expected 0..{_MAX_HEIGHT:.0f} px, got {image_height}")
    return float(image_height)


def to_file_frame(vertices: NDArray[np.float32], image_height: float) -> NDArray[np.float32]:
    """Vertices (n, 3) in image px as a new array in the files' frame: ``(x, image_height - y, z)``.

    The image's frame (x right, y down, larger z is nearer) is left-handed, the files' frame is right-handed. The
    front view is the same in both, so triangles keep their counter-clockwise order, and by the right-hand rule
    their normals point outwards. The indices are written unchanged.
    """
    turned: NDArray[np.float32] = vertices.copy()
    np.subtract(np.float32(image_height), vertices[:, 1], out=turned[:, 1])
    return turned


def unit_normals(vertices: NDArray[np.float32], triangles: NDArray[np.int32]) -> NDArray[np.float32]:
    """Normals (n, 3) of vertices (n, 3) in the files' frame, of unit length, outwards."""
    # the renderer's frame is left-handed
    normals = -vertex_normals(vertices, triangles)
    # A vertex without a triangle has no normal, but the formats require unit length everywhere.
    normals[~normals.any(axis=1)] = (0, 0, 1)
    return normals
