"""The command line: ``tddfa COMMAND``. It parses, calls and prints; the work is done elsewhere."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from tddfa import __version__
from tddfa.cli import align, bench, evaluate, fetch, image, train, video, webcam
from tddfa.cli._common import FAILED, INTERRUPTED, Parser, expected_errors, print_failure
from tddfa.cli.installation import models
from tddfa.cli.installation.completion import PrintCompletion


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``tddfa``.

    Returns
    -------
    int
        Exit status: 0 done; 1 failed, in whole or in part; 2 misused; 130 interrupted; 255 no face in any photo.
    """
    parser = Parser(prog="tddfa", description="Dense 3D face alignment of photos and videos.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"tddfa {__version__}")
    parser.add_argument(
        "--print-completion", action=PrintCompletion, metavar="SHELL",
        help="print a completion script for bash, zsh, fish, …; needs the package shtab",
    )  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    image.add_parser(commands)
    video.add_parser(commands)
    webcam.add_parser(commands)
    align.add_parser(commands)
    evaluate.add_parser(commands)
    bench.add_parser(commands)
    train.add_parser(commands)
    fetch.add_parser(commands)
    models.add_parser(commands)
    options = parser.parse_args(arguments)
    logging.basicConfig(format="tddfa: %(message)s", level=logging.WARNING)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # the reader of the output is gone: let nothing more be written to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except expected_errors() as error:
        print_failure(error)
        return FAILED


if __name__ == "__main__":
    raise SystemExit(main())
