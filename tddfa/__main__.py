"""``python -m tddfa``, the program ``tddfa`` and the demo scripts: Ctrl-C ends each of them without a traceback."""

from __future__ import annotations

import atexit
import os
import signal

TYPE_CHECKING = False  # see tddfa/__init__.py
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it; tddfa.cli is not imported yet


def main() -> int:
    """Run ``tddfa``; return the exit status."""
    _before_imports()
    from tddfa.cli import main as run

    return _interruptible(run)


def demo(command: str, *options: str) -> int:
    """Run a demo script of 3DDFA_V2, as `tddfa.cli.demo` does."""
    _before_imports()
    from tddfa.cli import demo as run

    return _interruptible(lambda: run(command, *options))


def _before_imports() -> None:
    _on_interrupt(_end)
    # Python resets handlers of its own near its end, where another Ctrl-C would replace the exit status.
    # Registered first, this runs after all that libraries do at exit, which may hang and can be interrupted.
    atexit.register(_on_interrupt, signal.SIG_IGN)


def _interruptible(run: Callable[[], int]) -> int:
    try:
        _on_interrupt(signal.default_int_handler)
        return run()
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        _on_interrupt(_end)


def _end(*_: Any) -> None:
    """End the process at once, where an exception would be a traceback of Python: in imports, and after the command."""
    os._exit(_INTERRUPTED)


def _on_interrupt(handler: Callable[..., Any] | signal.Handlers) -> None:
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as of processes in the background
        signal.signal(signal.SIGINT, handler)


if __name__ == "__main__":
    raise SystemExit(main())
