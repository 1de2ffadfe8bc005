"""The command line: ``tddfa COMMAND`` and the demo scripts. It parses, calls and prints; the work is done elsewhere."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tddfa import __version__
from tddfa._shared.terminal.parser import Parser, UsageError
from tddfa._shared.terminal.printing import LogHandler
from tddfa.cli import align, bench, evaluate, fetch, image, train, video, webcam
from tddfa.cli._common import FAILED, INTERRUPTED, expected_errors, print_failure
from tddfa.cli.installation import info, models
from tddfa.cli.installation.completion import PrintCompletion


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``tddfa``.

    Returns
    -------
    int
        Exit status: 0 done; 1 failed, in whole or in part; 2 wrong options; 130 interrupted; 255 no face in any photo.

    Raises
    ------
    SystemExit
        With status 2, if parsing finds the options wrong; with status 0 after ``--help`` and ``--version``.
    """
    parser, _ = _parsers()
    return _run(parser, arguments)


def demo(command: str, *options: str) -> int:
    """Run a demo script of 3DDFA_V2: a command whose example input, folder and file names are its defaults.

    Parameters
    ----------
    command : str
        ``image``, ``video`` or ``webcam``.
    *options : str
        Before those of the command line.

    Returns
    -------
    int
        Exit status, as of `main`.
    """
    parser, commands = _parsers()
    script = commands[command]
    script.prog = Path(sys.argv[0]).name
    defaults = {"image": image.DEMO, "video": video.DEMO, "webcam": webcam.DEMO}[command]
    script.set_defaults(**defaults)
    if "inputs" in defaults:
        script.description = f"{script.description}\nWithout {script.inputs_name}: {' '.join(defaults['inputs'])}."
    return _run(parser, [command, *options, *sys.argv[1:]])


def _parsers() -> tuple[Parser, Mapping[str, Parser]]:
    """Return the parser, and those of its commands."""
    parser = Parser(prog="tddfa", description="Dense 3D face alignment of photos and videos.")
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
    info.add_parser(commands)
    return parser, commands.choices


def _run(parser: Parser, arguments: Sequence[str] | None) -> int:
    try:
        options = parser.parse_args(arguments)
        logging.basicConfig(format="tddfa: %(message)s", level=logging.WARNING, handlers=[LogHandler()])
        return int(options.run(options))
    except KeyboardInterrupt:
        return INTERRUPTED
    except UsageError as error:
        return int(options.parser.report(str(error)))
    except BrokenPipeError:
        # the reader of the output is gone: let nothing more be written to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except expected_errors() as error:
        print_failure(error)
        return FAILED


if __name__ == "__main__":
    raise SystemExit(main())
