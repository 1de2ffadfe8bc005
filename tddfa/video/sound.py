"""The sound of a source, copied or re-encoded into a written video."""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections import deque
from collections.abc import Generator, Iterable
from fractions import Fraction
from typing import Any

import av
from av.error import FFmpegError

from tddfa._shared.reading.regular import is_stream
from tddfa.video.addresses import address_of
from tddfa.video.frame import DEMUX_ERRORS, DEMUX_TRIES, FILE_SECONDS, OPEN_SECONDS, READ_SECONDS, VideoError, reason

_LOG = logging.getLogger(__name__)

# codecs that the container holds, and that players play in it
_COPIED_CODECS = {
    "mov": ("aac", "mp3", "ac3", "eac3", "alac"),
    "mp4": ("aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"),
}
_SAME_TIME_SECONDS = 1e-3
_SOUND_GAP_SECONDS = 0.1  # a smaller gap is the container's rounding
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)


class Sound:
    """The sound of one file, copied into another as far as its frames are written."""

    @classmethod
    def open(cls, source: str | os.PathLike[str]) -> Sound | None:
        """Open the sound of a path or URL; None if it has no sound."""
        address = address_of(os.fspath(source))
        name = address.name
        if not address.remote and is_stream(name):
            raise VideoError(f"{name}: its sound cannot be read: expected a file, got a pipe or a device")
        try:
            container = av.open(
                address.url,
                "r",
                options=address.options,
                timeout=(OPEN_SECONDS, READ_SECONDS) if address.remote else (FILE_SECONDS, FILE_SECONDS),
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
        self._stream: Any = stream
        self._target: Any = None
        self._output: Any = None
        self._name = name
        self._errors = 0
        self._base = float(stream.time_base or 1)
        self._file_start = 0.0 if container.start_time is None else container.start_time / av.time_base
        self._first_frame = self._start_of_frames()
        self._codec = stream.codec_context.codec.canonical_name
        self._copied = False
        self._sample: int | None = None  # the next sample to encode, where the sound is re-encoded
        self._waiting: deque[tuple[float, Any]] = deque()
        self._packets = self._demux()

    def _start_of_frames(self) -> float:
        """Time of the first frame of the source, s."""
        frames = self._container.streams.best("video")
        if frames is None or frames.start_time is None:
            return 0.0
        return float(frames.start_time * frames.time_base) - self._file_start

    def is_whole_from(self, time: float) -> bool:
        """Whether `time`, s, is that of the first frame of the source: then no sound is cut off."""
        return time < self._first_frame + _SAME_TIME_SECONDS

    def attach(self, output: Any, start: float) -> None:
        """Add an audio stream to `output`, whose second 0 is second `start` of the source."""
        self._output = output
        self._start = start
        self._shift = round((self._file_start + start) / self._base)
        if self._codec in _COPIED_CODECS[output.format.name]:
            # PyAV refuses what the container cannot hold
            with contextlib.suppress(FFmpegError, ValueError):
                self._target = output.add_stream_from_template(self._stream)
                self._copied = True
                return
        rate = self._stream.codec_context.sample_rate
        self._target = output.add_stream("aac", rate=rate if rate in _AAC_RATES else 48000)
        layout = self._stream.codec_context.layout.name
        self._target.layout = layout if layout in ("mono", "stereo", "5.1") else "stereo"
        self._target.bit_rate = 96_000 * self._target.codec_context.channels

    def _demux(self) -> Generator[tuple[float, Any], None, None]:
        """Packets with their time in the source, s; of those that end before the start, only the last."""
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
                    # a decoder needs the packet before; if nothing is cut off, all packets
                    if self._start > 0 and time + (packet.duration or 0) * self._base <= self._start:
                        before = (time, packet)
                        continue
                    if before is not None:
                        yield before
                        before = None
                    yield time, packet
                return
            except DEMUX_ERRORS as error:
                errors += 1
                self._errors += 1
                if isinstance(error, av.error.ExitError):  # a time-out; each attempt may take as long
                    return

    def advance(self, until: float) -> None:
        """Write the sound before second `until`."""
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
            raise  # the disk is at fault, not the sound
        except FFmpegError:
            self._errors += 1

    def _transcode(self, decoded: Iterable[Any]) -> None:
        for frame in decoded:
            # counted in samples: the container's time base may be as coarse as a packet
            rate = frame.sample_rate
            at = self._sample
            if frame.pts is not None:
                stamp = round((frame.pts * float(frame.time_base) - self._file_start - self._start) * rate)
                if at is None or stamp - at > _SOUND_GAP_SECONDS * rate:
                    at = stamp
            at = at or 0
            self._sample = at + frame.samples
            if self._sample <= 0:
                continue
            frame.pts, frame.time_base = at, Fraction(1, rate)
            self._output.mux(self._target.encode(frame))

    def finish(self, until: float) -> None:
        """Write the rest of the sound before second `until`, and flush the encoder."""
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
            _LOG.warning("%s: %d damaged audio packets were skipped", self._name, self._errors)

    def close(self) -> None:
        """Close the source."""
        self._packets.close()
        self._waiting.clear()
        self._container.close()
        self._stream = self._target = self._output = None
