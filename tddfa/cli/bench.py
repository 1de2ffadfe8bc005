"""``tddfa bench``: how long each stage takes on this machine, and how much memory."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from tddfa.cli._common import FAILED, add_model_options, integer, load_aligner, print_error, print_line
from tddfa.cli._paths import check_file

_ROUNDS, _QUICK_ROUNDS = 20, 5
_IMAGES = 1000


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``tddfa``."""
    parser = commands.add_parser(
        "bench",
        help="time every stage on this machine",
        description="Time every stage on rendered pictures, in turn, round by round; and see how much memory it takes.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run_bench)
    add_model_options(parser)
    parser.add_argument(
        "--stages", default="*", metavar="PATTERN[,PATTERN…]", help="only these, as 'detect*,3d.1' (default: all)"
    )
    parser.add_argument("--rounds", type=integer(1, 10000), metavar="N", help=f"of timing (default: {_ROUNDS})")
    parser.add_argument(
        "--quick", action="store_true", help=f"{_QUICK_ROUNDS} rounds where --rounds says no other, and no memory"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all of it")
    parser.add_argument(
        "--peer",
        type=Path,
        metavar="DIR",
        help="a checkout of 3DDFA_V2, built and with its weights, to be timed beside",
    )
    parser.add_argument(
        "--peer-python", "--peer_python", metavar="FILE",
        help="with --peer: the Python that has what the checkout needs (default: this one)",
    )  # fmt: skip


def run_bench(options: argparse.Namespace) -> int:
    """Do ``tddfa bench``; return the exit status."""
    from tddfa.bench.run import Plan, run

    device = options.device or {"cpu": "cpu", "gpu": "cuda", None: "auto"}[options.mode]
    try:
        _check(options)
        aligner = load_aligner(options)
        plan = Plan(
            patterns=options.stages,
            rounds=options.rounds or (_QUICK_ROUNDS if options.quick else _ROUNDS),
            threads=(1, None) if options.threads is None else (options.threads,),
            config=options.config,
            device=device,
            precision=options.precision,
            memory=not options.quick,
            images=0 if options.quick else _IMAGES,
            peer=options.peer,
            peer_python=options.peer_python or sys.executable,
        )
        report = run(aligner, plan, _progress)
        _progress("")
        about = report.about
        machine = f"{about['machine']}, {about['cores']} cores"
        print_line(
            f"tddfa {about['version']}, {about['config']} in {about['precision']} on {about['device']}; {machine}"
        )
        if about["peer_network"]:
            print_line(f"3DDFA_V2: {about['peer']}, {about['peer_config']} by {about['peer_network']}")
        for line in report.lines():
            print_line(line)
        if options.json is not None:
            print_line(f"written: {report.save(options.json)}")
    except KeyboardInterrupt:
        _progress("interrupted\n")  # what the shell says next has a line of its own
        raise
    except (ValueError, OSError, ImportError) as error:
        _progress("")
        print_error(str(error))
        return FAILED
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse what would be found out only after minutes of work."""
    if options.json is not None:
        check_file("--json", options.json)
    if options.peer is None:
        if options.peer_python is not None:
            raise ValueError("--peer-python: expected --peer DIR with it")
        return
    if not options.peer.is_dir():
        raise ValueError(f"--peer: {options.peer}{' is not a folder' if options.peer.exists() else ': no such folder'}")
    if not (options.peer / "TDDFA.py").is_file():
        raise ValueError(f"--peer: {options.peer}: expected a checkout of 3DDFA_V2, it has no TDDFA.py")
    if options.peer_python is not None and shutil.which(options.peer_python) is None:
        raise ValueError(f"--peer-python: {options.peer_python}: no program that can be run")


def _progress(text: str) -> None:
    """One line that is written over, where somebody watches."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
