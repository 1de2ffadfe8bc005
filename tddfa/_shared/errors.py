"""The common base of all errors that tddfa defines."""

from __future__ import annotations


class TddfaError(Exception):
    """Base of every error class of tddfa: a file, a config, a video or a download that cannot be used.

    Errors about a file's content are a `ValueError` as well, those about a download an `OSError`. A wrong argument
    raises plain `TypeError` or `ValueError`.
    """


class ConfigError(TddfaError, ValueError):
    """A config or settings file has a key or a value that is not accepted."""


class FormatError(TddfaError, ValueError):
    """A file is damaged, of another format, too large, or no regular file."""
