"""`Reader`: an open source of frames, of any kind."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from types import TracebackType

from tddfa._shared import image_io
from tddfa._shared.arrays import checked_number
from tddfa.video.frame import Frame, VideoError

IMAGES_PER_SECOND = 25.0
"""Frame rate of sources that have none: folders and iterables of images."""


class Reader:
    """An open source of frames: a context manager, iterable once. Made by `open_source`.

    Attributes
    ----------
    name : str
        Name in messages: path, URL, "camera 0".
    size : tuple of int or None
        Width and height of the first frame, upright, with square pixels, px; None if unknown before it is read.
    fps : float or None
        Frame rate, 1/s, on average if it varies; None if unknown.
    count : int or None
        Estimated number of frames, from the header or from duration and frame rate. It is good enough for a progress
        bar.
    live : bool
        Whether the source is a camera or an endless stream: a slow consumer misses frames.
    has_audio : bool
        Whether the source has sound.
    damaged : bool
        Whether a part could not be read; the log names the part. The value is final after the last frame.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.size: tuple[int, int] | None = None
        self.fps: float | None = None
        self.count: int | None = None
        self.live = False
        self.has_audio = False
        self.damaged = False
        self._taken = False

    def frames(self, start: int | None = None, end: int | None = None) -> Iterator[Frame]:
        """Iterate over the frames `start` to `end`, both included; earlier frames are not converted.

        Raises
        ------
        ValueError
            If the range is empty or negative, or if the reader was read before.
        """
        check_range(start, end)
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
        """Close the file or release the camera. May be called twice, and while another thread reads."""

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_range(start: int | None, end: int | None) -> None:
    """Raise `TypeError` or `ValueError` unless they are whole numbers, and 0 <= start <= end."""
    for name, value in (("start", start), ("end", end)):
        if value is not None:
            checked_number(name, value, 0, whole=True)
    if end is not None and end < (start or 0):
        raise ValueError(f"end: expected at least start, {start}, got {end}")


def check_size(name: str, width: int, height: int) -> None:
    """Raise `VideoError` if a frame has more pixels than an image may have; called before it is decoded."""
    if width * height > image_io.MAX_PIXELS:
        limit = image_io.MAX_PIXELS // 10**6
        raise VideoError(f"{name}: expected at most {limit} million pixels a frame, got {width} x {height}")
