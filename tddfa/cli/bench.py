"""``tddfa bench``: time and memory of each stage on this machine."""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tddfa._shared.terminal.parser import UsageError, as_usage_error
from tddfa._shared.terminal.progress import is_watched
from tddfa.cli._common import FAILED, add_model_options, device_of, integer, load_aligner, loading_of, print_line
from tddfa.cli._paths import check_file

if TYPE_CHECKING:
    from tddfa.bench.report import Report
    from tddfa.bench.run import Plan

_ROUNDS, _QUICK_ROUNDS = 20, 5
_IMAGES = 1000


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``tddfa``."""
    parser = commands.add_parser(
        "bench",
        help="measure the speed of every stage on this machine",
        description="Time every stage on rendered images, in turn, round by round. Measure its memory too.",
    )
    parser.set_defaults(run=run_bench)
    parser.add_argument(
        "--stages", type=str.lower, default="*", metavar="PATTERN[,PATTERN…]",
        help="time only these stages, such as 'detect*,3d.1' (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--rounds", type=integer(1, 10000), metavar="N",
        help=f"rounds of timing (default: {_ROUNDS}; with --quick: {_QUICK_ROUNDS})",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="time fewer rounds, and measure no memory (default: no)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results as JSON (default: no)")
    parser.add_argument(
        "--peer", type=Path, metavar="DIR",
        help="also time a checkout of 3DDFA_V2, built and with its weights (default: no)",
    )  # fmt: skip
    parser.add_argument(
        "--peer-python", metavar="FILE",
        help="interpreter with the packages of the checkout, for --peer (default: this Python)",
    )  # fmt: skip
    parser.add_argument(
        "--peer-mediapipe", metavar="PYTHON",
        help="also time FaceMesh of MediaPipe, in an interpreter with mediapipe==0.10.21 (default: no)",
    )  # fmt: skip
    add_model_options(parser)


def run_bench(options: argparse.Namespace) -> int:
    """Run ``tddfa bench``; return the exit status."""
    from tddfa.bench.run import run

    _check(options)
    try:
        aligner = load_aligner(options)
        report = run(aligner, replace(_plan(options), precision=aligner.precision), progress=_progress)
    except KeyboardInterrupt:
        _progress("interrupted\n")  # what the shell prints next begins on a new line
        raise
    except Exception:
        _progress("")
        raise
    _progress("")
    _print_report(report)
    if options.json is not None:
        print_line(f"written: {report.save(options.json)}")
    return 0 if any(row.timings for row in report.rows) else FAILED


def _plan(options: argparse.Namespace) -> Plan:
    from tddfa.bench.run import Plan

    return Plan(
        patterns=options.stages,
        rounds=options.rounds or (_QUICK_ROUNDS if options.quick else _ROUNDS),
        threads=(1, None) if options.threads is None else (options.threads,),
        config=options.config,
        device=device_of(options),
        precision=options.precision,
        loading=loading_of(options),
        memory=not options.quick,
        images=0 if options.quick else _IMAGES,
        peer=options.peer,
        peer_python=options.peer_python or sys.executable,
        peer_mediapipe=options.peer_mediapipe,
    )


def _print_report(report: Report) -> None:
    about = report.about
    machine = f"{about['machine']}, {about['cores']} cores"
    print_line(f"tddfa {about['version']}, {about['config']} in {about['precision']} on {about['device']}; {machine}")
    if about["peer_network"]:
        print_line(f"3DDFA_V2: {about['peer']}, {about['peer_config']} by {about['peer_network']}")
    if about["mediapipe"]:
        print_line(f"MediaPipe: FaceMesh of {about['mediapipe']}")
    for line in report.lines():
        print_line(line)


def _check(options: argparse.Namespace) -> None:
    """Check the options now that would fail only after minutes of work."""
    from tddfa.bench.run import selected_stages

    with as_usage_error():
        selected_stages(_plan(options), gpu=device_of(options) != "cpu")
    if options.json is not None:
        check_file("--json", options.json)
    if options.peer is None and options.peer_python is not None:
        raise UsageError("--peer-python: expected --peer DIR too, got none")
    if options.peer is not None:
        _check_checkout(options.peer)
    for option, python in (("--peer-python", options.peer_python), ("--peer-mediapipe", options.peer_mediapipe)):
        if python is not None and shutil.which(python) is None:
            raise ValueError(f"{option}: {python}: not a program that can be run")


def _check_checkout(folder: Path) -> None:
    if not folder.is_dir():
        raise ValueError(f"--peer: {folder}{' is not a folder' if folder.exists() else ': no such folder'}")
    if not (folder / "TDDFA.py").is_file():
        raise ValueError(f"--peer: {folder}: expected a checkout of 3DDFA_V2, got a folder without TDDFA.py")


def _progress(text: str) -> None:
    """Print a line that the next one replaces, if the output is a terminal."""
    if is_watched():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
