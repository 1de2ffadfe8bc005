"""Frames in: file, camera, URL, folder of pictures, any iterable."""

from __future__ import annotations

import itertools
import logging
import math
import os
import re
import threading
import time as clock
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from tddfa._shared import image_io
from tddfa._shared.arrays import checked_image
from tddfa.video.frame import DEMUX_ERRORS, DEMUX_TRIES, MAX_FPS, OPEN_SECONDS, READ_SECONDS, Frame, VideoError, reason

PICTURES_PER_SECOND = 25.0
"""What the time of a frame is counted in where the source has none: folders and iterables of pictures."""

_LOG = logging.getLogger(__name__)

_CAMERA_TRIES = 5  # reads of a camera that may fail in a row

_LONGEST_FRAME_SECONDS = 3600.0  # mp4 does not hold much more

_LONGEST_STEP_BACK_SECONDS = 1.0

_TEXT_CODECS = ("ansi", "bintext", "xbin", "idf")  # FFmpeg would show a text file as a film of its letters


class Reader:
    """A source of frames that is open: a context manager, iterable once. `open_source` makes it.

    Attributes
    ----------
    name : str
        For messages: path, address, "camera 0".
    size : tuple of int or None
        Width and height of the first frame, upright; None if not known before it comes.
    fps : float or None
        Frames a second, the mean where it varies; None if the source does not say.
    count : int or None
        Frames, as the header says or as length and rate make it: enough for a progress bar, no promise.
    live : bool
        A camera or a stream without an end: who is slow misses something.
    has_audio : bool
        Whether there is sound beside the pictures.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.size: tuple[int, int] | None = None
        self.fps: float | None = None
        self.count: int | None = None
        self.live = False
        self.has_audio = False
        self._taken = False

    def frames(self, start: int | None = None, end: int | None = None) -> Iterator[Frame]:
        """The frames of index `start` .. `end`, the latter included; what comes before is not converted.

        Raises
        ------
        ValueError
            If the range is none, or if the reader was read before.
        """
        _check_range(start, end)
        if self._taken:
            raise ValueError(f"{self.name}: a reader is iterable once; open the source again")
        self._taken = True
        return self._between(start or 0, end)

    def _between(self, start: int, end: int | None) -> Iterator[Frame]:
        source = self._frames(start)
        try:
            for frame in source:
                yield frame
                if end is not None and frame.index >= end:
                    return
        finally:
            source.close()

    def _frames(self, start: int) -> Generator[Frame, None, None]:
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the file or the camera; may be called twice, and while another thread reads."""

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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
        return _Camera(int(source))
    if isinstance(source, str) and re.fullmatch(r"\d{1,9}", source):
        return _Camera(int(source))
    if isinstance(source, str) and "://" in source:
        return _File(source, re.sub(r"//[^/@]*@", "//", source), remote=not source.lower().startswith("file:"))
    if isinstance(source, (str, os.PathLike)):
        return _open_path(Path(source))
    if isinstance(source, np.ndarray) and source.ndim != 4:
        raise TypeError(f"source: expected pictures (n, height, width, 3), got an array of shape {source.shape}")
    if isinstance(source, (bytes, bytearray)) or not isinstance(source, Iterable):
        raise TypeError(f"source: expected a path, a camera's index, a URL or pictures, got {type(source).__name__}")
    return _Images(source)


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
    _check_range(start, end)
    return _open_and_read(source, start, end)


def _open_and_read(source: Any, start: int | None, end: int | None) -> Iterator[Frame]:
    with open_source(source) as reader:
        yield from reader.frames(start, end)


def _check_range(start: int | None, end: int | None) -> None:
    for name, value in (("start", start), ("end", end)):
        if value is not None and value < 0:
            raise ValueError(f"{name}: expected an index of 0 or more, or None, got {value}")
    if end is not None and end < (start or 0):
        raise ValueError(f"end: expected at least start, {start}, got {end}")


def _open_path(path: Path) -> Reader:
    try:
        folder, size = path.is_dir(), path.stat().st_size
    except FileNotFoundError:
        raise VideoError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise VideoError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if folder:
        return _open_folder(path)
    if path.is_file() and size == 0:
        raise VideoError(f"{path}: the file is empty")
    suffix = path.suffix.lower()
    if suffix == ".webp":
        return _WebP(path)
    if suffix in image_io.SUFFIXES and suffix != ".gif":
        return _Pictures([path], str(path))
    # "file:", for a name may hold a colon
    return _File(f"file:{path}", str(path), remote=False)


def _check_size(name: str, width: int, height: int) -> None:
    if width * height > image_io.MAX_PIXELS:
        most = image_io.MAX_PIXELS // 10**6
        raise VideoError(f"{name}: expected at most {most} million pixels a frame, got {width} x {height}")


class _File(Reader):
    """What FFmpeg reads: files and URLs."""

    def __init__(self, address: str, name: str, remote: bool) -> None:
        super().__init__(name)
        self._lock = threading.Lock()  # PyAV crashes if a container is closed while a thread reads it
        self._closed = False
        self._remote = remote
        self._decoded: Generator[av.VideoFrame, None, None] | None = None
        self._first: av.VideoFrame | None = None
        options = {"rtsp_transport": "tcp"} if address.lower().startswith("rtsp") else {}
        try:
            self._container = av.open(
                address,
                "r",
                options=options,
                timeout=(OPEN_SECONDS, READ_SECONDS) if remote else None,
            )
        except (av.InvalidDataError, EOFError) as error:
            raise VideoError(f"{name}: not a video, or one that is damaged or cut short") from error
        except (FFmpegError, OSError, ValueError) as error:
            raise VideoError(f"{name}: cannot be opened: {reason(error)}") from error
        try:
            self._open_stream()
        except FFmpegError as error:
            self.close()
            raise VideoError(f"{name}: cannot be read: {reason(error)}") from error
        except BaseException:
            self.close()
            raise

    def _open_stream(self) -> None:
        container = self._container
        stream = container.streams.best("video")
        if stream is None or not isinstance(stream, av.VideoStream) or _is_cover(stream):
            raise VideoError(f"{self.name}: there are no moving pictures in it")
        context = stream.codec_context
        if context is None or context.name in _TEXT_CODECS:
            raise VideoError(f"{self.name}: not a video, or of a kind that cannot be decoded")
        _check_size(self.name, context.width, context.height)
        self.live = self._remote and container.duration is None and not _has_length(container)
        # threads that each decode a frame hold back as many
        stream.thread_type = "SLICE" if self.live else "AUTO"
        self._stream = stream
        self._time_base = float(stream.time_base or 1)
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate
        self.fps = float(rate) if rate and 0 < rate <= MAX_FPS else None
        self._step = 1 / (self.fps or PICTURES_PER_SECOND)
        self._origin = None if container.start_time is None else container.start_time / av.time_base
        seconds = None
        if stream.duration is not None:
            seconds = stream.duration * self._time_base
        elif container.duration is not None:
            seconds = container.duration / av.time_base
        self._end = None if stream.duration is None else seconds
        if not self.live:
            self.count = stream.frames or (round(seconds * self.fps) if seconds and self.fps else None) or None
        self.has_audio = any(isinstance(other, av.AudioStream) for other in container.streams)
        self._packets = self._errors = self._given = self._repaired = 0
        self._broken: str | None = None
        self._decoded = self._decode()
        self._first = self._next()
        if self._first is None:
            raise VideoError(f"{self.name}: not one frame can be decoded")
        self._matrix = _display_matrix(self._first)
        self._reformatter = VideoReformatter()
        width, height = self._first.width, self._first.height
        self.size = (height, width) if self._matrix is not None and _is_transposed(self._matrix) else (width, height)

    def _demux(self) -> Iterator[Any]:
        errors = 0
        while True:
            try:
                for packet in self._container.demux(self._stream):
                    errors = 0
                    if packet.size:  # the last one only flushes
                        self._packets += 1
                    yield packet
                return
            except DEMUX_ERRORS as error:
                errors += 1
                self._errors += 1
                self._broken = reason(error)
                if self._remote or errors > DEMUX_TRIES:  # each try of a URL may last its time-out
                    yield None  # what the decoder holds still comes
                    return

    def _decode(self) -> Generator[av.VideoFrame, None, None]:
        for packet in self._demux():
            try:
                decoded = self._stream.decode(packet)
            except FFmpegError:
                self._errors += 1
                continue
            for frame in decoded:
                self._given += 1
                self._repaired += bool(frame.is_corrupt)
                yield frame

    def _next(self) -> av.VideoFrame | None:
        with self._lock:
            if self._closed or self._decoded is None:
                return None
            first, self._first = self._first, None
            return first or next(self._decoded, None)

    def _frames(self, start: int) -> Generator[Frame, None, None]:
        last = -math.inf
        try:
            for index in itertools.count():
                decoded = self._next()
                if decoded is None:
                    break
                time = self._time(decoded, last)
                last = time
                if index >= start:
                    _check_size(self.name, decoded.width, decoded.height)
                    yield Frame(self._image(decoded), index, time)
            if (
                not self._closed
                and self._end is not None
                and last + self._step < self._end - max(0.25, 0.02 * self._end)
            ):
                _LOG.warning("%s: the file is cut short: %.1f of %.1f s", self.name, last + self._step, self._end)
        finally:
            self._report()

    def _time(self, frame: av.VideoFrame, last: float) -> float:
        """Seconds from the start, more than `last` whatever the file says."""
        following = 0.0 if last == -math.inf else last + self._step
        if frame.pts is None:
            return following
        stamp = frame.pts * float(frame.time_base or self._time_base)
        if self._origin is None:
            self._origin = stamp
        time = stamp - self._origin
        if last == -math.inf or 0 < time - last <= _LONGEST_FRAME_SECONDS:
            return time
        if -_LONGEST_STEP_BACK_SECONDS < time - last <= 0:
            return last + self._step / 100  # two at one time; the next is right again
        self._origin = stamp - following  # a clock that was set: joined films, damage
        return following

    def _image(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        # one thread: swscale's own would compete with the decoder's, at half the speed
        bgr = self._reformatter.reformat(frame, format="bgr24", **_one_thread())
        image = np.asarray(bgr.to_ndarray(), dtype=np.uint8)
        return image if self._matrix is None else _upright(image, self._matrix)

    def _report(self) -> None:
        if self._remote and self._broken is not None:
            _LOG.warning("%s: it broke off: %s", self.name, self._broken)
        elif self._errors or self._repaired:
            # frames that the decoder was given, and that neither came out nor are still in it
            lost = max(self._packets - self._given - self._in_flight(), self._errors and 1)
            _LOG.warning(
                "%s: %d damaged frame%s skipped, %d repaired by the decoder",
                self.name, lost, "" if lost == 1 else "s", self._repaired,
            )  # fmt: skip
        self._errors = self._repaired = 0

    def _in_flight(self) -> int:
        with self._lock:
            try:
                return 0 if self._closed else len(self._stream.decode(None))
            except FFmpegError:  # at its end already
                return 0

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._first = None
            if self._decoded is not None:
                self._decoded.close()  # it would read on in what is gone
            self._container.close()


def _has_length(container: Any) -> bool:
    """Whether a source without a duration is a file that ends, and no playlist or stream."""
    try:
        return container.format.name != "hls" and container.size > 0
    except (FFmpegError, OSError):
        return False


def _is_cover(stream: av.VideoStream) -> bool:
    return "attached_pic" in str(stream.disposition)


def _one_thread() -> dict[str, Any]:
    global _threads_option
    if _threads_option is None:
        try:
            VideoReformatter().reformat(av.VideoFrame(2, 2, "yuv420p"), format="bgr24", threads=1)
            _threads_option = {"threads": 1}
        except TypeError:  # PyAV before 17: it has none
            _threads_option = {}
    return _threads_option


_threads_option: dict[str, Any] | None = None


def _display_matrix(frame: av.VideoFrame) -> NDArray[np.int32] | None:
    """How the picture is to be turned: (2, 2) of -1, 0, 1; ``(x', y') = (x, y) @ matrix``. None: not at all."""
    side_data: Any = frame.side_data
    for data in side_data:
        if getattr(getattr(data, "type", None), "name", "") == "DISPLAYMATRIX":
            numbers = np.frombuffer(bytes(data), dtype=np.int32)
            if len(numbers) < 9:
                return None
            matrix = np.rint(numbers[[0, 1, 3, 4]].reshape(2, 2) / 65536).astype(np.int32)
            quarter_turns = abs(int(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0])) == 1
            if not quarter_turns or np.count_nonzero(matrix) != 2 or np.array_equal(matrix, np.eye(2)):
                return None
            return matrix
    return None


def _is_transposed(matrix: NDArray[np.int32]) -> bool:
    return bool(matrix[0, 0] == 0)


def _upright(image: NDArray[np.uint8], matrix: NDArray[np.int32]) -> NDArray[np.uint8]:
    if _is_transposed(matrix):
        image = cv2.transpose(image)
    left_right, upside_down = (matrix.sum(axis=0) < 0).tolist()
    if left_right or upside_down:
        image = cv2.flip(image, -1 if left_right and upside_down else int(not upside_down))
    return image


class _Camera(Reader):
    """OpenCV's cameras."""

    def __init__(self, index: int) -> None:
        super().__init__(f"camera {index}")
        if index < 0:
            raise VideoError(f"camera {index}: expected an index of 0 or more")
        self.live = True
        with _quiet_opencv():
            self._capture = cv2.VideoCapture(index)
        if not self._capture.isOpened():
            self._capture.release()
            raise VideoError(f"{self.name}: there is no such camera, or another program has it")
        width, height = (int(self._capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        self.size = (width, height) if width > 0 and height > 0 else None
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = fps if 0 < fps <= MAX_FPS else None

    def _frames(self, start: int) -> Generator[Frame, None, None]:
        began: float | None = None
        index = failed = 0
        while failed < _CAMERA_TRIES:
            done, image = self._capture.read()
            now = clock.monotonic()
            if not done or image is None:
                failed += 1
                continue
            failed = 0
            began = now if began is None else began
            if index >= start:
                yield Frame(image, index, now - began)
            index += 1
        if began is None:
            raise VideoError(f"{self.name}: it gives no picture")
        _LOG.warning("%s: it gives no pictures any more, after %d", self.name, index)

    def close(self) -> None:
        self._capture.release()


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keep OpenCV from saying on stderr, in several lines, that there is no camera."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


class _Pictures(Reader):
    """Pictures, a file each."""

    def __init__(self, paths: list[Path], name: str) -> None:
        super().__init__(name)
        self.count = len(paths)
        self._paths = deque(paths)
        self._skipped: list[str] = []
        self._first = self._next()
        if self._first is None:
            reason = self._skipped[0] if len(paths) == 1 else f"{name}: not one of {len(paths)} pictures can be read"
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
                    yield Frame(image, index, index / PICTURES_PER_SECOND)
                index += 1
                if index < start and self._paths:  # damaged ones that are skipped unread count as frames
                    self._paths.popleft()
                    continue
                image = self._next()
        finally:
            if self._skipped:
                _LOG.warning(
                    "%s: %d damaged pictures were skipped; the first: %s",
                    self.name, len(self._skipped), self._skipped[0],
                )  # fmt: skip

    def close(self) -> None:
        self._paths.clear()
        self._first = None


def _open_folder(path: Path) -> _Pictures:
    try:
        paths = [p for p in path.iterdir() if p.suffix.lower() in image_io.SUFFIXES and p.is_file()]
    except OSError as error:
        raise VideoError(f"{path}: cannot be read: {reason(error)}") from error
    if not paths:
        raise VideoError(f"{path}: no picture in this folder")
    return _Pictures(sorted(paths, key=_natural), str(path))


def _natural(path: Path) -> list[tuple[int, str]]:
    """frame_2 before frame_10."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(int(part), "") if part.isdigit() and part.isascii() else (-1, part) for part in parts]


class _WebP(Reader):
    """Animated WebP, which not every FFmpeg reads; Pillow does."""

    def __init__(self, path: Path) -> None:
        from PIL import Image

        super().__init__(str(path))
        try:
            picture = Image.open(path)
        except Image.DecompressionBombError:
            raise VideoError(f"{path}: it has too many pixels") from None
        except (OSError, ValueError, SyntaxError) as error:
            raise VideoError(f"{path}: not a picture or video that can be read") from error
        self._picture = picture
        try:
            _check_size(self.name, *picture.size)
        except VideoError:
            self.close()
            raise
        self.size = picture.size
        self.count = int(getattr(picture, "n_frames", 1))

    def _frames(self, start: int) -> Generator[Frame, None, None]:
        time = 0.0
        for index in range(self.count or 0):
            try:
                self._picture.seek(index)
                rgb = np.asarray(self._picture.convert("RGB"))
            except (OSError, ValueError, EOFError) as error:
                if index == 0:
                    raise VideoError(f"{self.name}: not one frame can be decoded") from error
                _LOG.warning("%s: the file is cut short: %d of %d frames", self.name, index, self.count)
                return
            if index >= start:
                yield Frame(rgb[..., ::-1], index, time)
            duration = self._picture.info.get("duration") or 0
            time += duration / 1000 if duration > 0 else 1 / PICTURES_PER_SECOND

    def close(self) -> None:
        self._picture.close()


class _Images(Reader):
    """Whatever a program gives."""

    def __init__(self, images: Iterable[Any]) -> None:
        super().__init__("the iterable of pictures")
        self._images = images
        self.count = len(images) if isinstance(images, Sized) else None

    def _frames(self, start: int) -> Generator[Frame, None, None]:
        for index, image in enumerate(self._images):
            if index >= start:
                if isinstance(image, Frame):
                    yield image if image.index == index else Frame(image.image, index, image.time)
                else:
                    yield Frame(checked_image(f"picture {index}", image), index, index / PICTURES_PER_SECOND)

    def close(self) -> None:
        self._images = ()
