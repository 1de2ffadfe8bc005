"""Faces that a detector finds in training images: ``tddfa train predictions FOLDER OUT.npz``.

The training of the detector takes boxes and points from the file (``predictions`` in its settings). Each image is seen
at several scales, so that a teacher that is weak on small or large faces finds them too. With ``--aligner``, the
training takes the rotations of the heads from it as well.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tddfa._shared.terminal.progress import progress
from tddfa.cli._common import print_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``tddfa train predictions``."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="images, or labelled crops")
    parser.add_argument("target", type=Path, metavar="OUT.npz", help="the file to write")
    parser.add_argument(
        "-c",
        "--config",
        default="open_mb05_yunet",
        metavar="NAME|FILE.yml",
        help="the model whose detector is the teacher (default: %(default)s, see tddfa fetch yunet)",
    )
    parser.add_argument(
        "--min-score",
        type=float,
        default=0.3,
        metavar="SCORE",
        help="faces below it are left out (default: %(default)s)",
    )
    parser.add_argument(
        "--aligner",
        metavar="NAME|FILE.yml",
        help="also store the rotation and the five points of each face that this model aligns with a face score of at "
        "least 0.8",
    )


def run(options: argparse.Namespace) -> int:
    """Find the faces and write the file."""
    from tddfa.aligner import Aligner
    from tddfa.detector import Detector
    from tddfa.train.detector.predictions import predict, with_rotations, write_predictions

    teacher = Detector.load(options.config, threads=1).with_options(score=options.min_score)
    aligner = None if options.aligner is None else Aligner.load(options.aligner, threads=1)
    count, images = _images(options.folder)
    found = []
    for name, image in progress(images, total=count, unit="images"):
        faces = predict(teacher, image)
        found.append((name, faces if aligner is None else with_rotations(faces, aligner(image))))
    write_predictions(options.target, found)
    total = sum(len(detections) for _, detections in found)
    print_line(f"{options.target}: {total} faces in {count} images")
    return 0


def _images(folder: Path) -> tuple[int, Iterator[tuple[str, NDArray[np.uint8]]]]:
    """Number of images, and their names in the training with their pixels."""
    from tddfa._shared import image_io
    from tddfa.train.data.crops import Crops
    from tddfa.train.data.shards import LABELS
    from tddfa.train.detector.data import images_in

    if (folder / LABELS).is_file():
        crops = Crops.open([folder])
        return len(crops), ((f"{row:06d}.jpg", crops.image(row)) for row in range(len(crops)))
    paths = images_in(folder)
    return len(paths), ((path.name, image_io.read(path)) for path in paths)
