"""Downloads with a check of their hash; an interrupted download is resumed."""

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

# Timeouts in seconds: for the connection, and for the next bytes.
_TIMEOUT = (10.0, 30.0)
_ATTEMPTS = 4
_FIRST_PAUSE = 0.5


class DownloadError(TddfaError, OSError):
    """A file cannot be downloaded; the message is one line that says what to do."""


class OfflineError(DownloadError):
    """The server cannot be reached."""


def digest(path: str | os.PathLike[str], kind: str) -> str:
    """Hash a file.

    Parameters
    ----------
    path : path
        The file.
    kind : {"sha256", "git"}
        ``git`` is the id of the blob in git: sha1 of ``blob``, the size and the content.
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
    """Compare the hash of a file with a known one, ``sha256:…`` or ``git:…``; return the difference, or None."""
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
    """Download a file, unless it exists already with the right hash.

    The data is written to a ``.part`` file beside `path`, which is renamed when its hash is right. A broken connection
    is resumed a few times, and again by a later call.

    Parameters
    ----------
    url : str
        Address of the file.
    path : path
        Target; missing folders are made.
    known : str
        Expected hash, ``sha256:…`` or ``git:…``.
    progress : bool
        Show a progress bar on stderr.
    timeout : tuple of float
        Seconds to wait for the connection, and for the next bytes.
    pause : float
        Seconds before the second attempt; doubled for each further attempt.

    Raises
    ------
    OfflineError
        If the server cannot be reached.
    DownloadError
        If the server does not have the file, if its hash is wrong, or if it cannot be written.
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
            # the part of an earlier call was not the beginning of this file
            part.unlink()
            _fetch(url, part, progress, timeout, pause)
            wrong = check(part, known)
        if wrong is not None:
            part.unlink()
            raise DownloadError(
                f"{url}: not the released file: {wrong}; the file was changed in transit or at its source"
            )
        part.replace(path)
    except DownloadError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            part.unlink(missing_ok=True)
            raise DownloadError(f"{path}: no space left on the disk; free some and run the command again") from error
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
                # no bytes follow: the part is complete, or of another file; the hash decides
                return None
            problem = f"the server answered {status} {error.response.reason}"
            if status < 500 and status != 429:
                raise DownloadError(f"{url}: {problem}") from error
        except (exceptions.ConnectionError, exceptions.Timeout, exceptions.ChunkedEncodingError) as error:
            if _unreachable(error):
                raise OfflineError(f"{urlsplit(url).netloc} cannot be reached") from error
            silent = isinstance(error, exceptions.Timeout) or "timed out" in str(error).lower()
            problem = "the server does not answer" if silent else "the connection was interrupted"
        except exceptions.RequestException as error:
            raise DownloadError(f"{url}: {' '.join(str(error).split())}") from error
    raise DownloadError(f"{url}: {problem}; run the command again to resume")


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
            # a server without range requests sends the whole file again
            if response.status_code == 200 and have:
                file.seek(0)
                file.truncate()

        options: dict[str, Any] = {"headers": {"Range": f"bytes={have}-"}} if have else {}
        # a compressed response would have another length than the file
        options.setdefault("headers", {})["Accept-Encoding"] = "identity"
        downloader = pooch.HTTPDownloader(
            progressbar=progress, chunk_size=1 << 16, timeout=timeout, hooks={"response": from_the_start}, **options
        )
        downloader(url, file, None)
