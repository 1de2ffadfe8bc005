"""What the commands of ``tddfa train`` that train a network share: options, settings, and how they report."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tddfa.cli._common import FAILED, expected_errors, integer, print_error, print_line

if TYPE_CHECKING:
    from tddfa.train.engine.loop import Outcome
    from tddfa.train.engine.settings import Schedule

T = TypeVar("T")

MISSING_TORCH = "training needs torch: pip install 'tddfa[train]'"


def positive(text: str) -> float:
    """Parse a number over 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number over 0, got {text!r}")
    return value


def add_schedule_options(parser: argparse.ArgumentParser, samples: str, made: str) -> None:
    """Add the options of how long and how fast to train; `samples` is what a step takes, `made` what is made to try."""
    parser.add_argument("--minutes", type=positive, metavar="N", help="minutes the whole training takes at most")
    parser.add_argument("--steps", type=integer(1, 10**9), metavar="N", help="steps the whole training takes at most")
    parser.add_argument("--batch", dest="batch_size", type=integer(1, 4096), metavar="N", help=f"{samples} a step")
    parser.add_argument("--learning-rate", type=positive, metavar="RATE", help="the highest")
    parser.add_argument("--seed", type=integer(0, 2**31 - 1), metavar="N", help="of all chance")
    parser.add_argument("--workers", type=integer(0, 256), metavar="N", help="processes that make batches")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="torch's device (default: %(default)s)")
    parser.add_argument("--smoke", action="store_true", help=f"try it all in a minute, on {made} made for it")


def read_settings(cls: type[T], config: Path | None) -> T:
    """Read the file of ``--config``.

    Raises
    ------
    ConfigError
        If none is given, or if it is not understood.
    """
    from tddfa._shared.errors import ConfigError
    from tddfa._shared.settings import load_settings

    if config is None:
        raise ConfigError("--config: expected a file of settings, got none")
    return load_settings(cls, config)


def rescheduled(schedule: Schedule, options: argparse.Namespace) -> Schedule:
    """Put what the options of `add_schedule_options` say in the place of the settings'."""
    names = ("minutes", "steps", "batch_size", "learning_rate", "seed")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if "minutes" in given and "steps" not in given:
        # the clock alone is to end it
        given["steps"] = 10**9
    return dataclasses.replace(schedule, **given)


def with_torch(train: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Run a command that needs torch; 1 with a message where that is missing, or where it fails."""
    try:
        import torch
    except ImportError:
        print_error(MISSING_TORCH)
        return FAILED
    del torch
    failures: tuple[type[Exception], ...] = (*expected_errors(), FloatingPointError)
    try:
        return train(options)
    except failures as error:
        print_error(str(error) or type(error).__name__)
        return FAILED


def tell_outcome(outcome: Outcome, samples: str) -> None:
    """Say how much was done, and what came of it."""
    speed = outcome.samples / max(60 * outcome.minutes, 1e-9)
    print_line(
        f"{outcome.steps} steps, {outcome.samples} {samples}, {outcome.minutes:.1f} minutes, "
        f"{speed:.0f} {samples} a second"
    )
    tell_validation({"validation, at the end": outcome.validation, "validation, the best": outcome.best})


def tell_validation(figures: dict[str, dict[str, float]]) -> None:
    """Say what was measured, by when; what is empty was not measured."""
    for name, values in figures.items():
        if values:
            print_line(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in values.items()))


def tell_end(finished: bool, out: Path, exported: str) -> None:
    """Say where the network is, or how to go on."""
    print_line(f"{out / exported}: written" if finished else f"stopped; go on with --resume --out {out}")
