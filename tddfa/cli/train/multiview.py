"""``tddfa train multiview``: fine-tune a regressor so that what it finds in views of one head agrees (3DDFA+)."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tddfa.cli._common import FAILED, integer, print_line
from tddfa.cli.train._common import (
    add_schedule_options,
    read_settings,
    rescheduled,
    tell_end,
    tell_validation,
    with_torch,
)
from tddfa.cli.train.regressor import weighted_folder

if TYPE_CHECKING:
    from tddfa.train.multiview.settings import MultiviewSettings
    from tddfa.train.multiview.task import Finetuned


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``tddfa train multiview``."""
    parser.add_argument("--config", type=Path, metavar="FILE.yml", help="settings (see configs/train/multiview.yml)")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="checkpoints, log, regressor.onnx")
    parser.add_argument("--resume", action="store_true", help="go on from the folder's checkpoint")
    parser.add_argument("--init", type=Path, metavar="FILE.onnx", help="what is fine-tuned, in place of the settings'")
    parser.add_argument(
        "--data", type=weighted_folder, action="append", metavar="FOLDER[:WEIGHT]",
        help="labelled crops, in place of the settings'; again for more",
    )  # fmt: skip
    parser.add_argument(
        "--views", type=Path, metavar="DIR", help="stored views, DIR/multiview in EG3D's layout; else they are rendered"
    )
    parser.add_argument("--count", type=integer(3, 4096), metavar="N", help="views a step")
    parser.add_argument("--weight", type=float, metavar="WEIGHT", help="of what views tell; 0: labelled crops alone")
    add_schedule_options(parser, "labelled crops", "heads")


def settings_of(options: argparse.Namespace) -> MultiviewSettings:
    """Read the settings, with what the options put in their place.

    Raises
    ------
    ConfigError
        If a file or an option is not understood.
    """
    from tddfa.train.engine.settings import Folder
    from tddfa.train.multiview.settings import MultiviewSettings

    settings = read_settings(MultiviewSettings, options.config)
    regressor = replace(settings.regressor, schedule=rescheduled(settings.regressor.schedule, options))
    if options.init is not None:
        regressor = replace(regressor, init=options.init)
    if options.workers is not None:
        regressor = replace(regressor, workers=options.workers)
    if options.data is not None:
        regressor = replace(regressor, data=tuple(Folder(*entry) for entry in options.data))
    views = {"folder": options.views, "views_per_step": options.count, "weight": options.weight}
    own = {name: value for name, value in views.items() if value is not None}
    return MultiviewSettings(regressor, replace(settings.views, **own))


def run(options: argparse.Namespace) -> int:
    """Fine-tune; 0, or 1 with a message."""
    return with_torch(_run, options)


def _run(options: argparse.Namespace) -> int:
    from tddfa.train.multiview.task import finetune
    from tddfa.train.regressor.task import EXPORTED

    if options.smoke:
        from tddfa.cli.train.smoke_multiview import smoke

        return 0 if smoke(options.out) else FAILED
    finetuned = finetune(settings_of(options), options.out, resume=options.resume, device=options.device)
    tell(finetuned)
    tell_end(finetuned.outcome.finished, options.out, EXPORTED)
    return 0


def tell(finetuned: Finetuned) -> None:
    """Say what came of it."""
    outcome = finetuned.outcome
    print_line(f"{outcome.steps} steps, {outcome.minutes:.1f} minutes")
    tell_validation({"before": finetuned.before, "the best after": finetuned.after})
