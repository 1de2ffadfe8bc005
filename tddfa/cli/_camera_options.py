"""The options that say by which camera a picture was taken."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tddfa.geometry.intrinsics import Intrinsics

CameraChoice = Callable[[tuple[int, int], Path | None], "Intrinsics | None"]
"""Height and width of a picture, and its file where it has one -> its camera; None is one that is assumed."""

_ASSUMED, _EXIF = "assumed", "exif"


def add_camera_options(parser: argparse.ArgumentParser, *, exif: bool) -> None:
    """Add the options; `exif` where pictures are files that may tell of their camera."""
    group = parser.add_argument_group("the camera, for 6dof and the numbers saved").add_mutually_exclusive_group()
    group.add_argument(
        "--intrinsics", default=_ASSUMED, metavar=f"{_ASSUMED}|{'exif|' if exif else ''}FILE",
        help="assumed: focal length = width + height, as img2pose takes it (default)"
        + ("; exif: what the photo tells" if exif else "")
        + "; FILE: a calibration, .npz, .json or .yml, with camera_matrix and dist_coeffs as OpenCV names them",
    )  # fmt: skip
    group.add_argument("--fov", type=_degrees, metavar="DEG", help="horizontal angle of view")
    group.add_argument("--focal", type=_pixels, metavar="PX", help="focal length")
    parser.set_defaults(exif=exif)


def is_asked_for(options: argparse.Namespace) -> bool:
    """Whether something is said of the camera."""
    return options.intrinsics != _ASSUMED or options.fov is not None or options.focal is not None


def camera_choice(options: argparse.Namespace) -> CameraChoice:
    """What the options of `add_camera_options` say; a calibration is read, and so checked, at once.

    Raises
    ------
    ValueError, OSError
        If the calibration cannot be read, now; later, if it does not fit a picture, or if a photo tells nothing.
    """
    from tddfa.geometry import calibration
    from tddfa.geometry.intrinsics import Intrinsics

    if options.intrinsics == _EXIF and not options.exif:
        raise ValueError("--intrinsics: expected assumed or a file, for frames do not tell of their camera")
    calibrated = options.intrinsics not in (_ASSUMED, _EXIF)
    if calibrated:
        try:
            calibration.read(options.intrinsics)
        except OSError as error:
            raise ValueError(f"--intrinsics: {options.intrinsics}: {error.strerror or error}") from error

    # a video asks for the same one at every frame
    @lru_cache(maxsize=4)
    def of(size: tuple[int, int]) -> Intrinsics | None:
        if options.focal is not None:
            return Intrinsics.centered(options.focal, size)
        if options.fov is not None:
            return Intrinsics.from_field_of_view(options.fov, size)
        return calibration.read(options.intrinsics, size) if calibrated else None

    def choose(size: tuple[int, int], path: Path | None) -> Intrinsics | None:
        if options.intrinsics == _EXIF and path is not None:
            try:
                return Intrinsics.from_exif(path, size)
            except ValueError as error:
                raise ValueError(f"{error}; give --fov or --focal") from error
        return of(size)

    return choose


def _degrees(text: str) -> float:
    value = _number(text)
    if not 0 < value < 180:
        raise argparse.ArgumentTypeError(f"expected degrees over 0 and under 180, got {text!r}")
    return value


def _pixels(text: str) -> float:
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number of px over 0, got {text!r}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
