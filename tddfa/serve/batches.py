"""Images of several requests through the networks together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tddfa.aligner import Aligner
from tddfa.types import Face


@dataclass(eq=False)
class _Waiting:
    """An image that waits for its alignment; later its faces or its error."""

    image: NDArray[np.uint8]
    faces: list[Face] = field(default_factory=list)
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)


class Batches:
    """An aligner for many threads, of which a limited number align at a time.

    A thread that gets a turn takes the waiting images, in their order, up to the size of a batch. It does not wait for
    more images, because a batch of one is as fast as a single image. While all turns are taken, the waiting images form
    the next batches.

    Parameters
    ----------
    aligner : Aligner
    turns : int
        Number of threads that align at a time.
    most : int
        Maximum number of images per batch; 1 aligns each image alone.

    Examples
    --------
    >>> from tddfa.serve.batches import Batches
    >>> batches = Batches(aligner, turns=2, most=4)
    >>> [face.landmarks.shape for face in batches(image)]
    [(68, 3)]
    """

    def __init__(self, aligner: Aligner, *, turns: int, most: int) -> None:
        for name, value in (("turns", turns), ("most", most)):
            if value < 1:
                raise ValueError(f"{name}: expected 1 or more, got {value}")
        self.aligner = aligner
        self.most = most
        self._turns = threading.Semaphore(turns)
        self._waiting: deque[_Waiting] = deque()
        self._lock = threading.Lock()

    def __call__(self, image: NDArray[np.uint8]) -> list[Face]:
        """Find and align the faces of an image, with the result of ``aligner(image)``."""
        mine = _Waiting(image)
        with self._lock:
            self._waiting.append(mine)
        # each thread adds one image and takes at least one if any waits: none is left, even if others took its own
        with self.turn():
            self._align(self._taken())
        mine.done.wait()
        if mine.error is not None:
            raise mine.error
        return mine.faces

    @contextmanager
    def turn(self) -> Iterator[Aligner]:
        """Hold a turn for other work than the alignment of images."""
        with self._turns:
            yield self.aligner

    def _taken(self) -> list[_Waiting]:
        with self._lock:
            return [self._waiting.popleft() for _ in range(min(self.most, len(self._waiting)))]

    def _align(self, batch: list[_Waiting]) -> None:
        """Align the images together. If that fails, align each alone, so that one image cannot affect the others."""
        try:
            found = self.aligner.batch([one.image for one in batch]) if len(batch) > 1 else None
        except Exception:
            found = None
        for index, one in enumerate(batch):
            try:
                one.faces = self.aligner(one.image) if found is None else found[index]
            except Exception as error:
                one.error = error
            finally:
                one.done.set()
