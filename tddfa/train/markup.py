"""Where another model has the 68 landmarks: how ``configs/open_face.npz`` got those of 300W-LP.

All mark-ups number the same 68 points, but put some of them elsewhere: AFLW2000-3D, labelled as 300W-LP was, has the
inner ends of the brows 4 % of the face's size farther apart than the annotators of 300-W, the bridge of the nose 3 %
lower, and the chin 3 % higher. Who compares landmarks of two models, or with labels of the other kind, measures that
too. ::

    python -m tddfa.train.markup FACES.npz OUT.npz --like mb05_120x120 --name 300w-lp CROPS...

aligns the same faces with both models, and writes a copy of the face model with the mean way from the one's landmarks
to the other's, in the head's own frame.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from tddfa.aligner import Aligner
from tddfa.crop import roi_from_landmarks
from tddfa.face_model import LANDMARK_REGIONS, OFFSET_PREFIX
from tddfa.mirror import LANDMARKS
from tddfa.npz import add_arrays
from tddfa.train.crops import Crops
from tddfa.train.refit import labelled_landmarks
from tddfa.types import Face

# Landmarks farther apart than this on the mean, a share of the face's size: one of the two lost the face.
_LOST = 0.12
_INNER = slice(LANDMARK_REGIONS["jaw"].stop, 68)
# What a head keeps of its offset when it is mirrored.
_MIRROR = np.array([-1.0, 1.0, 1.0])
_MOST_BYTES = 1 << 30


def landmark_offsets(pairs: Sequence[tuple[Face, Face]]) -> NDArray[np.float32]:
    """Mean way from the landmarks of one model to those of another, of faces that both have aligned.

    Parameters
    ----------
    pairs : sequence of (Face, Face)
        The same face by the one and by the other, in px of the same picture. Where one of them lost it, the pair does
        not count.

    Returns
    -------
    ndarray (68, 3) float32
        In the frame and unit of the first model, the same on both sides of the face: the median over the faces. Depth,
        which is free of one view's, is counted from the median of the inner landmarks.

    Raises
    ------
    ValueError
        If no pair counts.
    """
    found = []
    for own, other in pairs:
        apart = other.landmarks.astype(np.float64) - own.landmarks
        size = np.sqrt(np.prod(np.ptp(own.landmarks[:, :2], axis=0)))
        if not np.linalg.norm(apart[:, :2], axis=1).mean() <= _LOST * size:
            continue
        apart[:, 2] -= np.median(apart[_INNER, 2])
        found.append(np.linalg.solve(own.camera.matrix[:, :3].astype(np.float64), apart.T).T)
    if not found:
        raise ValueError("pairs: expected faces that both models find at the same place, got none")
    middle = np.median(found, axis=0)
    return np.asarray((middle + middle[LANDMARKS] * _MIRROR) / 2, dtype=np.float32)


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Copy a face model with another mark-up added; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tddfa.train.markup", description=__doc__)
    parser.add_argument("source", metavar="FACES.npz", help="the face model")
    parser.add_argument("target", metavar="OUT.npz", help="where to write the copy")
    parser.add_argument("crops", nargs="+", metavar="CROPS", help="folders of labelled crops")
    parser.add_argument("-c", "--config", default="open_mb05", help="a model with that face model (%(default)s)")
    parser.add_argument("--like", required=True, metavar="CONFIG", help="the model that has the landmarks elsewhere")
    parser.add_argument("--name", required=True, help="what the mark-up is called")
    parser.add_argument("--count", type=int, default=4000, help="how many crops to look at (%(default)s)")
    options = parser.parse_args(arguments)
    crops = Crops.open(options.crops)
    usable = np.flatnonzero(crops.labels.has_params & ~crops.labels.validation)
    rows = np.random.default_rng(0).permutation(usable)[: options.count]
    own, other = (Aligner.load(config, exact_crop=True) for config in (options.config, options.like))
    offsets = landmark_offsets(aligned_by_both(crops.take(np.sort(rows)), own, other))
    add_arrays(options.source, options.target, {f"{OFFSET_PREFIX}{options.name}": offsets}, _MOST_BYTES)
    unit, farthest = own.face_model.unit, np.linalg.norm(offsets, axis=1)
    sys.stdout.write(
        f"{options.target}: {options.name}, from {len(rows)} faces: mean {farthest.mean():.2f} {unit}, "
        f"at most {farthest.max():.2f} {unit}\n"
    )


if __name__ == "__main__":
    main()
