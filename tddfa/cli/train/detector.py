"""``tddfa train detector``: train the detector on boxes or by a teacher, stop and go on, and export what is best."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from tddfa.cli._common import FAILED, print_line
from tddfa.cli.train._common import (
    add_schedule_options,
    read_settings,
    rescheduled,
    tell_end,
    tell_outcome,
    with_torch,
)

if TYPE_CHECKING:
    from tddfa.train.detector.settings import DetectorSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``tddfa train detector``."""
    parser.add_argument("--config", type=Path, metavar="FILE.yml", help="settings (see configs/train/faceboxes.yml)")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="checkpoints, log, faceboxes.onnx")
    parser.add_argument("--resume", action="store_true", help="go on from the folder's checkpoint")
    parser.add_argument(
        "--export", action="store_true", help="train no further: export the best so far to faceboxes.onnx in the folder"
    )
    parser.add_argument("--init", type=Path, metavar="FILE.onnx", help="go on from a released network")
    parser.add_argument("--teacher", type=Path, metavar="FILE.onnx", help="a detector whose soft scores are learnt")
    add_schedule_options(parser, "scenes", "pictures")


def settings_of(options: argparse.Namespace) -> DetectorSettings:
    """Read the settings, with what the options put in their place.

    Raises
    ------
    ConfigError
        If a file or an option is not understood.
    """
    from tddfa.train.detector.settings import DetectorSettings

    settings = read_settings(DetectorSettings, options.config)
    named = ("init", "teacher", "workers")
    replaced = {name: getattr(options, name) for name in named if getattr(options, name) is not None}
    return dataclasses.replace(settings, schedule=rescheduled(settings.schedule, options), **replaced)


def run(options: argparse.Namespace) -> int:
    """Train; 0, or 1 with a message."""
    return with_torch(_run, options)


def _run(options: argparse.Namespace) -> int:
    from tddfa.train.detector.task import EXPORTED, export_best, train_detector

    if options.smoke:
        from tddfa.cli.train.smoke_detector import smoke

        return 0 if smoke(options.out) else FAILED
    settings = settings_of(options)
    if options.export:
        print_line(f"{export_best(options.out, settings)}: written")
        return 0
    outcome = train_detector(settings, options.out, resume=options.resume, device=options.device)
    tell_outcome(outcome, "scenes")
    tell_end(outcome.finished, options.out, EXPORTED)
    return 0
