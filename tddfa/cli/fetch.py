"""``tddfa fetch``: download, check and convert models of other projects."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tddfa._shared.terminal.progress import is_watched
from tddfa.cli._common import FAILED, print_error, print_line


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``tddfa``."""
    parser = commands.add_parser(
        "fetch",
        help="download the models of other projects",
        description="Download, check and convert the released files of 3DDFA_V2. Then -c mb05_120x120 and "
        "-c mb1_120x120 work.",
    )
    parser.set_defaults(run=run_fetch)
    parser.add_argument("what", choices=("3ddfa_v2",), help="project whose models are fetched")
    parser.add_argument(
        "--from", dest="checkout", type=Path, metavar="DIR",
        help="folder of a checkout to take the files from (default: download them)",
    )  # fmt: skip
    parser.add_argument(
        "--bfm", type=Path, metavar="FILE",
        help="face model to use: bfm_noneck_v3.pkl, or a .npz file with its arrays (default: that of the release)",
    )  # fmt: skip


def run_fetch(options: argparse.Namespace) -> int:
    """Run ``tddfa fetch``; return the exit status: 0 if all models can be used now."""
    from tddfa.compat import fetch

    if options.checkout is not None and not options.checkout.is_dir():
        raise ValueError(f"{options.checkout}: no such folder")
    report = fetch.fetch(options.checkout, options.bfm, progress=is_watched(), print_line=print_line)
    for note in report.notes:
        print_line(note)
    for problem in report.problems:
        print_error(problem)
    for name in report.ready:
        print_line(f"ready: -c {name} ({fetch.folder() / name}.yml)")
    return 0 if set(report.ready) == set(fetch.REGRESSORS) else FAILED
