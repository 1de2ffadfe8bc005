"""The command line: ``tddfa COMMAND``. It parses, calls and reports; the work is done elsewhere."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from tddfa import __version__, cli_align, cli_bench, cli_evaluate, cli_image, cli_video, cli_webcam
from tddfa.cli_common import FAILED
from tddfa.convert import command as fetch_command
from tddfa.train import command as train_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``tddfa``; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="tddfa", description="Dense 3D face alignment of photos and videos.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"tddfa {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    cli_image.add_parser(commands)
    cli_video.add_parser(commands)
    cli_webcam.add_parser(commands)
    cli_align.add_parser(commands)
    cli_evaluate.add_parser(commands)
    cli_bench.add_parser(commands)
    train_command.add(commands)
    fetch_command.add(commands)
    options = parser.parse_args(arguments)
    logging.basicConfig(format="tddfa: %(message)s", level=logging.WARNING)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # whoever read the output has gone; nothing more can be said
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


if __name__ == "__main__":
    raise SystemExit(main())
