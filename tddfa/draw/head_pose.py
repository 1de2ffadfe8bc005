"""Draw each head's pose as a box or axes, with its angles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import checked_image
from tddfa.draw._common import SHADOW, Image, face_size, line_width
from tddfa.landmarks68 import NOSE_TIP
from tddfa.types import Face

# In a crowd of faces smaller than this, px, a full label per face would hide the next face.
_LABELLED_IN_FULL_FROM = 80
_BOX_FRONT, _BOX_REAR = (110, 230, 80), (70, 150, 50)
_AXES = ((80, 80, 240), (90, 210, 90), (245, 150, 60))  # x red, y green, z blue


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
    sized = [(face_size(face.landmarks), face) for face in faces]
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
    width = line_width(size) + 2
    # the axis that points away from the viewer is drawn first
    for axis in np.argsort(face.camera.rotation[2]):
        cv2.arrowedLine(out, center, ends[axis], SHADOW, width + 2, cv2.LINE_AA, 4, 0.12)
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
