"""The 68 landmarks of 300-W by name: parts of the face, mirror order, lid and lip pairs, eye corners, five points.

Indices count from 0. Right and left are the subject's.

Sources: 300-W (Sagonas et al., 2013) for the numbering; ArcFace (Deng et al., CVPR 2019) for the five points.

>>> from tddfa import landmarks68
>>> landmarks68.PARTS["left_eye"]
slice(42, 48, None)
>>> int(landmarks68.MIRRORED[landmarks68.CHIN])
8
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

COUNT = 68

PARTS = {
    "jaw": slice(0, 17),
    "right_brow": slice(17, 22),
    "left_brow": slice(22, 27),
    "nose_bridge": slice(27, 31),
    "nose_tip": slice(31, 36),
    "right_eye": slice(36, 42),
    "left_eye": slice(42, 48),
    "outer_lips": slice(48, 60),
    "inner_lips": slice(60, 68),
}
"""Part of the face -> its landmarks."""

JAW, INNER = PARTS["jaw"], slice(17, COUNT)
"""The 17 landmarks of the jaw, and the 51 others."""

BROWS, NOSE, EYES, MOUTH = slice(17, 27), slice(27, 36), slice(36, 48), slice(48, COUNT)
"""Both brows, the whole nose, both eyes, both lips."""

CLOSED_PARTS = ("right_eye", "left_eye", "outer_lips", "inner_lips")
"""Parts whose last landmark joins the first."""

GROUPS = {
    "jaw": ("jaw",),
    "brows": ("right_brow", "left_brow"),
    "nose": ("nose_bridge", "nose_tip"),
    "eyes": ("right_eye", "left_eye"),
    "lips": ("outer_lips", "inner_lips"),
}
"""Group of parts -> its parts."""

CHIN, NOSE_TIP = 8, 30

OUTER_EYE_CORNERS = (36, 45)
"""Right and left; their distance normalises errors in 300-W."""

RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS = (36, 39), (42, 45)
"""Of each eye, in the order of the landmarks: right outer and inner, left inner and outer."""

MOUTH_CORNERS = (48, 54)
"""Right and left."""

RIGHT_LID_PAIRS, LEFT_LID_PAIRS = ((37, 41), (38, 40)), ((43, 47), (44, 46))
"""Upper and lower lid, opposite each other."""

LID_PAIRS = (*RIGHT_LID_PAIRS, *LEFT_LID_PAIRS)
"""The lid pairs of both eyes."""

INNER_LIP_PAIRS = ((61, 67), (62, 66), (63, 65))
"""Upper and lower edge of the open mouth, opposite each other."""

LIP_PAIRS = (*INNER_LIP_PAIRS, (51, 57), (60, 64))
"""Distances that describe the mouth: inner edges, outer edges, inner corners."""

MIRRORED: NDArray[np.intp] = np.array([
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
])  # fmt: skip
MIRRORED.setflags(write=False)
"""In a horizontally flipped image, landmark i is landmark ``MIRRORED[i]`` of the flipped face."""


def contours(points: ArrayLike, *names: str) -> dict[str, NDArray[Any]]:
    """Return the landmarks of parts of the face as lines; `tddfa.Face.contours` does so for a `Face`.

    Parameters
    ----------
    points : array_like (68, k)
        The landmarks, in 2D or 3D.
    *names : str
        Parts (a key of `PARTS`) and groups of them (a key of `GROUPS`). Without a name: all parts.

    Returns
    -------
    dict of str to ndarray (n, k)
        Part -> its points, in order; eyes and lips end at the point where they begin. `points` keeps its dtype.

    Raises
    ------
    ValueError
        If `points` has another shape, or if there is no such part or group.

    Examples
    --------
    >>> from tddfa import landmarks68
    >>> lines = landmarks68.contours(face.landmarks[:, :2], "eyes", "jaw")
    >>> {name: line.shape for name, line in lines.items()}
    {'right_eye': (7, 2), 'left_eye': (7, 2), 'jaw': (17, 2)}
    """
    array = np.asarray(points)
    if array.ndim != 2 or len(array) != COUNT:
        raise ValueError(f"points: expected shape ({COUNT}, k), got {array.shape}")
    for name in names:
        if name not in GROUPS and name not in PARTS:
            known = ", ".join(dict.fromkeys((*GROUPS, *PARTS)))
            raise ValueError(f"names: expected one or more of {known}, got {name!r}")
    parts = [part for name in names or PARTS for part in GROUPS.get(name, (name,))]
    numbers = np.arange(COUNT)
    return {part: array[[*numbers[PARTS[part]], *numbers[PARTS[part]][: part in CLOSED_PARTS]]] for part in parts}
