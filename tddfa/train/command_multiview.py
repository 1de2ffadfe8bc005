"""``tddfa train multiview``: fine-tune a regressor so that what it finds in views of one head agrees (3DDFA+)."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tddfa.cli_common import FAILED, complain, say, trouble, whole
from tddfa.train.command_regressor import MISSING_TORCH, positive, weighted_folder

if TYPE_CHECKING:
    from tddfa.train.finetune_multiview import Finetuned, MultiviewSettings


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
    parser.add_argument("--minutes", type=positive, metavar="N", help="minutes the whole training takes at most")
    parser.add_argument("--steps", type=whole(1, 10**9), metavar="N", help="steps the whole training takes at most")
    parser.add_argument("--batch", type=whole(1, 4096), metavar="N", help="labelled crops a step")
    parser.add_argument("--count", type=whole(3, 4096), metavar="N", help="views a step")
    parser.add_argument("--weight", type=float, metavar="WEIGHT", help="of what views tell; 0: labelled crops alone")
    parser.add_argument("--learning-rate", type=positive, metavar="RATE", help="the highest")
    parser.add_argument("--seed", type=whole(0, 2**31 - 1), metavar="N", help="of all chance")
    parser.add_argument("--workers", type=whole(0, 256), metavar="N", help="processes that make batches")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="torch's device (default: %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="try it all in a minute, on heads made for it")


def settings_of(options: argparse.Namespace) -> MultiviewSettings:
    """Read the settings, with what the options put in their place.

    Raises
    ------
    ConfigError
        If a file or an option is not understood.
    """
    from tddfa.config import ConfigError
    from tddfa.train.finetune_multiview import MultiviewSettings
    from tddfa.train.settings import Folder, load_settings

    if options.config is None:
        raise ConfigError("--config: expected a file of settings, got none")
    settings = load_settings(MultiviewSettings, options.config)
    names = ("minutes", "steps", "batch", "learning_rate", "seed")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if "minutes" in given and "steps" not in given:
        # the clock alone is to end it
        given["steps"] = 10**9
    regressor = replace(settings.regressor, schedule=replace(settings.regressor.schedule, **given))
    if options.init is not None:
        regressor = replace(regressor, init=options.init)
    if options.workers is not None:
        regressor = replace(regressor, workers=options.workers)
    if options.data is not None:
        regressor = replace(regressor, data=tuple(Folder(*entry) for entry in options.data))
    views = {"folder": options.views, "count": options.count, "weight": options.weight}
    own = {name: value for name, value in views.items() if value is not None}
    return MultiviewSettings(regressor, replace(settings.views, **own))


def run(options: argparse.Namespace) -> int:
    """Fine-tune; 0, or 1 with a message."""
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
    from tddfa.train.finetune_multiview import finetune
    from tddfa.train.regressor import EXPORTED

    if options.smoke:
        from tddfa.train.multiview_smoke import smoke

        return 0 if smoke(options.out) else FAILED
    finetuned = finetune(settings_of(options), options.out, resume=options.resume, device=options.device)
    tell(finetuned)
    if finetuned.outcome.finished:
        say(f"{options.out / EXPORTED}: written")
    else:
        say(f"stopped; go on with --resume --out {options.out}")
    return 0


def tell(finetuned: Finetuned) -> None:
    """Say what came of it."""
    outcome = finetuned.outcome
    say(f"{outcome.steps} steps, {outcome.minutes:.1f} minutes")
    for name, values in (("before", finetuned.before), ("the best after", finetuned.after)):
        if values:
            say(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in values.items()))
