"""``tddfa models``: the models that ``-c`` takes by name."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tddfa.cli._common import FAILED, print_error, print_line, print_lines

if TYPE_CHECKING:
    from tddfa.model.catalogue import Accuracy
    from tddfa.model.config import Config

_HEADER = ("model", "precision", "size", "AFLW2000-3D", "LFPW", "head pose", "licence")
_LEFT_OUT = "not installed"
_LEGEND = """
size         both networks and the face model
AFLW2000-3D  error of the 68 landmarks (NME) in the convention of the labels, mean of three bins of yaw
LFPW         error of the 51 inner landmarks (NME) in the model's own convention
head pose    mean error of yaw, pitch and roll on AFLW2000-3D
All on crops from the ground truth; lower is better; -: not measured. RESULTS.md has more."""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``tddfa``."""
    parser = commands.add_parser(
        "models",
        help="list the models",
        description="List the models that -c takes by name, with size, accuracy and licence.",
    )
    parser.set_defaults(run=run_models)


def run_models(_options: argparse.Namespace) -> int:
    """Run ``tddfa models``; return the exit status: 0, or 1 if the files of a model cannot be read."""
    from tddfa._shared.errors import TddfaError
    from tddfa.model.assets import FETCHED_CONFIGS, config_files
    from tddfa.model.catalogue import ModelCard, model_cards

    cards, files = model_cards(), {path.stem: path for path in config_files()}
    rows, failed = [_HEADER], False
    for name in dict.fromkeys((*cards, *files)):
        card = cards.get(name, ModelCard(name, "-"))
        if name not in files:
            missing = "not fetched" if name in FETCHED_CONFIGS else "missing"
            rows.append((name, "float", missing, *_figures(card.accuracy), card.license))
            continue
        if _is_left_out(files[name]):
            rows.append((name, "float", _LEFT_OUT, *_figures(card.accuracy), card.license))
            continue
        try:
            for precision, size in _sizes(files[name]):
                accuracy = card.accuracy if precision == "float" else card.accuracy_int8
                rows.append((name, precision, f"{size / 1e6:.1f} MB", *_figures(accuracy), card.license))
        except (TddfaError, OSError) as error:
            print_error(str(error))
            failed = True
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    for row in rows:
        print_line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print_lines(_LEGEND)
    if any(_LEFT_OUT in row for row in rows):
        print_line(f"{_LEFT_OUT}  --weights DIR, the folder weights/ of a checkout")
    for what in dict.fromkeys(what for name, what in FETCHED_CONFIGS.items() if name not in files):
        print_line(f"not fetched  tddfa fetch {what}")
    return FAILED if failed else 0


def _is_left_out(path: Any) -> bool:
    """Whether the installed package does not have the network of a shipped config, and no other folder has it."""
    from tddfa.model.assets import NOT_IN_WHEELS, data_folder, located

    left_out = {data_folder() / name for name in NOT_IN_WHEELS}
    shipped = path.parent == data_folder() / "configs"
    return shipped and any(file.stem == path.stem and not located(file).is_file() for file in left_out)


def _sizes(path: Any) -> Iterator[tuple[str, int]]:
    """Each precision of a model, and the bytes of its files."""
    from tddfa.model.config import PRECISIONS, Config

    config = Config.load(path)
    for precision in PRECISIONS:
        if precision == "float" or config.model_int8 is not None:
            yield precision, _bytes(config.with_precision(precision))


def _bytes(config: Config) -> int:
    from tddfa.model.assets import located

    return sum(located(path).stat().st_size for path in (config.model, config.detector.file, config.face_model))


def _figures(accuracy: Accuracy) -> tuple[str, str, str]:
    values = ((accuracy.aflw2000_3d, " %"), (accuracy.lfpw, " %"), (accuracy.pose, "°"))
    aflw, lfpw, pose = ("-" if value is None else f"{value:.2f}{unit}" for value, unit in values)
    return aflw, lfpw, pose
