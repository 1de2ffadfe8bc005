"""The page at ``/docs``: Swagger UI, whose script and style come from this machine."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

# nothing is loaded from other sites, even if the script requests it
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def add_docs(app: FastAPI) -> bool:
    """Add the page to an application; return whether fastapi-offline, which holds its files, is installed."""
    package = importlib.util.find_spec("fastapi_offline")
    if package is None or package.origin is None:
        return False
    app.mount("/docs/files", StaticFiles(directory=Path(package.origin).parent / "static"), name="docs")
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=app.title,
        swagger_js_url="docs/files/swagger-ui-bundle.js",
        swagger_css_url="docs/files/swagger-ui.css",
        swagger_favicon_url="docs/files/favicon.png",
        swagger_ui_parameters={"validatorUrl": None},  # it would send the description to another site
    ).body

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(bytes(page), headers={"Content-Security-Policy": _POLICY})

    return True
