"""Where another model has the 68 landmarks: how ``configs/open_face.npz`` got those of 300W-LP.

All landmark conventions number the same 68 points, but put some of them elsewhere: 300W-LP has the inner end of each brow 6 mm
farther to the side than the annotators of 300-W, the bridge of the nose 3 mm lower, the lips and the chin 2 to 4 mm
higher. Who compares landmarks of two models, or with labels of the other kind, measures that too. ::

    python -m tddfa.cli.train.convention OUT.npz CROPS... --like mb05_120x120 --name 300w-lp

aligns the same faces with both models, and writes a copy of the face model with the way from the one's landmarks to
the other's in the head's own frame, its median over the faces.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from tddfa._shared.npz import add_arrays
from tddfa.aligner import Aligner
from tddfa.cli._common import FAILED, expected_errors, integer, own_config, print_error, print_line
from tddfa.crop import roi_from_landmarks
from tddfa.landmarks68 import INNER
from tddfa.model.assets import config_path
from tddfa.model.config import Config
from tddfa.model.face_model import MAX_BYTES, OFFSET_PREFIX
from tddfa.model.mirror import mirrored_landmarks
from tddfa.train.data.crops import Crops
from tddfa.train.labels.refit import labelled_landmarks
from tddfa.types import Face

# Landmarks farther apart than this on the mean, a share of the face's size: one of the two lost the face.
_LOST = 0.12


def found_by_both(pairs: Iterable[tuple[Face, Face]]) -> list[tuple[Face, Face]]:
    """Those of the pairs whose two faces are at the same place; of the others, one of the models lost the face."""

    def together(own: Face, other: Face) -> bool:
        apart = np.linalg.norm((other.landmarks - own.landmarks)[:, :2].astype(np.float64), axis=1).mean()
        return bool(apart <= _LOST * np.sqrt(np.prod(np.ptp(own.landmarks[:, :2], axis=0))))

    return [pair for pair in pairs if together(*pair)]


def landmark_offsets(pairs: Sequence[tuple[Face, Face]]) -> NDArray[np.float32]:
    """Way from the landmarks of one model to those of another, of faces that both have aligned.

    Parameters
    ----------
    pairs : sequence of (Face, Face)
        The same face by the one and by the other, in px of the same picture; see `found_by_both`.

    Returns
    -------
    ndarray (68, 3) float32
        In the frame and unit of the first model, the same on both sides of the face: the median over the faces. Depth,
        which is free of one view's, is counted from the median of the inner landmarks.

    Raises
    ------
    ValueError
        If there is none.
    """
    found = []
    for own, other in pairs:
        apart = other.landmarks.astype(np.float64) - own.landmarks
        apart[:, 2] -= np.median(apart[INNER, 2])
        found.append(np.linalg.solve(own.camera.matrix[:, :3].astype(np.float64), apart.T).T)
    if not found:
        raise ValueError("pairs: expected faces that both models find at the same place, got none")
    middle = np.median(found, axis=0)
    # a picture of 1 px is turned over about x = 0, as a head is
    return np.asarray((middle + mirrored_landmarks(middle, 1)) / 2, dtype=np.float32)


def aligned_by_both(crops: Crops, own: Aligner, other: Aligner) -> list[tuple[Face, Face]]:
    """Align crops by two models, each in the square that it was trained for, around the labels' landmarks.

    Raises
    ------
    ValueError
        If the labels are of neither model's faces.
    """
    counts = crops.labels.shape.shape[1], crops.labels.expression.shape[1]
    models = [each.face_model for each in (own, other)]
    known = [model for model in models if (model.shape_count, model.expression_count) == counts]
    if not known:
        raise ValueError(f"crops: expected labels of one of the two models' faces, got {counts[0]} shapes and "
                         f"{counts[1]} expressions")  # fmt: skip
    pairs = []
    for row, points in enumerate(tqdm(labelled_landmarks(crops.labels, known[0]), "faces", leave=False)):
        image = np.ascontiguousarray(crops.image(row))
        (a,), (b,) = (each(image, rois=[roi_from_landmarks(points, each.crop)]) for each in (own, other))
        pairs.append((a, b))
    return pairs


def run(options: argparse.Namespace) -> str:
    """Find the offsets and write the copy; say what came of it.

    Raises
    ------
    OSError, ValueError
        If a file or an option does not fit; nothing is written.
    """
    options.config, options.like = own_config(options.config), own_config(options.like)
    source = Config.load(config_path(options.config)).face_model
    own, other = (Aligner.load(config, exact_crop=True) for config in (options.config, options.like))
    if options.name == own.face_model.surface_convention:
        raise ValueError(f"--name: expected another than that of the model's own landmarks, got {options.name!r}")
    crops = Crops.open(options.crops)
    usable = np.flatnonzero(crops.labels.has_params & ~crops.labels.validation)
    rows = np.random.default_rng(0).permutation(usable)[: options.count]
    pairs = found_by_both(aligned_by_both(crops.take(np.sort(rows)), own, other))
    offsets = landmark_offsets(pairs)
    add_arrays(source, options.target, {f"{OFFSET_PREFIX}{options.name}": offsets}, MAX_BYTES)
    unit, farthest = own.face_model.unit, np.linalg.norm(offsets, axis=1)
    return (
        f"{options.target}: {options.name}, from {len(pairs)} of {len(rows)} faces: mean {farthest.mean():.2f} {unit}, "
        f"at most {farthest.max():.2f} {unit}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Copy a face model with another landmark convention added, see the module's docstring; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tddfa.cli.train.convention",
        description="Find where another model has the 68 landmarks, and write a copy of the face model with them.",
    )
    parser.add_argument("target", type=Path, metavar="OUT.npz", help="where to write the copy")
    parser.add_argument("crops", nargs="+", type=Path, metavar="CROPS", help="folders of labelled crops")
    parser.add_argument("-c", "--config", default="open_mb05", help="the model whose face model it is (%(default)s)")
    parser.add_argument("--like", required=True, metavar="CONFIG", help="the model that has the landmarks elsewhere")
    parser.add_argument("--name", required=True, help="what the landmark convention is called")
    parser.add_argument(
        "--count", type=integer(1, 1_000_000), default=4000, metavar="N", help="how many crops to look at (%(default)s)"
    )
    try:
        print_line(run(parser.parse_args(arguments)))
    except expected_errors() as error:
        print_error(str(error))
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
