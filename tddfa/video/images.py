"""Images as frames: a folder of files, one file, or whatever a program gives."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Generator, Iterable, Sized
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa._shared import image_io
from tddfa._shared.arrays import checked_image
from tddfa.video.frame import Frame, VideoError, reason
from tddfa.video.reader import IMAGES_PER_SECOND, Reader

_LOG = logging.getLogger(__name__)

_MAX_REASONS = 5  # in a message


class ImageFilesReader(Reader):
    """Image files as frames."""

    def __init__(self, paths: list[Path], name: str) -> None:
        super().__init__(name)
        self.count = len(paths)
        self._paths = deque(paths)
        self._skipped: list[str] = []
        self._first = self._next()
        if self._first is None:
            reason = self._skipped[0] if len(paths) == 1 else f"{name}: none of {len(paths)} images can be read"
            raise VideoError(reason)
        self.size = (self._first.shape[1], self._first.shape[0])

    def _next(self) -> NDArray[np.uint8] | None:
        while self._paths:
            try:
                return image_io.read(self._paths.popleft())
            except image_io.ImageError as error:
                self._skipped.append(str(error))
        return None

    def _frames(self, start: int) -> Generator[Frame, None, None]:
        image, self._first = self._first, None
        index = 0
        try:
            while image is not None:
                if index >= start:
                    yield Frame(image, index, index / IMAGES_PER_SECOND)
                index += 1
                if index < start and self._paths:  # damaged images that are skipped unread count as frames
                    self._paths.popleft()
                    continue
                image = self._next()
        finally:
            if self._skipped:
                self.damaged = True
                _LOG.warning(
                    "%s: %d of %d images skipped: %s", self.name, len(self._skipped), self.count, self._reasons()
                )

    def _reasons(self) -> str:
        more = len(self._skipped) - _MAX_REASONS
        return "; ".join(self._skipped[:_MAX_REASONS]) + (f"; and {more} more" if more > 0 else "")

    def close(self) -> None:
        """Forget the images that were not read yet."""
        self._paths.clear()
        self._first = None


def open_folder(path: Path) -> ImageFilesReader:
    """Open the images of a folder, in the order of their names; numbers in names count as numbers.

    Raises
    ------
    VideoError
        If the folder cannot be read or has no image.
    """
    try:
        # a link to a missing file too: reading it gives the reason why it is skipped
        paths = [p for p in path.iterdir() if image_io.has_image_name(p) and not p.is_dir()]
    except OSError as error:
        raise VideoError(f"{path}: cannot be read: {reason(error)}") from error
    if not paths:
        raise VideoError(f"{path}: no image in this folder")
    return ImageFilesReader(sorted(paths, key=_natural), str(path))


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key: frame_2 before frame_10."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(int(part), "") if part.isdigit() and part.isascii() else (-1, part) for part in parts]


class IterableReader(Reader):
    """Images or frames from any iterable."""

    def __init__(self, images: Iterable[Any]) -> None:
        super().__init__("the iterable of images")
        self._images = images
        self.count = len(images) if isinstance(images, Sized) else None

    def _frames(self, start: int) -> Generator[Frame, None, None]:
        for index, image in enumerate(self._images):
            if index >= start:
                if isinstance(image, Frame):
                    yield image if image.index == index else Frame(image.image, index, image.time)
                else:
                    yield Frame(checked_image(f"image {index}", image), index, index / IMAGES_PER_SECOND)

    def close(self) -> None:
        """Forget the images that were not read yet."""
        self._images = ()
