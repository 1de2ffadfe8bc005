"""``tddfa serve``: a service over HTTP for one model."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import logging
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tddfa._shared.cores import available_cores
from tddfa._shared.packages import needs
from tddfa._shared.terminal.parser import UsageError
from tddfa.cli._common import add_model_options, filled, integer, load_aligner, load_networks, print_line, print_warning

_MILLION = 10**6
_PACKAGES = ("fastapi", "uvicorn", "python-multipart", "prometheus-client")
_PAGE = "gradio"
_GPU_WORKERS = 2  # one decodes while the other's networks run


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``tddfa``."""
    parser = commands.add_parser(
        "serve",
        help="serve a model over HTTP",
        description="Serve a model over HTTP: POST /v1/faces takes an image and returns its faces, POST\n"
        "/v1/draw/KIND an image of them; GET /docs describes all routes, GET /metrics has numbers for Prometheus.\n"
        "The page at / takes photos, videos and the camera; it needs gradio. Only this machine can reach the service,\n"
        "unless --host says otherwise; there is no encryption. SIGTERM ends it when the requests that it has are\n"
        "answered. A line per request goes to stderr: time, route, status, bytes, ms; nothing of an image.\n"
        f"Needs {', '.join(_PACKAGES)}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run_serve)
    parser.add_argument(
        "--host", type=filled("an address"), default="127.0.0.1",
        help="address to listen at (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=integer(0, 65535), default=8000, metavar="N",
        help="port to listen at; 0 takes a free one (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--max-megabytes", type=integer(1, 1000), default=20, metavar="N",
        help="largest image file, in 1,000,000 bytes (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--max-megapixels", type=integer(1, 178), default=50, metavar="N",
        help="largest image, in 1,000,000 pixels (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--max-requests", type=integer(1, 1000), default=16, metavar="N",
        help="requests at a time; further ones are refused with status 503 (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--max-seconds", type=integer(1, 3600), default=30, metavar="N",
        help="seconds for the work of a request, the wait for others included; then it gets status 504 "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--max-batch", type=integer(1, 64), default=1, metavar="N",
        help="maximum number of images from several requests that are aligned together; saves 3 to 6 %% of the CPU "
        "time, and the last digit of a result may differ (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--api-key-file", type=Path, metavar="FILE",
        help="file with a key that every request must send, except GET /v1/health: as Authorization: Bearer KEY, as "
        "X-API-Key: KEY, or as the password of the page (default: no key)",
    )  # fmt: skip
    parser.add_argument(
        "--cors-origin", type=_origin, action="append", default=[], metavar="ORIGIN",
        help="origin of other pages whose scripts may use the service, such as https://example.org; may be given "
        "several times (default: none)",
    )  # fmt: skip
    parser.add_argument(
        "--max-video-seconds", type=integer(1, 3600), default=60, metavar="N",
        help="longest video of the page, in seconds (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--no-page", action="store_true", help="leave out the page at / (default: no)")
    add_model_options(parser)


def run_serve(options: argparse.Namespace) -> int:
    """Run ``tddfa serve`` until it is asked to end; return the exit status."""
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401  (FastAPI asks for it at the first form)
        import uvicorn
    except ImportError as error:
        raise ImportError(needs("tddfa serve", *_PACKAGES)) from error
    from tddfa.serve.app import create_app
    from tddfa.serve.keys import read_key
    from tddfa.serve.limits import Limits
    from tddfa.serve.metrics import LOG

    key = None if options.api_key_file is None else read_key(options.api_key_file)
    if options.threads is None:
        options.threads = 1  # networks of one thread each waste the least, if there is a worker per core
    aligner = load_aligner(options)
    if aligner.detector is not None and aligner.detector.needs_name:
        raise UsageError("--config: expected a detector that finds faces, got one that reads boxes by names of files")
    load_networks(aligner)
    workers = max(available_cores() // options.threads, 1) if aligner.device == "cpu" else _GPU_WORKERS
    limits = Limits(
        bytes=options.max_megabytes * _MILLION,
        pixels=options.max_megapixels * _MILLION,
        requests=options.max_requests,
        seconds=options.max_seconds,
        video_seconds=options.max_video_seconds,
    )
    app = create_app(aligner, limits, workers=workers, batch=options.max_batch, key=key, origins=options.cors_origin)
    with _listening(options.host, options.port) as listener, _logged(LOG):
        if not options.no_page:
            _add_page(app)
        host = f"[{options.host}]" if ":" in options.host else options.host
        print_line(f"http://{host}:{listener.getsockname()[1]}")
        # what runs may take this long after SIGTERM, and its upload as long again
        patience = int(limits.seconds + limits.upload_seconds)
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=patience)
        )
        app.state.ending = lambda: server.should_exit
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:  # the signal that ended it, once more
            if not server.should_exit:
                raise
    return 0


def _add_page(app: Any) -> None:
    """Add the page, if its package is there."""
    if importlib.util.find_spec(_PAGE) is None:
        print_warning(f"no page at /: {needs('the page', _PAGE)}; --no-page turns this warning off")
        return
    from tddfa.serve.page import add_page

    add_page(app)


@contextlib.contextmanager
def _logged(log: logging.Logger) -> Iterator[None]:
    """Print the lines of a logger to stderr, as they are."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False  # the lines of other loggers begin with the name of the program
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = True


def _origin(text: str) -> str:
    """Parse an origin: ``*``, or scheme, host and port without a path."""
    if text != "*" and not re.fullmatch(r"https?://[^/\s@?#]+", text):
        raise argparse.ArgumentTypeError(f"expected * or an origin such as https://example.org, got {text!r}")
    return text


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError, TypeError) as error:  # a name may be none of the internet
        why = getattr(error, "strerror", None) or error
        raise OSError(f"{host}, port {port}: cannot listen there: {why}") from error
