"""The command line: ``tddfa COMMAND`` and the demo scripts. It parses, calls and prints; the work is done elsewhere."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tddfa import __version__
from tddfa._shared.files import naming
from tddfa._shared.terminal.failures import DEBUG_OPTION, drop_output, is_debug, set_debug, usable_streams
from tddfa._shared.terminal.parser import Parser, UsageError
from tddfa._shared.terminal.printing import LogHandler
from tddfa.cli import align, avatar, bench, evaluate, fetch, image, scale, scan, serve, train, video, webcam
from tddfa.cli._common import FAILED, INTERRUPTED, OUTPUT, print_failure, signals_as_interrupt
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
    avatar.add_parser(commands)
    scale.add_parser(commands)
    scan.add_parser(commands)
    serve.add_parser(commands)
    evaluate.add_parser(commands)
    bench.add_parser(commands)
    train.add_parser(commands)
    fetch.add_parser(commands)
    models.add_parser(commands)
    info.add_parser(commands)
    _add_debug_option(parser)
    return parser, commands.choices


def _run(parser: Parser, arguments: Sequence[str] | None) -> int:
    set_debug(DEBUG_OPTION in (sys.argv[1:] if arguments is None else arguments))
    with usable_streams():
        try:
            with signals_as_interrupt():
                status = _status(parser, arguments)
                with naming(OUTPUT):
                    sys.stdout.flush()
                return status
        except KeyboardInterrupt:
            return INTERRUPTED
        except BrokenPipeError:
            drop_output()
            return FAILED
        except Exception as error:
            if is_debug():
                raise
            if getattr(error, "filename", None) == OUTPUT:
                drop_output()  # Python would try again at its end
            print_failure(error)
            return FAILED


def _status(parser: Parser, arguments: Sequence[str] | None) -> int:
    options = parser.parse_args(arguments)
    logging.basicConfig(format="tddfa: %(message)s", level=logging.WARNING, handlers=[LogHandler()])
    try:
        return int(options.run(options))
    except UsageError as error:
        return int(options.parser.report(str(error)))


def _add_debug_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--debug`` to a parser, and to those of its commands."""
    parser.add_argument(
        DEBUG_OPTION,
        action="store_true",
        default=argparse.SUPPRESS,
        help="end an error with its traceback (default: no)",
    )
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _add_debug_option(command)


if __name__ == "__main__":
    raise SystemExit(main())
