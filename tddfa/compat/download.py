"""Downloads that are checked before they get their name; what broke off goes on where it stopped."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tddfa._shared.errors import TddfaError

logger = logging.getLogger(__name__)

# Seconds to wait for a connection, and for the next bytes; then the server counts as silent.
_TIMEOUT = (10.0, 30.0)
_ATTEMPTS = 4
_FIRST_PAUSE = 0.5


class DownloadError(TddfaError, OSError):
    """A file could not be had; the message is one line, and says what to do."""


class OfflineError(DownloadError):
    """The server could not be reached at all."""


def digest(path: str | os.PathLike[str], kind: str) -> str:
    """Hash a file.

    Parameters
    ----------
    path : path
        The file.
    kind : {"sha256", "git"}
        ``git`` is the id of its blob: sha1 over ``blob``, its size and its content.
    """
    path = Path(path)
    if kind == "git":
        state = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    elif kind == "sha256":
        state = hashlib.sha256()
    else:
        raise ValueError(f"kind: expected sha256 or git, got {kind!r}")
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            state.update(block)
    return state.hexdigest()


def check(path: str | os.PathLike[str], known: str) -> str | None:
    """Compare a file's hash with a known one, ``sha256:…`` or ``git:…``; return what is wrong with it, or None."""
    kind, _, expected = known.partition(":")
    actual = digest(path, kind)
    return None if actual == expected else f"expected {kind} {expected}, got {actual}"


def download(
    url: str,
    path: str | os.PathLike[str],
    known: str,
    *,
    progress: bool = False,
    timeout: tuple[float, float] = _TIMEOUT,
    pause: float = _FIRST_PAUSE,
) -> Path:
    """Download a file, unless it is there already and is the right one.

    It is written to a ``.part`` file beside `path`, and takes its name when its hash is right. A connection that breaks
    is taken up again from there, some times now, and by a later call.

    Parameters
    ----------
    url : str
        Where it is.
    path : path
        Where it goes; missing folders are made.
    known : str
        What it must hash to, ``sha256:…`` or ``git:…``.
    progress : bool
        Show a progress bar on stderr.
    timeout : tuple of float
        Seconds to wait for a connection, and for the next bytes.
    pause : float
        Seconds to wait before the second attempt; it doubles with each further one.

    Raises
    ------
    OfflineError
        If the server cannot be reached.
    DownloadError
        If the server does not have it, if it is another file, or if it cannot be written.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    try:
        if path.is_file() and check(path, known) is None:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        resumed = part.is_file() and part.stat().st_size > 0
        _fetch(url, part, progress, timeout, pause)
        wrong = check(part, known)
        if wrong is not None and resumed:
            # what an earlier call left was not the beginning of this file
            part.unlink()
            _fetch(url, part, progress, timeout, pause)
            wrong = check(part, known)
        if wrong is not None:
            part.unlink()
            raise DownloadError(
                f"{url}: not the released file: {wrong}; the download was changed on its way, or the file at its source"
            )
        part.replace(path)
    except DownloadError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            part.unlink(missing_ok=True)
            raise DownloadError(f"{path}: no space left for it on the disk; free some, and run it again") from error
        raise DownloadError(f"{path}: cannot be written: {error.strerror or error}") from error
    return path


def _fetch(url: str, part: Path, progress: bool, timeout: tuple[float, float], pause: float) -> None:
    from requests import exceptions

    problem = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            logger.warning("%s: %s; trying again", url, problem)
            time.sleep(pause * 2 ** (attempt - 1))
        have = part.stat().st_size if part.is_file() else 0
        try:
            return _attempt(url, part, progress, timeout)
        except exceptions.HTTPError as error:
            assert error.response is not None
            status = error.response.status_code
            if status == 416 and have:
                # there is nothing behind what we have: it is whole, or no part of this file; its hash will say
                return None
            problem = f"the server answered {status} {error.response.reason}"
            if status < 500 and status != 429:
                raise DownloadError(f"{url}: {problem}") from error
        except (exceptions.ConnectionError, exceptions.Timeout, exceptions.ChunkedEncodingError) as error:
            if _unreachable(error):
                raise OfflineError(f"{urlsplit(url).netloc} cannot be reached") from error
            silent = isinstance(error, exceptions.Timeout) or "timed out" in str(error).lower()
            problem = "the server does not answer" if silent else "the connection broke off"
        except exceptions.RequestException as error:
            raise DownloadError(f"{url}: {' '.join(str(error).split())}") from error
    raise DownloadError(f"{url}: {problem}; run it again to go on from there")


def _unreachable(error: Exception) -> bool:
    from requests import exceptions
    from urllib3.exceptions import MaxRetryError

    if isinstance(error, exceptions.ConnectTimeout | exceptions.ProxyError):
        return True
    return isinstance(error, exceptions.ConnectionError) and any(isinstance(a, MaxRetryError) for a in error.args)


def _attempt(url: str, part: Path, progress: bool, timeout: tuple[float, float]) -> None:
    import pooch

    with part.open("ab") as file:
        have = file.tell()

        def from_the_start(response: Any, **_: Any) -> None:
            # a server that does not know of ranges sends it all again
            if response.status_code == 200 and have:
                file.seek(0)
                file.truncate()

        options: dict[str, Any] = {"headers": {"Range": f"bytes={have}-"}} if have else {}
        # a compressed answer would have another length than the file
        options.setdefault("headers", {})["Accept-Encoding"] = "identity"
        downloader = pooch.HTTPDownloader(
            progressbar=progress, chunk_size=1 << 16, timeout=timeout, hooks={"response": from_the_start}, **options
        )
        downloader(url, file, None)
