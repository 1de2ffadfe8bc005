"""The page ``/docs`` in a real Chromium: it shows the routes, and asks nobody but the service."""

import shutil
import socket
import threading

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("fastapi_offline")
pytest.importorskip("uvicorn")
pytest.importorskip("playwright")

import uvicorn
from playwright.sync_api import sync_playwright

from tddfa.serve.app import create_app

pytestmark = pytest.mark.web


@pytest.fixture
def address(aligner):
    server = uvicorn.Server(uvicorn.Config(create_app(aligner), log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(60)


def test_all_routes_are_shown_and_nothing_is_loaded_from_elsewhere(address):
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs Chromium: apt install chromium")
    asked, errors = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{address}/docs", timeout=60_000)
        page.wait_for_selector(".opblock-summary-path", timeout=60_000)
        shown = {text.replace("\u200b", "") for text in page.locator(".opblock-summary-path").all_inner_texts()}
        page.wait_for_load_state("networkidle", timeout=60_000)
        browser.close()
    assert shown == {"/v1/health", "/v1/models", "/v1/faces", "/v1/draw/{kind}", "/metrics"}
    assert errors == []
    local = [url for url in asked if url.startswith((address, "data:", "blob:"))]
    assert local == asked
    assert f"{address}/openapi.json" in asked
