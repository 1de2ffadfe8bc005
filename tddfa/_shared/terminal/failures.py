"""Reports of unexpected errors: one line for the user, and a file with the details."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator

from tddfa._shared.terminal.printing import printable

DEBUG_OPTION = "--debug"


class _State:
    """Whether errors end the program with a traceback; one state for the whole process."""

    debug = False


def set_debug(on: bool) -> None:
    """Set whether errors end the program with a traceback."""
    _State.debug = on


def is_debug() -> bool:
    """Whether errors end the program with a traceback."""
    return _State.debug


def unexpected(error: BaseException) -> str:
    """Write a report of an error that is a fault of the program; return the line to print.

    Examples
    --------
    >>> from tddfa._shared.terminal.failures import unexpected
    >>> unexpected(KeyError("a"))  # doctest: +ELLIPSIS
    "a bug in tddfa: KeyError: 'a'; please report it with the file ...tddfa-error-....txt"
    """
    text = f"a bug in tddfa: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    try:
        descriptor, path = tempfile.mkstemp(prefix="tddfa-error-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(_report(error))
    except OSError:
        return f"{text}; {DEBUG_OPTION} shows where"
    return f"{text}; please report it with the file {path}"


def _report(error: BaseException) -> str:
    words = [re.sub(r"//[^/@\s]*@", "//", word) for word in sys.argv]  # a URL may hold a password
    return "\n".join(
        [
            f"arguments: {printable(' '.join(words))}",
            f"Python {platform.python_version()}, {platform.platform()}",
            *traceback.format_exception(error),
        ]
    )


@contextlib.contextmanager
def usable_streams() -> Iterator[None]:
    """Discard output to streams that the caller has closed; a missing stream is not an error."""
    before = sys.stdout, sys.stderr
    with contextlib.ExitStack() as stack:
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:
                setattr(sys, name, stack.enter_context(open(os.devnull, "w", encoding="utf-8")))  # noqa: PTH123
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


def drop_output() -> None:
    """Discard all further output to stdout, because its reader is gone or its disk is full."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
