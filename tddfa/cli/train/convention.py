"""Landmark conventions: ``tddfa train convention OUT.npz CROPS...`` adds one to a copy of a face model.

It aligns the same faces with both models, and takes the median offset between their landmarks in the head's frame::

    tddfa train convention OUT.npz CROPS... --like mb05_120x120 --name 300w-lp
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tddfa.cli._common import add_config_option, integer, own_config, print_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``tddfa train convention``."""
    parser.add_argument("target", type=Path, metavar="OUT.npz", help="the copy to write")
    parser.add_argument("crops", nargs="+", type=Path, metavar="CROPS", help="folders of labelled crops")
    add_config_option(parser, "the model whose face model is copied")
    parser.add_argument("--like", required=True, metavar="CONFIG", help="the model that has the landmarks elsewhere")
    parser.add_argument("--name", required=True, help="name of the landmark convention")
    parser.add_argument(
        "--count",
        type=integer(1, 1_000_000),
        default=4000,
        metavar="N",
        help="maximum number of crops (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Measure the offsets and write the copy; return the exit status."""
    import numpy as np

    from tddfa.train.data.crops import Crops
    from tddfa.train.labels.convention import add_convention

    crops = Crops.open(options.crops)
    config, like = own_config(options.config), own_config(options.like)
    added = add_convention(options.target, config, like, crops, options.name, options.count)
    length = np.linalg.norm(added.offsets, axis=1)
    print_line(
        f"{options.target}: {options.name}, from {added.faces} of {added.tried} faces: mean {length.mean():.2f} "
        f"{added.unit}, at most {length.max():.2f} {added.unit}"
    )
    return 0
