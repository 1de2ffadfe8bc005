"""Batches that follow from their numbers, made in this process or in others, in order."""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Any, Protocol, TypeVar

import cv2

Made = TypeVar("Made", covariant=True)

# Batches that wait for each worker process, so that it never works far ahead.
_WAITING = 3
_PATIENCE_S = 5.0


class Task(Protocol[Made]):
    """What makes batches: batch k is always the same, wherever it is made."""

    def batch(self, number: int) -> Made:
        """Batch of a number."""
        ...


def here(task: Task[Made], start: int, last: int | None) -> Iterator[Made]:
    """Batches from number `start` to before `last` (None: without end), made when they are asked for."""
    number = start
    while last is None or number < last:
        yield task.batch(number)
        number += 1


def elsewhere(task: Task[Made], start: int, last: int | None, workers: int) -> Iterator[Made]:
    """The same, made ahead by a number of processes, to which the task is pickled.

    They import the main module anew, as on every system that has no fork: a script that uses them needs its
    ``if __name__ == "__main__":``.

    Raises
    ------
    RuntimeError
        If a process ended without a word. What a process raises is raised here.
    """
    # A forked child inherits locks of its parent's threads, OpenCV's among them, and waits for them for ever.
    context = multiprocessing.get_context("spawn")
    # Sent through a queue: what goes with `start` is written to a pipe whose other end this process holds too, and if
    # the child dies before it has read it, in a script without its guard, that write would wait for ever.
    packed = bytes(ForkingPickler.dumps(task))
    inboxes: list[Any] = [context.Queue(1) for _ in range(workers)]
    queues: list[Any] = [context.Queue(_WAITING) for _ in range(workers)]
    processes: list[Any] = [
        context.Process(target=_work, args=(inboxes[i], start + i, last, workers, queues[i]), daemon=True)
        for i in range(workers)
    ]
    for process, inbox in zip(processes, inboxes, strict=True):
        process.start()
        inbox.put(packed)
    try:
        number = start
        while last is None or number < last:
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


def _work(inbox: Any, first: int, last: int | None, step: int, out: Any) -> None:
    cv2.setNumThreads(1)
    try:
        task: Task[Any] = ForkingPickler.loads(inbox.get())
        number = first
        while last is None or number < last:
            out.put(task.batch(number))
            number += step
    except Exception as error:
        out.put(error)


def _next(waiting: Any, process: Any) -> Any:
    while True:
        try:
            return waiting.get(timeout=_PATIENCE_S)
        except queue.Empty:
            if not process.is_alive():
                raise RuntimeError(f"a process that makes batches ended with status {process.exitcode}") from None
