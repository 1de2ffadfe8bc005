"""A photo with one true face through the aligner, by both crops: the one from the truth, the one from the detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tddfa._shared import image_io
from tddfa.aligner import Aligner
from tddfa.crop import roi_from_landmarks
from tddfa.evaluate import metrics
from tddfa.evaluate.result import Curve, Figure, Worst
from tddfa.types import Face

CROPS = {"truth": "crop from the truth", "detector": "crop from the detector"}
"""Where a crop comes from -> for people."""

MAX_WORST, MAX_MISSED = 16, 8
"""How many cases the contact sheet shows: the worst that were found, and some that were missed."""


@dataclass(frozen=True, eq=False)
class Aligned:
    """What the aligner says of a photo.

    Attributes
    ----------
    found : dict of str to Face or None
        By the names of `CROPS`. From the detector it is the face that was meant (`metrics.nearest`), None if missed.
    detected : list of Face
        All that the detector found.
    """

    found: dict[str, Face | None]
    detected: list[Face]


def align(aligner: Aligner, photo: Path, truth: metrics.Floats) -> Aligned:
    """Read a photo and align its face by both crops; `truth` (n, 2 or 3) are its landmarks, px."""
    image = image_io.read(photo)
    (given,) = aligner(image, rois=[roi_from_landmarks(truth, aligner.crop)])
    detected = aligner(image)
    meant = metrics.nearest([face.landmarks.astype(np.float64) for face in detected], truth)
    return Aligned({"truth": given, "detector": None if meant is None else detected[meant]}, detected)


def missed_figure(found: Sequence[Aligned], name: str = "missed.detector", prefix: str = "") -> Figure:
    """How many faces the detector missed."""
    missed = sum(aligned.found["detector"] is None for aligned in found)
    return Figure(name, f"{prefix}faces missed by the detector", missed, "photos")


def curve(name: str, errors: Sequence[float], unit: str, yaw: Sequence[float] = ()) -> Curve:
    """A curve of errors; those that are not finite are the missed ones."""
    kept = [i for i, error in enumerate(errors) if np.isfinite(error)]
    return Curve(
        name,
        tuple(round(float(errors[i]), 6) for i in kept),
        unit,
        tuple(round(float(yaw[i]), 6) for i in kept) if len(yaw) else (),
        len(errors) - len(kept),
    )


def worst(
    names: Sequence[str], errors: Sequence[float], truths: Sequence[Any], found: Sequence[Aligned]
) -> tuple[Worst, ...]:
    """The worst by the crop from the truth, worst first, and some of those that the detector missed."""
    order = sorted((i for i in range(len(names)) if np.isfinite(errors[i])), key=lambda i: -errors[i])
    cases = []
    for i in order[:MAX_WORST]:
        face = found[i].found["truth"]
        assert face is not None
        cases.append(Worst(names[i], round(float(errors[i]), 6), plain(truths[i]), plain(face.landmarks)))
    missed = [i for i in range(len(names)) if found[i].found["detector"] is None]
    return (*cases, *(Worst(names[i], truth=plain(truths[i]), caption="missed") for i in missed[:MAX_MISSED]))


def plain(points: Any) -> list[list[float]]:
    """Points (n, 2 or more) as JSON holds them: x and y, px."""
    return [[round(float(x), 2), round(float(y), 2)] for x, y in np.asarray(points)[:, :2]]
