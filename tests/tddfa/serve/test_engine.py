"""The model under the limits of the service."""

import threading

import pytest

from tddfa.serve.engine import BusyError, Engine
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
