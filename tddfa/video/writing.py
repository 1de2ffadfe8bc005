"""Write frames as H.264 mp4, with the sound of the input."""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from tddfa._shared.arrays import checked_image
from tddfa._shared.files import created_part, naming
from tddfa.video.colors import BT709, LIMITED_RANGE, matrix, one_thread
from tddfa.video.frame import MAX_FPS, VideoError, reason
from tddfa.video.sound import Sound

TICKS_PER_SECOND = 120_000
"""Time base of written files. The common frame rates (24 to 60, and NTSC's) and milliseconds are whole ticks."""

_LOG = logging.getLogger(__name__)

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov"}
_PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"
)  # fmt: skip
_MAX_SIDE = 16384  # px, of x264
_MAX_STEP_SECONDS = 8900.0  # FFmpeg ends a file whose frames are 2**30 ticks apart or more
# swscale's flags: bilinear, full chroma, accurate rounding. Without the last two, it makes greys 2 of 255 darker and
# gives them a cast.
_ACCURATE = 0x2 | 0x2000 | 0x40000


class Writer:
    """Write frames to an H.264 mp4 (yuv420p, index at the front), with their own times and with sound.

    Colours are tagged with their matrix: BT.709 for HD and BT.601 for smaller frames, as players assume.

    The file gets its name when it is complete. If the ``with`` block ends with an exception or Ctrl-C, the frames
    written so far become a playable file. Without a frame, no file is left.

    Parameters
    ----------
    path : path
        ``.mp4``, ``.m4v`` or ``.mov``. Missing folders are created.
    fps : float
        Frame rate, 1/s. It gives the time of frames that are written without a time, and the duration of the last
        frame.
    audio_from : path or URL, optional
        Source of the sound. Its packets are copied if mp4 can hold their codec, otherwise re-encoded as AAC.
        None, or a source without sound, gives a silent video.
    audio_start : float, optional
        Time in the source at which the written video begins, s. By default, it is 0 if the first written frame is the
        first frame of `audio_from`, so that sound before this frame is kept. Otherwise it is the time of the first
        frame.
    audio_end : float, optional
        Time in the source at which the sound ends, s. By default, it is the end of the sound, or the last frame if an
        exception stops the writing.
    shortest : bool
        End the sound with the last frame: for a video whose end was cut off.
    crf : int
        Quality, 0 (lossless) .. 51.
    preset : str
        x264's: ``ultrafast`` .. ``placebo``.
    size : tuple of int, optional
        Width and height, 1..16384 px; by default those of the first frame. Other frames are scaled to fit, with black
        borders. An odd width or height grows by one.

    Attributes
    ----------
    count : int
        Frames written.

    Raises
    ------
    ValueError
        If an argument is out of range.
    VideoError
        If the source of the sound cannot be read.
    OSError
        If the folder cannot be written.

    Examples
    --------
    >>> from tddfa import video
    >>> with video.Writer(tmp / "out.mp4", fps=25) as writer:
    ...     writer.write(image)
    >>> (tmp / "out.mp4").exists()
    True
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        fps: float,
        audio_from: str | os.PathLike[str] | None = None,
        audio_start: float | None = None,
        audio_end: float | None = None,
        shortest: bool = False,
        crf: int = 18,
        preset: str = "veryfast",
        size: tuple[int, int] | None = None,
    ) -> None:
        self.path = Path(path)
        self.count = 0
        if self.path.suffix.lower() not in _FORMATS:
            raise ValueError(f"{self.path}: expected a name that ends in {', '.join(_FORMATS)}")
        if not 0 < fps <= MAX_FPS:  # NaN too
            raise ValueError(f"fps: expected more than 0 and at most {MAX_FPS}, got {fps}")
        if not 0 <= crf <= 51:
            raise ValueError(f"crf: expected 0..51, got {crf}")
        if preset not in _PRESETS:
            raise ValueError(f"preset: expected one of {', '.join(_PRESETS)}, got {preset!r}")
        if size is not None and not (
            len(size) == 2 and all(isinstance(side, int | np.integer) and 1 <= side <= _MAX_SIDE for side in size)
        ):
            raise ValueError(f"size: expected width and height of 1..{_MAX_SIDE} px, got {size}")
        if audio_start is not None and not math.isfinite(audio_start):
            raise ValueError(f"audio_start: expected a finite number of seconds, got {audio_start}")
        if audio_end is not None and math.isnan(audio_end):
            raise ValueError(f"audio_end: expected a number of seconds, got {audio_end}")
        self._fps = Fraction(fps).limit_denominator(1001) or Fraction(1, 1001)
        self._step = 1 / float(self._fps)
        self._size = size
        # x264's fast routine for macroblock trees reads uninitialised memory: equal frames would give different files
        self._options = {"crf": str(crf), "preset": preset, "x264-params": "cpu-independent=1"}
        self._origin = audio_start
        self._audio_end = math.inf if audio_end is None else audio_end
        self._shortest = shortest
        self._closed = False
        self._broken = False  # a write failed: the file cannot become whole
        self._container: Any = None
        self._stream: Any = None
        self._reformatter = VideoReformatter()
        self._time = -math.inf
        self._ticks = -1
        self._sound = None if audio_from is None else Sound.open(audio_from)
        try:
            self._part = created_part(self.path)
        except BaseException:
            self._close_sound()
            raise

    def write(self, image: NDArray[np.uint8], time: float | None = None) -> None:
        """Add a frame.

        Parameters
        ----------
        image : ndarray (h, w, 3) uint8
            BGR; it is copied, and may be changed afterwards.
        time : float, optional
            Time on the source's clock, s. By default, it is one step of `fps` after the previous frame. It may be at
            most 8900 s after the previous frame. A time that does not advance is moved to after the previous frame.

        Raises
        ------
        TypeError, ValueError
            If the image or the time is invalid; the writer stays usable.
        OSError
            If the file cannot be written.
        """
        if self._closed:
            raise ValueError(f"{self.path}: the file is closed")
        image = checked_image("image", image)
        if time is None:
            time = (self._origin or 0.0) if self.count == 0 else self._time + self._step
        if not math.isfinite(time):
            raise ValueError(f"time: expected a finite number of seconds, got {time}")
        before = self._time if self.count else time if self._origin is None else self._origin
        if time - before > _MAX_STEP_SECONDS:
            raise ValueError(f"time: expected at most {_MAX_STEP_SECONDS:g} s after {before:g} s, got {time:g}")
        with self._writing():
            self._write(image, time)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Writes to the disk: their errors name the file, and it does not get its name after one."""
        try:
            with naming(self.path):
                yield
        except OSError:
            self._broken = True
            raise

    def _write(self, image: NDArray[np.uint8], time: float) -> None:
        if self._container is None:
            self._open(image, time)
        assert self._origin is not None
        assert self._size is not None
        self._time = max(time, self._time)
        self._ticks = max(round((time - self._origin) * TICKS_PER_SECOND), self._ticks + 1)
        frame = self._converted(_fitted(image, self._size))
        frame.pts, frame.time_base = self._ticks, Fraction(1, TICKS_PER_SECOND)
        try:
            packets = self._stream.encode(frame)
        except OSError:
            raise
        except FFmpegError as error:
            width, height = self._size
            raise VideoError(f"{self.path}: cannot be encoded at {width} x {height} px: {reason(error)}") from error
        self._mux(packets)
        self.count += 1
        if self._sound is not None:
            self._sound.advance(min(self._time, self._audio_end))

    def _open(self, image: NDArray[np.uint8], time: float) -> None:
        if self._size is None:
            self._size = (image.shape[1], image.shape[0])
        self._size = (self._size[0] + self._size[0] % 2, self._size[1] + self._size[1] % 2)
        if self._origin is None:
            self._origin = 0.0 if self._sound is not None and self._sound.is_whole_from(time) else time
        self._matrix = matrix(*self._size)
        container = av.open(
            f"file:{self._part}",
            "w",
            format=_FORMATS[self.path.suffix.lower()],
            options={"movflags": "+faststart"},
        )
        try:
            stream = container.add_stream("libx264", rate=self._fps, options=self._options)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height = self._size
            stream.pix_fmt = "yuv420p"
            stream.thread_type = "FRAME"
            context = stream.codec_context
            context.time_base = Fraction(1, TICKS_PER_SECOND)
            context.colorspace, context.color_range = self._matrix, LIMITED_RANGE
            context.color_primaries = context.color_trc = BT709
            if self._sound is not None:
                self._sound.attach(container, self._origin)
        except BaseException:
            container.close()
            raise
        self._stream = stream
        self._container = container

    def _converted(self, image: NDArray[np.uint8]) -> av.VideoFrame:
        if self._matrix != BT709:  # OpenCV knows BT.601 alone, and is faster than FFmpeg
            return av.VideoFrame.from_ndarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), format="yuv420p")
        return self._reformatter.reformat(
            av.VideoFrame.from_ndarray(image, format="bgr24"),
            format="yuv420p",
            dst_colorspace=BT709,
            interpolation=_ACCURATE,
            **one_thread(),
        )

    def _mux(self, packets: Iterable[av.Packet[Any]]) -> None:
        for packet in packets:
            if not packet.duration:
                packet.duration = round(self._step / packet.time_base)
            self._container.mux(packet)

    def close(self) -> None:
        """Complete the file and give it its name. May be called twice."""
        self._finish(whole=True)

    def _finish(self, whole: bool) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            if self._broken:
                if whole:
                    raise OSError(f"{self.path}: not written, because an earlier write failed")
                return
            with naming(self.path):
                self._complete(whole)
        finally:
            self._close_sound()
            if self._container is not None:
                self._close_quietly()
            self._stream = self._container = self._sound = None  # with them, the threads of the encoders end
            self._part.unlink(missing_ok=True)

    def _complete(self, whole: bool) -> None:
        if self.count:
            self._mux(self._stream.encode(None))
            if self._sound is not None:
                last = self._time + self._step
                self._sound.finish(min(self._audio_end, math.inf if whole and not self._shortest else last))
        self._close_sound()
        if self._container is not None:
            self._container.close()  # writes the index
        if self.count:
            self._part.replace(self.path)

    def _close_quietly(self) -> None:
        try:
            self._container.close()
        except (FFmpegError, OSError) as error:
            _LOG.debug("%s: %s", self.path, error)

    def _close_sound(self) -> None:
        if self._sound is not None:
            self._sound.close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        try:
            self._finish(whole=False)
        except (FFmpegError, OSError, ValueError) as second:  # the caller needs the first error
            _LOG.warning("%s: the frames written so far could not be saved: %s", self.path, reason(second))


def _fitted(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """An image of exactly `size`: unchanged, with its last row or column repeated, or scaled, with black borders."""
    width, height = size
    rows, columns = image.shape[:2]
    if (columns, rows) == size:
        return np.ascontiguousarray(image)
    if (columns + columns % 2, rows + rows % 2) != size:
        scale = min(width / columns, height / rows)
        inner = (max(1, min(width, round(columns * scale))), max(1, min(height, round(rows * scale))))
        image = cv2.resize(np.ascontiguousarray(image), inner, interpolation=cv2.INTER_AREA if scale < 1 else 1)
        left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
        right, bottom = width - inner[0] - left, height - inner[1] - top
        return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT)
    return cv2.copyMakeBorder(
        np.ascontiguousarray(image), 0, height - rows, 0, width - columns, cv2.BORDER_REPLICATE
    )  # fmt: skip
