"""Labels of faces: text on dark plates that lie inside the image and do not cover each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from tddfa.draw._common import Image
from tddfa.types import Face

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE = (245.0, 245.0, 245.0)
# Where a plate has no room, it is moved away from the face by up to this many times its height.
_MOVES = 3


class Place(NamedTuple):
    """Where a plate may lie.

    Attributes
    ----------
    x : float
        Left edge or middle of the plate, px.
    y : float
        Edge of the plate that is towards the face, px.
    above : bool
        The plate ends at `y`, and does not begin there.
    centered : bool
        `x` is the middle of the plate.
    """

    x: float
    y: float
    above: bool
    centered: bool = False


class Labels:
    """Writes the labels of an image.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR, changed in place.

    Attributes
    ----------
    plates : list of tuple of int
        Left, top, right and bottom of each label that was written, px.
    """

    def __init__(self, image: Image) -> None:
        self._image = image
        self.plates: list[tuple[int, int, int, int]] = []

    def write(
        self,
        texts: Sequence[str],
        places: Sequence[Place],
        scale: float,
        color: tuple[float, float, float] = _WHITE,
    ) -> bool:
        """Write the first text that fits at the first free place, and return whether one did.

        Parameters
        ----------
        texts : sequence of str
            The text, and shorter ones that say the same.
        places : sequence of Place
            The best first. Around each, a place farther from the face is taken where another label lies.
        scale : float
            Size of the letters, for OpenCV.
        color : tuple of float
            BGR of the letters.
        """
        thickness = max(1, round(scale * 1.6))
        for text in texts:
            (width, height), baseline = cv2.getTextSize(text, _FONT, scale, thickness)
            pad = max(2, height // 3)
            size = width + 2 * pad, height + baseline + 2 * pad
            for left, top in self._corners(places, size):
                right, bottom = left + size[0], top + size[1]
                if any(left < x2 and x1 < right and top < y2 and y1 < bottom for x1, y1, x2, y2 in self.plates):
                    continue
                self.plates.append((left, top, right, bottom))
                plate = self._image[top:bottom, left:right]
                np.floor_divide(plate, 3, out=plate)
                at = left + pad, top + pad + height
                cv2.putText(self._image, text, at, _FONT, scale, color, thickness, cv2.LINE_AA)
                return True
        return False

    def _corners(self, places: Sequence[Place], size: tuple[int, int]) -> Iterator[tuple[int, int]]:
        """Yield the upper left corners of a plate, moved into the image."""
        width, height = size
        right, bottom = self._image.shape[1] - width, self._image.shape[0] - height
        if right < 0 or bottom < 0:
            return
        for move in range(_MOVES + 1):
            for x, y, above, centered in places:
                left = x - width / 2 if centered else x
                top = y - (move + 1) * height if above else y + move * height
                yield int(min(max(left, 0), right)), int(min(max(top, 0), bottom))


def names_of(faces: Sequence[Face], names: Sequence[str] | None) -> list[str]:
    """Return the beginning of each face's label: its name, by default the id of its track.

    Raises
    ------
    ValueError
        If there is not one name for each face.
    """
    if names is None:
        names = ["" if face.track_id is None else str(face.track_id) for face in faces]
    elif len(names) != len(faces):
        raise ValueError(f"names: expected one for each of {len(faces)} faces, got {len(names)}")
    return [f"{name}:  " if name else "" for name in names]


def rounded(value: float, digits: int = 0) -> float:
    """Round a number to be written: what rounds to 0 has no sign, which would be written too.

    Examples
    --------
    >>> f"{rounded(-0.04, 1):+.1f} {rounded(2.54, 1):+.1f}"
    '+0.0 +2.5'
    """
    return round(value, digits) + 0.0
