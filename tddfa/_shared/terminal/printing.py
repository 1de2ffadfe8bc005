"""Lines printed while a progress bar is shown."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from contextlib import AbstractContextManager

# control characters, separators of lines, marks and overrides of direction, surrogates
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


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


def printable(text: str) -> str:
    r"""Escape a text of one line, so that file names in it can neither move the cursor nor begin a line.

    Control characters, characters that change the direction of writing, and bytes that are not UTF-8 become escapes.

    Examples
    --------
    >>> from tddfa._shared.terminal.printing import printable
    >>> printable("naïve\x1b[2J\nphoto.jpg")
    'naïve\\x1b[2J\\nphoto.jpg'
    """
    return _UNPRINTABLE.sub(lambda match: _escape(match[0]), text)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # Python has bytes of a name that are no UTF-8 as these surrogates
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


class LogHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """A handler that prints to stderr, above the bars."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record; it stays one line."""
        return printable(super().format(record))

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        with above_bars():
            super().emit(record)
