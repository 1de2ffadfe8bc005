"""Batches that are determined by their numbers, made in this process or in others, in order."""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Any, Protocol, TypeVar

import cv2

Made = TypeVar("Made", covariant=True)

# Finished batches that each worker process may hold, so that it never works far ahead.
_MAX_FINISHED = 3
_POLL_S = 5.0


class BatchMaker(Protocol[Made]):
    """Makes batches: batch k is always the same, wherever it is made."""

    def batch(self, number: int) -> Made:
        """Batch of a number."""
        ...


def stream(maker: BatchMaker[Made], start: int = 0, stop: int | None = None, workers: int = 0) -> Iterator[Made]:
    """Batches in order, made in this process or ahead of time in others.

    Parameters
    ----------
    maker : BatchMaker
        Pickled where other processes make the batches.
    start, stop : int
        Numbers of the first batch, and of the first one not made; None makes batches without end.
    workers : int
        Number of processes; 0 makes each batch here when it is asked for. The processes import the main module again,
        as on every system that has no fork: a script that uses them needs its ``if __name__ == "__main__":``.

    Raises
    ------
    RuntimeError
        If a process ended without an exception. An exception in a process is raised here.
    """
    return _from_processes(maker, start, stop, workers) if workers else _made_here(maker, start, stop)


def _made_here(maker: BatchMaker[Made], start: int, stop: int | None) -> Iterator[Made]:
    number = start
    while stop is None or number < stop:
        yield maker.batch(number)
        number += 1


def _from_processes(maker: BatchMaker[Made], start: int, stop: int | None, workers: int) -> Iterator[Made]:
    # A forked child inherits locks of its parent's threads, OpenCV's among them, and waits for them forever.
    context = multiprocessing.get_context("spawn")
    # Sent through a queue: arguments of a process are written to a pipe whose other end this process holds too. If the
    # child dies before it has read them, as in a script without its guard, that write would wait forever.
    packed = bytes(ForkingPickler.dumps(maker))
    inboxes: list[Any] = [context.Queue(1) for _ in range(workers)]
    queues: list[Any] = [context.Queue(_MAX_FINISHED) for _ in range(workers)]
    processes: list[Any] = [
        context.Process(target=_work, args=(inboxes[i], start + i, stop, workers, queues[i]), daemon=True)
        for i in range(workers)
    ]
    for process, inbox in zip(processes, inboxes, strict=True):
        process.start()
        inbox.put(packed)
    try:
        number = start
        while stop is None or number < stop:
            turn = (number - start) % workers
            result = _next(queues[turn], processes[turn])
            if isinstance(result, Exception):
                raise result
            yield result
            number += 1
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
        for waiting in (*queues, *inboxes):
            waiting.cancel_join_thread()
            waiting.close()


def _work(inbox: Any, first: int, stop: int | None, step: int, out: Any) -> None:
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        maker: BatchMaker[Any] = ForkingPickler.loads(inbox.get())
        number = first
        while stop is None or number < stop:
            out.put(maker.batch(number))
            number += step
    except Exception as error:
        out.put(error)


def _end_with_parent() -> None:
    """End this process if the process that takes its batches was killed; otherwise it would wait forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _next(waiting: Any, process: Any) -> Any:
    while True:
        try:
            return waiting.get(timeout=_POLL_S)
        except queue.Empty:
            if not process.is_alive():
                raise RuntimeError(f"a process that makes batches ended with status {process.exitcode}") from None
