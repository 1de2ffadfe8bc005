"""The service as an ASGI application.

>>> from tddfa.serve.app import create_app
>>> create_app(aligner).title
'tddfa'
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from tddfa import __version__
from tddfa.aligner import Aligner
from tddfa.serve.engine import Engine
from tddfa.serve.limits import Limits
from tddfa.serve.routes import routes


def create_app(aligner: Aligner, limits: Limits | None = None, *, workers: int = 1) -> FastAPI:
    """Return the service as an ASGI application.

    Parameters
    ----------
    aligner : Aligner
        The model.
    limits : Limits, optional
    workers : int
        See `Engine`.

    Returns
    -------
    fastapi.FastAPI
        The routes of `tddfa.serve.routes`, and their description at ``/openapi.json``. ``app.state.engine`` is the
        `Engine` of the routes: a page that is mounted on the same application takes its turns and its places too.

    Examples
    --------
    >>> from tddfa.serve.limits import Limits
    >>> app = create_app(aligner, Limits(requests=4))
    >>> app.state.engine.limits.requests
    4
    """
    engine = Engine(aligner, limits, workers=workers)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        engine.close()

    app = FastAPI(title="tddfa", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.engine = engine
    app.include_router(routes(engine))
    app.add_exception_handler(RequestValidationError, _wrong_option)
    return app


async def _wrong_option(_: Request, error: Exception) -> JSONResponse:
    """Answer in one line, as all other refusals."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return JSONResponse({"detail": f"{first['loc'][-1]}: {first['msg']}"}, 422)
