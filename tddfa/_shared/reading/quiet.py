"""Calls of other packages without their warnings, from several threads at once."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator

# Each `warnings.catch_warnings` restores the filters of the whole process: two that overlap in time would leave the
# wrong ones.
_LOCK = threading.RLock()


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Ignore all warnings of a short call; one thread at a time.

    Examples
    --------
    >>> import warnings
    >>> from tddfa._shared.reading.quiet import without_warnings
    >>> with without_warnings():
    ...     warnings.warn("not shown")
    """
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
