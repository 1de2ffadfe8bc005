"""``tddfa fetch``: download, check and convert models of other projects."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tddfa._shared.terminal.parser import UsageError
from tddfa._shared.terminal.progress import is_watched
from tddfa.cli._common import FAILED, print_error, print_line


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``tddfa``."""
    parser = commands.add_parser(
        "fetch",
        help="get the models of other projects",
        description="3ddfa_v2: download, check and convert the released files of 3DDFA_V2. Then -c mb05_120x120 and "
        "-c mb1_120x120 work, and -c open_mb05_3ddfa_v2 is open_mb05 with 3DDFA_V2's detector. "
        "yunet: check and copy the file yunet_n_dynamic.onnx of libfacedetection.train. Then -c open_mb05_yunet is "
        "open_mb05 with YuNet as its detector.",
    )
    parser.set_defaults(run=run_fetch)
    parser.add_argument(
        "what", metavar="PROJECT", choices=("3ddfa_v2", "yunet"),
        help="project whose models are fetched: 3ddfa_v2 or yunet",
    )  # fmt: skip
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="PATH",
        help="yunet: its file; 3ddfa_v2: folder of a checkout to take the files from (default: download them)",
    )  # fmt: skip
    parser.add_argument(
        "--bfm", type=Path, metavar="FILE",
        help="face model for 3ddfa_v2: bfm_noneck_v3.pkl, or a .npz file with its arrays "
        "(default: that of the release)",
    )  # fmt: skip


def run_fetch(options: argparse.Namespace) -> int:
    """Run ``tddfa fetch``; return the exit status: 0 if all models can be used now."""
    if options.what == "yunet":
        return _fetch_yunet(options)
    from tddfa.compat import fetch

    if options.source is not None and not options.source.is_dir():
        raise ValueError(f"{options.source}: no such folder")
    report = fetch.fetch(options.source, options.bfm, progress=is_watched(), print_line=print_line)
    for note in report.notes:
        print_line(note)
    for problem in report.problems:
        print_error(problem)
    for name in report.ready:
        print_line(f"ready: -c {name} ({fetch.folder() / name}.yml)")
    return 0 if set(report.ready) == set(fetch.REGRESSORS) else FAILED


def _fetch_yunet(options: argparse.Namespace) -> int:
    from tddfa.detector.fetch_yunet import FILE, ORIGIN, fetch_yunet

    if options.source is None:
        raise UsageError(f"--from: expected the file {FILE} ({ORIGIN}), got none")
    if options.bfm is not None:
        raise UsageError("--bfm: expected only with 3ddfa_v2, got it with yunet")
    config = fetch_yunet(options.source)
    print_line(ORIGIN)
    print_line(f"ready: -c {config.stem} ({config})")
    return 0
