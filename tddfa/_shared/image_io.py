"""Image files to BGR uint8 arrays and back; a file that cannot be read gives an error of one line."""

from __future__ import annotations

import io
import logging
import mimetypes
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa._shared import phone_formats, tiff, tones
from tddfa._shared.errors import FormatError, TddfaError
from tddfa._shared.files import is_sidecar, write_atomic
from tddfa._shared.reading.quiet import without_warnings
from tddfa._shared.reading.regular import read_regular, regular_size

_LOG = logging.getLogger(__name__)

SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".jp2",
    *phone_formats.SUFFIXES,
)  # fmt: skip
"""Suffixes of the images of a folder."""

# Limits of an image; its header is read before memory is allocated.
MAX_PIXELS = 178_000_000  # Pillow, which reads the header, refuses slightly larger images
_MAX_BYTES = 1 << 30
_MAX_DECODED_BYTES = 1 << 31  # of an image whose pixels have more than 8 bits
_BYTES_PER_PIXEL = 8  # of the largest image that a caller allows: four channels of 16 bits

_URL = re.compile(r"([a-z][a-z0-9+.-]+):[/\\]+(.*)", re.IGNORECASE | re.DOTALL)

_QUALITY = {
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 95],
}
_JPEG_START = b"\xff\xd8"
_PNG_START, _PNG_END = b"\x89PNG", b"IEND"
# A marker of a JPEG: in a scan's data, 0xff is followed by 0, or by a restart marker (0xd0 .. 0xd7).
_JPEG_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
_JPEG_SCAN, _JPEG_END, _JPEG_WITHOUT_LENGTH = 0xDA, 0xD9, (0x01, 0xD8)
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # their headers hold the size


def has_image_name(path: Path) -> bool:
    """Whether a file of a folder is taken as an image, by its name.

    Examples
    --------
    >>> [has_image_name(Path(name)) for name in ("a.JPG", "._a.jpg", "a.txt")]
    [True, False, False]
    """
    return path.suffix.lower() in SUFFIXES and not is_sidecar(path.name)


class ImageError(TddfaError, ValueError):
    """A file is not an image, is damaged, or is too large."""


class ImageSizeError(ImageError):
    """An image has too many pixels."""


def read(path: str | os.PathLike[str], *, page: int | None = None) -> NDArray[np.uint8]:
    """Read an image.

    Grey, CMYK and palette images are converted, an alpha channel is dropped, and the EXIF orientation is applied.
    `tddfa._shared.tones` has the rule for pixels of more than 8 bits.

    Parameters
    ----------
    path : path
        The file.
    page : int, optional
        Page of a TIFF file, from 1. Without it the first is read, with a warning if there are more.

    Returns
    -------
    ndarray (h, w, 3) uint8
        BGR.

    Raises
    ------
    ImageError
        If the file is missing, is not an image, is truncated or too large. The message is one line that names the file.
    """
    return decode(content(path), str(path), page=page)


def page_count(path: str | os.PathLike[str]) -> int:
    """Count the pages of a TIFF file; 1 for other formats. Raises `ImageError` as `read` does."""
    return max(len(tiff.pages(content(path))), 1)


def content(path: str | os.PathLike[str]) -> bytes:
    """Read the bytes of an image file without decoding them. Raises `ImageError` as `read` does."""
    path = Path(path)
    try:
        if path.is_dir():
            raise ImageError(f"{path}: expected an image, got a folder")
        size = regular_size(path)
        if size == 0:
            raise ImageError(f"{path}: the file is empty")
        if size > _MAX_BYTES:
            raise ImageError(f"{path}: expected a file of at most {_MAX_BYTES >> 20} MiB, got {size >> 20} MiB")
        return read_regular(path, _MAX_BYTES)
    except FormatError as error:
        raise ImageError(f"{path}: {error}") from error
    except FileNotFoundError:
        url = _URL.match(str(path))
        if url is not None:  # a path has one slash
            raise ImageError(f"{url[1]}://{url[2]}: expected a file, got a URL; download it") from None
        raise ImageError(f"{path}: no such file") from None
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror or error}") from error


def rest_of(file: Any, name: str) -> bytes:
    """Read the bytes of an image from a binary file that is open; errors as of `content`."""
    try:
        data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ImageError(f"{name}: cannot be read: {error.strerror or error}") from error
    if not isinstance(data, bytes):
        raise TypeError(f"{name}: expected a file opened in binary mode, got one that gives {type(data).__name__}")
    if len(data) > _MAX_BYTES:
        raise ImageError(f"{name}: expected a file of at most {_MAX_BYTES >> 20} MiB, got more")
    return data


def decode(data: bytes, name: str, *, page: int | None = None, max_pixels: int | None = None) -> NDArray[np.uint8]:
    """Decode the bytes of an image file; messages begin with `name`. See `read`.

    An image of more than `max_pixels` (default: `MAX_PIXELS`) raises `ImageSizeError` before a pixel is decoded.
    So does a TIFF page that takes more than 2 GiB in memory or, with `max_pixels`, more than 8 bytes per allowed pixel.
    """
    limit = MAX_PIXELS if max_pixels is None else min(max_pixels, MAX_PIXELS)
    pages = tiff.pages(data)
    if page is not None and not 1 <= page <= max(len(pages), 1):
        raise ImageError(f"{name}: expected a page from 1 to {max(len(pages), 1)}, got {page}")
    chosen = pages[(page or 1) - 1] if pages else None
    if chosen is not None:
        data = tiff.starting_at(data, chosen)
    jpeg = _jpeg(data) if data.startswith(_JPEG_START) else None
    # Pillow reads the headers of all formats, and names what is wrong with them; the size of a JPEG is known without it
    width, height, kind = (*jpeg.size, "JPEG") if jpeg is not None and jpeg.size else _header(data, name, chosen, limit)
    if width * height > limit:
        raise ImageSizeError(f"{name}: expected at most {limit // 10**6} million pixels, got {width} x {height}")
    most = _MAX_DECODED_BYTES if max_pixels is None else min(_MAX_DECODED_BYTES, _BYTES_PER_PIXEL * limit)
    if chosen is not None and chosen.byte_count > most:
        most, size = most >> 20, chosen.byte_count >> 20
        raise ImageSizeError(f"{name}: expected at most {most} MiB of pixels, got {size} MiB")
    # OpenCV fills the missing part with grey, without an error
    if jpeg is not None and not jpeg.has_its_end:
        raise ImageError(f"{name}: the file is truncated: the JPEG has no end marker")
    if data.startswith(_PNG_START):
        end = data.rfind(_PNG_END)
        if end < 0 or len(data) < end + 8:  # its checksum follows
            raise ImageError(f"{name}: the file is truncated: the PNG has no end marker")
    try:
        image = _pixels(data, kind, chosen)
    except (cv2.error, OSError, SyntaxError, ValueError, RuntimeError, EOFError):
        image = None
    if image is None:
        raise ImageError(f"{name}: the file is damaged, or its format is not supported")
    if page is None and len(pages) > 1:
        _LOG.warning("%s: page 1 of %d is read; page=N or --page N reads another", name, len(pages))
    return tones.to_8_bits(image, name)


def _pixels(data: bytes, kind: str, page: tiff.Page | None) -> NDArray[Any] | None:
    """Decode to BGR, of any number type; None if OpenCV cannot."""
    if page is not None and (page.bits > 16 or not page.unsigned):
        # with other flags OpenCV reads such numbers for colour only; with these it rotates a TIFF all the same
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
        return None if image is None else _three_channels(image)
    # OpenCV multiplies the colours of a TIFF by its alpha channel, and gives black rows where the file is damaged. Only
    # some builds of it read the formats of phones.
    if (kind == "TIFF" and page is not None and page.bits <= 8) or phone_formats.format_of(data) is not None:
        return _decode_with_pillow(data)
    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    # OpenCV gives grey images of floats (.pfm) one channel, whatever it is asked for
    return _three_channels(image) if image is not None and image.ndim == 2 else image


def _three_channels(image: NDArray[Any]) -> NDArray[Any]:
    if image.ndim == 2 or image.shape[2] < 3:
        return np.repeat(image.reshape(*image.shape[:2], -1)[..., :1], 3, axis=2)
    return np.ascontiguousarray(image[..., :3])


def _decode_with_pillow(data: bytes) -> NDArray[np.uint8]:
    """Decode to BGR; the EXIF orientation is applied, an alpha channel is dropped."""
    from PIL import Image

    with without_warnings():  # about a large image: its size was checked
        image = Image.open(io.BytesIO(data))
    with image:
        return _upright_bgr(image)


def from_pillow(image: Any, name: str) -> NDArray[np.uint8]:
    """Convert a ``PIL.Image.Image`` to BGR, by the rules of `read`; messages begin with `name`."""
    try:
        if image.mode.startswith(("I", "F")):  # more than 8 bits
            return tones.to_8_bits(_three_channels(np.asarray(_upright(image))), name)
        # no conversion to RGB is defined for colours that are multiplied by their alpha
        return _upright_bgr(image.convert({"RGBa": "RGBA", "La": "LA"}[image.mode]) if "a" in image.mode else image)
    except (OSError, SyntaxError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ImageError(f"{name}: Pillow cannot convert this image of mode {image.mode}: {reason}") from error


def _upright_bgr(image: Any) -> NDArray[np.uint8]:
    upright = _upright(image)
    if upright.mode == "P" and "transparency" in upright.info:
        upright = upright.convert("RGBA")  # Pillow warns about a conversion to RGB
    return np.ascontiguousarray(np.asarray(upright.convert("RGB"))[..., ::-1])


def _upright(image: Any) -> Any:
    """Apply the EXIF orientation of a ``PIL.Image.Image``."""
    from PIL import ImageOps

    if image.format == "TIFF":
        # Pillow applies it to these itself. Where it maps the file into memory, it takes width for height (12.3).
        name, image.filename = image.filename, ""
        try:
            image.load()
        finally:
            image.filename = name
    return ImageOps.exif_transpose(image)


class _Jpeg(NamedTuple):
    """Result of reading the markers of a JPEG: width and height, None without them, and whether the image ends."""

    size: tuple[int, int] | None
    has_its_end: bool


def _jpeg(data: bytes) -> _Jpeg:
    """Read the markers in order, so that markers in a thumbnail or behind the image do not count.

    At the first scan, the last bytes may already be the end: its data, most of the file, has no thumbnails.
    """
    size, at = None, len(_JPEG_START)
    while (marker := _JPEG_MARKER.search(data, at)) is not None:
        at, code = marker.end(), marker[1][0]
        if code == _JPEG_END:
            return _Jpeg(size, True)
        if code in _JPEG_FRAMES and size is None:
            height, width = (int.from_bytes(data[start : start + 2], "big") for start in (at + 3, at + 5))
            size = (width, height) if width and height else None
        if code == _JPEG_SCAN and data.endswith(bytes((0xFF, _JPEG_END))):
            return _Jpeg(size, True)
        if code not in _JPEG_WITHOUT_LENGTH:
            at += int.from_bytes(data[at : at + 2], "big")
    return _Jpeg(size, False)


def _header(data: bytes, name: str, page: tiff.Page | None, limit: int) -> tuple[int, int, str]:
    """Width, height and format from the file header; no pixel is decoded."""
    from PIL import Image, UnidentifiedImageError

    phone_format = phone_formats.format_of(data)
    missing = None if phone_format is None else phone_formats.prepare(phone_format)
    if missing is not None:
        raise ImageError(f"{name}: {missing}")
    try:
        with without_warnings(), Image.open(io.BytesIO(data)) as header:
            if header.format == "PNG":
                header.verify()  # checksums; libpng would print an error to stderr by itself
            return *header.size, str(header.format)
    except UnidentifiedImageError:
        if page is not None and not page.unsigned and min(page.width, page.height) > 0:
            return page.width, page.height, "TIFF"  # Pillow knows no such colour images, OpenCV does
        is_video = (mimetypes.guess_type(name)[0] or "").startswith("video/")
        other = "not an image; for a video, use tddfa video or tddfa.Tracker" if is_video else "not an image"
        known = other if phone_format is None else f"the {phone_format} file is damaged or truncated"
        raise ImageError(f"{name}: {known}") from None
    except Image.DecompressionBombError:
        raise ImageSizeError(f"{name}: expected at most {limit // 10**6} million pixels, got more") from None
    except Exception as error:  # a damaged header may raise anything
        raise ImageError(f"{name}: the file is damaged: {' '.join(str(error).split())}") from error


def write(path: str | os.PathLike[str], image: NDArray[np.generic]) -> Path:
    """Write an image in the format of the suffix, atomically.

    Parameters
    ----------
    path : path
        ``.jpg``, ``.png`` or another suffix that OpenCV can write.
    image : ndarray
        (h, w) or (h, w, 3) BGR; uint8, or uint16 for ``.png``.

    Raises
    ------
    ValueError
        If the format cannot store the image.
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    return write_atomic(path, encode(image, path.suffix, str(path)))


def encode(image: NDArray[np.generic], suffix: str, name: str) -> bytes:
    r"""Encode an image as the content of a file with this suffix; messages begin with `name`. See `write`.

    Examples
    --------
    >>> encode(np.zeros((2, 2, 3), np.uint8), ".png", "black")[:4]
    b'\x89PNG'
    """
    try:
        done, data = cv2.imencode(suffix, image, _QUALITY.get(suffix.lower(), []))
    except cv2.error as error:
        raise ValueError(
            f"{name}: an image of shape {image.shape} and dtype {image.dtype} cannot be written as {suffix!r}"
        ) from error
    if not done:
        raise ValueError(f"{name}: an image of shape {image.shape} cannot be written as {suffix!r}")
    return data.tobytes()
