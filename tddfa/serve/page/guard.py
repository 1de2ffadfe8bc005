"""Checks of requests before gradio receives them: routes of the page, files of its folder, bodies of limited size.

Gradio has routes for files, proxies, components, monitoring and more, and it trusts the path of an upload that the
client sends. `Guard` is in front of gradio. Routes that the page does not need do not exist. A request whose data name
an address, or a file outside of the folder of uploads, is refused before gradio reads it.

>>> from tddfa.serve.page.guard import is_inside
>>> is_inside(tmp, str(tmp / "a.jpg")), is_inside(tmp, "/etc/passwd"), is_inside(tmp, "https://host/a.jpg")
(False, False, False)
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tddfa.serve.limits import Limits

PATTERNS = ("/", "/theme.css", "/favicon.ico", "/assets/{path:path}", "/static/{path:path}", "/gradio_api/{path:path}")
"""Routes of the page, for a router; the rest of the service is not touched."""

_API = "/gradio_api/"
_FILE = f"{_API}file="
_READ = re.compile(r"(startup-events|queue/data|upload_progress|heartbeat/\w+|theme\.css)")
_WRITTEN = ("queue/join", "cancel", "upload")
_MAX_CALL_BYTES = 1 << 20  # of a call, which has names, numbers and paths
_FORM_BYTES = 1 << 16  # of a form, in addition to its file
_POLL_SECONDS = 0.5
_FOLDER_UPLOADS = 50  # number of uploads of the maximum size that the folder accepts

_POLICY = "; ".join((
    "default-src 'self'",
    "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",  # gradio's page has both
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "media-src 'self' data: blob:",
    "font-src 'self' data:",
    "connect-src 'self' data: blob:",
    "worker-src 'self' blob:",
    "object-src 'none'",
    "base-uri 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
))  # fmt: skip
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class _Refused(Exception):
    def __init__(self, status: int, reason: str, retry: bool = False) -> None:
        super().__init__(reason)
        self.status, self.reason, self.retry = status, reason, retry


def is_inside(folder: Path, path: str) -> bool:
    """Whether a path leads to a regular file in a folder; links are followed.

    Examples
    --------
    >>> from tddfa.serve.page.guard import is_inside
    >>> (tmp / "a.jpg").write_bytes(b"")
    0
    >>> is_inside(tmp, str(tmp / "a.jpg")), is_inside(tmp, str(tmp / "b/../../etc/passwd"))
    (True, False)
    """
    try:
        real = os.path.realpath(path, strict=True)
    except (OSError, ValueError):  # no such file, or an invalid name
        return False
    return Path(real).is_file() and Path(real).is_relative_to(os.path.realpath(folder))


def without_addresses(data: Any, folder: Path) -> Any:
    """Return the data of a call; its file records keep only the paths of uploads.

    Parameters
    ----------
    data : object
        From JSON.
    folder : Path
        Of the uploads.

    Raises
    ------
    ValueError
        If a file record names a file that is not in the folder.

    Examples
    --------
    >>> from tddfa.serve.page.guard import without_addresses
    >>> without_addresses({"data": [{"path": "/etc/passwd"}]}, tmp)
    Traceback (most recent call last):
        ...
    ValueError: expected a file that was uploaded to this page
    """
    if isinstance(data, list):
        return [without_addresses(item, folder) for item in data]
    if not isinstance(data, dict):
        return data
    if "path" not in data:
        return {key: without_addresses(value, folder) for key, value in data.items()}
    path = data["path"]
    if not isinstance(path, str) or not is_inside(folder, path):
        raise ValueError("expected a file that was uploaded to this page")
    # other fields of the record are dropped, such as its address, which may contain the file itself
    return {"path": path, "orig_name": Path(path).name, "meta": {"_type": "gradio.FileData"}}


class Guard:
    """ASGI application that checks requests before gradio's application receives them.

    Parameters
    ----------
    app : ASGI application
        Gradio's.
    folder : Path
        Of the uploads and results.
    limits : Limits
        Maximum size and time of an upload, and maximum number of uploads at a time.
    ending : function, optional
        Returns whether the server is about to end. Then open pages are disconnected, because the server would wait for
        their connections.
    """

    def __init__(self, app: ASGIApp, folder: Path, limits: Limits, ending: Callable[[], bool] = bool) -> None:
        self._app, self._folder, self._limits, self._ending = app, folder, limits, ending
        self._uploads = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let gradio answer it."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                private = [(b"cache-control", b"private, no-store")] if scope["path"].startswith(_API) else []
                ours = [*_HEADERS, *private]
                names = {name for name, _ in ours}
                kept = [(name, value) for name, value in message["headers"] if name.lower() not in names]
                message["headers"] = [*kept, *ours]
            await send(message)

        try:
            with self._place(scope):
                receive = await self._checked(scope, receive)
                if scope["path"].startswith(f"{_API}heartbeat/"):
                    await self._until_ending(scope, receive, send_with_headers)
                else:
                    await self._app(scope, receive, send_with_headers)
        except _Refused as refused:  # by the checks: nothing was sent yet
            await _answer(send_with_headers, refused)

    @contextmanager
    def _place(self, scope: Scope) -> Iterator[None]:
        """Count an upload from its first byte on, because a slow upload takes memory like a fast one."""
        if scope["method"] != "POST" or scope["path"] != f"{_API}upload":
            yield
            return
        limit = self._limits.requests
        if self._uploads >= limit:
            raise _Refused(503, f"expected at most {limit} uploads at a time", retry=True)
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1

    async def _until_ending(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let gradio answer until the server is about to end; then end the answer."""
        complete = False

        async def watched(message: Message) -> None:
            nonlocal complete
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        answer = asyncio.ensure_future(self._app(scope, receive, watched))
        try:
            while not answer.done() and not self._ending():
                await asyncio.wait([answer], timeout=_POLL_SECONDS)
        finally:
            answer.cancel()
        await asyncio.wait([answer])
        if not answer.cancelled():
            answer.result()
        if not complete:  # some versions of gradio end it when they are cancelled
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _checked(self, scope: Scope, receive: Receive) -> Receive:
        """Return what gradio may receive, or raise `_Refused`."""
        method, path, headers = scope["method"], scope["path"], dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and _host_of(origin) != headers.get(b"host", b"").decode("latin-1"):
            raise _Refused(403, "expected a request of this page, got one of another")
        name = path.removeprefix(_API)
        if method in ("GET", "HEAD"):
            if path.startswith(_FILE):
                if not is_inside(self._folder, path.removeprefix(_FILE)):
                    raise _Refused(404, "no such file")
            elif path.startswith(_API) and not _READ.fullmatch(name):
                raise _Refused(404, "no such route")
            return receive
        if method != "POST" or not path.startswith(_API) or name not in _WRITTEN:
            raise _Refused(405 if method != "POST" else 404, "no such route")
        if name == "upload":
            return await self._upload(headers, receive)
        body = await self._body(headers, receive, _MAX_CALL_BYTES)
        try:
            data = without_addresses(json.loads(body), self._folder)
        except (ValueError, RecursionError) as error:
            wrong = isinstance(error, (json.JSONDecodeError, UnicodeDecodeError, RecursionError))
            raise _Refused(400 if wrong else 403, "expected JSON" if wrong else str(error)) from None
        # another length than the header tells: the body is read to its end, not by the header
        return _replay(json.dumps(data).encode())

    async def _upload(self, headers: dict[bytes, bytes], receive: Receive) -> Receive:
        limits = self._limits
        arriving = self._uploads * limits.bytes
        room = (max(_FOLDER_UPLOADS, limits.requests) + 1) * limits.bytes
        if await asyncio.to_thread(folder_bytes, self._folder) + arriving > room:
            raise _Refused(503, "the folder of uploads is full; it is emptied after some minutes", retry=True)
        return _replay(await self._body(headers, receive, limits.bytes + _FORM_BYTES))

    async def _body(self, headers: dict[bytes, bytes], receive: Receive, limit: int) -> bytes:
        too_large = _Refused(413, f"expected at most {limit} bytes")
        length = headers.get(b"content-length", b"").decode("latin-1")
        if length.isdecimal() and int(length) > limit:
            raise too_large
        body = bytearray()

        async def read() -> None:
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _Refused(400, "the connection was closed before the whole request was there")
                body.extend(message.get("body", b""))
                more = message.get("more_body", False)
                if len(body) > limit:
                    raise too_large

        seconds = self._limits.upload_seconds
        try:
            await asyncio.wait_for(read(), seconds)
        except asyncio.TimeoutError:
            raise _Refused(504, f"expected the whole request within {seconds:g} seconds") from None
        return bytes(body)


def _host_of(origin: str) -> str | None:
    """Host and port of an origin; None if it is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def folder_bytes(folder: Path) -> int:
    """Sum of the sizes of all files below a folder; files that vanish meanwhile do not count.

    Examples
    --------
    >>> from tddfa.serve.page.guard import folder_bytes
    >>> (tmp / "a").write_bytes(b"1234")
    4
    >>> folder_bytes(tmp)
    4
    """
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118  (thousands of files)
            except OSError:
                continue
    return total


def _replay(body: bytes) -> Receive:
    """Return a function that gives a body that was read, then waits like a client that has sent everything."""
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            await asyncio.Event().wait()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _answer(send: Send, refused: _Refused) -> None:
    body = json.dumps({"detail": refused.reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refused.retry:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
