"""Keep OpenCV from printing lines to stderr: the exception or message of this package tells what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2

_SILENT = 0


def functions(opencv: Any) -> Any:
    """Return the module with `getLogLevel` and `setLogLevel`: up to OpenCV 4.12 ``cv2``, then ``cv2.utils.logging``."""
    return getattr(opencv.utils, "logging", opencv)


_LOG = functions(cv2)


def silence() -> None:
    """Keep OpenCV silent from now on."""
    _LOG.setLogLevel(_SILENT)


@contextmanager
def silent() -> Iterator[None]:
    """Keep OpenCV silent inside a ``with`` block."""
    level = _LOG.getLogLevel()
    silence()
    try:
        yield
    finally:
        _LOG.setLogLevel(level)
