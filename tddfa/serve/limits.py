"""What the service accepts."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Limits:
    """What the service accepts.

    Attributes
    ----------
    bytes : int
        Of an image file.
    pixels : int
        Of an image, by its header.
    requests : int
        In flight at a time, those that are aligned included.
    upload_seconds : float
        For the body of a request to arrive.
    seconds : float
        For the work of a request, from when its body is there, the wait for a worker included.
    video_seconds : float
        Duration of a video.

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
