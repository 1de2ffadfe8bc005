"""Whatever gives frames, opened by what it is: file, camera, URL, folder of images, any iterable."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tddfa._shared import image_io
from tddfa.video.animation import AnimationReader, is_animation
from tddfa.video.camera import CameraReader
from tddfa.video.file import FileReader
from tddfa.video.frame import Frame, VideoError
from tddfa.video.images import ImageFilesReader, IterableReader, open_folder
from tddfa.video.reader import Reader, check_range


def open_source(source: Any) -> Reader:
    """Open whatever gives frames.

    Parameters
    ----------
    source : path, int, str or iterable
        A video file, an animated ``.gif`` or ``.webp``, a picture or a folder of pictures (in the order of their
        names, numbers as numbers); a camera's index (0 or "0"); a URL that FFmpeg reads (``http://``, ``rtsp://``, …);
        an iterable of pictures (h, w, 3) uint8 BGR, or of `Frame`; a `Reader`, which is given back.

    Raises
    ------
    VideoError
        If no frame can come of it: one line that names it.
    TypeError
        If it is something else.
    """
    if isinstance(source, Reader):
        return source
    if isinstance(source, (int, np.integer)) and not isinstance(source, bool):
        return CameraReader(int(source))
    if isinstance(source, str) and re.fullmatch(r"\d{1,9}", source):
        return CameraReader(int(source))
    if isinstance(source, str) and "://" in source:
        return FileReader(source, re.sub(r"//[^/@]*@", "//", source), remote=not source.lower().startswith("file:"))
    if isinstance(source, (str, os.PathLike)):
        return _open_path(Path(source))
    if isinstance(source, np.ndarray) and source.ndim != 4:
        raise TypeError(f"source: expected pictures (n, height, width, 3), got an array of shape {source.shape}")
    if isinstance(source, (bytes, bytearray)) or not isinstance(source, Iterable):
        raise TypeError(f"source: expected a path, a camera's index, a URL or pictures, got {type(source).__name__}")
    return IterableReader(source)


def frames(source: Any, *, start: int | None = None, end: int | None = None) -> Iterator[Frame]:
    """Frames of a file, camera, URL, folder or iterable, one after the other.

    Parameters
    ----------
    source : path, int, str or iterable
        See `open_source`. It is opened when the first frame is asked for, and closed behind the last.
    start, end : int, optional
        First and last index, both included.

    Yields
    ------
    Frame
        In their order; damaged ones are left out, and counted in one warning of the log.

    Raises
    ------
    VideoError
        If no frame can come of the source.
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
    if path.is_file() and size == 0:
        raise VideoError(f"{path}: the file is empty")
    suffix = path.suffix.lower()
    if is_animation(path):
        return AnimationReader(path)
    if suffix in image_io.SUFFIXES and suffix != ".gif":
        return ImageFilesReader([path], str(path))
    # "file:", for a name may hold a colon
    return FileReader(f"file:{path}", str(path), remote=False)
