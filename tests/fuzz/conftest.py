"""Fixture of the tests with hostile files."""

from __future__ import annotations

import time

import pytest


class Budget:
    """The time of ``--fuzz-minutes``: each test has its share, and what one leaves over goes to those after it."""

    def __init__(self, seconds, tests):
        self._seconds = seconds
        self._tests = tests

    def share(self):
        return self._seconds / max(self._tests, 1)

    def spend(self, seconds):
        self._seconds = max(self._seconds - seconds, 0.0)
        self._tests -= 1


@pytest.fixture(scope="session")
def budget(request):
    tests = sum(item.get_closest_marker("fuzz") is not None for item in request.session.items)
    return Budget(60 * request.config.getoption("--fuzz-minutes"), tests)


@pytest.fixture
def explored(request, budget, record_property):
    """`builders_fuzz.explore`, for this test's share of ``--fuzz-minutes``, up to ``--fuzz-examples``."""
    from builders_fuzz import explore

    def run(strategy, check, **options):
        begin = time.monotonic()
        most = request.config.getoption("--fuzz-examples")
        count = explore(strategy, check, budget.share(), most, **options)
        budget.spend(time.monotonic() - begin)
        record_property("examples", count)  # the end of a longer run tells them: conftest.py at the top

    return run
