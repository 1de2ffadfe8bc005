"""The page of the service: photos, videos and the camera in a browser, by gradio in the same process.

>>> from tddfa.serve.app import create_app
>>> from tddfa.serve.page import add_page
>>> app = create_app(aligner)
>>> add_page(app)
>>> any(getattr(route, "path", "") == "/" for route in app.router.routes)
True
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from tddfa.serve.engine import Engine
from tddfa.serve.page.guard import PATTERNS, Guard
from tddfa.serve.page.layout import EXAMPLES, Layout
from tddfa.serve.page.view import STYLE, theme

_KEEP_SECONDS = 1800.0  # for which uploads and results are kept
_SWEEP_SECONDS = 60.0
_HEAD = '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'


def add_page(app: FastAPI) -> None:
    """Mount the page at ``/`` of the service; its other routes do not change.

    Uploads and results are in a temporary folder of the page. Files older than half an hour are deleted, and all when
    the service ends. Two environment variables of gradio are set for the whole process: its folder, and that it sends
    no usage data.

    Parameters
    ----------
    app : fastapi.FastAPI
        The application of `tddfa.serve.app.create_app`. The page shares the model and the limits of its routes.
        ``app.state.ending`` is a function that returns whether the server is about to end. If it is, open pages are
        disconnected.
    """
    engine: Engine = app.state.engine
    folder = Path(tempfile.mkdtemp(prefix="tddfa-page-")).resolve()
    # also of an application that never runs
    emptied = weakref.finalize(app, shutil.rmtree, folder, ignore_errors=True)
    os.environ.update(GRADIO_TEMP_DIR=str(folder), GRADIO_ANALYTICS_ENABLED="False")
    # without a running event loop, gradio creates four loops and leaves them open
    inner = asyncio.run(_built(engine, folder))
    guard = Guard(inner, folder, engine.limits, lambda: bool(getattr(app.state, "ending", bool)()))
    app.router.routes.extend(Route(pattern, guard, include_in_schema=False) for pattern in PATTERNS)
    outer = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        async with outer(app) as state, inner.router.lifespan_context(inner):
            sweep = asyncio.create_task(_sweep(folder))
            try:
                yield state
            finally:
                sweep.cancel()
                emptied()

    app.router.lifespan_context = lifespan


async def _built(engine: Engine, folder: Path) -> FastAPI:
    """Return gradio's application with the page."""
    blocks = Layout(engine, folder, _KEEP_SECONDS).build()
    inner = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    inner.add_middleware(CORSMiddleware)  # without an origin: gradio then adds no headers of its own
    gr.mount_gradio_app(
        inner, blocks, "/", allowed_paths=[], show_error=False, max_file_size=engine.limits.bytes, footer_links=[],
        run_history=False, ssr_mode=False, enable_monitoring=False, pwa=False, mcp_server=False,
        theme=theme(), css=STYLE, head=_HEAD,
    )  # fmt: skip
    blocks.has_launched = True  # gradio checks the paths of files only of a page that has
    return inner


async def _sweep(folder: Path) -> None:
    """Delete files that are older than `_KEEP_SECONDS`, in an endless loop."""
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        await asyncio.to_thread(delete_older, folder, time.time() - _KEEP_SECONDS)


def delete_older(folder: Path, before: float) -> None:
    """Delete the uploads and results of a folder that were last written before a time, s since the epoch.

    Examples
    --------
    >>> import time
    >>> from tddfa.serve.page import delete_older
    >>> (tmp / "upload").mkdir()
    >>> delete_older(tmp, time.time() - 60)
    >>> (tmp / "upload").is_dir()
    True
    >>> delete_older(tmp, time.time() + 60)
    >>> (tmp / "upload").is_dir()
    False
    """
    for path in folder.iterdir():
        with suppress(OSError):
            if path.name == EXAMPLES or path.stat().st_mtime >= before:
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()
