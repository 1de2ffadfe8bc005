"""The routes of the service: faces of an uploaded image, health, models.

Bodies are read up to a limit, and the size of an image is checked before it is decoded. One image is aligned at a
time; the requests that wait are counted, and those beyond a limit are refused at once.

>>> from tddfa.serve.app import create_app
>>> sorted(route.path for route in create_app(aligner).routes if route.path.startswith("/v1"))
['/v1/faces', '/v1/health', '/v1/models']
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool
from python_multipart.exceptions import FormParserError

from tddfa import __version__
from tddfa._shared import image_io
from tddfa.aligner import Aligner
from tddfa.geometry.intrinsics import Intrinsics
from tddfa.model.catalogue import model_cards
from tddfa.serve.engine import NAME, BusyError, Engine
from tddfa.serve.limits import Limits
from tddfa.types import SCHEMA

_FORM_EXTRA = 1 << 16  # bytes of a multipart body around its file
_FORM = "multipart/form-data"


def create_app(aligner: Aligner, limits: Limits | None = None) -> FastAPI:
    """Return the service as an ASGI application.

    Parameters
    ----------
    aligner : Aligner
        The model.
    limits : Limits, optional

    Returns
    -------
    fastapi.FastAPI
        ``POST /v1/faces``, ``GET /v1/health``, ``GET /v1/models``, and its description at ``/openapi.json``. The pages
        of FastAPI that load scripts from elsewhere are off. ``app.state.engine`` is the `Engine` of the routes: a page
        that is mounted on the same application takes its turns and its places too.

    Examples
    --------
    >>> from tddfa.serve.limits import Limits
    >>> app = create_app(aligner, Limits(requests=4))
    >>> app.title
    'tddfa'
    """
    app = FastAPI(title="tddfa", version=__version__, docs_url=None, redoc_url=None)
    engine = Engine(aligner, limits)
    app.state.engine = engine
    service = _Service(engine)

    @app.get("/v1/health", summary="Whether the service runs")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models", summary="The loaded model, and all models that have a name")
    async def models() -> dict[str, Any]:
        return {"loaded": service.loaded, "models": [asdict(card) for card in model_cards().values()]}

    content = {"schema": {"type": "string", "format": "binary"}}
    form = {"schema": {"type": "object", "properties": {NAME: content["schema"]}, "required": [NAME]}}

    @app.post(
        "/v1/faces",
        summary="The faces of an image",
        responses={status: {"description": text} for status, text in _STATUSES.items()},
        openapi_extra={
            "requestBody": {"required": True, "content": {"application/octet-stream": content, "image/*": content,
                                                          _FORM: form}}
        },
    )  # fmt: skip
    async def faces(
        request: Request,
        dense: Annotated[bool, Query(description="Compute `visible` and `six_dof`.")] = True,
        fov: Annotated[
            float | None, Query(gt=0, lt=180, description="Horizontal angle of view of the camera, degrees.")
        ] = None,
    ) -> dict[str, Any]:
        unknown = sorted(set(request.query_params) - {"dense", "fov"})
        if unknown:
            raise HTTPException(422, f"expected the options dense and fov, got {unknown[0]!r}")
        async with service.place():
            data = await service.upload(request)
            return await run_in_threadpool(service.record, data, dense, fov)

    return app


_STATUSES: dict[int | str, str] = {
    400: "Not an image, or a damaged one",
    413: "Too many bytes or pixels",
    415: "Another type of content",
    422: "An option is wrong",
    503: "Too many requests in flight; Retry-After tells when to try again",
    504: "The upload takes too long",
}


class _Service:
    """The model with its limits."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._aligner = engine.aligner
        self._limits = engine.limits

    @property
    def loaded(self) -> dict[str, Any]:
        """What is loaded, and where it runs."""
        aligner = self._aligner
        return {
            "device": aligner.device,
            "precision": aligner.precision,
            "landmark_convention": aligner.decoder.convention,
            "licence": aligner.face_model.licence,
        }

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Take one of the places for requests; raise 503 at once if there is none."""
        try:
            with self._engine.place():
                yield
        except BusyError as error:
            raise HTTPException(503, str(error), headers={"Retry-After": "1"}) from error

    async def upload(self, request: Request) -> bytes:
        """Return the bytes of the image that a request sends."""
        kind = request.headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()
        if not kind.startswith("image/") and kind not in ("application/octet-stream", _FORM):
            raise HTTPException(415, f"expected image/*, application/octet-stream or {_FORM}, got {kind!r}")
        limit = self._limits.bytes + (_FORM_EXTRA if kind == _FORM else 0)
        try:
            body = await asyncio.wait_for(_body(request, limit), self._limits.upload_seconds)
        except asyncio.TimeoutError:
            seconds = self._limits.upload_seconds
            raise HTTPException(504, f"expected the whole upload within {seconds:g} seconds") from None
        data = await _file_of_form(request, body) if kind == _FORM else body
        if len(data) > self._limits.bytes:
            raise _too_large(self._limits.bytes)
        if not data:
            raise HTTPException(400, f"{NAME}: expected the bytes of an image, got none")
        return data

    def record(self, data: bytes, dense: bool, fov: float | None) -> dict[str, Any]:
        """Align an image; return its faces with the keys of `Face.to_dict`."""
        try:
            image = self._engine.image(data)
        except image_io.ImageSizeError as error:
            raise HTTPException(413, str(error)) from error
        except image_io.ImageError as error:
            raise HTTPException(400, str(error)) from error
        height, width = image.shape[:2]
        intrinsics = None if fov is None else Intrinsics.from_field_of_view(fov, (height, width))
        decoder = self._aligner.decoder
        return {
            "schema": SCHEMA,
            "width": width,
            "height": height,
            "precision": self._aligner.precision,
            "faces": [face.to_dict(decoder, intrinsics, dense=dense) for face in self._engine.align(image)],
        }


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"{NAME}: expected at most {limit} bytes")


async def _body(request: Request, limit: int) -> bytes:
    """Read a body; one that says that it is too large is not read, and one that does not is read up to the limit."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise _too_large(limit)
    body = bytearray()
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise HTTPException(400, "the connection was closed before the whole upload was there")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limit:
            raise _too_large(limit)
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
    except (FormParserError, ValueError, LookupError) as error:  # not every Starlette catches them
        raise HTTPException(400, f"expected a form, got a damaged one: {error}") from error
    raise HTTPException(400, f"expected a form with a file in the field {NAME!r}")
