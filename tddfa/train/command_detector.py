"""``tddfa train detector``: train the detector on boxes or by a teacher, stop and go on, and export what is best."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from tddfa.cli_common import FAILED, complain, say, trouble, whole
from tddfa.train.command_regressor import MISSING_TORCH, positive

if TYPE_CHECKING:
    from tddfa.train.detector_settings import DetectorSettings


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
    parser.add_argument("--minutes", type=positive, metavar="N", help="minutes the whole training takes at most")
    parser.add_argument("--steps", type=whole(1, 10**9), metavar="N", help="steps the whole training takes at most")
    parser.add_argument("--batch", type=whole(1, 4096), metavar="N", help="scenes a step")
    parser.add_argument("--learning-rate", type=positive, metavar="RATE", help="the highest")
    parser.add_argument("--seed", type=whole(0, 2**31 - 1), metavar="N", help="of all chance")
    parser.add_argument("--workers", type=whole(0, 256), metavar="N", help="processes that make batches")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="torch's device (default: %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="try it all in a minute, on pictures made for it")


def settings_of(options: argparse.Namespace) -> DetectorSettings:
    """Read the settings, with what the options put in their place.

    Raises
    ------
    ConfigError
        If a file or an option is not understood.
    """
    from tddfa.config import ConfigError
    from tddfa.train.detector_settings import DetectorSettings
    from tddfa.train.settings import load_settings

    if options.config is None:
        raise ConfigError("--config: expected a file of settings, got none")
    settings = load_settings(DetectorSettings, options.config)
    names = ("minutes", "steps", "batch", "learning_rate", "seed")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if "minutes" in given and "steps" not in given:
        # the clock alone is to end it
        given["steps"] = 10**9
    named = ("init", "teacher", "workers")
    replaced = {name: getattr(options, name) for name in named if getattr(options, name) is not None}
    return dataclasses.replace(settings, schedule=dataclasses.replace(settings.schedule, **given), **replaced)


def run(options: argparse.Namespace) -> int:
    """Train; 0, or 1 with a message."""
    try:
        import torch
    except ImportError:
        complain(MISSING_TORCH)
        return FAILED
    del torch
    failures: tuple[type[Exception], ...] = (*trouble(), FloatingPointError)
    try:
        return _run(options)
    except failures as error:
        complain(str(error) or type(error).__name__)
        return FAILED


def _run(options: argparse.Namespace) -> int:
    from tddfa.train.detector import EXPORTED, export_best, train_detector

    if options.smoke:
        from tddfa.train.detector_smoke import smoke

        return 0 if smoke(options.out) else FAILED
    settings = settings_of(options)
    if options.export:
        say(f"{export_best(options.out, settings)}: written")
        return 0
    outcome = train_detector(settings, options.out, resume=options.resume, device=options.device)
    speed = outcome.samples / max(60 * outcome.minutes, 1e-9)
    say(f"{outcome.steps} steps, {outcome.samples} scenes, {outcome.minutes:.1f} minutes, {speed:.0f} scenes a second")
    for name, values in (("at the end", outcome.validation), ("the best", outcome.best)):
        if values:
            say(f"validation, {name}: " + ", ".join(f"{key} {value:.3f}" for key, value in values.items()))
    if outcome.finished:
        say(f"{options.out / EXPORTED}: written")
    else:
        say(f"stopped; go on with --resume --out {options.out}")
    return 0
