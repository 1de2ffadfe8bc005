"""``tddfa train``: one command a network, and those that make data. Each is parsed and run by a module of its own."""

from __future__ import annotations

import argparse
import importlib
import logging
from collections.abc import Sequence
from typing import Any

# Name, the module that has its `add_arguments` and `run`, and what it does. None of them imports torch before it runs.
_COMMANDS = (
    ("regressor", "tddfa.cli.train.regressor", "train the regressor: crops to pose, shape and expression"),
    ("detector", "tddfa.cli.train.detector", "train the detector: pictures to boxes"),
    ("multiview", "tddfa.cli.train.multiview", "fine-tune the regressor on views of one head, so that they agree"),
    ("fit", "tddfa.cli.train.fit", "label photos: landmarks to pose, shape and expression"),
    ("prepare", "tddfa.cli.train.prepare", "make more crops to train on: turned, edited, synthetic, ..."),
)


def add(commands: Any) -> None:
    """Add ``train`` to the commands of ``tddfa``."""
    parser = commands.add_parser(
        "train", help="train the networks, and make what they are trained on", description=__doc__, allow_abbrev=False
    )
    add_commands(parser)


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add the commands of ``tddfa train`` to its parser; each sets `run`, which takes the options."""
    commands = parser.add_subparsers(dest="train_command", required=True, metavar="COMMAND")
    for name, module_name, help_text in _COMMANDS:
        module = importlib.import_module(module_name)
        sub = commands.add_parser(name, help=help_text, description=module.__doc__, allow_abbrev=False)
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do ``python -m tddfa.train``; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tddfa.train", description=__doc__, allow_abbrev=False)
    add_commands(parser)
    options = parser.parse_args(arguments)
    logging.basicConfig(format="tddfa: %(message)s", level=logging.WARNING)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return 130
