"""One frame of a video."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from tddfa._shared.arrays import checked_image
from tddfa._shared.errors import TddfaError

# shared by reading and writing
OPEN_SECONDS = READ_SECONDS = 10.0  # a URL may be silent for so long
FILE_SECONDS = 30.0  # a disk may sleep for so long; a playlist without an end would be read again and again
DEMUX_ERRORS = (FFmpegError, IndexError)  # IndexError: a stream appears that was not announced
DEMUX_TRIES = 50  # errors of the container in a row
MAX_FPS = 1000  # containers claim more when they do not know


class VideoError(TddfaError, ValueError):
    """A source gives no frames, or its sound cannot be read. The message is one line that names the source."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a video.

    Attributes
    ----------
    image : ndarray (h, w, 3) uint8
        BGR of BT.709, C-contiguous, upright, with square pixels.
    index : int
        Index in the source, from 0. Frames before `start` count; damaged frames that were skipped do not.
    time : float
        Time from the start of the source, s.

    Raises
    ------
    ValueError, TypeError
        If a field has the wrong type, shape, dtype or range.

    Examples
    --------
    >>> from tddfa.video import Frame
    >>> Frame(image, index=0, time=0.0).image.shape
    (512, 512, 3)
    """

    image: NDArray[np.uint8]
    index: int
    time: float

    def __post_init__(self) -> None:
        """Check the fields."""
        object.__setattr__(self, "image", np.ascontiguousarray(checked_image("Frame.image", self.image)))
        index, time = int(self.index), float(self.time)
        if index < 0:
            raise ValueError(f"Frame.index: expected 0 or more, got {index}")
        if not math.isfinite(time):
            raise ValueError(f"Frame.time: expected a finite number, got {time}")
        object.__setattr__(self, "index", index)
        object.__setattr__(self, "time", time)


def reason(error: Exception) -> str:
    """The message of an error, in one line."""
    return " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())
