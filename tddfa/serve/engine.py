"""One loaded model under the limits of the service: what the routes and the page share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from tddfa._shared import image_io
from tddfa._shared.errors import TddfaError
from tddfa.aligner import Aligner
from tddfa.serve.limits import Limits
from tddfa.types import Face

NAME = "image"
"""Messages about an upload begin with it, in the place of a file name."""


class BusyError(TddfaError):
    """All places for requests are taken."""


class Engine:
    """One loaded model under the limits of the service. Every method may be called from any thread.

    Parameters
    ----------
    aligner : Aligner
        The model.
    limits : Limits, optional

    Examples
    --------
    >>> from pathlib import Path
    >>> from tddfa.serve.engine import Engine
    >>> engine = Engine(aligner)
    >>> with engine.place():
    ...     photo = engine.image(Path("examples/inputs/astronaut.jpg").read_bytes())
    ...     faces = engine.align(photo)
    >>> len(faces)
    1
    """

    def __init__(self, aligner: Aligner, limits: Limits | None = None) -> None:
        self.aligner = aligner
        self.limits = limits or Limits()
        self._places = threading.Semaphore(self.limits.requests)
        self._aligns = threading.Lock()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the places for requests, for as long as a request or a video takes.

        Raises
        ------
        BusyError
            At once, if there is none.
        """
        if not self._places.acquire(blocking=False):
            raise BusyError(f"expected at most {self.limits.requests} requests at a time")
        try:
            yield
        finally:
            self._places.release()

    def image(self, data: bytes) -> NDArray[np.uint8]:
        """Decode an uploaded image; its size is checked before a pixel is decoded.

        Returns
        -------
        ndarray (h, w, 3) uint8
            BGR.

        Raises
        ------
        tddfa._shared.image_io.ImageSizeError
            If it has too many pixels.
        tddfa._shared.image_io.ImageError
            If it is no image, or a damaged one.
        """
        return image_io.decode(data, NAME, max_pixels=self.limits.pixels)

    def align(self, image: NDArray[np.uint8]) -> list[Face]:
        """Find and align the faces of an image, in turn with all other requests.

        Returns
        -------
        list of Face
            As ``aligner(image)`` gives them.
        """
        with self._aligns:
            return self.aligner(image)

    @contextmanager
    def turn(self) -> Iterator[Aligner]:
        """Hold the model for something else than `align`: one frame of a video with a `tddfa.Tracker`.

        Examples
        --------
        >>> from tddfa import Tracker
        >>> from tddfa.serve.engine import Engine
        >>> engine = Engine(aligner)
        >>> tracker = Tracker(engine.aligner)
        >>> with engine.turn():
        ...     faces = tracker(image)
        """
        with self._aligns:
            yield self.aligner
