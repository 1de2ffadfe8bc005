"""The model under the limits of the service."""

import asyncio
import threading
from contextlib import ExitStack

import pytest

from tddfa.serve.engine import BusyError, Engine, LateError
from tddfa.serve.limits import Limits


def test_limits_are_checked():
    with pytest.raises(ValueError, match=r"Limits\.pixels: expected more than 0, got 0"):
        Limits(pixels=0)


def test_places_are_counted_over_all_threads(aligner):
    engine = Engine(aligner, Limits(requests=2))
    held, go = threading.Barrier(2), threading.Event()

    def hold():
        with engine.place():
            held.wait(60)
            assert go.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    with engine.place(), pytest.raises(BusyError, match="expected at most 2 requests at a time"), engine.place():
        pass
    go.set()
    thread.join(60)
    with engine.place(), engine.place():  # free again, that of an error too
        pass


def held_place(engine):
    place = ExitStack()
    place.enter_context(engine.place())
    return place


@pytest.fixture
def started(monkeypatch):
    """An event: the time of all work is over when it is set, however slow the machine is."""
    event = threading.Event()

    async def wait_for(future, seconds):
        assert seconds == 0.01
        assert await asyncio.to_thread(event.wait, 60)
        future.cancel()
        await asyncio.wait([future])
        raise asyncio.TimeoutError

    monkeypatch.setattr(asyncio, "wait_for", wait_for)
    return event


def test_late_work_keeps_its_place_until_it_ends(aligner, started):
    engine = Engine(aligner, Limits(requests=1, seconds=0.01))
    go, ended = threading.Event(), threading.Event()

    def work():
        started.set()
        assert go.wait(60)

    place = held_place(engine)
    place.callback(ended.set)
    with pytest.raises(LateError, match=r"expected the work to take at most 0\.01 seconds"):
        asyncio.run(engine.run(work, place))
    assert engine.in_flight == 1
    with pytest.raises(BusyError), engine.place():
        pass
    go.set()
    engine.close()
    assert ended.is_set()
    assert engine.in_flight == 0


def test_work_that_has_not_begun_in_time_is_given_up(aligner, started):
    engine = Engine(aligner, Limits(requests=2, seconds=0.01))
    go, begun = threading.Event(), []

    def first_work():
        started.set()
        assert go.wait(60)

    async def two():
        first = asyncio.create_task(engine.run(first_work, held_place(engine)))
        second = asyncio.create_task(engine.run(lambda: begun.append(1), held_place(engine)))
        return await asyncio.gather(first, second, return_exceptions=True)

    assert [type(error) for error in asyncio.run(two())] == [LateError, LateError]
    assert engine.in_flight == 1  # the place of the second is free
    go.set()
    engine.close()
    assert (engine.in_flight, begun) == (0, [])


def test_it_works_again_after_it_was_closed(aligner):
    engine = Engine(aligner)
    for _ in range(2):
        assert asyncio.run(engine.run(lambda: 7, held_place(engine))) == 7
        engine.close()


def test_an_error_of_the_work_is_that_of_the_call(aligner):
    engine = Engine(aligner)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(engine.run(lambda: 1 / 0, held_place(engine)))
    assert engine.in_flight == 0
    engine.close()
