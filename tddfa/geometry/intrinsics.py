"""Intrinsics of a perspective camera: focal length, principal point and distortion."""

from __future__ import annotations

import math
import os
import reprlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared import phone_formats
from tddfa._shared.arrays import checked

Axis = Literal["horizontal", "vertical", "diagonal"]

# px; no real camera is near either limit. Beyond them, squares of such numbers overflow or vanish.
_SHORTEST, _LONGEST = 1e-3, 1e9
# Numbers of coefficients of OpenCV's distortion models.
_DISTORTIONS = (0, 4, 5, 8, 12, 14)
# The diagonal of the 36 x 24 mm that EXIF's "focal length in 35 mm film" refers to (CIPA DCG-001).
_FILM_DIAGONAL_MM = math.hypot(36, 24)
_MM_PER_EXIF_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)
_EXIF_IFD, _FOCAL, _FOCAL_35, _PLANE_X, _PLANE_UNIT = 0x8769, 0x920A, 0xA405, 0xA20E, 0xA210


@dataclass(frozen=True, eq=False)
class Intrinsics:
    """Pinhole camera with OpenCV's distortion, in px; pixel centres at whole numbers.

    Attributes
    ----------
    matrix : ndarray (3, 3) float64
        ``[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]``.
    distortion : ndarray (0, 4, 5, 8, 12 or 14,) float64
        k1, k2, p1, p2, k3, … as OpenCV's calibration gives them.

    Examples
    --------
    >>> from tddfa import Intrinsics
    >>> Intrinsics([[800, 0, 319.5], [0, 800, 239.5], [0, 0, 1]]).focal
    800.0
    """

    matrix: NDArray[np.float64]
    distortion: NDArray[np.float64]

    def __init__(self, matrix: ArrayLike, distortion: ArrayLike = ()) -> None:
        """Check and keep the arrays."""
        k = checked("Intrinsics.matrix", matrix, (3, 3), np.float64)
        if k[0, 0] <= 0 or k[1, 1] <= 0 or k[1, 0] != 0 or k[0, 1] != 0 or not np.array_equal(k[2], (0, 0, 1)):
            raise ValueError(
                f"Intrinsics.matrix: expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] with fx, fy > 0, got {k.tolist()}"
            )
        focal, center = np.diag(k)[:2], k[:2, 2]
        if focal.min() < _SHORTEST or focal.max() > _LONGEST:
            wanted = f"fx, fy from {_SHORTEST:g} to {_LONGEST:g} px"
            raise ValueError(f"Intrinsics.matrix: expected {wanted}, got {focal.tolist()}")
        if np.abs(center).max() > _LONGEST:
            raise ValueError(f"Intrinsics.matrix: expected cx, cy of at most {_LONGEST:g} px, got {center.tolist()}")
        # OpenCV gives them as a row or as a column
        d = checked("Intrinsics.distortion", np.ravel(distortion), (None,), np.float64)
        if len(d) not in _DISTORTIONS:
            raise ValueError(f"Intrinsics.distortion: expected {_DISTORTIONS} coefficients, got {len(d)}")
        object.__setattr__(self, "matrix", k)
        object.__setattr__(self, "distortion", d)

    @property
    def focal(self) -> float:
        """Mean focal length, px."""
        return float((self.matrix[0, 0] + self.matrix[1, 1]) / 2)

    @classmethod
    def centered(cls, focal: float, image_size: tuple[int, int]) -> Intrinsics:
        """Camera with a focal length in px, and its principal point in the middle of an image of (height, width) px.

        Examples
        --------
        >>> from tddfa import Intrinsics
        >>> Intrinsics.centered(800, (480, 640)).matrix[:2, 2].tolist()
        [319.5, 239.5]
        """
        height, width = checked_size(image_size)
        if not 0 < focal < math.inf:
            raise ValueError(f"focal: expected a number of px over 0, got {focal}")
        return cls([[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]])

    @classmethod
    def assumed(cls, image_size: tuple[int, int]) -> Intrinsics:
        """Camera that img2pose assumes for an image of (height, width) px of an unknown camera: f = width + height.

        Albiero et al., img2pose, CVPR 2021. The principal point is ``(width // 2, height // 2)``, as there.

        Examples
        --------
        >>> from tddfa import Intrinsics
        >>> Intrinsics.assumed((480, 640)).focal
        1120.0
        """
        height, width = checked_size(image_size)
        return cls([[width + height, 0, width // 2], [0, width + height, height // 2], [0, 0, 1]])

    @classmethod
    def from_field_of_view(cls, degrees: float, image_size: tuple[int, int], axis: Axis = "horizontal") -> Intrinsics:
        """Camera from its angle of view.

        Parameters
        ----------
        degrees : float
            From edge to edge, more than 0 and less than 180.
        image_size : tuple of int
            Height and width of the image, px.
        axis : {"horizontal", "vertical", "diagonal"}
            Direction of the angle.

        Examples
        --------
        >>> from tddfa import Intrinsics
        >>> round(Intrinsics.from_field_of_view(90, (480, 640)).focal, 3)
        320.0
        """
        height, width = checked_size(image_size)
        lengths = {"horizontal": width, "vertical": height, "diagonal": math.hypot(width, height)}
        if axis not in lengths:
            raise ValueError(f"axis: expected one of {', '.join(lengths)}, got {axis!r}")
        half = math.tan(math.radians(degrees) / 2) if 0 < degrees < 180 else 0.0
        if not half > 0:  # the least numbers have no tangent
            raise ValueError(f"degrees: expected an angle between 0 and 180, got {degrees}")
        return cls.centered(lengths[axis] / 2 / half, image_size)

    @classmethod
    def from_exif(cls, path: str | os.PathLike[str], image_size: tuple[int, int] | None = None) -> Intrinsics:
        """Camera from the focal length in the EXIF block of a photo.

        It is taken from "focal length in 35 mm film", which refers to the diagonal, or from the focal length in mm and
        the sensor's resolution. The result is wrong for a photo that was cropped afterwards.

        Parameters
        ----------
        path : path
            The photo.
        image_size : tuple of int, optional
            Height and width of the image as it is used, px. None takes the size of the file, after its EXIF orientation
            is applied.

        Raises
        ------
        ValueError
            If the file is not an image, or if it has no focal length.
        OSError
            If it cannot be read.
        """
        stored, tags = _exif(Path(path))
        height, width = stored if image_size is None else checked_size(image_size)
        film, focal, per_unit = (_number(tags.get(tag)) for tag in (_FOCAL_35, _FOCAL, _PLANE_X))
        length = 0.0
        if film > 0:
            length = film / _FILM_DIAGONAL_MM * math.hypot(width, height)
        elif focal > 0 and per_unit > 0:
            millimetres = _MM_PER_EXIF_UNIT.get(int(_number(tags.get(_PLANE_UNIT)) or 2), 25.4)
            length = focal * per_unit / millimetres * max(width, height) / max(stored)
        if not _SHORTEST <= length <= _LONGEST:
            raise ValueError(f"{path}: its EXIF block has no focal length")
        return cls.centered(length, (height, width))


def _exif(path: Path) -> tuple[tuple[int, int], dict[int, object]]:
    """Height and width of a photo, rotated as it is to be shown, and the tags of its camera."""
    from PIL import Image

    if path.suffix.lower() in phone_formats.SUFFIXES:
        phone_formats.prepare("HEIC")  # lets Pillow open it; if it cannot, the error of reading says so
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about an odd block, or about a large image
            with Image.open(path) as photo:
                block = photo.getexif()
                width, height = photo.size
                size = (width, height) if block.get(_ORIENTATION) in _ON_ITS_SIDE else (height, width)
                return size, dict(block.get_ifd(_EXIF_IFD))
    except Exception as error:  # a damaged block can raise anything
        if isinstance(error, OSError) and not path.is_file():
            raise
        raise ValueError(f"{path}: not an image with a readable EXIF block: {error}") from error


def _number(value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return 0.0
    return number if math.isfinite(number) else 0.0


def checked_size(image_size: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width of an image as whole numbers.

    Raises
    ------
    ValueError
        If they are not two whole numbers of px, or out of range.
    """
    try:
        height, width = (int(side) for side in image_size)
        whole = (height, width) == tuple(image_size)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"image_size: expected (height, width), as image.shape[:2], got {image_size!r}") from error
    if not whole:  # fractions, or digits of a text
        raise ValueError(f"image_size: expected height and width in whole px, got {image_size!r}")
    if min(height, width) < 1 or max(height, width) > _LONGEST:
        got = reprlib.repr(tuple(image_size))  # a number may be long
        raise ValueError(f"image_size: expected height and width of 1 to {_LONGEST:g} px, got {got}")
    return height, width
