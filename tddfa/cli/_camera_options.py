"""The options that give the camera of a photo or video."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tddfa._shared.terminal.parser import UsageError, as_usage_error

if TYPE_CHECKING:
    from tddfa.geometry.intrinsics import Intrinsics

CameraChoice = Callable[[tuple[int, int], Path | None], "Intrinsics | None"]
"""Height and width of an image, and its file if it has one -> its camera; None if the camera is assumed."""

_ASSUMED, _EXIF = "assumed", "exif"


def add_camera_options(parser: argparse.ArgumentParser, *, exif: bool) -> None:
    """Add the options; with `exif`, for photos, whose files may have EXIF data about the camera."""
    group = parser.add_argument_group("camera, for 6dof and saved numbers").add_mutually_exclusive_group()
    group.add_argument(
        "--intrinsics", default=_ASSUMED, type=_source, metavar=f"{_ASSUMED}|{f'{_EXIF}|' if exif else ''}FILE",
        help="assumed: focal length = width + height, as in img2pose"
        + ("; exif: focal length of the photo's EXIF data" if exif else "")
        + "; FILE: a calibration of OpenCV (.npz, .json, .yml) with camera_matrix and dist_coeffs (default: assumed)",
    )  # fmt: skip
    group.add_argument(
        "--fov", type=_degrees, metavar="DEG", help="horizontal field of view (default: see --intrinsics)"
    )
    group.add_argument("--focal", type=_pixels, metavar="PX", help="focal length (default: see --intrinsics)")
    parser.set_defaults(exif=exif)


def is_asked_for(options: argparse.Namespace) -> bool:
    """Whether an option gives the camera."""
    return options.intrinsics != _ASSUMED or options.fov is not None or options.focal is not None


def camera_choice(options: argparse.Namespace) -> CameraChoice:
    """Return the choice of the options of `add_camera_options`; a calibration is read, and so checked, at once.

    Raises
    ------
    ValueError, OSError
        If the calibration cannot be read. The choice itself raises if the calibration does not fit an image, or if a
        photo has no EXIF data.
    """
    from tddfa.geometry import calibration
    from tddfa.geometry.intrinsics import Intrinsics

    if options.intrinsics == _EXIF and not options.exif:
        raise UsageError("--intrinsics: expected assumed or a file, got exif: frames have no EXIF data")
    calibrated = options.intrinsics not in (_ASSUMED, _EXIF)
    if calibrated:
        try:
            calibration.read(options.intrinsics)
        except OSError as error:
            raise ValueError(f"--intrinsics: {options.intrinsics}: {error.strerror or error}") from error

    # a video asks for the same camera at every frame
    @lru_cache(maxsize=4)
    def of(size: tuple[int, int]) -> Intrinsics | None:
        if options.focal is not None:
            with as_usage_error("--focal"):
                return Intrinsics.centered(options.focal, size)
        if options.fov is not None:
            with as_usage_error("--fov"):
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


def _source(text: str) -> str:
    """Parse a name in any case, or the name of a file."""
    return text.lower() if text.lower() in (_ASSUMED, _EXIF) and not Path(text).exists() else text


def _degrees(text: str) -> float:
    value = _number(text)
    if not 0 < value < 180:
        raise argparse.ArgumentTypeError(f"expected an angle over 0 and under 180 degrees, got {text!r}")
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
