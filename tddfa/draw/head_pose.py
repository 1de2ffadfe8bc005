"""Draw each head's pose as a box or axes, with its angles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from Sim3DR import bounds
from tddfa._shared.arrays import checked_image
from tddfa.draw._common import SHADOW, Image, checked_items, line_width
from tddfa.draw._lines import draw_lines
from tddfa.draw.labels import Labels, Place, names_of, rounded
from tddfa.landmarks68 import NOSE_TIP
from tddfa.types import Face

# In a crowd of faces smaller than this, px, a full label per face would hide the next face.
_LABELLED_IN_FULL_FROM = 80
_BOX_FRONT, _BOX_REAR = (110, 230, 80), (70, 150, 50)
_AXES_FROM_CENTER = np.vstack([np.zeros(3), np.eye(3)])
_AXES = ((80, 80, 240), (90, 210, 90), (245, 150, 60))  # x red, y green, z blue


def pose(
    image: Image,
    faces: Sequence[Face],
    *,
    style: Literal["box", "axes"] = "box",
    names: Sequence[str] | None = None,
) -> Image:
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
    names : sequence of str, optional
        What each label begins with; None takes the id of the face's track, if it has one. A label that finds no room
        beside others is left out.

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
    faces = checked_items("faces", faces, Face)
    heads = [_Head.of(face, name) for face, name in zip(faces, names_of(faces, names), strict=True)]
    heads.sort(key=lambda head: head.size)
    for head in heads:
        (_draw_box if style == "box" else _draw_axes)(out, head)
    labels = Labels(out)
    for head in reversed(heads):  # of two labels without room for both, that of the smaller face is left out
        head.write(labels)
    return out


class _Head(NamedTuple):
    """A face, the beginning of its label, the longer side of its landmarks and their limits of y, px."""

    face: Face
    name: str
    size: float
    top: float
    bottom: float

    @classmethod
    def of(cls, face: Face, name: str) -> _Head:
        low, high = (row.tolist() for row in bounds(face.landmarks))
        return cls(face, name, max(high[0] - low[0], high[1] - low[1]), low[1], high[1])

    def project(self, offsets: NDArray[np.float64], length: float, origin: NDArray[np.float32]) -> NDArray[np.float64]:
        """Project `length` times offsets (k, 3) from a point, in the model's directions: px."""
        view = offsets @ (self.face.camera.rotation[:2] * (_DOWN * length)).T
        view += origin[:2]
        return view

    def write(self, labels: Labels) -> None:
        """Write the angles under the face, or above it: in full where the face is large and there is room."""
        angles = self.face.camera.euler_degrees()
        yaw, pitch, roll = (rounded(angle) for angle in angles)
        texts = [f"{self.name}{yaw:+.0f} {pitch:+.0f} {roll:+.0f}"]
        if self.size >= _LABELLED_IN_FULL_FROM:
            yaw, pitch, roll = (rounded(angle, 1) for angle in angles)
            texts.insert(0, f"{self.name}yaw {yaw:+.1f}  pitch {pitch:+.1f}  roll {roll:+.1f}")
        middle = float(np.add.reduce(self.face.landmarks[:, 0])) / len(self.face.landmarks)
        gap = 0.12 * self.size
        places = [Place(middle, self.bottom + gap, False, True), Place(middle, self.top - gap, True, True)]
        labels.write(texts, places, min(max(self.size / 520, 0.3), 3.0))


# y is up in the model's frame, down in an image.
_DOWN = np.array([[1.0], [-1.0]])
# Corners of the frustum of 3DDFA_V2: a rear square +-1 at depth 0, a front square +-4/3 at depth 4/3.
_FRUSTUM = np.array(
    [
        (x * side, y * side, depth)
        for side, depth in ((1, 0), (4 / 3, 4 / 3))
        for x, y in ((-1, -1), (-1, 1), (1, 1), (1, -1))
    ]
)
_EDGES = np.array(
    [[(first, first + 1), (first + 1, first + 2), (first + 2, first + 3), (first + 3, first)] for first in (0, 4)]
    + [[(corner, corner + 4) for corner in range(4)]]
)


def _draw_box(out: Image, head: _Head) -> None:
    origin = np.add.reduce(head.face.landmarks[:27]) / np.float32(27)
    corners = head.project(_FRUSTUM, math.sqrt(2) * head.size / 3, origin)
    rear, front, joins = corners[_EDGES].reshape(3, 4, 4)
    # as wide as OpenCV's anti-aliased lines
    width = max(1, round(head.size / 110))
    radius = 0.7 + (math.ceil(width / 2) if width > 1 else 0)
    draw_lines(out, rear, radius, _BOX_REAR)
    draw_lines(out, joins, radius, _BOX_FRONT)
    draw_lines(out, front, radius, _BOX_FRONT)


def _draw_axes(out: Image, head: _Head) -> None:
    face = head.face
    points = head.project(_AXES_FROM_CENTER, 0.6 * head.size, face.landmarks[NOSE_TIP])
    # OpenCV takes whole numbers
    center, *ends = np.rint(np.minimum(np.maximum(points, -1e6), 1e6) * 16).astype(np.int32).tolist()
    width = line_width(head.size) + 2
    # the axis that points away from the viewer is drawn first
    for axis in np.argsort(face.camera.rotation[2]):
        cv2.arrowedLine(out, center, ends[axis], SHADOW, width + 2, cv2.LINE_AA, 4, 0.12)
        cv2.arrowedLine(out, center, ends[axis], _AXES[axis], width, cv2.LINE_AA, 4, 0.12)
