"""Times of several jobs, measured in turn, so that other load on the machine affects all of them alike."""

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

from tddfa._shared.errors import TddfaError

# A shorter sample would measure the clock rather than the job: the job is repeated within the sample.
_MIN_SAMPLE_SECONDS = 0.002
_MAX_REPEATS = 200
# A slow job is not sampled again after this total time, if there are enough samples.
_MAX_TOTAL_SECONDS, _MIN_SAMPLES = 4.0, 4


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Times of a job, ms per call.

    Attributes
    ----------
    median, lower, upper, minimum : float
        Median, lower and upper quartile, and minimum of the samples.
    count : int
        Number of samples.
    cores : float
        Number of cores that this process kept busy: lower quartile of the samples; 0 if it is not known.
    """

    median: float
    lower: float
    upper: float
    minimum: float
    count: int
    cores: float = 0.0

    @classmethod
    def of(cls, seconds: ArrayLike, cores: ArrayLike = ()) -> Timing:
        """Summarise samples in seconds, and the numbers of cores that were busy meanwhile.

        Raises
        ------
        ValueError
            If there is no sample.

        Examples
        --------
        >>> Timing.of([0.001, 0.002, 0.004])
        Timing(median=2.0, lower=1.5, upper=3.0, minimum=1.0, count=3, cores=0.0)
        """
        samples = 1000 * np.asarray(seconds, dtype=np.float64)
        if not samples.size:
            raise ValueError("seconds: expected at least one sample, got none")
        lower, median, upper = np.percentile(samples, [25, 50, 75])
        return cls(
            median=float(median),
            lower=float(lower),
            upper=float(upper),
            minimum=float(samples.min()),
            count=samples.size,
            cores=float(np.percentile(busy, 25)) if (busy := np.asarray(cores, dtype=np.float64)).size else 0.0,
        )


@dataclass(frozen=True)
class Job:
    """A stage of a variant, ready to be timed.

    Attributes
    ----------
    stage, variant : str
        Names of the stage and of the variant.
    sample : callable
        Runs the stage and returns the seconds per call.
    """

    stage: str
    variant: str
    sample: Callable[[], float]


def sampler(run: Callable[[], object], *, threads: int | None = None) -> Callable[[], float]:
    """Turn a function into a `Job.sample`.

    The first sample warms the function up, and determines how often each sample repeats it.

    Parameters
    ----------
    run : callable
        The function.
    threads : int, optional
        Threads of OpenCV while it runs. By default, OpenCV decides.
    """
    repeats = 0

    def sample() -> float:
        nonlocal repeats
        with opencv_threads(threads):
            if not repeats:
                run()
                once = max(seconds_per_call(run), 1e-9)
                repeats = min(max(math.ceil(_MIN_SAMPLE_SECONDS / once), 1), _MAX_REPEATS)
            return seconds_per_call(run, repeats)

    return sample


def seconds_per_call(run: Callable[[], object], repeats: int = 1) -> float:
    """Mean time of a call, seconds, without garbage collection."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        started = time.perf_counter()
        for _ in range(repeats):
            run()
        return (time.perf_counter() - started) / repeats
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def opencv_threads(threads: int | None) -> Iterator[None]:
    """Set the number of OpenCV's threads inside a ``with`` block; None leaves it unchanged."""
    before = cv2.getNumThreads()
    if threads is not None:
        cv2.setNumThreads(threads)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def measure(
    jobs: Sequence[Job], rounds: int, *, progress: Callable[[int], None] = lambda _: None
) -> tuple[dict[tuple[str, str], Timing], dict[tuple[str, str], str]]:
    """Time jobs in turn, each once per round.

    Every second round runs in reverse order, so that no job always follows the same one.

    Parameters
    ----------
    jobs : sequence of Job
        The jobs to compare.
    rounds : int
        Number of rounds. A job that takes seconds gets fewer samples.
    progress : callable
        Called after each round with its number, from 1.

    Returns
    -------
    timings : dict of (stage, variant) to Timing
        Timings of the jobs that ran.
    failures : dict of (stage, variant) to str
        Reasons of the jobs that failed. A failed job is not run again, and does not affect the others.

    Raises
    ------
    ValueError
        If `rounds` is less than 1, or if two jobs have the same stage and variant.

    Examples
    --------
    >>> from functools import partial
    >>> jobs = [Job("sum", str(count), sampler(partial(sum, range(count)))) for count in (10, 10_000)]
    >>> timings, failures = measure(jobs, rounds=3)
    >>> timings["sum", "10"].median < timings["sum", "10000"].median
    True
    >>> failures
    {}
    """
    if rounds < 1:
        raise ValueError(f"rounds: expected 1 or more, got {rounds}")
    samples: dict[tuple[str, str], list[float]] = {(job.stage, job.variant): [] for job in jobs}
    if len(samples) != len(jobs):
        raise ValueError(f"jobs: expected each pair of stage and variant once, got {len(samples)} pairs in {len(jobs)}")
    cores: dict[tuple[str, str], list[float]] = {key: [] for key in samples}
    failures: dict[tuple[str, str], str] = {}
    for number in range(1, rounds + 1):
        for job in jobs if number % 2 else reversed(jobs):
            key = job.stage, job.variant
            if key in failures or _has_enough(samples[key]):
                continue
            try:
                with _busy_cores(cores[key]):
                    samples[key].append(job.sample())
            except Exception as error:  # a stage may fail in any way; the others can still be timed
                failures[key] = _reason(error)
        progress(number)
    timings = {key: Timing.of(taken, cores[key]) for key, taken in samples.items() if taken and key not in failures}
    return timings, failures


@contextmanager
def _busy_cores(into: list[float]) -> Iterator[None]:
    """Append the number of busy cores: CPU time of all threads of this process, divided by the elapsed time."""
    busy, started = time.process_time(), time.perf_counter()
    yield
    passed = time.perf_counter() - started
    into.append((time.process_time() - busy) / max(passed, 1e-9))


def _reason(error: Exception) -> str:
    """Reason in one line. Messages written for users appear without the name of the error's class."""
    text = " ".join(str(error).split())
    for_users = isinstance(error, (ImportError, ValueError, TddfaError)) and not isinstance(error, UnicodeError)
    return text if text and for_users else f"{type(error).__name__}: {text}"


def _has_enough(samples: Sequence[float]) -> bool:
    return len(samples) >= _MIN_SAMPLES and sum(samples) >= _MAX_TOTAL_SECONDS
