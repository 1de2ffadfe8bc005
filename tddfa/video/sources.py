"""Open any source of frames: file, camera, URL, folder of images, iterable."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tddfa._shared import image_io
from tddfa._shared.reading.regular import is_stream
from tddfa.video.addresses import address_of, file_path
from tddfa.video.animation import AnimationReader, is_animation
from tddfa.video.camera import CameraReader
from tddfa.video.file import FileReader
from tddfa.video.frame import Frame, VideoError
from tddfa.video.images import ImageFilesReader, IterableReader, open_folder
from tddfa.video.reader import Reader, check_range


def open_source(source: Any) -> Reader:
    """Open a source of frames.

    Parameters
    ----------
    source : path, int, str or iterable
        - a video file, an animated ``.gif``, ``.png`` or ``.webp``, a ``.tif`` (its pages);
        - an image, or a folder of images, in the order of their names (numbers count as numbers);
        - the index of a camera (0 or "0");
        - a URL (``http``, ``https``, ``rtsp``, ``rtmp``); a playlist may refer to its own protocol only;
        - an iterable of images (h, w, 3) uint8 BGR, or of `Frame`;
        - a `Reader`, which is returned unchanged.

    Returns
    -------
    Reader
        Close it, or use it in a ``with`` block.

    Raises
    ------
    VideoError
        If the source gives no frame. The message is one line that names the source. An empty iterable is not an error.
    TypeError
        If `source` has another type.

    Examples
    --------
    >>> from tddfa import video
    >>> with video.open_source("examples/inputs/videos/crossing.mp4") as reader:
    ...     reader.size, reader.count
    ((480, 270), 300)
    """
    if isinstance(source, Reader):
        return source
    if isinstance(source, (int, np.integer)) and not isinstance(source, bool):
        return CameraReader(int(source))
    if isinstance(source, str) and re.fullmatch(r"\d{1,9}", source):
        return CameraReader(int(source))
    if isinstance(source, str) and (path := file_path(source)) != source:
        return FileReader(address_of(source)) if path is None else _open_path(Path(path))
    if isinstance(source, str) and not source:
        raise VideoError("source: expected a path, the index of a camera or a URL, got an empty string")
    if isinstance(source, (str, os.PathLike)):
        return _open_path(Path(source))
    if isinstance(source, np.ndarray) and source.ndim != 4:
        raise TypeError(f"source: expected images (n, height, width, 3), got an array of shape {source.shape}")
    if isinstance(source, (bytes, bytearray)) or not isinstance(source, Iterable):
        raise TypeError(f"source: expected a path, the index of a camera, a URL or images, got {type(source).__name__}")
    return IterableReader(source)


def frames(source: Any, *, start: int | None = None, end: int | None = None) -> Iterator[Frame]:
    """Iterate over the frames of a file, camera, URL, folder or iterable.

    Parameters
    ----------
    source : path, int, str or iterable
        See `open_source`. It is opened when the first frame is requested, and closed after the last.
    start, end : int, optional
        First and last index, both included.

    Yields
    ------
    Frame
        In order. Damaged frames are skipped; one warning in the log counts them.

    Raises
    ------
    VideoError
        If the source gives no frame; an empty iterable is no error.
    TypeError, ValueError
        If `start` or `end` is not a whole number, or out of its range.

    Examples
    --------
    >>> from tddfa import video
    >>> [frame.index for frame in video.frames("examples/inputs/videos/crossing.mp4", start=10, end=12)]
    [10, 11, 12]
    """
    check_range(start, end)
    return _open_and_read(source, start, end)


def _open_and_read(source: Any, start: int | None, end: int | None) -> Iterator[Frame]:
    with open_source(source) as reader:
        yield from reader.frames(start, end)


def _open_path(path: Path) -> Reader:
    try:
        folder, size = path.is_dir(), path.stat().st_size
    except FileNotFoundError:
        raise VideoError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise VideoError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if folder:
        return open_folder(path)
    if is_stream(path):
        raise VideoError(f"{path}: expected a file, a folder, a camera or a URL, got a pipe or a device")
    if path.is_file() and size == 0:
        raise VideoError(f"{path}: the file is empty")
    suffix = path.suffix.lower()
    if is_animation(path):
        return AnimationReader(path)
    if suffix in image_io.SUFFIXES and suffix != ".gif":
        return ImageFilesReader([path], str(path))
    return FileReader(address_of(str(path)))
