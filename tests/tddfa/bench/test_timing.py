import gc
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tddfa.bench.timing import Job, Timing, measure, sampler


def test_median_and_quartiles_in_ms(rng):
    seconds = rng.random(31)
    timing = Timing.of(seconds)
    lower, median, upper = 1000 * np.quantile(seconds, [0.25, 0.5, 0.75])
    assert (timing.lower, timing.median, timing.upper) == pytest.approx((lower, median, upper))
    assert timing.minimum == pytest.approx(1000 * seconds.min())
    assert timing.count == 31
    with pytest.raises(ValueError, match="at least one sample"):
        Timing.of([])


def logged(log, name, seconds=0.001):
    def sample():
        log.append(name)
        return seconds

    return sample


def test_jobs_run_in_turn_and_in_reverse_every_second_round():
    log = []
    jobs = [Job("read", "a", logged(log, 1)), Job("read", "b", logged(log, 2)), Job("draw", "a", logged(log, 3))]
    rounds = []
    timings, failures = measure(jobs, 3, progress=rounds.append)
    assert log == [1, 2, 3, 3, 2, 1, 1, 2, 3]
    assert rounds == [1, 2, 3]
    assert set(timings) == {("read", "a"), ("read", "b"), ("draw", "a")}
    assert all(timing.count == 3 for timing in timings.values())
    assert failures == {}


def test_cores_that_are_busy_are_counted(monkeypatch):
    clock = SimpleNamespace(busy=0.0, passed=0.0)
    fake = SimpleNamespace(process_time=lambda: clock.busy, perf_counter=lambda: clock.passed)
    monkeypatch.setattr("tddfa.bench.timing.time", fake)

    def working(threads):
        def sample():
            clock.busy += 3.0 * threads
            clock.passed += 3.0
            return 3.0

        return sample

    timings, _ = measure([Job("a", "pool", working(2)), Job("a", "alone", working(1)), Job("a", "away", working(0))], 2)
    assert [timings["a", name].cores for name in ("pool", "alone", "away")] == [2, 1, 0]


def test_a_failed_job_does_not_affect_the_others():
    log = []

    def fails():
        log.append("failed")
        raise KeyError("what\nit needs")

    timings, failures = measure([Job("a", "x", fails), Job("b", "x", logged(log, "b"))], 4)
    assert log.count("failed") == 1
    assert failures == {("a", "x"): "KeyError: 'what\\nit needs'"}
    assert set(timings) == {("b", "x")}
    assert timings["b", "x"].count == 4


def test_a_job_that_fails_in_a_later_round_has_no_timing():
    answers = iter([0.1, 0.1])
    timings, failures = measure([Job("a", "x", lambda: next(answers))], 3)
    assert timings == {}
    assert "StopIteration" in failures["a", "x"]


def test_slow_jobs_get_fewer_samples():
    log = []
    slow, quick = Job("slow", "x", logged(log, "slow", 1.0)), Job("quick", "x", logged(log, "quick"))
    very_slow = Job("very slow", "x", logged(log, "very slow", 60.0))
    timings, _ = measure([slow, very_slow, quick], 9)
    assert {name: log.count(name) for name in log} == {"slow": 4, "very slow": 4, "quick": 9}
    assert timings["slow", "x"].count == 4


def test_wrong_arguments_of_measure():
    with pytest.raises(ValueError, match="rounds"):
        measure([], 0)
    with pytest.raises(ValueError, match="each pair of stage and variant once"):
        measure([Job("a", "x", float), Job("a", "x", float)], 1)


def test_only_a_short_function_is_repeated_within_a_sample():
    calls = {"short": 0, "long": 0}

    def short():
        calls["short"] += 1

    def long():
        calls["long"] += 1
        time.sleep(0.003)

    for run in (short, long):
        sample = sampler(run)
        seconds = [sample(), sample()]
        assert all(s > 0 for s in seconds)
    assert calls["long"] == 4  # one to warm up, one to choose the repeats, two samples
    assert calls["short"] == 2 + 2 * 200
    assert gc.isenabled()


def test_opencv_threads_are_restored_after_a_sample():
    before = cv2.getNumThreads()
    counts = []
    sampler(lambda: counts.append(cv2.getNumThreads()), threads=1)()
    assert set(counts) == {1}
    assert cv2.getNumThreads() == before


def test_a_failed_sample_restores_threads_and_garbage_collection():
    before = cv2.getNumThreads()
    with pytest.raises(ZeroDivisionError):
        sampler(lambda: 1 // 0, threads=1)()
    assert cv2.getNumThreads() == before
    assert gc.isenabled()
