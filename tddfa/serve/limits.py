"""Limits of what the service accepts."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of what the service accepts.

    Attributes
    ----------
    bytes : int
        Maximum size of an image file.
    pixels : int
        Maximum number of pixels of an image, by its header.
    requests : int
        Maximum number of requests in flight at a time, including those that are being aligned.
    upload_seconds : float
        Maximum time for the body of a request to arrive.
    seconds : float
        Maximum time for the work of a request after its body has arrived, including the wait for a worker.
    video_seconds : float
        Maximum duration of a video.

    Examples
    --------
    >>> from tddfa.serve.limits import Limits
    >>> Limits(requests=4).pixels
    50000000
    """

    bytes: int = 20 * 10**6
    pixels: int = 50 * 10**6
    requests: int = 16
    upload_seconds: float = 30.0
    seconds: float = 30.0
    video_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, value in asdict(self).items():
            if value <= 0:
                raise ValueError(f"Limits.{name}: expected more than 0, got {value}")
