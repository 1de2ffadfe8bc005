"""One frame of a video."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from tddfa._shared.arrays import checked_image
from tddfa._shared.errors import TddfaError

# What reading and writing share.
OPEN_SECONDS = READ_SECONDS = 10.0  # how long a URL may be silent
DEMUX_ERRORS = (FFmpegError, IndexError)  # the latter where a stream turns up that was not announced
DEMUX_TRIES = 50  # errors of the container that may come in a row
MAX_FPS = 1000  # containers claim more where they do not know


class VideoError(TddfaError, ValueError):
    """A source that gives no frames, or a sound that cannot be read; one line that names it."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a video.

    Attributes
    ----------
    image : ndarray (h, w, 3) uint8
        BGR, C-contiguous, upright.
    index : int
        0-based, in the source: frames before `start` count, damaged ones that were skipped do not.
    time : float
        Seconds from the source's start.
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
    """What went wrong, in one line."""
    return " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())
