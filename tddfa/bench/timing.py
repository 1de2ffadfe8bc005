"""Times of several jobs, taken in turn: whatever else the machine does meanwhile hits all alike."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike

from tddfa.bench.peer import PeerError

# A sample shorter than this, seconds, says more about the clock than about the job: the job is repeated in it.
_MIN_SAMPLE = 0.002
_MAX_REPEATS = 200
# A job that has taken so many seconds in so many samples is known well enough.
_ENOUGH_SECONDS, _ENOUGH_SAMPLES = 4.0, 4


@dataclass(frozen=True)
class Timing:
    """Times of a job, ms a call.

    Attributes
    ----------
    median, lower, upper, least : float
        The median, both quartiles, and the shortest.
    count : int
        Of samples.
    """

    median: float
    lower: float
    upper: float
    least: float
    count: int

    @classmethod
    def of(cls, seconds: ArrayLike) -> Timing:
        """Of samples in seconds.

        Raises
        ------
        ValueError
            If there is none.
        """
        samples = 1000 * np.asarray(seconds, dtype=np.float64)
        if not samples.size:
            raise ValueError("seconds: expected one sample at least, got none")
        lower, median, upper = np.percentile(samples, [25, 50, 75])
        return cls(float(median), float(lower), float(upper), float(samples.min()), samples.size)


@dataclass(frozen=True)
class Job:
    """Something to be timed.

    Attributes
    ----------
    stage, variant : str
        What it is, and which of those that are compared.
    sample : callable
        Does it, and gives the seconds that a call took.
    """

    stage: str
    variant: str
    sample: Callable[[], float]


def sampler(run: Callable[[], object], threads: int | None = None) -> Callable[[], float]:
    """Make a `Job.sample` of a function: the first call warms it up and finds how often a sample repeats it.

    Parameters
    ----------
    run : callable
        The function.
    threads : int or None
        Of OpenCV while it runs; None takes all.
    """
    repeats = 0

    def sample() -> float:
        nonlocal repeats
        with opencv_threads(threads):
            if not repeats:
                run()
                repeats = min(max(math.ceil(_MIN_SAMPLE / max(_seconds(run, 1), 1e-9)), 1), _MAX_REPEATS)
            return _seconds(run, repeats)

    return sample


def _seconds(run: Callable[[], object], repeats: int) -> float:
    collects = gc.isenabled()
    gc.disable()
    try:
        started = time.perf_counter()
        for _ in range(repeats):
            run()
        return (time.perf_counter() - started) / repeats
    finally:
        if collects:
            gc.enable()


@contextmanager
def opencv_threads(threads: int | None) -> Iterator[None]:
    """Let OpenCV use so many threads for a while; None takes what it takes by itself."""
    before = cv2.getNumThreads()
    if threads is not None:
        cv2.setNumThreads(threads)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def measure(
    jobs: Sequence[Job], rounds: int, progress: Callable[[int], None] = lambda _: None
) -> tuple[dict[tuple[str, str], Timing], dict[tuple[str, str], str]]:
    """Time jobs in turn: each once a round; every other round goes backwards, so that none always follows the same.

    Parameters
    ----------
    jobs : sequence of Job
        Those that are to be compared side by side.
    rounds : int
        How often; one that takes seconds is left alone once a few samples are there.
    progress : callable
        Called with the number of each round that is done.

    Returns
    -------
    timings : dict of (stage, variant) to Timing
        Of the jobs that ran.
    failures : dict of (stage, variant) to str
        Why the others did not: one that fails is left out from then on, and costs no other.
    """
    if rounds < 1:
        raise ValueError(f"rounds: expected 1 or more, got {rounds}")
    samples: dict[tuple[str, str], list[float]] = {(job.stage, job.variant): [] for job in jobs}
    if len(samples) != len(jobs):
        raise ValueError("jobs: expected each stage and variant once")
    failures: dict[tuple[str, str], str] = {}
    for number in range(rounds):
        for job in jobs if number % 2 == 0 else reversed(jobs):
            key = job.stage, job.variant
            if key in failures or _is_enough(samples[key]):
                continue
            try:
                samples[key].append(job.sample())
            except Exception as error:  # a stage may fail in any way; the others are still of use
                failures[key] = _reason(error)
        progress(number + 1)
    timings = {key: Timing.of(taken) for key, taken in samples.items() if taken and key not in failures}
    return timings, failures


def _reason(error: Exception) -> str:
    """Why, in one line: a message that was written to be read needs no name of a class before it."""
    text = " ".join(str(error).split())
    spoken = isinstance(error, (ImportError, ValueError, PeerError)) and not isinstance(error, UnicodeError)
    return text if text and spoken else f"{type(error).__name__}: {text}"


def _is_enough(samples: Sequence[float]) -> bool:
    return len(samples) >= _ENOUGH_SAMPLES and sum(samples) >= _ENOUGH_SECONDS
