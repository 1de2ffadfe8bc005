"""``tddfa train regressor``: train the regressor on labelled crops, stop and go on, and export what is best."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from tddfa.cli_common import FAILED, complain, say, trouble, whole

if TYPE_CHECKING:
    from tddfa.train.settings import RegressorSettings

MISSING_TORCH = "training needs torch: pip install 'tddfa[train]'"


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
    parser.add_argument("--minutes", type=positive, metavar="N", help="minutes the whole training takes at most")
    parser.add_argument("--steps", type=whole(1, 10**9), metavar="N", help="steps the whole training takes at most")
    parser.add_argument("--batch", type=whole(1, 4096), metavar="N", help="crops a step")
    parser.add_argument("--learning-rate", type=positive, metavar="RATE", help="the highest")
    parser.add_argument("--seed", type=whole(0, 2**31 - 1), metavar="N", help="of all chance")
    parser.add_argument("--workers", type=whole(0, 256), metavar="N", help="processes that make batches")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="torch's device (default: %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="try it all in a minute, on heads made for it")


def positive(text: str) -> float:
    """Parse a number over 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number over 0, got {text!r}")
    return value


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
    from tddfa.config import ConfigError
    from tddfa.train.settings import Folder, RegressorSettings, load_settings

    if options.config is None:
        raise ConfigError("--config: expected a file of settings, got none")
    settings = load_settings(RegressorSettings, options.config)
    names = ("minutes", "steps", "batch", "learning_rate", "seed")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if "minutes" in given and "steps" not in given:
        # the clock alone is to end it
        given["steps"] = 10**9
    settings = dataclasses.replace(settings, schedule=dataclasses.replace(settings.schedule, **given))
    if options.init is not None:
        settings = dataclasses.replace(settings, init=options.init)
    if options.workers is not None:
        settings = dataclasses.replace(settings, workers=options.workers)
    if options.data is not None:
        settings = dataclasses.replace(settings, data=tuple(Folder(*entry) for entry in options.data))
    return settings


def run(options: argparse.Namespace) -> int:
    """Train; 0, or 1 with a message."""
    try:
        import torch
    except ImportError:
        complain(MISSING_TORCH)
        return FAILED
    del torch
    try:
        return _run(options)
    except trouble() as error:
        complain(str(error))
        return FAILED
    except FloatingPointError as error:
        complain(str(error))
        return FAILED


def _run(options: argparse.Namespace) -> int:
    from tddfa.train.regressor import EXPORTED, export_again, train_regressor

    if options.smoke:
        from tddfa.train.regressor_smoke import smoke

        return 0 if smoke(options.out) else FAILED
    settings = settings_of(options)
    if options.export:
        say(f"{export_again(options.out, settings)}: written")
        return 0
    outcome = train_regressor(settings, options.out, resume=options.resume, device=options.device)
    speed = outcome.samples / max(60 * outcome.minutes, 1e-9)
    say(f"{outcome.steps} steps, {outcome.samples} crops, {outcome.minutes:.1f} minutes, {speed:.0f} crops a second")
    for name, values in (("at the end", outcome.validation), ("the best", outcome.best)):
        if values:
            say(f"validation, {name}: " + ", ".join(f"{key} {value:.3f}" for key, value in values.items()))
    if outcome.finished:
        say(f"{options.out / EXPORTED}: written")
    else:
        say(f"stopped; go on with --resume --out {options.out}")
    return 0
