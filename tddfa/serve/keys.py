"""The key that a request must send, if the service has one."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Iterable
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tddfa._shared.errors import ConfigError, FormatError
from tddfa._shared.reading.regular import read_regular

MIN_LENGTH = 16
_MAX_BYTES = 4096
_FREE = "/v1/health"


def read_key(path: str | os.PathLike[str]) -> str:
    r"""Read a key from a file of one line.

    Raises
    ------
    ConfigError
        If the file cannot be read, or if its content is not 16 or more printable ASCII characters.

    Examples
    --------
    >>> from tddfa.serve.keys import read_key
    >>> _ = (tmp / "key").write_text("correct-horse-battery\n")
    >>> read_key(tmp / "key")
    'correct-horse-battery'
    """
    try:
        text = read_regular(Path(path), _MAX_BYTES).decode("ascii").strip()
    except (OSError, FormatError, UnicodeDecodeError) as error:
        why = "not ASCII" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot be read as a key: {why}") from error
    if len(text) < MIN_LENGTH or not text.isprintable() or " " in text:
        raise ConfigError(f"{path}: expected one line with a key of {MIN_LENGTH} characters or more, without spaces")
    return text


class KeyGate:
    """ASGI middleware that answers 401 to every request without the key, except requests to ``/v1/health``.

    The key is sent as ``Authorization: Bearer KEY``, as ``X-API-Key: KEY``, or as the password of HTTP's basic
    authentication. A browser asks its user for this password.

    Parameters
    ----------
    app : ASGI application
    key : str
    """

    def __init__(self, app: ASGIApp, key: str) -> None:
        self.app = app
        self._digest = _digest(key.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in ("http", "websocket") or scope["path"] == _FREE or self._is_known(Headers(scope=scope)):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            detail = "expected the key of this service, as Authorization: Bearer or X-API-Key"
            headers = {"WWW-Authenticate": 'Bearer, Basic realm="tddfa", charset="UTF-8"'}
            await JSONResponse({"detail": detail}, 401, headers)(scope, receive, send)

    def _is_known(self, headers: Headers) -> bool:
        # digests have equal lengths, so the time of the comparison reveals nothing about the key
        return any(hmac.compare_digest(_digest(key), self._digest) for key in _sent(headers))


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _sent(headers: Headers) -> Iterable[bytes]:
    yield headers.get("x-api-key", "").encode()
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        yield value.strip().encode()
    elif scheme.lower() == "basic":
        try:
            yield base64.b64decode(value, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return
