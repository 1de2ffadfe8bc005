"""Whether the shape tells people apart: photos of the same person against photos of different persons (CFP).

Every photo is aligned on the crop around its points. The similarity of two photos is the cosine of their shape
coefficients. The figure is the area under the ROC curve of pairs of one person against pairs of two persons. It is
given for the coefficients as they are, and for coefficients that are standardised by mean and standard deviation over
all photos. The standardised figure compares models whose coefficients differ in scale.

Data: as for the benchmark ``cfp``. Persons 426 to 450 are reported; ``--split choose`` takes 401 to 425.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tddfa.crop import roi_from_landmarks
from tddfa.datasets import files as sources
from tddfa.datasets.cfp import CfpPhoto, read_cfp
from tddfa.evaluate import metrics
from tddfa.evaluate.benchmarks import BENCHMARKS
from tddfa.evaluate.benchmarks.hard_cases import persons_of
from tddfa.evaluate.metrics import Floats
from tddfa.evaluate.result import DataMissing, Figure, Result, Setup

_BENCHMARK = BENCHMARKS["identity"]

_PAIRS = {
    "all": "all pairs",
    "profile": "two profile photos",
    "mixed": "a frontal photo and a profile",
    "frontal": "two frontal photos",
}


def evaluate(setup: Setup, split: str = "report") -> Result:
    """Measure how well the shape separates persons.

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
    everything = read_cfp(setup.data, persons_of(split))
    # a part of the data is of some persons, with all their photos
    chosen = set(setup.chosen(sorted({photo.person for photo in everything})))
    photos = [photo for photo in everything if photo.person in chosen]
    if not photos:
        raise DataMissing(f"no photos of CFP in {setup.data}: expected {_BENCHMARK.data}")

    def shape(photo: CfpPhoto) -> Floats:
        image, points = photo.read()
        (face,) = setup.aligner(image, rois=[roi_from_landmarks(points, setup.aligner.crop)])
        return np.asarray(face.params.shape, dtype=np.float64)

    done = sources.parallel_map(shape, photos)
    shapes = np.array([each for _, each in zip(setup.track(photos, _BENCHMARK.name), done, strict=True)])
    persons = np.array([photo.person for photo in photos])
    profile = np.array([photo.profile for photo in photos])
    spread = shapes.std(axis=0)
    standard = (shapes - shapes.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return Result(
        benchmark=_BENCHMARK.name,
        settings={"split": split, "persons": len(set(persons.tolist())), "images": len(photos)},
        figures=[
            *_figures("cosine", "cosine of the shape", shapes, persons, profile),
            *_figures("standardised", "cosine of the standardised shape", standard, persons, profile),
        ],
    )


def _figures(
    key: str, name: str, shapes: Floats, persons: NDArray[np.int_], profile: NDArray[np.bool_]
) -> Iterator[Figure]:
    cosine = cosines(shapes)
    first, second = np.triu_indices(len(shapes), 1)
    value, same = cosine[first, second], persons[first] == persons[second]
    both, none = profile[first] & profile[second], ~profile[first] & ~profile[second]
    kinds = {"all": np.ones(len(first), dtype=bool), "profile": both, "mixed": ~both & ~none, "frontal": none}
    for kind, label in _PAIRS.items():
        chosen = kinds[kind]
        area = metrics.area_under_roc(value[chosen & same], value[chosen & ~same])
        yield Figure(f"{key}.auc.{kind}", f"{name}, {label}: AUC, same person against another", area, "", "higher")


def cosines(rows: Floats) -> Floats:
    """Cosine (n, n) of each pair of rows (n, k).

    Examples
    --------
    >>> cosines(np.array([[1.0, 0], [0, 2], [3, 0]])).round(2)
    array([[1., 0., 1.],
           [0., 1., 0.],
           [1., 0., 1.]])
    """
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return np.asarray(unit @ unit.T)
