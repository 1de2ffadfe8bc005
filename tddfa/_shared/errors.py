"""The common base of all errors that tddfa defines."""

from __future__ import annotations

_MAX_REASON = 300
_MAX_MESSAGE = 1000


def reason(error: BaseException) -> str:
    r"""Return the message of an error as one short line: a parser may quote a whole file.

    Examples
    --------
    >>> from tddfa._shared.errors import reason
    >>> reason(ValueError("not a\n  number")), reason(MemoryError()), len(reason(ValueError("x" * 9999)))
    ('not a number', 'MemoryError', 300)
    """
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _MAX_REASON else f"{text[: _MAX_REASON - 1]}…"


class TddfaError(Exception):
    """Base of every error class of tddfa: a file, a config, a video or a download that cannot be used.

    Errors about the content of a file are also a `ValueError`. Errors about a download are also an `OSError`. A wrong
    argument raises a plain `TypeError` or `ValueError`.

    A message may quote the content of a file. The middle of a long message is left out; its beginning names the file.
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(_shortened(each) if isinstance(each, str) else each for each in arguments))


def _shortened(text: str) -> str:
    half = _MAX_MESSAGE // 2
    return text if len(text) <= _MAX_MESSAGE else f"{text[:half]}…{text[1 - half :]}"


class ConfigError(TddfaError, ValueError):
    """A config or settings file has a key or a value that is not accepted."""


class FormatError(TddfaError, ValueError):
    """A file is damaged, of another format, too large, or no regular file."""
