"""Alignment of an image's labelled face on two crops: from the ground truth and from the detector."""

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

CROPS = {"ground_truth": "crop from the ground truth", "detector": "crop from the detector"}
"""Source of a crop -> label."""

CROP_SOURCES = "ground truth, detector"
"""The sources of `CROPS`, for the settings of a result."""

MAX_WORST, MAX_MISSED = 16, 8
"""Number of cases on the contact sheet: worst alignments, and missed faces."""


@dataclass(frozen=True, eq=False)
class Aligned:
    """The faces that the aligner predicts in an image.

    Attributes
    ----------
    faces : dict of str to Face or None
        The labelled face, by source of the crop (`CROPS`); None where the detector misses it (`metrics.nearest`).
    detected : list of Face
        All faces of the detector.
    """

    faces: dict[str, Face | None]
    detected: list[Face]


def align(aligner: Aligner, path: Path, ground_truth: metrics.Floats) -> Aligned:
    """Read an image and align its labelled face from both crops.

    Parameters
    ----------
    aligner : Aligner
        The model.
    path : path
        The image.
    ground_truth : ndarray (n, 2 or 3)
        Landmarks of the labelled face, px.
    """
    image = image_io.read(path)
    (given,) = aligner(image, rois=[roi_from_landmarks(ground_truth, aligner.crop)])
    detected = aligner(image)
    index = metrics.nearest([face.landmarks.astype(np.float64) for face in detected], ground_truth)
    return Aligned({"ground_truth": given, "detector": None if index is None else detected[index]}, detected)


def mean_face(aligner: Aligner, ground_truth: metrics.Floats, convention: str | None = None) -> metrics.Floats:
    """Place the mean face, upright and frontal, by the crop from the ground truth: a prediction without the image.

    Parameters
    ----------
    aligner : Aligner
        Its face model and crop rule.
    ground_truth : ndarray (n, 2 or 3)
        Landmarks of the labelled face, px.
    convention : str, optional
        Landmark convention; None takes the aligner's.

    Returns
    -------
    ndarray (68, 3)
        Landmarks, px.

    Examples
    --------
    >>> from tddfa.evaluate.crops import mean_face
    >>> points = mean_face(aligner, face.landmarks)
    >>> bool(abs(points[:, :2].mean(axis=0) - face.landmarks[:, :2].mean(axis=0)).max() < 20)
    True
    """
    model, rule = aligner.face_model, aligner.crop
    zeros = np.zeros(model.shape_count, np.float32), np.zeros(model.expression_count, np.float32)
    points = model.landmarks(*zeros) + model.landmark_offset(convention or aligner.decoder.convention)
    points = points.astype(np.float64) * (1, -1, 1)
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    roi = roi_from_landmarks(ground_truth, rule)
    points[:, :2] -= (low + high) / 2
    points *= roi.side / rule.landmark_scale / (high - low).max()
    points[:, :2] += roi.centre
    return points


def missed_figure(aligned: Sequence[Aligned], name: str = "missed.detector", prefix: str = "") -> Figure:
    """Number of faces that the detector misses."""
    missed = sum(each.faces["detector"] is None for each in aligned)
    return Figure(name, f"{prefix}faces missed by the detector", missed, "images", better="lower")


def curve(name: str, errors: Sequence[float], unit: str, yaw: Sequence[float] = ()) -> Curve:
    """A curve of errors; infinite and NaN errors count as missed faces."""
    kept = [i for i, error in enumerate(errors) if np.isfinite(error)]
    return Curve(
        name,
        tuple(round(float(errors[i]), 6) for i in kept),
        unit,
        tuple(round(float(yaw[i]), 6) for i in kept) if len(yaw) else (),
        len(errors) - len(kept),
    )


def worst(
    names: Sequence[str], errors: Sequence[float], ground_truths: Sequence[Any], aligned: Sequence[Aligned]
) -> tuple[Worst, ...]:
    """Worst cases of the crop from the ground truth, worst first, then some faces that the detector misses."""
    order = sorted((i for i in range(len(names)) if np.isfinite(errors[i])), key=lambda i: -errors[i])
    cases = []
    for i in order[:MAX_WORST]:
        face = aligned[i].faces["ground_truth"]
        assert face is not None
        cases.append(Worst(names[i], round(float(errors[i]), 6), plain(ground_truths[i]), plain(face.landmarks)))
    missed = [i for i in range(len(names)) if aligned[i].faces["detector"] is None][:MAX_MISSED]
    return (*cases, *(Worst(names[i], ground_truth=plain(ground_truths[i]), caption="missed") for i in missed))


def plain(points: Any) -> list[list[float]]:
    """Points (n, 2 or more) as lists of x and y for JSON, rounded to 0.01 px."""
    return [[round(float(x), 2), round(float(y), 2)] for x, y in np.asarray(points)[:, :2]]
