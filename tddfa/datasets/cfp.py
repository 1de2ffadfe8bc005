"""CFP, "Celebrities in Frontal-Profile in the Wild" (Sengupta et al., WACV 2016): turned faces with 30 human points.

Layout: photos ``PPP_profile_NN.jpg`` and ``PPP_frontal_NN.jpg`` of person PPP, and beside them ``cfp.npz`` with `names`
(n,), the photos without suffix, `points` (n, 30, 2), px with pixel centres at whole numbers, and `profile` (n,) bool.

The points are the half of the face that the camera sees. Photos in which the ear lies right of the nose are flipped
when they are read, so the visible half is always the subject's right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa._shared import image_io
from tddfa._shared.arrays import checked
from tddfa.datasets.files import first_file, read_arrays

POINTS_68 = (*range(9), 17, 19, 21, *range(36, 42), *range(27, 31), 33, 32, 31, 48, 51, 62, 57, 66)
"""Index of each of the 30 points among the 68 of 300-W, from 0."""

TRAINING, CHOOSE, REPORT = range(1, 401), range(401, 426), range(426, 451)
"""Persons by use: for training, for the choice of a training, and for the reported figures."""

_POINTS = "cfp.npz"
_EAR, _NOSE = 0, 23
# The two points of the lower right lid are swapped in some photos.
_LOWER_LID = (16, 17)
_NAME = re.compile(r"(\d{1,6})_(profile|frontal)_\d+")
# The crops end at the head: replicated border, as a fraction of the longer side.
_BORDER = 0.4


@dataclass(frozen=True, eq=False)
class CfpPhoto:
    """A photo of CFP, not yet read.

    Attributes
    ----------
    path : Path
    person : int
        Number of the person.
    profile : bool
        Whether the person is seen from the side.
    points : ndarray (30, 2) float64
        px of the file.
    """

    path: Path
    person: int
    profile: bool
    points: NDArray[np.float64]

    def read(self) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Read the photo, with a replicated border; the visible half is the subject's right.

        Returns
        -------
        image : ndarray (h, w, 3) uint8
            BGR.
        points : ndarray (30, 2) float64
            px of that image, in the order of `POINTS_68`.

        Raises
        ------
        ValueError
            If the file cannot be read; the message names it.
        """
        image, points = image_io.read(self.path), self.points.copy()
        if points[_EAR, 0] > points[_NOSE, 0]:
            image = np.ascontiguousarray(image[:, ::-1])
            points[:, 0] = image.shape[1] - 1 - points[:, 0]
        border = round(_BORDER * max(image.shape[:2]))
        padded = cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REPLICATE)
        return np.asarray(padded, dtype=np.uint8), points + border


def read_cfp(data: Path, persons: range | None = None) -> list[CfpPhoto]:
    """List the photos of CFP.

    Parameters
    ----------
    data : Path
        Folder with the photos and ``cfp.npz``, or a folder in which these are in ``cfp``.
    persons : range, optional
        Of these persons alone; all by default.

    Returns
    -------
    list of CfpPhoto
        By name; empty without ``cfp.npz``.

    Raises
    ------
    ValueError
        If the file is damaged or names photos in another way; the message names it.

    Examples
    --------
    >>> read_cfp(tmp)
    []
    """
    path = first_file([data / "cfp", data], [_POINTS])
    if path is None:
        return []
    arrays = read_arrays(path, ["names", "points", "profile"])
    try:
        names = np.atleast_1d(arrays["names"])
        points = checked("points", arrays["points"], (len(names), len(POINTS_68), 2), np.float64)
        profile = checked("profile", arrays["profile"], (len(names),), np.bool_)
        matches = [_NAME.fullmatch(str(name)) for name in names]
        wrong = [str(name) for name, match in zip(names, matches, strict=True) if match is None]
        if wrong:
            raise ValueError(f"names: expected names as 001_profile_01, got {wrong[0][:40]!r}")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    photos = [
        CfpPhoto(path.parent / f"{names[i]}.jpg", int(match[1]), bool(profile[i]), points[i])
        for i in np.argsort(names).tolist()
        if (match := matches[i]) is not None
    ]
    return [photo for photo in photos if persons is None or photo.person in persons]


def point_error(predicted: NDArray[np.floating], points: NDArray[np.floating]) -> float:
    """Mean distance of predicted landmarks (68, 2 or 3) from the 30 points (30, 2), px.

    The two points of the lower lid, which are swapped in some photos, count in the better order.

    Examples
    --------
    >>> points = face.landmarks[list(POINTS_68), :2] + [3, 4]
    >>> points[[16, 17]] = points[[17, 16]]
    >>> round(point_error(face.landmarks, points), 4)
    5.0
    """
    own = np.asarray(predicted, dtype=np.float64)[list(POINTS_68), :2]
    lid, swapped = list(_LOWER_LID), list(_LOWER_LID[::-1])
    distance = np.linalg.norm(own - points, axis=1)
    other = np.linalg.norm(own[swapped] - points[lid], axis=1)
    if other.sum() < distance[lid].sum():
        distance[lid] = other
    return float(distance.mean())
