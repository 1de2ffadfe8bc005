"""The service as an ASGI application.

>>> from tddfa.serve.app import create_app
>>> create_app(aligner).title
'tddfa'
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from tddfa import __version__
from tddfa.aligner import Aligner
from tddfa.serve.docs_page import add_docs
from tddfa.serve.engine import Engine
from tddfa.serve.keys import KeyGate
from tddfa.serve.limits import Limits
from tddfa.serve.metrics import Metrics, Observer
from tddfa.serve.routes import problems, routes


def create_app(
    aligner: Aligner,
    limits: Limits | None = None,
    *,
    workers: int = 1,
    batch: int = 1,
    key: str | None = None,
    origins: Sequence[str] = (),
) -> FastAPI:
    """Return the service as an ASGI application.

    Parameters
    ----------
    aligner : Aligner
        The model.
    limits : Limits, optional
    workers, batch : int
        See `Engine`.
    key : str, optional
        Key that every request must send, except requests to ``/v1/health``; see `tddfa.serve.keys`.
    origins : sequence of str
        Origins of other pages whose scripts may use the service (CORS), such as ``https://example.org``.

    Returns
    -------
    fastapi.FastAPI
        The application has the routes of `tddfa.serve.routes`, ``/metrics``, and ``/openapi.json``, which describes
        them. If fastapi-offline is installed, ``/docs`` shows this description. ``app.state.engine`` is the `Engine`
        of the routes. A page that is mounted on the same application shares this engine.

    Examples
    --------
    >>> from tddfa.serve.limits import Limits
    >>> app = create_app(aligner, Limits(requests=4))
    >>> app.state.engine.limits.requests
    4
    """
    engine = Engine(aligner, limits, workers=workers, batch=batch)
    metrics = Metrics(engine)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        engine.close()

    app = FastAPI(title="tddfa", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.engine = engine
    app.include_router(routes(engine))
    app.add_exception_handler(RequestValidationError, _wrong_option)
    add_docs(app)

    @app.get(
        "/metrics",
        summary="Numbers for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems(401)},
    )
    async def numbers() -> Response:
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    # the last one is the outermost
    if key is not None:
        app.add_middleware(KeyGate, key=key)
        _describe_key(app)
    if origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"],
            allow_headers=["Accept", "Authorization", "Content-Type", "X-API-Key"],
        )  # fmt: skip
    app.add_middleware(Observer, metrics=metrics)
    return app


async def _wrong_option(_: Request, error: Exception) -> JSONResponse:
    """Answer a wrong option with one line, like all other refusals."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return JSONResponse({"detail": f"{first['loc'][-1]}: {first['msg']}"}, 422)


def _describe_key(app: FastAPI) -> None:
    """Add the key to the OpenAPI description, so that ``/docs`` asks for it."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
            schema["components"]["securitySchemes"] = {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            }
            schema["security"] = [{"bearer": []}, {"header": []}]
            schema["paths"]["/v1/health"]["get"]["security"] = []
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # as FastAPI's documentation does it
