"""``tddfa fetch``: its options, and what it says."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "fetch",
        help="get the models of others",
        description="Get, check and convert 3DDFA_V2's released files; then -c mb05_120x120 and -c mb1_120x120 work.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    parser.add_argument("what", choices=("3ddfa_v2",), help="whose models")
    parser.add_argument(
        "--from", dest="checkout", type=Path, metavar="DIR", help="take the files of a local checkout, download nothing"
    )
    parser.add_argument(
        "--bfm", type=Path, metavar="FILE",
        help="a face model from elsewhere: bfm_noneck_v3.pkl, or a .npz with its arrays",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Run ``tddfa fetch``; return the exit status: 0 if a model can be used now."""
    from tddfa.compat import fetch

    def print_line(text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    if options.checkout is not None and not options.checkout.is_dir():
        sys.stderr.write(f"tddfa: error: {options.checkout}: no such folder\n")
        return 1
    report = fetch.fetch(options.checkout, options.bfm, progress=sys.stderr.isatty(), say=print_line)
    for note in report.notes:
        print_line(note)
    for problem in report.problems:
        sys.stderr.write(f"tddfa: error: {problem}\n")
    for name in report.ready:
        print_line(f"ready: -c {name} ({fetch.folder() / name}.yml)")
    return 0 if report.ready else 1
