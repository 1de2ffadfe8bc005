"""Metrics of the requests, and one log line per request."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timezone

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tddfa.serve.engine import Engine

LOG = logging.getLogger("tddfa.serve.requests")
"""A line of level INFO per request: time, method and route, status, bytes of the answer, ms."""

_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_OTHER = "other"  # a path that is not a route may contain a name


class Metrics:
    """Metrics of one service, in their own Prometheus registry.

    Parameters
    ----------
    engine : Engine

    Examples
    --------
    >>> from tddfa.serve.engine import Engine
    >>> from tddfa.serve.metrics import Metrics
    >>> metrics = Metrics(Engine(aligner))
    >>> metrics.count("POST /v1/faces", 200, 0.03)
    >>> 'tddfa_requests_total{route="POST /v1/faces",status="200"} 1.0' in metrics.text().decode()
    True
    """

    def __init__(self, engine: Engine) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "tddfa_requests", "Requests that were answered", ("route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "tddfa_request_seconds", "Time from a request to the end of its answer", ("route",),
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        flying = Gauge("tddfa_requests_in_flight", "Places that are taken", registry=self._registry)
        flying.set_function(lambda: engine.in_flight)
        places = Gauge("tddfa_places", "Places for requests; further ones get 503", registry=self._registry)
        places.set(engine.limits.requests)

    def count(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Return the numbers in the format of Prometheus."""
        return generate_latest(self._registry)


class Observer:
    """ASGI middleware that counts every request, and writes its line to the log.

    The line contains the route, never the path. So it contains no name, no option and nothing of an image.

    Parameters
    ----------
    app : ASGI application
    metrics : Metrics
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin, root = time.perf_counter(), scope.get("root_path", "")
        status, size = 500, 0  # the status of an unhandled exception

        async def counted(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, counted)
        finally:
            seconds = time.perf_counter() - begin
            route = f"{_method(scope)} {_route(scope, root)}"
            self._metrics.count(route, status, seconds)
            now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
            LOG.info("%s %s %d %d %.0f", now, route, status, size, 1000 * seconds)


def _method(scope: Scope) -> str:
    # a client may send any word
    method: str = scope["method"]
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else _OTHER.upper()


def _route(scope: Scope, root: str) -> str:
    """The route's pattern, below that of the application that is mounted."""
    path = getattr(scope.get("route"), "path", None)
    if path is None:
        return _OTHER
    mounted: str = scope.get("root_path", "")
    return f"{mounted.removeprefix(root)}{path}"
