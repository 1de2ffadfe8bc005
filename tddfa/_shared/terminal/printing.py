"""Lines printed while a progress bar is shown."""

from __future__ import annotations

import contextlib
import logging
import sys
from contextlib import AbstractContextManager


def above_bars() -> AbstractContextManager[None]:
    """Clear the bars of tqdm, to print lines, and draw them again below.

    Examples
    --------
    >>> from tddfa._shared.terminal.printing import above_bars
    >>> with above_bars():
    ...     print("a line")
    a line
    """
    tqdm = sys.modules.get("tqdm")  # without it there is no bar
    return contextlib.nullcontext() if tqdm is None else tqdm.tqdm.external_write_mode(sys.stdout)


class LogHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """A handler that prints to stderr, above the bars."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        with above_bars():
            super().emit(record)
