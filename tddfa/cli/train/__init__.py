"""``tddfa train``: one command for each network, and the commands that make training data."""

from __future__ import annotations

import argparse
from typing import Any

from tddfa.cli.train import convention, fit, label, predictions, prepare
from tddfa.cli.train._training import TRAININGS


def add_parser(commands: Any) -> None:
    """Add ``train`` to the commands of ``tddfa``."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train", help="train the networks, and make training data", description=__doc__
    )
    own = parser.add_subparsers(dest="train_command", required=True, metavar="COMMAND")
    for training in TRAININGS:
        sub = own.add_parser(training.name, help=training.help, description=training.description)
        training.add_arguments(sub)
        sub.set_defaults(run=training.run)
    for name, module, help_text in (
        ("fit", fit, "label photos: landmarks to pose, shape and expression"),
        ("label", label, "label real photos of turned faces and of closed eyes"),
        ("prepare", prepare, "make more crops to train on: turned, edited, synthetic, ..."),
        ("predictions", predictions, "find the faces that the detector learns, with another detector"),
        ("convention", convention, "add another landmark convention to a face model"),
    ):
        sub = own.add_parser(name, help=help_text, description=module.__doc__)
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
