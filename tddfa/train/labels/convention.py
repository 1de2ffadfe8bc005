"""Landmark conventions: the offsets from one model's 68 landmarks to another's, on the surface of a face model.

All landmark conventions number the same 68 points, but put some of them elsewhere: 300W-LP has the inner end of each
brow 6 mm farther to the side than the annotators of 300-W, the bridge of the nose 3 mm lower, the lips and the chin 2
to 4 mm higher. A comparison of landmarks of two models, or with labels of the other kind, measures these offsets too.
``configs/open_face.npz`` got the offsets of 300W-LP from `add_convention`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.npz import add_arrays
from tddfa._shared.terminal.progress import progress
from tddfa.aligner import Aligner
from tddfa.crop import roi_from_landmarks
from tddfa.landmarks68 import INNER
from tddfa.model.assets import config_path
from tddfa.model.config import Config
from tddfa.model.face_model import MAX_BYTES, OFFSET_PREFIX
from tddfa.model.mirror import mirrored_landmarks
from tddfa.train.data.crops import Crops
from tddfa.train.labels.refit import labelled_landmarks
from tddfa.types import Face

# Mean distance of the landmarks, as a fraction of the face's size, beyond which one of the two models lost the face.
_LOST = 0.12


@dataclass(frozen=True, eq=False)
class AddedConvention:
    """The offsets that were added to a face model.

    Attributes
    ----------
    offsets : ndarray (68, 3) float32
        In the frame and unit of the face model.
    unit : str
        Of the face model.
    faces, tried : int
        Faces that the offsets were measured on, and crops that were aligned.
    """

    offsets: NDArray[np.float32]
    unit: str
    faces: int
    tried: int


def add_convention(
    out: str | os.PathLike[str],
    config: str | os.PathLike[str],
    like: str | os.PathLike[str],
    crops: Crops,
    name: str,
    count: int = 4000,
) -> AddedConvention:
    """Write a copy of a face model that has the landmark convention of another model too.

    Parameters
    ----------
    out : path
        The copy, ``.npz``.
    config : str or path
        The model whose face model is copied.
    like : str or path
        The model that has the landmarks elsewhere.
    crops : Crops
        Labelled crops of faces that both models align; those for validation are left out.
    name : str
        Of the landmark convention.
    count : int
        Maximum number of crops.

    Raises
    ------
    OSError, ValueError
        If a file or an argument does not fit; nothing is written.
    """
    source = Config.load(config_path(config)).face_model
    own, other = (Aligner.load(each, exact_crop=True) for each in (config, like))
    if name == own.face_model.convention:
        raise ValueError(f"name: expected a new name, got {name!r}, the model's own landmark convention")
    usable = np.flatnonzero(crops.labels.has_params & ~crops.labels.validation)
    rows = np.random.default_rng(0).permutation(usable)[:count]
    pairs = matching_pairs(aligned_pairs(crops.take(np.sort(rows)), own, other))
    offsets = landmark_offsets(pairs)
    add_arrays(source, Path(out), {f"{OFFSET_PREFIX}{name}": offsets}, MAX_BYTES)
    return AddedConvention(offsets, own.face_model.unit, len(pairs), len(rows))


def aligned_pairs(crops: Crops, own: Aligner, other: Aligner) -> list[tuple[Face, Face]]:
    """Align crops with two models, each on the crop that it was trained for, around the labels' landmarks.

    Raises
    ------
    ValueError
        If the labels are of neither model's faces.
    """
    counts = crops.labels.shape.shape[1], crops.labels.expression.shape[1]
    models = [each.face_model for each in (own, other)]
    known = [model for model in models if (model.shape_count, model.expression_count) == counts]
    if not known:
        raise ValueError(
            f"crops: expected labels of one of the two models' faces, got {counts[0]} shapes and "
            f"{counts[1]} expressions"
        )
    pairs = []
    for row, points in enumerate(progress(labelled_landmarks(crops.labels, known[0]), label="faces")):
        image = np.ascontiguousarray(crops.image(row))
        (a,), (b,) = (each(image, rois=[roi_from_landmarks(points, each.crop)]) for each in (own, other))
        pairs.append((a, b))
    return pairs


def matching_pairs(pairs: Iterable[tuple[Face, Face]]) -> list[tuple[Face, Face]]:
    """The pairs whose two faces are at the same place; in the others, one of the models lost the face."""

    def together(own: Face, other: Face) -> bool:
        distance = np.linalg.norm((other.landmarks - own.landmarks)[:, :2].astype(np.float64), axis=1).mean()
        return bool(distance <= _LOST * np.sqrt(np.prod(np.ptp(own.landmarks[:, :2], axis=0))))

    return [pair for pair in pairs if together(*pair)]


def landmark_offsets(pairs: Sequence[tuple[Face, Face]]) -> NDArray[np.float32]:
    """Offsets from the landmarks of one model to those of another, from faces that both have aligned.

    Parameters
    ----------
    pairs : sequence of (Face, Face)
        The same face by the one and by the other, in px of the same image; see `matching_pairs`.

    Returns
    -------
    ndarray (68, 3) float32
        In the frame and unit of the first model, symmetric, the median over the faces. Depth, which one view does not
        determine, is measured from the median of the inner landmarks.

    Raises
    ------
    ValueError
        If there are no pairs.
    """
    offsets = []
    for own, other in pairs:
        difference = other.landmarks.astype(np.float64) - own.landmarks
        difference[:, 2] -= np.median(difference[INNER, 2])
        offsets.append(np.linalg.solve(own.camera.matrix[:, :3].astype(np.float64), difference.T).T)
    if not offsets:
        raise ValueError("pairs: expected faces that both models predict at the same position, got none")
    median = np.median(offsets, axis=0)
    # an image 1 px wide is flipped about x = 0, as a head is
    return np.asarray((median + mirrored_landmarks(median, 1)) / 2, dtype=np.float32)
