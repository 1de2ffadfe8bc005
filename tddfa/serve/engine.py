"""One loaded model with the limits of the service, shared by the routes and the page."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tddfa._shared import image_io
from tddfa._shared.errors import TddfaError
from tddfa.aligner import Aligner
from tddfa.serve.batches import Batches
from tddfa.serve.limits import Limits
from tddfa.types import Face

T = TypeVar("T")

NAME = "image"
"""Name of an upload at the beginning of messages, in place of a file name."""


class BusyError(TddfaError):
    """All places for requests are taken."""


class LateError(TddfaError):
    """The work of a request takes too long."""


class Engine:
    """One loaded model with the limits of the service. Every method may be called from any thread.

    Parameters
    ----------
    aligner : Aligner
        The model.
    limits : Limits, optional
    workers : int
        Number of batches that are aligned at a time. On a CPU, the throughput is highest with one worker per core and
        one thread per network (``docs/serve.md``).
    batch : int
        Maximum number of images, of several requests, that are aligned together; see `tddfa.serve.batches`.

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

    def __init__(self, aligner: Aligner, limits: Limits | None = None, *, workers: int = 1, batch: int = 1) -> None:
        self.aligner = aligner
        self.limits = limits or Limits()
        self._in_flight = 0
        self._counts = threading.Lock()
        self._batches = Batches(aligner, turns=workers, most=batch)
        self._threads = workers * batch  # enough to fill the batches
        self._pool = self._new_pool()

    @property
    def in_flight(self) -> int:
        """Number of places that are taken."""
        return self._in_flight

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the places for requests while a request or a video is processed.

        Raises
        ------
        BusyError
            If all places are taken. It is raised without a wait.
        """
        with self._counts:
            if self._in_flight >= self.limits.requests:
                raise BusyError(f"expected at most {self.limits.requests} requests at a time")
            self._in_flight += 1
        try:
            yield
        finally:
            with self._counts:
                self._in_flight -= 1

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
            If the data are not an image, or if the image is damaged.
        """
        return image_io.decode(data, NAME, max_pixels=self.limits.pixels)

    def align(self, image: NDArray[np.uint8]) -> list[Face]:
        """Find and align the faces of an image, in turn with all other requests.

        Returns
        -------
        list of Face
            The faces that ``aligner(image)`` returns.
        """
        return self._batches(image)

    @contextmanager
    def turn(self) -> Iterator[Aligner]:
        """Hold a worker for other work than `align`, such as one frame of a video with a `tddfa.Tracker`.

        Examples
        --------
        >>> from tddfa import Tracker
        >>> from tddfa.serve.engine import Engine
        >>> engine = Engine(aligner)
        >>> tracker = Tracker(engine.aligner)
        >>> with engine.turn():
        ...     faces = tracker(image)
        """
        with self._batches.turn() as aligner:
            yield aligner

    async def run(self, work: Callable[[], T], held: ExitStack) -> T:
        """Run the work of a request in one of the workers' threads, in the order of the calls.

        Parameters
        ----------
        work : function
        held : ExitStack
            Closed when the work ends. If the work is late, that is after this call. If the stack holds the place of the
            request, late work keeps its place and cannot accumulate. Work that has not begun is cancelled.

        Raises
        ------
        LateError
            If the work takes more than `Limits.seconds`, the wait for a worker included.
        """
        future = self._pool.submit(work)
        future.add_done_callback(lambda _: held.close())
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self.limits.seconds)
        except asyncio.TimeoutError:
            raise LateError(f"expected the work to take at most {self.limits.seconds:g} seconds") from None

    def close(self) -> None:
        """Finish the work that `run` has accepted, and end the threads; later work starts new threads."""
        pool, self._pool = self._pool, self._new_pool()
        pool.shutdown()

    def _new_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, thread_name_prefix="tddfa-serve")
