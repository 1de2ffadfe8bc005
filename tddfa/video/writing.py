"""Frames out: H.264 mp4, with the sound of the input."""

from __future__ import annotations

import logging
import math
import os
import re
import secrets
from collections import deque
from collections.abc import Generator, Iterable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import cv2
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from tddfa._shared.arrays import checked_image
from tddfa.video.frame import DEMUX_ERRORS, DEMUX_TRIES, MAX_FPS, OPEN_SECONDS, READ_SECONDS, VideoError, reason

TICKS_PER_SECOND = 120_000
"""Time base of what is written; the usual rates (24 .. 60, NTSC's too) and milliseconds are whole ticks of it."""

_LOG = logging.getLogger(__name__)

_COPIED_SOUND = ("aac", "mp3", "ac3", "eac3", "alac", "opus", "flac")  # what mp4 holds and players play

_SOUND_GAP_SECONDS = 0.1  # less is the container's rounding

_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov"}


_SMPTE170M, _BT709, _SRGB, _LIMITED = 6, 1, 13, 1  # FFmpeg's numbers: matrix, primaries, transfer, range


class Writer:
    """Frames to an H.264 mp4 (yuv420p, its index in front) with their own times, and with sound.

    The file gets its name when it is whole. Where the ``with`` block ends by an exception, Ctrl-C too, what was written
    so far is finished as a playable file. Where not one frame came, nothing is left.

    Parameters
    ----------
    path : path
        ``.mp4``, ``.m4v`` or ``.mov``. Missing folders are made.
    fps : float
        Frames a second: the time of frames that come without one, and how long the last is shown.
    audio_from : path or URL, optional
        Its sound is laid under the pictures, its packets as they are where mp4 holds their codec, else as AAC.
        None, and a file without sound: a silent film.
    audio_start : float, optional
        Second of the source at which the written film begins. By default the time of the first frame that is written,
        so that a film that begins late keeps its sound in step.
    audio_end : float, optional
        Second of the source at which the sound ends. By default where it ends itself, or with the last frame if an
        exception cut the writing short.
    shortest : bool
        End the sound with the last frame: for a film whose end was cut off.
    crf : int
        Quality, 0 (lossless) .. 51.
    preset : str
        x264's: ``ultrafast`` .. ``veryslow``.
    size : tuple of int, optional
        Width and height; by default those of the first frame. Frames of another size are scaled into it, with black
        borders. An odd width or height grows by a column or row.

    Attributes
    ----------
    count : int
        Frames written.
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
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise ValueError(f"size: expected width and height in px, got {size}")
        for name, value in (("audio_start", audio_start), ("audio_end", audio_end)):
            if value is not None and math.isnan(value):
                raise ValueError(f"{name}: expected seconds, got {value}")
        self._fps = Fraction(fps).limit_denominator(1001) or Fraction(1, 1001)
        self._step = 1 / float(self._fps)
        self._size = size
        self._options = {"crf": str(crf), "preset": preset}
        self._origin = audio_start
        self._audio_end = math.inf if audio_end is None else audio_end
        self._shortest = shortest
        self._closed = False
        self._container: Any = None
        self._time = -math.inf
        self._ticks = -1
        self._sound = None if audio_from is None else _Sound.open(audio_from)
        self._part = self.path.with_name(f".{self.path.name[:80]}.{secrets.token_hex(4)}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._part.touch()  # a folder that cannot be written is said so before hours of work
        except BaseException:
            self._close_sound()
            raise

    def write(self, image: NDArray[np.uint8], time: float | None = None) -> None:
        """Add a frame.

        Parameters
        ----------
        image : ndarray (h, w, 3) uint8
            BGR; it is read at once, and may be changed behind it.
        time : float, optional
            Seconds, on the source's clock; by default one step of `fps` after the frame before. One that does not
            advance is moved behind the frame before.

        Raises
        ------
        TypeError, ValueError
            If it is no picture or no time; the writer goes on.
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
        if self._container is None:
            self._open(image, time)
        assert self._origin is not None
        assert self._size is not None
        self._time = max(time, self._time)
        self._ticks = max(round((time - self._origin) * TICKS_PER_SECOND), self._ticks + 1)
        yuv = cv2.cvtColor(_fitted(image, self._size), cv2.COLOR_BGR2YUV_I420)
        frame = av.VideoFrame.from_ndarray(yuv, format="yuv420p")
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
            self._origin = time
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
            context.colorspace, context.color_range = _SMPTE170M, _LIMITED
            context.color_primaries, context.color_trc = _BT709, _SRGB
            if self._sound is not None:
                self._sound.attach(container, self._origin)
        except BaseException:
            container.close()
            raise
        self._stream = stream
        self._container = container

    def _mux(self, packets: Iterable[av.Packet[Any]]) -> None:
        for packet in packets:
            if not packet.duration:
                packet.duration = round(self._step / packet.time_base)
            self._container.mux(packet)

    def close(self) -> None:
        """Finish the file and give it its name; may be called twice."""
        self._finish(whole=True)

    def _finish(self, whole: bool) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            if self.count:
                self._mux(self._stream.encode(None))
                if self._sound is not None:
                    last = self._time + self._step
                    self._sound.finish(min(self._audio_end, math.inf if whole and not self._shortest else last))
            self._close_sound()
            if self._container is not None:
                self._container.close()  # it writes the index
            if self.count:
                self._part.replace(self.path)
        finally:
            self._close_sound()
            if self._container is not None:
                self._close_quietly()
            self._part.unlink(missing_ok=True)

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
        except (FFmpegError, OSError, ValueError) as second:  # the first is what the caller has to hear of
            _LOG.warning("%s: what was written could not be kept: %s", self.path, reason(second))


def _fitted(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture of exactly `size`: the same, with its last row and column doubled, or scaled between black borders."""
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


class _Sound:
    """The sound of a file, on its way into another, no farther than the pictures are."""

    @classmethod
    def open(cls, source: str | os.PathLike[str]) -> _Sound | None:
        """The sound of a path or URL; None where it has none."""
        text = os.fspath(source)
        remote = "://" in text
        name = re.sub(r"//[^/@]*@", "//", text)
        try:
            container = av.open(
                text if remote else f"file:{text}",
                "r",
                timeout=(OPEN_SECONDS, READ_SECONDS) if remote else None,
            )
        except (FFmpegError, OSError, ValueError) as error:
            raise VideoError(f"{name}: its sound cannot be read: {reason(error)}") from error
        stream = container.streams.best("audio")
        if not isinstance(stream, av.AudioStream) or stream.codec_context is None:
            container.close()
            return None
        return cls(container, stream, name)

    def __init__(self, container: Any, stream: av.AudioStream, name: str) -> None:
        self._container = container
        self._stream = stream
        self._name = name
        self._errors = 0
        self._base = float(stream.time_base or 1)
        self._file_start = 0.0 if container.start_time is None else container.start_time / av.time_base
        self._copied = stream.codec_context.codec.canonical_name in _COPIED_SOUND
        self._sample: int | None = None  # the next one of what is encoded anew
        self._waiting: deque[tuple[float, Any]] = deque()
        self._packets = self._demux()

    def attach(self, output: Any, start: float) -> None:
        """Make a stream of it in `output`, whose second 0 is second `start` here."""
        self._output = output
        self._start = start
        self._shift = round((self._file_start + start) / self._base)
        if self._copied:
            try:
                self._target = output.add_stream_from_template(self._stream)
                return
            except (FFmpegError, ValueError):  # .mov holds fewer than .mp4
                self._copied = False
        rate = self._stream.codec_context.sample_rate
        self._target = output.add_stream("aac", rate=rate if rate in _AAC_RATES else 48000)
        layout = self._stream.codec_context.layout.name
        self._target.layout = layout if layout in ("mono", "stereo", "5.1") else "stereo"
        self._target.bit_rate = 96_000 * self._target.codec_context.channels

    def _demux(self) -> Generator[tuple[float, Any], None, None]:
        """Packets with their second in the source; a packet that ends before the start is left out, but the last."""
        before: tuple[float, Any] | None = None
        errors = 0
        while errors <= DEMUX_TRIES:
            try:
                for packet in self._container.demux(self._stream):
                    stamp = packet.dts if packet.pts is None else packet.pts
                    if not packet.size or stamp is None:
                        continue
                    errors = 0
                    time = stamp * self._base - self._file_start
                    # a decoder needs the packet before; where nothing is cut off, all that it starts with
                    if self._start > 0 and time + (packet.duration or 0) * self._base <= self._start:
                        before = (time, packet)
                        continue
                    if before is not None:
                        yield before
                        before = None
                    yield time, packet
                return
            except DEMUX_ERRORS:
                errors += 1
                self._errors += 1

    def advance(self, until: float) -> None:
        """Write what is heard before second `until`."""
        while True:
            if not self._waiting:
                packet = next(self._packets, None)
                if packet is None:
                    return
                self._waiting.append(packet)
            if self._waiting[0][0] >= until:
                return
            self._write(self._waiting.popleft()[1])

    def _write(self, packet: Any) -> None:
        try:
            if self._copied:
                packet.pts = None if packet.pts is None else packet.pts - self._shift
                packet.dts = None if packet.dts is None else packet.dts - self._shift
                packet.stream = self._target
                self._output.mux(packet)
            else:
                self._transcode(self._stream.decode(packet))
        except OSError:
            raise  # the disk, not the sound
        except FFmpegError:
            self._errors += 1

    def _transcode(self, decoded: Iterable[Any]) -> None:
        for frame in decoded:
            # counted in samples: a container's own ticks may be as coarse as a packet
            rate = frame.sample_rate
            at = self._sample
            if frame.pts is not None:
                said = round((frame.pts * float(frame.time_base) - self._file_start - self._start) * rate)
                if at is None or said - at > _SOUND_GAP_SECONDS * rate:
                    at = said
            at = at or 0
            self._sample = at + frame.samples
            if self._sample <= 0:
                continue
            frame.pts, frame.time_base = at, Fraction(1, rate)
            self._output.mux(self._target.encode(frame))

    def finish(self, until: float) -> None:
        """Write what is left before second `until`, and what the encoder holds."""
        self.advance(until)
        if not self._copied:
            try:
                if until == math.inf:
                    self._transcode(self._stream.decode(None))
                self._output.mux(self._target.encode(None))
            except OSError:
                raise
            except FFmpegError:
                self._errors += 1
        if self._errors:
            _LOG.warning("%s: %d damaged pieces of sound were skipped", self._name, self._errors)

    def close(self) -> None:
        self._packets.close()
        self._container.close()
