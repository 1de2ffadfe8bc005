"""A source of frames that is open, whatever it is."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from types import TracebackType

from tddfa._shared import image_io
from tddfa.video.frame import Frame, VideoError

IMAGES_PER_SECOND = 25.0
"""Frame rate of sources that have none: folders and iterables of images."""


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
        """Let go of the file or the camera; may be called twice, and while another thread reads."""

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_range(start: int | None, end: int | None) -> None:
    """Refuse a range of frames that is none: indices of 0 or more, the last not before the first."""
    for name, value in (("start", start), ("end", end)):
        if value is not None and value < 0:
            raise ValueError(f"{name}: expected an index of 0 or more, or None, got {value}")
    if end is not None and end < (start or 0):
        raise ValueError(f"end: expected at least start, {start}, got {end}")


def check_size(name: str, width: int, height: int) -> None:
    """Refuse a frame of more pixels than an image may have, before memory is taken for it."""
    if width * height > image_io.MAX_PIXELS:
        limit = image_io.MAX_PIXELS // 10**6
        raise VideoError(f"{name}: expected at most {limit} million pixels a frame, got {width} x {height}")
