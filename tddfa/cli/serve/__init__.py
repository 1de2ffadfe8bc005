"""``tddfa serve``: a service over HTTP for one model."""

from __future__ import annotations

import argparse
import socket
from typing import Any

from tddfa._shared.packages import needs
from tddfa.cli._common import add_model_options, integer, load_aligner, load_networks, print_line

_MILLION = 10**6


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``tddfa``."""
    parser = commands.add_parser(
        "serve",
        help="serve a model over HTTP",
        description="Serve a model over HTTP: POST /v1/faces takes an image and returns its faces as JSON,\n"
        "GET /v1/health and GET /v1/models tell what runs. Only this machine can reach it, unless --host says\n"
        "otherwise; there is no encryption and no key. Needs fastapi, uvicorn and python-multipart.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run_serve)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
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
    add_model_options(parser)


def run_serve(options: argparse.Namespace) -> int:
    """Run ``tddfa serve`` until it is interrupted; return the exit status."""
    try:
        import python_multipart  # noqa: F401  (FastAPI asks for it at the first form)
        import uvicorn

        from tddfa.serve.app import create_app
        from tddfa.serve.limits import Limits
    except ImportError as error:
        raise ImportError(needs("tddfa serve", "fastapi", "uvicorn", "python-multipart")) from error

    aligner = load_aligner(options)
    load_networks(aligner)
    limits = Limits(
        bytes=options.max_megabytes * _MILLION,
        pixels=options.max_megapixels * _MILLION,
        requests=options.max_requests,
    )
    with _listening(options.host, options.port) as listener:
        host = f"[{options.host}]" if ":" in options.host else options.host
        print_line(f"http://{host}:{listener.getsockname()[1]}")
        config = uvicorn.Config(create_app(aligner, limits), log_level="warning", access_log=False)
        uvicorn.Server(config).run(sockets=[listener])
    return 0


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(f"{host}, port {port}: cannot listen there: {error.strerror or error}") from error
