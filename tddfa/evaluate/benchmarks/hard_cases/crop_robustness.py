"""How much inaccurate boxes cost: shifted and scaled crops, and the box of half of a face.

Twenty crops per photo, with fixed seeds: the centre is off by up to 15 % of the side of the right crop, horizontally
and vertically, and the side is multiplied by 0.8 to 1.3. The figure is the rise of the median error against the right
crop, after the first pass alone and after all passes. The crop around the landmarks of one half of the face, the
subject's right and left, is measured apart. The error is that of the inner 51 landmarks, % of the distance between the
outer eye corners; a fit with over 15 % counts as lost.

Landmarks are measured in the landmark convention of 300-W if the model supports it.

Data: DIR/lfpw, images with a .pts file of 68 points beside each. The last 30 % by name are reported; ``--split choose``
takes those from 60 to 70 %.
"""

from __future__ import annotations

from copy import copy
from pathlib import Path

import numpy as np

from tddfa._shared import image_io
from tddfa.crop import roi_from_landmarks
from tddfa.datasets import files as sources
from tddfa.datasets.pts import SPLIT, read_pts
from tddfa.evaluate import metrics
from tddfa.evaluate.benchmarks import BENCHMARKS
from tddfa.evaluate.benchmarks.hard_cases import part_of_lfpw
from tddfa.evaluate.metrics import Floats
from tddfa.evaluate.result import DataMissing, Figure, Result, Setup
from tddfa.landmarks68 import INNER, MIRRORED
from tddfa.types import Roi

_BENCHMARK = BENCHMARKS["crop-robustness"]

SHIFT, SCALE, LOST = 0.15, (0.8, 1.3), 15.0
"""Largest shift, as a fraction of the side; factors of the side; error, %, over which a fit is lost."""

_CROPS = 20
_SEED = 22
_CONVENTION = "300w"
# The half of the face on the subject's right, with the points of the middle.
_RIGHT = (range(9), range(17, 22), range(27, 34), range(36, 42), range(48, 52), range(57, 63), range(66, 68))
RIGHT_HALF = np.concatenate(_RIGHT)
_PASSES = {"first": "one pass", "all": "all passes"}


def evaluate(setup: Setup, split: str = "report") -> Result:
    """Measure how the error rises with inaccurate boxes.

    Parameters
    ----------
    setup : Setup
    split : str
        ``report`` for the photos of reported figures, ``choose`` for those by which a training is chosen.

    Raises
    ------
    DataMissing
        If there are no such photos.
    ValueError
        If the split is another one, or if a file is damaged; the message names it.
    """
    folder = setup.data / SPLIT
    labels = setup.chosen(part_of_lfpw(list(folder.glob("*.pts")) if folder.is_dir() else [], split))
    if not labels:
        raise DataMissing(f"no photos with landmarks in {folder}: expected {_BENCHMARK.data}")
    first = copy(setup.aligner)
    first.refine = 0
    aligners = {"first": first, "all": setup.aligner}

    def one(job: tuple[int, Path]) -> dict[str, Floats]:
        number, label = job
        path = sources.image_beside(label)
        if path is None:
            raise ValueError(f"{label}: expected its image beside it, got none")
        image, points = image_io.read(path), read_pts(label)
        right = roi_from_landmarks(points, setup.aligner.crop)
        rois = [right, *moved(right, _CROPS, np.random.default_rng((_SEED, number)))]
        halves = (points[RIGHT_HALF], points[MIRRORED[RIGHT_HALF]])
        rois += [roi_from_landmarks(half, setup.aligner.crop) for half in halves]
        errors = {}
        for key, aligner in aligners.items():
            own = _CONVENTION if _CONVENTION in aligner.face_model.landmark_offsets else None
            faces = aligner(image, rois=rois)
            predicted = [aligner.decoder.landmarks(face, own) for face in faces]
            errors[key] = np.array([metrics.nme_eyes(each, points, INNER) for each in predicted])
        return errors

    jobs = list(enumerate(labels))
    done = sources.parallel_map(one, jobs)
    rows = [row for _, row in zip(setup.track(jobs, _BENCHMARK.name), done, strict=True)]
    figures: list[Figure] = []
    for key, name in _PASSES.items():
        errors = np.array([row[key] for row in rows])
        figures += _figures(key, name, errors[:, 0], errors[:, 1 : 1 + _CROPS], errors[:, 1 + _CROPS :])
    return Result(
        benchmark=_BENCHMARK.name,
        settings={"split": split, "images": len(labels), "crops per image": _CROPS, "seed": _SEED},
        figures=figures,
    )


def moved(roi: Roi, count: int, rng: np.random.Generator) -> list[Roi]:
    """Make inaccurate squares: shift and scale a correct square at random.

    Examples
    --------
    >>> near = moved(Roi.around(100, 100, 80), 20, np.random.default_rng(0))
    >>> len(near), all(64 <= each.side <= 104 for each in near)
    (20, True)
    """
    squares = []
    for _ in range(count):
        x, y = np.array(roi.centre) + roi.side * rng.uniform(-SHIFT, SHIFT, 2)
        side = roi.side * float(np.exp(rng.uniform(*np.log(SCALE))))
        squares.append(Roi.around(float(x), float(y), side))
    return squares


def _figures(key: str, name: str, right: Floats, off: Floats, halves: Floats) -> list[Figure]:
    """Figures of errors on the right crop (n,), on inaccurate crops (n, k) and on those of half of the face (n, 2)."""
    at, beside = float(np.median(right)), float(np.median(off))
    lost = [100 * float(np.mean(each > LOST)) for each in (off, halves)]
    return [
        Figure(f"{key}.right", f"{name}, right crop: median NME, inner 51 points", at, "%", "lower"),
        Figure(f"{key}.off", f"{name}, inaccurate crops: median NME, inner 51 points", beside, "%", "lower"),
        Figure(f"{key}.rise", f"{name}: rise of the median", 100 * (beside / at - 1) if at else np.nan, "%", "lower"),
        Figure(f"{key}.mean", f"{name}, inaccurate crops: mean NME, inner 51 points", float(off.mean()), "%", "lower"),
        Figure(f"{key}.lost", f"{name}, inaccurate crops: lost fits", lost[0], "%", "lower"),
        Figure(f"{key}.half", f"{name}, crop of half of the face: median", float(np.median(halves)), "%", "lower"),
        Figure(f"{key}.half.lost", f"{name}, crop of half of the face: lost fits", lost[1], "%", "lower"),
    ]
