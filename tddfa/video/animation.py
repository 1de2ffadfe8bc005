"""Frames of animated WebP and PNG, and of multi-page TIFF files, which OpenCV and many builds of FFmpeg do not read."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa._shared import tones
from tddfa.video.frame import Frame, VideoError, reason
from tddfa.video.reader import IMAGES_PER_SECOND, Reader, check_size

_LOG = logging.getLogger(__name__)
_MAX_WEBP_SIDE = 16383  # of the format's images, of which its animations are made
_TIFF = (".tif", ".tiff")
_DEEP_GREY = ("I", "F")  # Pillow's modes, and those that begin with "I;"


class _DamagedError(VideoError):
    """What a decoder cannot read; other errors are about what it could."""


@contextlib.contextmanager
def _damaged(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise `VideoError` about whatever Pillow raises for a damaged file: its decoders share no class of errors."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damage, and about large images, whose size is checked
            yield
    except (VideoError, MemoryError):
        raise
    except Exception as error:
        if type(error).__name__ == "DecompressionBombError":
            raise VideoError(f"{path}: it has too many pixels") from None
        raise _DamagedError(f"{path}: not an image or video that can be read: {reason(error)}") from error


def is_animation(path: Path) -> bool:
    """Whether a file is one for `AnimationReader`: a PNG, WebP or TIFF with more than one frame or page."""
    if path.suffix.lower() not in (".png", ".webp", *_TIFF):
        return False
    try:
        with _damaged(path), _open(path) as file:
            return bool(file.properties(index=...).shape[0] > 1)
    except VideoError:
        return False  # the reader of images reports what is wrong with it


def _check_canvas(path: Path) -> None:
    """Refuse an animation whose canvas is composed for minutes; a file of some kB can claim it."""
    from PIL import Image

    with Image.open(path) as header:
        width, height = header.size
        if header.format == "WEBP" and getattr(header, "is_animated", False):
            if max(width, height) > _MAX_WEBP_SIDE:
                raise VideoError(f"{path}: expected sides of at most {_MAX_WEBP_SIDE} px, got {width} x {height}")
            check_size(str(path), 4 * width, height)


def _open(path: Path) -> Any:
    # imported late: `import tddfa.video` does not need it
    import imageio.v3

    return imageio.v3.imopen(path, "r", plugin="pillow")


class AnimationReader(Reader):
    """An animated WebP or PNG, or the pages of a TIFF file, read by imageio."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._is_tiff = path.suffix.lower() in _TIFF
        with _damaged(path):
            _check_canvas(path)
            self._file = _open(path)
        try:
            with _damaged(path):
                properties = self._file.properties(index=...)
                self.count, height, width = properties.shape[:3]
                check_size(self.name, width, height)
        except VideoError:
            self.close()
            raise
        self.size = (width, height)

    def _frames(self, start: int) -> Generator[Frame, None, None]:
        time = 0.0
        for index in range(self.count or 0):
            try:
                with _damaged(self.name):
                    height, width = self._file.properties(index=index).shape[:2]
                    check_size(self.name, width, height)
                    image = self._image(index)
                    milliseconds = self._file.metadata(index=index).get("duration") or 0  # known once it is decoded
            except _DamagedError as error:
                if index == 0:
                    raise VideoError(f"{self.name}: not one frame can be decoded") from error
                self.damaged = True
                _LOG.warning("%s: the file is cut short: %d of %d frames", self.name, index, self.count)
                return
            if index >= start:
                yield Frame(image, index, time)
            time += milliseconds / 1000 if milliseconds > 0 else 1 / IMAGES_PER_SECOND

    def _image(self, index: int) -> NDArray[np.uint8]:
        """Decode a frame to BGR."""
        mode = str(self._file.metadata(index=index).get("mode")) if self._is_tiff else ""
        if mode not in _DEEP_GREY and not mode.startswith("I;"):
            return np.asarray(self._file.read(index=index, mode="RGB"))[..., ::-1]
        # Pillow would clip the numbers of more than 8 bits
        grey = tones.to_8_bits(np.asarray(self._file.read(index=index)), self.name if index == 0 else None)
        return np.repeat(grey[..., None], 3, axis=2)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
