"""The commands of ``tddfa train`` that train a network: one row of `TRAININGS` each, parsed and run by one function."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from tddfa._shared.packages import needs
from tddfa._shared.terminal.parser import UsageError
from tddfa.cli._common import FAILED, folder, integer, print_error, print_line

if TYPE_CHECKING:
    from tddfa.train.engine.loop import Outcome
    from tddfa.train.engine.settings import Schedule

MISSING_TORCH = needs("training", "torch", "onnx")


@dataclass(frozen=True)
class Training:
    """A command that trains a network. Functions are named as ``module:name``, because parsing must not import torch.

    Attributes
    ----------
    name, help, description : str
        Of the command.
    config : str
        The settings that the repository has for it.
    samples : str
        What a step takes.
    smoke_samples : str
        What ``--smoke`` renders to train on.
    exported : str
        Name of the exported network's file.
    settings : str
        The settings' dataclass.
    train : str
        ``train(settings, out, resume=..., device=...)``; returns an `Outcome`.
    export : str
        ``export(out, settings)`` exports the best network so far; returns its path.
    smoke : str
        ``smoke(out)`` tries all of it in a minute; returns a `tddfa.train.engine.smoke.SmokeResult`.
    add_options : callable
        Adds the options that this command alone has.
    override : callable
        Puts the options in the place of the settings' values.
    init : str
        Help of ``--init``.
    """

    name: str
    help: str
    description: str
    config: str
    samples: str
    smoke_samples: str
    exported: str
    settings: str
    train: str
    export: str
    smoke: str
    add_options: Callable[[argparse.ArgumentParser], None]
    override: Callable[[Any, argparse.Namespace], Any]
    init: str = "start from a released network (.onnx)"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options of the command."""
        parser.add_argument(
            "--config", type=Path, metavar="FILE.yml", help=f"settings (see configs/train/{self.config})"
        )
        parser.add_argument(
            "--out", type=folder, required=True, metavar="FOLDER", help=f"checkpoints, log, {self.exported}"
        )
        parser.add_argument("--resume", action="store_true", help="continue from the folder's checkpoint")
        parser.add_argument(
            "--export", action="store_true", help=f"do not train: export the best network so far to {self.exported}"
        )
        parser.add_argument("--init", type=Path, metavar="FILE", help=self.init)
        self.add_options(parser)
        parser.add_argument("--minutes", type=positive, metavar="N", help="maximum duration of the whole training")
        parser.add_argument("--steps", type=integer(1, 10**9), metavar="N", help="maximum steps of the whole training")
        parser.add_argument(
            "--batch", dest="batch_size", type=integer(1, 4096), metavar="N", help=f"{self.samples} per step"
        )
        parser.add_argument("--learning-rate", type=positive, metavar="RATE", help="peak learning rate")
        parser.add_argument("--seed", type=integer(0, 2**31 - 1), metavar="N", help="seed of all random numbers")
        parser.add_argument("--workers", type=integer(0, 256), metavar="N", help="processes that make batches")
        parser.add_argument("--device", default="cpu", metavar="NAME", help="torch device (default: %(default)s)")
        parser.add_argument(
            "--smoke", action="store_true", help=f"try all of it in a minute, on rendered {self.smoke_samples}"
        )

    def settings_of(self, options: argparse.Namespace) -> Any:
        """Read the settings, with the options in the place of their values.

        Raises
        ------
        UsageError
            If there is no file.
        ConfigError
            If the file or an option is not understood.
        """
        from tddfa._shared.settings import load_settings

        if options.config is None:
            raise UsageError("--config: expected a file of settings, got none")
        return self.override(load_settings(resolve_name(self.settings), options.config), options)

    def run(self, options: argparse.Namespace) -> int:
        """Train; return the exit status."""
        try:
            import torch
        except ImportError:
            print_error(MISSING_TORCH)
            return FAILED
        del torch
        if options.smoke:
            _check_alone(options)
            result = resolve_name(self.smoke)(options.out)
            report(result.outcome, self.samples)
            for line in result.lines:
                print_line(line)
            return 0 if result.passed else FAILED
        settings = self.settings_of(options)
        if options.export:
            print_line(f"{resolve_name(self.export)(options.out, settings)}: written")
            return 0
        outcome = resolve_name(self.train)(settings, options.out, resume=options.resume, device=options.device)
        report(outcome, self.samples)
        if outcome.finished:
            print_line(f"{options.out / getattr(settings, 'exported', self.exported)}: written")
        else:
            print_line(f"stopped; continue with --resume --out {options.out}")
        return 0


def _check_alone(options: argparse.Namespace) -> None:
    """Refuse other options beside ``--smoke``, which has its own settings and data."""
    for action in options.parser._actions:
        given = getattr(options, action.dest, action.default)
        if action.option_strings and action.dest not in ("out", "smoke", "debug") and given != action.default:
            raise UsageError(f"--smoke: expected --out alone, got {action.option_strings[0]}")


def report(outcome: Outcome, samples: str) -> None:
    """Print how much was done, and what was measured."""
    speed = outcome.samples / max(60 * outcome.minutes, 1e-9)
    print_line(
        f"{outcome.steps} steps, {outcome.samples} {samples}, {outcome.minutes:.1f} minutes, {speed:.0f} {samples}/s"
    )
    measured = {"before": outcome.start, "at the end": outcome.validation, "best": outcome.best}
    for name, values in measured.items():
        if values:
            print_line(f"validation {name}: " + ", ".join(f"{key} {value:.3f}" for key, value in values.items()))


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


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=weighted_folder,
        action="append",
        metavar="FOLDER[:WEIGHT]",
        help="labelled crops, instead of those in the settings; may be given several times",
    )


def _add_views(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    parser.add_argument(
        "--views", type=Path, metavar="DIR", help="stored views, DIR/multiview in EG3D's layout (default: rendered)"
    )
    parser.add_argument("--count", type=integer(3, 4096), metavar="N", help="views per step")
    parser.add_argument(
        "--weight", type=float, metavar="WEIGHT", help="weight of the views' loss; 0: labelled crops alone"
    )


def _add_samples(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--samples", type=integer(2, 10**7), metavar="N", help="aligned crops to train on, in place of the settings'"
    )


def _add_jvcr(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    parser.add_argument(
        "--stage",
        choices=("all", "volumes", "coordinates", "joint"),
        metavar="NAME",
        help="train one stage alone: volumes, coordinates or joint (default: all, one after the other)",
    )


def _add_scans(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, action="append", metavar="FOLDER",
        help="synthetic scans (prepare scans), instead of those in the settings; may be given several times",
    )  # fmt: skip


def _given(options: argparse.Namespace, **names: str) -> dict[str, Any]:
    """Options that were given, by the names of the settings they replace."""
    return {key: getattr(options, name) for key, name in names.items() if getattr(options, name) is not None}


def _schedule(schedule: Schedule, options: argparse.Namespace) -> Schedule:
    names = ("minutes", "steps", "batch_size", "learning_rate", "seed")
    given = _given(options, **dict(zip(names, names, strict=True)))
    if "minutes" in given and "steps" not in given:
        # the clock alone ends it
        given["steps"] = 10**9
    return replace(schedule, **given)


def _overridden(settings: Any, options: argparse.Namespace, **others: Any) -> Any:
    """The settings with the options that all trainings have, and `others`, in the place of their values."""
    given = _given(options, init="init", workers="workers")
    return replace(settings, schedule=_schedule(settings.schedule, options), **given, **others)


def _override_regressor(settings: Any, options: argparse.Namespace) -> Any:
    from tddfa.train.engine.settings import Folder

    if options.data is None:
        return _overridden(settings, options)
    return _overridden(settings, options, data=tuple(Folder(*entry) for entry in options.data))


def _override_jvcr(settings: Any, options: argparse.Namespace) -> Any:
    # an option holds for all stages: those of the file have their own values for some
    own = dict.fromkeys(_given(options, batch_size="batch_size", learning_rate="learning_rate"))
    stages = {name: replace(stage, **own) for name, stage in vars(settings.stages).items()}
    settings = replace(settings, stages=replace(settings.stages, **stages), **_given(options, stage="stage"))
    return _override_regressor(settings, options)


def _override_score(settings: Any, options: argparse.Namespace) -> Any:
    return _overridden(settings, options, **_given(options, samples="samples"))


def _override_scan(settings: Any, options: argparse.Namespace) -> Any:
    if options.data is None:
        return _overridden(settings, options)
    return _overridden(settings, options, data=tuple(options.data))


def _override_multiview(settings: Any, options: argparse.Namespace) -> Any:
    views = replace(settings.views, **_given(options, folder="views", views_per_step="count", weight="weight"))
    if settings.jvcr is not None:
        if options.init is not None:
            raise UsageError("--init: expected none for a network of JVCR; its settings name a checkpoint")
        return replace(settings, jvcr=_override_regressor(settings.jvcr, options), views=views)
    return replace(settings, regressor=_override_regressor(settings.regressor, options), views=views)


TRAININGS = (
    Training(
        name="regressor",
        help="train the regressor: crops to pose, shape and expression",
        description="Train the regressor on labelled crops, stop and resume, and export the best network.",
        config="open_mb05.yml",
        samples="crops",
        smoke_samples="heads",
        exported="regressor.onnx",
        settings="tddfa.train.regressor.settings:RegressorSettings",
        train="tddfa.train.regressor.task:train_regressor",
        export="tddfa.train.regressor.task:export_again",
        smoke="tddfa.train.regressor.smoke:smoke",
        add_options=_add_data,
        override=_override_regressor,
    ),
    Training(
        name="detector",
        help="train the detector: images to boxes",
        description="Train the detector on photos with faces, stop and resume, and export the best network.",
        config="faceboxes.yml",
        samples="scenes",
        smoke_samples="images",
        exported="faceboxes.onnx",
        settings="tddfa.train.detector.settings:DetectorSettings",
        train="tddfa.train.detector.task:train_detector",
        export="tddfa.train.detector.task:export_best",
        smoke="tddfa.train.detector.smoke:smoke",
        add_options=lambda _: None,
        override=_overridden,
    ),
    Training(
        name="multiview",
        help="fine-tune the regressor on views of one head, so that they agree",
        description="Fine-tune a regressor so that its predictions for views of one head agree (3DDFA+).",
        config="multiview.yml",
        samples="labelled crops",
        smoke_samples="heads",
        exported="regressor.onnx",
        settings="tddfa.train.multiview.settings:MultiviewSettings",
        train="tddfa.train.multiview.task:finetune",
        export="tddfa.train.multiview.task:export_again",
        smoke="tddfa.train.multiview.smoke:smoke",
        add_options=_add_views,
        override=_override_multiview,
    ),
    Training(
        name="score",
        help="train the regressor's score alone: the probability that an alignment is right",
        description="Train the score of a regressor on crops with known alignment error; its other outputs stay "
        "equal to the bit. --export --init FILE puts the trained score into another file, such as the one in 8 bits.",
        config="score.yml",
        samples="crops",
        smoke_samples="heads",
        exported="regressor.onnx",
        settings="tddfa.train.score.settings:ScoreSettings",
        train="tddfa.train.score.task:train_score",
        export="tddfa.train.score.task:export_score",
        smoke="tddfa.train.score.smoke:smoke",
        add_options=_add_samples,
        override=_override_score,
    ),
    Training(
        name="jvcr",
        help="train JVCR: crops to volumes of voxels and 68 landmarks in 3D",
        description="Train JVCR in three stages (volumes, coordinates, both together), and export the best network.",
        config="jvcr_s.yml",
        samples="crops",
        smoke_samples="heads",
        exported="jvcr.onnx",
        settings="tddfa.train.jvcr.settings:JvcrSettings",
        train="tddfa.train.jvcr.task:train_jvcr",
        export="tddfa.train.jvcr.task:export_again",
        smoke="tddfa.train.jvcr.smoke:smoke",
        add_options=_add_jvcr,
        override=_override_jvcr,
    ),
    Training(
        name="scan",
        help="train the landmarker of 3D scans: points to heat of 68 landmarks",
        description="Train stage 1 of 2S-SGCN on synthetic scans (prepare scans), stop and resume, and export the "
        "best network.",
        config="scan.yml",
        samples="scans",
        smoke_samples="heads",
        exported="scan.onnx",
        settings="tddfa.train.scan.settings:ScanTrainingSettings",
        train="tddfa.train.scan.task:train_scan",
        export="tddfa.train.scan.task:export_again",
        smoke="tddfa.train.scan.smoke:smoke",
        add_options=_add_scans,
        override=_override_scan,
        init="start from the network of another training (best.pt)",
    ),
)
"""All trainings: a new one is a row here."""
