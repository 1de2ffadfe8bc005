"""Fixture of the tests with hostile files."""

from __future__ import annotations

import functools

import pytest


@pytest.fixture
def explored(request):
    """`builders_fuzz.explore`, for this test's share of ``--fuzz-minutes``."""
    from builders_fuzz import explore

    tests = sum(item.get_closest_marker("fuzz") is not None for item in request.session.items)
    return functools.partial(explore, seconds=60 * request.config.getoption("--fuzz-minutes") / tests)
