"""A disk that fails: used by tests of what writes files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def size_limit(count: int) -> Iterator[None]:
    """Let every write beyond byte `count` of any file fail, as on a full disk, inside the ``with`` block."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
