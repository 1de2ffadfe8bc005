"""Pipeline stages in threads: bounded and in order, or the newest frame only."""

from __future__ import annotations

import logging
import threading
import time as clock
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from types import TracebackType
from typing import TypeVar

from tddfa.video.frame import Frame
from tddfa.video.reader import Reader

_LOG = logging.getLogger(__name__)

_T = TypeVar("_T")

_WAKE_SECONDS = 0.5  # Ctrl-C does not interrupt a wait on a lock on every system

_JOIN_SECONDS = 15.0  # longer than a URL or a camera may be silent


def threaded(iterable: Iterable[_T], depth: int = 4) -> Iterator[_T]:
    """Run an iterable in a thread, a few items ahead of its consumer.

    The order is kept. An exception of the iterable is raised after the items before it. The thread starts when the
    first item is requested. It ends with the iterable, or when the result is closed or garbage collected; a generator
    passed as `iterable` is then closed too.

    Parameters
    ----------
    iterable : iterable
        Must not be used elsewhere.
    depth : int
        Number of items that may wait.

    Raises
    ------
    ValueError
        If `depth` is less than 1.

    Examples
    --------
    >>> from tddfa import video
    >>> list(video.threaded(range(4)))
    [0, 1, 2, 3]
    """
    if depth < 1:
        raise ValueError(f"depth: expected 1 or more, got {depth}")
    return _threaded(iterable, depth)


def _threaded(iterable: Iterable[_T], depth: int) -> Iterator[_T]:
    items: deque[_T] = deque()
    state = threading.Condition()
    stopped = ended = False
    failure: BaseException | None = None

    def run() -> None:
        nonlocal ended, failure
        source: Iterator[_T] | None = None
        try:
            source = iter(iterable)
            while True:
                with state:
                    while len(items) >= depth and not stopped:
                        state.wait()
                    if stopped:
                        return
                try:
                    item = next(source)
                except StopIteration:
                    return
                with state:
                    items.append(item)
                    state.notify_all()
                del item
        except BaseException as error:
            failure = error
        finally:
            try:
                if isinstance(source, Generator):
                    source.close()
            except BaseException as error:
                failure = failure or error
            with state:
                ended = True
                state.notify_all()

    thread = threading.Thread(target=run, name="tddfa-threaded", daemon=True)
    thread.start()
    try:
        while True:
            with state:
                while not items and not ended:
                    state.wait(_WAKE_SECONDS)
                if not items:
                    break
                item = items.popleft()
                state.notify_all()
            yield item
            del item
        if failure is not None:
            raise failure
    finally:
        with state:
            stopped = True
            items.clear()
            state.notify_all()
        _join(thread)
        failure = None  # its traceback holds this frame


def _join(thread: threading.Thread) -> None:
    thread.join(_JOIN_SECONDS)
    if thread.is_alive():
        _LOG.warning("a source does not end; its thread keeps running")


class Live:
    """The newest frame of a reader: a context manager, iterable once. Made by `live`.

    Attributes
    ----------
    dropped : int
        Frames that were replaced by a newer one before they were taken.
    """

    def __init__(self, reader: Reader, realtime: bool) -> None:
        self.dropped = 0
        self._arrived = 0.0  # of the last frame returned
        self._newest: tuple[Frame, float] | None = None
        self._state = threading.Condition()
        self._stopped = self._ended = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(reader, realtime), name="tddfa-live", daemon=True)
        self._thread.start()

    def _run(self, reader: Reader, realtime: bool) -> None:
        source: Iterator[Frame] | None = None
        began: float | None = None
        try:
            source = reader.frames()
            for frame in source:
                now = clock.perf_counter()
                began = now - frame.time if began is None else began
                with self._state:
                    if realtime:
                        while not self._stopped and (wait := began + frame.time - clock.perf_counter()) > 0:
                            self._state.wait(wait)
                    if self._stopped:
                        return
                    self.dropped += self._newest is not None
                    self._newest = (frame, clock.perf_counter())
                    self._state.notify_all()
        except BaseException as error:
            self._failure = error
        finally:
            if isinstance(source, Generator):
                source.close()
            with self._state:
                self._ended = True
                self._state.notify_all()

    @property
    def latency(self) -> float:
        """Time since the last returned frame was read from its source, s."""
        return clock.perf_counter() - self._arrived

    def __iter__(self) -> Live:
        return self

    def __next__(self) -> Frame:
        with self._state:
            while self._newest is None and not self._ended and not self._stopped:
                self._state.wait(_WAKE_SECONDS)
            if self._newest is None or self._stopped:
                failure, self._failure = self._failure, None
                if failure is not None and not self._stopped:
                    raise failure
                raise StopIteration
            (frame, self._arrived), self._newest = self._newest, None
            return frame

    def close(self) -> None:
        """Stop the thread; the reader stays open. May be called twice."""
        with self._state:
            self._stopped = True
            self._newest = None
            self._state.notify_all()
        _join(self._thread)

    def __enter__(self) -> Live:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def live(reader: Reader, *, realtime: bool | None = None) -> Live:
    """Read in a thread that keeps only the newest frame, so that a slow consumer never falls behind.

    The thread ends with the reader, or when the result is closed: use it in a ``with`` block.

    Parameters
    ----------
    reader : Reader
        Read from now on; it is not closed.
    realtime : bool, optional
        Play at the frames' own times, as a camera would, instead of as fast as possible. By default True unless the
        reader is live.

    Returns
    -------
    Live

    Examples
    --------
    >>> from tddfa import video
    >>> with video.open_source([image] * 3) as reader, video.live(reader, realtime=False) as newest:
    ...     frame = next(newest)
    >>> frame.image.shape
    (512, 512, 3)
    """
    return Live(reader, not reader.live if realtime is None else realtime)
