"""``tddfa train regressor``: train the regressor on labelled crops, stop and go on, and export what is best."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from tddfa.cli._common import FAILED, print_line
from tddfa.cli.train._common import (
    add_schedule_options,
    positive,
    read_settings,
    rescheduled,
    tell_end,
    tell_outcome,
    with_torch,
)

if TYPE_CHECKING:
    from tddfa.train.regressor.settings import RegressorSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``tddfa train regressor``."""
    parser.add_argument("--config", type=Path, metavar="FILE.yml", help="settings (see configs/train/open_mb05.yml)")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="checkpoints, log, regressor.onnx")
    parser.add_argument("--resume", action="store_true", help="go on from the folder's checkpoint")
    parser.add_argument(
        "--export", action="store_true", help="train no further: export the best so far to regressor.onnx in the folder"
    )
    parser.add_argument("--init", type=Path, metavar="FILE.onnx", help="go on from a released network")
    parser.add_argument(
        "--data", type=weighted_folder, action="append", metavar="FOLDER[:WEIGHT]",
        help="crops to train on, in place of the settings'; again for more",
    )  # fmt: skip
    add_schedule_options(parser, "crops", "heads")


def weighted_folder(text: str) -> tuple[Path, float]:
    """Parse ``FOLDER`` or ``FOLDER:WEIGHT``."""
    folder, colon, weight = text.rpartition(":")
    try:
        return (Path(folder), positive(weight)) if colon and folder else (Path(text), 1.0)
    except argparse.ArgumentTypeError:
        # a folder whose name has a colon, or a drive's letter
        return Path(text), 1.0


def settings_of(options: argparse.Namespace) -> RegressorSettings:
    """Read the settings, with what the options put in their place.

    Raises
    ------
    ConfigError
        If a file or an option is not understood.
    """
    from tddfa.train.engine.settings import Folder
    from tddfa.train.regressor.settings import RegressorSettings

    settings = read_settings(RegressorSettings, options.config)
    settings = dataclasses.replace(settings, schedule=rescheduled(settings.schedule, options))
    if options.init is not None:
        settings = dataclasses.replace(settings, init=options.init)
    if options.workers is not None:
        settings = dataclasses.replace(settings, workers=options.workers)
    if options.data is not None:
        settings = dataclasses.replace(settings, data=tuple(Folder(*entry) for entry in options.data))
    return settings


def run(options: argparse.Namespace) -> int:
    """Train; 0, or 1 with a message."""
    return with_torch(_run, options)


def _run(options: argparse.Namespace) -> int:
    from tddfa.train.regressor.task import EXPORTED, export_again, train_regressor

    if options.smoke:
        from tddfa.cli.train.smoke_regressor import smoke

        return 0 if smoke(options.out) else FAILED
    settings = settings_of(options)
    if options.export:
        print_line(f"{export_again(options.out, settings)}: written")
        return 0
    outcome = train_regressor(settings, options.out, resume=options.resume, device=options.device)
    tell_outcome(outcome, "crops")
    tell_end(outcome.finished, options.out, EXPORTED)
    return 0
