"""Reading of request bodies, plain or as a form, within limits of size and time."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import HTTPException, Request
from python_multipart.exceptions import FormParserError

from tddfa.serve.engine import NAME
from tddfa.serve.limits import Limits

_FORM_EXTRA = 1 << 16  # bytes of a multipart body around its file
_FORM = "multipart/form-data"
_BINARY = {"schema": {"type": "string", "format": "binary"}}

BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/octet-stream": _BINARY,
        "image/*": _BINARY,
        _FORM: {"schema": {"type": "object", "properties": {NAME: _BINARY["schema"]}, "required": [NAME]}},
    },
}
"""OpenAPI description of the bodies that `upload` accepts."""


async def upload(request: Request, limits: Limits) -> bytes:
    """Return the bytes of the image that a request sends.

    Raises
    ------
    HTTPException
        400, 413, 415 or 504, with a reason.
    """
    kind = request.headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()
    if not kind.startswith("image/") and kind not in ("application/octet-stream", _FORM):
        raise HTTPException(415, f"expected image/*, application/octet-stream or {_FORM}, got {kind!r}")
    limit = limits.bytes + (_FORM_EXTRA if kind == _FORM else 0)
    try:
        body = await asyncio.wait_for(_body(request, limit, limits), limits.upload_seconds)
    except asyncio.TimeoutError:
        raise HTTPException(504, f"expected the whole upload within {limits.upload_seconds:g} seconds") from None
    data = await _file_of_form(request, body) if kind == _FORM else body
    if len(data) > limits.bytes:
        raise _too_large(limits)
    if not data:
        raise HTTPException(400, f"{NAME}: expected the bytes of an image, got none")
    return data


def _too_large(limits: Limits) -> HTTPException:
    return HTTPException(413, f"{NAME}: expected at most {limits.bytes} bytes")


async def _body(request: Request, limit: int, limits: Limits) -> bytes:
    """Read a body up to the limit. A body whose header states a larger size is not read."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise _too_large(limits)
    body = bytearray()
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise HTTPException(400, "the connection was closed before the whole upload was there")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limit:
            raise _too_large(limits)
    return bytes(body)


async def _file_of_form(request: Request, body: bytes) -> bytes:
    """Return the bytes of the field ``image`` of a form that was read."""

    async def again() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        async with Request(request.scope, again).form(max_files=1, max_fields=0) as form:
            file = form.get(NAME)
            if file is not None and not isinstance(file, str):
                return bytes(await file.read())
    except (FormParserError, ValueError, LookupError) as error:  # some versions of Starlette do not catch them
        raise HTTPException(400, f"expected a form, got a damaged one: {error}") from error
    raise HTTPException(400, f"expected a form with a file in the field {NAME!r}")
