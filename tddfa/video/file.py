"""Frames of video files and URLs: all that FFmpeg reads."""

from __future__ import annotations

import itertools
import logging
import math
import threading
from collections.abc import Generator, Iterator
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from tddfa.video.addresses import Address
from tddfa.video.colors import ToBgr
from tddfa.video.frame import (
    DEMUX_ERRORS,
    DEMUX_TRIES,
    FILE_SECONDS,
    MAX_FPS,
    OPEN_SECONDS,
    READ_SECONDS,
    Frame,
    VideoError,
    reason,
)  # fmt: skip
from tddfa.video.reader import IMAGES_PER_SECOND, Reader, check_size

_LOG = logging.getLogger(__name__)

_MAX_FRAME_SECONDS = 3600.0  # mp4 does not hold much more
# Frames of one time, or in the wrong order, go back by less than these two; joined videos by more.
_MAX_STEP_BACK_SECONDS, _MAX_STEPS_BACK = 0.1, 2
# of pixels, width by height: ratios beyond are damage, nearer to 1 the rounding of an encoder
_MAX_ASPECT, _MIN_ASPECT_DEVIATION = 8, 0.01
_TEXT_CODECS = ("ansi", "bintext", "xbin", "idf")  # FFmpeg would show a text file as a video of its letters


class FileReader(Reader):
    """A video file or URL, read by FFmpeg."""

    def __init__(self, address: Address) -> None:
        name, remote = address.name, address.remote
        super().__init__(name)
        self._lock = threading.Lock()  # PyAV crashes if a container is closed while a thread reads it
        self._closed = False
        self._remote = remote
        self._stream: Any = None
        self._decoded: Generator[av.VideoFrame, None, None] | None = None
        self._first: av.VideoFrame | None = None
        try:
            self._container = av.open(
                address.url,
                "r",
                options=address.options,
                timeout=(OPEN_SECONDS, READ_SECONDS) if remote else (FILE_SECONDS, FILE_SECONDS),
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
            raise VideoError(f"{self.name}: it has no video stream")
        context = stream.codec_context
        if context is None or context.name in _TEXT_CODECS:
            raise VideoError(f"{self.name}: not a video, or a codec that cannot be decoded")
        check_size(self.name, context.width, context.height)
        self.live = self._remote and container.duration is None and not _has_length(container)
        # frame threads would delay a live stream by one frame each
        stream.thread_type = "SLICE" if self.live else "AUTO"
        self._stream = stream
        self._time_base = float(stream.time_base or 1)
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate
        self.fps = float(rate) if rate and 0 < rate <= MAX_FPS else None
        self._step = 1 / (self.fps or IMAGES_PER_SECOND)
        self._origin = None if container.start_time is None else container.start_time / av.time_base
        seconds = None
        if stream.duration is not None:
            seconds = stream.duration * self._time_base
        elif container.duration is not None:
            seconds = container.duration / av.time_base
        self._end = None if stream.duration is None else seconds
        if stream.duration is None and seconds and len(container.streams) == 1:  # sound may be longer than the video
            self._end = seconds - max(self._origin or 0.0, 0.0)  # Matroska counts from 0, not from the first frame
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
        self._pixel_aspect = self._usable_aspect(stream.sample_aspect_ratio)
        self._to_bgr = ToBgr(context.color_trc, context.color_primaries)  # known once a frame is decoded
        width, height = self._display_size(self._first)
        self.size = (height, width) if self._matrix is not None and _is_transposed(self._matrix) else (width, height)

    def _usable_aspect(self, aspect: Fraction | None) -> Fraction:
        """Width of a pixel by its height: what the file says, or 1."""
        if aspect is None or aspect <= 0 or abs(aspect - 1) < _MIN_ASPECT_DEVIATION:
            return Fraction(1)
        if not Fraction(1, _MAX_ASPECT) <= aspect <= _MAX_ASPECT:
            ratio = f"{aspect.numerator}:{aspect.denominator}"
            _LOG.warning("%s: pixels with an aspect ratio of %s are read as square", self.name, ratio)
            return Fraction(1)
        return aspect

    def _display_size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Width and height of a frame with square pixels, before it is rotated; no side shrinks."""
        width = round(frame.width * max(self._pixel_aspect, Fraction(1)))
        height = round(frame.height / min(self._pixel_aspect, Fraction(1)))
        check_size(self.name, width, height)
        return width, height

    def _demux(self) -> Iterator[Any]:
        errors = 0
        while True:
            try:
                for packet in self._container.demux(self._stream):
                    errors = 0
                    if packet.size:  # the last packet only flushes
                        self._packets += 1
                    yield packet
                return
            except DEMUX_ERRORS as error:
                errors += 1
                self._errors += 1
                self._broken = reason(error)
                timed_out = isinstance(error, av.error.ExitError)
                if self._remote or timed_out or errors > DEMUX_TRIES:  # each attempt may take the time-out
                    yield None  # the decoder still holds frames
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
                    yield Frame(self._image(decoded), index, time)
            if (
                not self._closed
                and self._end is not None
                and last + self._step < self._end - max(0.25, 0.02 * self._end)
            ):
                self.damaged = True
                _LOG.warning("%s: the file is cut short: %.1f of %.1f s", self.name, last + self._step, self._end)
        finally:
            self._report()

    def _time(self, frame: av.VideoFrame, last: float) -> float:
        """Time from the start, s; always later than `last`, even if the file says otherwise."""
        following = 0.0 if last == -math.inf else last + self._step
        if frame.pts is None:
            return following
        stamp = frame.pts * float(frame.time_base or self._time_base)
        if self._origin is None:
            self._origin = stamp
        time = stamp - self._origin
        if last == -math.inf or 0 < time - last <= _MAX_FRAME_SECONDS:
            return time
        if -max(_MAX_STEP_BACK_SECONDS, _MAX_STEPS_BACK * self._step) < time - last <= 0:
            return last + self._step / 100  # the next one is right again
        self._origin = stamp - following  # the clock jumps: joined videos, damage
        return following

    def _image(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        image = self._to_bgr(frame, self._display_size(frame))
        return image if self._matrix is None else _upright(image, self._matrix)

    def _report(self) -> None:
        if self._remote and self._broken is not None:
            self.damaged = True
            _LOG.warning("%s: the connection broke: %s", self.name, self._broken)
        elif self._errors or self._repaired:
            # frames that entered the decoder, and neither came out nor are still in it
            lost = max(self._packets - self._given - self._in_flight(), self._errors and 1)
            _LOG.warning(
                "%s: %d damaged frame%s skipped, %d repaired by the decoder",
                self.name, lost, "" if lost == 1 else "s", self._repaired,
            )  # fmt: skip
            self.damaged |= lost > 0
        self._errors = self._repaired = 0

    def _in_flight(self) -> int:
        with self._lock:
            try:
                return 0 if self._closed else len(self._stream.decode(None))
            except FFmpegError:  # already at its end
                return 0

    def close(self) -> None:
        """Close the file; a thread that reads it gets no more frames."""
        with self._lock:
            self._closed = True
            self._first = None
            if self._decoded is not None:
                self._decoded.close()  # it must not read on after the container is closed
                self._decoded = None
            self._container.close()
            # the threads of the decoder live as long as the stream; a forked process would wait for them without end
            self._stream = None


def _has_length(container: Any) -> bool:
    """Whether a source without a duration is a file, not a playlist or a stream."""
    try:
        return container.format.name != "hls" and container.size > 0
    except (FFmpegError, OSError):
        return False


def _is_cover(stream: av.VideoStream) -> bool:
    return "attached_pic" in str(stream.disposition)


def _display_matrix(frame: av.VideoFrame) -> NDArray[np.int32] | None:
    """Rotation of the displayed frame (2, 2), of -1, 0 and 1; ``(x', y') = (x, y) @ matrix``. None for no rotation."""
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
