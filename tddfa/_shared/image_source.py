"""`read_image`: an image file, its bytes, a Pillow image or an array to a BGR array."""

from __future__ import annotations

import os
import sys
from typing import IO, Any, Literal, Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa._shared import image_io
from tddfa._shared.arrays import checked_image

Color = Literal["bgr", "rgb"]
COLORS: tuple[Color, ...] = ("bgr", "rgb")


class PillowImage(Protocol):
    """A ``PIL.Image.Image``; Pillow is not imported for its type."""

    @property
    def mode(self) -> str:
        """Pixel format, such as ``RGB``."""

    def getexif(self) -> Any:
        """EXIF data."""


ImageSource: TypeAlias = "NDArray[np.uint8] | str | os.PathLike[str] | PillowImage | bytes | IO[bytes]"


def read_image(source: ImageSource, *, color: Color = "bgr", page: int | None = None) -> NDArray[np.uint8]:
    """Return an image file, a Pillow image or an array as the BGR array that an `Aligner` processes.

    Parameters
    ----------
    source : path, bytes, binary file, PIL.Image.Image, or ndarray (h, w, 3) uint8
        Bytes are those of an image file, such as an upload. Files and Pillow images may be grey, CMYK, palette images
        or 16 bits deep; an alpha channel is dropped, and the EXIF orientation is applied.
    color : {"bgr", "rgb"}
        Order of the channels of an array. It has no effect on a file or a Pillow image, because their order is known.
    page : int, optional
        Page of a TIFF file, from 1. Without it the first is read, with a warning if there are more.

    Returns
    -------
    ndarray (h, w, 3) uint8
        BGR, as OpenCV has it. An array that is BGR already is returned as it is.

    Raises
    ------
    tddfa.TddfaError
        If a file is missing, is not an image, is damaged or too large; it is a `ValueError` too.
    TypeError, ValueError
        If an argument has the wrong type, shape or dtype; the message names it.

    Examples
    --------
    >>> import tddfa
    >>> from PIL import Image
    >>> tddfa.read_image("examples/inputs/astronaut.jpg").shape
    (512, 512, 3)
    >>> tddfa.read_image(Image.new("L", (64, 48), 200))[0, 0].tolist()
    [200, 200, 200]
    """
    if page is not None:
        if not isinstance(source, str | os.PathLike):
            raise ValueError(f"page: expected None for an image that is not a file, got {page}")
        return image_io.read(source, page=page)
    return as_bgr("image", source, color)


def as_bgr(name: str, source: ImageSource, color: Color = "bgr") -> NDArray[np.uint8]:
    """Convert a source as `read_image` does; messages about anything but a file begin with `name`."""
    if color not in COLORS:
        raise ValueError(f"color: expected one of {', '.join(COLORS)}, got {color!r}")
    if isinstance(source, str | os.PathLike):
        return image_io.read(source)
    # If Pillow is not imported, the image is not from Pillow. While another thread imports Pillow, it has no class yet.
    pillow = getattr(sys.modules.get("PIL.Image"), "Image", None)
    if pillow is not None and isinstance(source, pillow):
        return image_io.from_pillow(source, name)
    if isinstance(source, bytes | bytearray | memoryview):
        return image_io.decode(bytes(source), name)
    if callable(getattr(source, "read", None)):
        return image_io.decode(image_io.rest_of(source, name), name)
    if not isinstance(source, np.ndarray):
        kind = type(source).__name__
        raise TypeError(
            f"{name}: expected a NumPy array (height, width, 3) uint8, a path, the bytes of an image file or a Pillow "
            f"image, got {kind}"
        )
    array = checked_image(name, source)
    return array if color == "bgr" else np.asarray(cv2.cvtColor(array, cv2.COLOR_RGB2BGR), dtype=np.uint8)


def source_name(source: Any) -> str | None:
    """Path of an image that is a file, or that Pillow has read from one; None of any other."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    name = getattr(source, "filename", None)
    return name if isinstance(name, str) and name else None
