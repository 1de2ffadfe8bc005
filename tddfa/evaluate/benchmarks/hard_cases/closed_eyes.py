"""Closed eyes against open ones: the weight of a blink, and the opening of the lids.

A face is measured by the mean of the weights ``eyeBlinkLeft`` and ``eyeBlinkRight``, where the model has them, and by
the mean eye aspect ratio (EAR) of the landmarks. There are four figures: the area under the ROC curve of closed against
open eyes; the fraction of closed eyes with a weight over 0.5; the fraction of closed eyes whose weight is also over
that of 99.5 % of the open eyes; and the fraction of open eyes with a weight over 0.5.

Each face is aligned on a given crop. For open eyes, it is the crop around the landmarks. For closed eyes, it is the
whole photo, because these photos are crops of faces; they get a replicated border first. Each face is also aligned on
the crop from the detector. There, a missed face counts as a face with open eyes.

With ``--peer-mediapipe``, MediaPipe's Face Landmarker is measured on the same photos.

Data: closed eyes: DIR/cew, images (CEW; Song et al., 2014), of which the last 20 % by name are reported. Open eyes:
DIR/lfpw, images with a .pts file beside each, the last 30 % by name. ``--split choose`` takes those from 60 to 80 % and
from 60 to 70 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa._shared import image_io
from tddfa._shared.image_io import has_image_name
from tddfa.bench.face_landmarker import FaceLandmarker, landmarks_68
from tddfa.crop import roi_from_landmarks
from tddfa.datasets import files as sources
from tddfa.datasets.pts import SPLIT, read_pts
from tddfa.evaluate import metrics
from tddfa.evaluate.benchmarks import BENCHMARKS
from tddfa.evaluate.benchmarks.hard_cases import part_of_closed, part_of_lfpw
from tddfa.evaluate.metrics import Floats
from tddfa.evaluate.result import DataMissing, Figure, Result, Setup, Worst, number
from tddfa.types import Face, Roi

_BENCHMARK = BENCHMARKS["closed-eyes"]

THRESHOLD, MAX_FALSE = 0.5, 0.005
"""Weight of a blink from which eyes count as closed; largest fraction of open eyes that may exceed it."""

BLINKS = ("eyeBlinkLeft", "eyeBlinkRight")
_SOURCES = {"given": "given crop", "detector": "crop from the detector", "peer": "MediaPipe"}
_BORDER = 0.4
_WORST = 16


@dataclass(frozen=True)
class _Eyes:
    """Blink and EAR of a photo by source; None where the face is missed, a blink NaN where the model has none."""

    path: Path
    closed: bool
    measured: dict[str, tuple[float, float] | None]


def evaluate(setup: Setup, split: str = "report", peer: FaceLandmarker | None = None) -> Result:
    """Measure how well closed eyes are distinguished from open eyes.

    Parameters
    ----------
    setup : Setup
    split : str
        ``report`` for the photos of reported figures, ``choose`` for those by which a training is chosen.
    peer : FaceLandmarker, optional
        A Face Landmarker to measure too.

    Raises
    ------
    DataMissing
        If there are no photos of closed or of open eyes.
    ValueError
        If the split is another one, or if a file is damaged; the message names it.
    """
    folder, lfpw = setup.data / "cew", setup.data / SPLIT
    images = [path for path in folder.iterdir() if has_image_name(path)] if folder.is_dir() else []
    labels = list(lfpw.glob("*.pts")) if lfpw.is_dir() else []
    closed = setup.chosen(part_of_closed(images, split))
    opened = setup.chosen(part_of_lfpw(labels, split))
    if not closed or not opened:
        raise DataMissing(f"no photos of closed and open eyes in {setup.data}: expected {_BENCHMARK.data}")
    jobs = [*((path, True) for path in closed), *((_photo(path), False) for path in opened)]

    def one(job: tuple[Path, bool]) -> _Eyes:
        return _measured(setup, *job, peer)

    done = sources.parallel_map(one, jobs)
    eyes = [each for _, each in zip(setup.track(jobs, _BENCHMARK.name), done, strict=True)]
    figures: list[Figure] = []
    for source, name in _SOURCES.items():
        if source in eyes[0].measured:
            figures += _figures(source, name, eyes)
    notes = []
    if not set(BLINKS) <= set(setup.aligner.face_model.expression_names or ()):
        notes.append("The expressions of this model have no names: there is no weight of a blink.")
    return Result(
        benchmark=_BENCHMARK.name,
        settings={"split": split, "closed": len(closed), "open": len(opened)},
        figures=figures,
        items=[_item(each, setup.data) for each in eyes],
        worst=list(_worst(eyes, setup.data)),
        notes=notes,
    )


def _item(eyes: _Eyes, data: Path) -> dict[str, object]:
    row: dict[str, object] = {"image": sources.relative_name(eyes.path, data), "closed": eyes.closed}
    for source, values in eyes.measured.items():
        blink, ear = (None, None) if values is None else map(number, values)
        row |= {f"{source}.blink": blink, f"{source}.ear": ear}
    return row


def _worst(eyes: list[_Eyes], data: Path) -> Iterator[Worst]:
    """The closed eyes with the lowest weight of a blink."""
    given = [(values[0], each.path) for each in eyes if each.closed and (values := each.measured["given"]) is not None]
    for blink, path in sorted(given)[:_WORST]:
        if np.isfinite(blink):
            yield Worst(sources.relative_name(path, data), 1 - blink, caption=f"blink {blink:.2f}")


def _photo(label: Path) -> Path:
    path = sources.image_beside(label)
    if path is None:
        raise ValueError(f"{label}: expected its image beside it, got none")
    return path


def _measured(setup: Setup, path: Path, closed: bool, peer: FaceLandmarker | None) -> _Eyes:
    aligner, image = setup.aligner, image_io.read(path)
    height, width = image.shape[:2]
    if closed:
        border = round(_BORDER * max(height, width))
        image = np.asarray(cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REPLICATE))
        roi = Roi.around((width - 1) / 2 + border, (height - 1) / 2 + border, max(height, width))
    else:
        roi = roi_from_landmarks(read_pts(path.with_suffix(".pts")), aligner.crop)
    (given,) = aligner(image, rois=[roi])
    # of several faces, the largest: the photos show one person
    found = max(aligner(image), key=lambda face: float(np.prod(np.ptp(face.landmarks[:, :2], axis=0))), default=None)
    named = set(BLINKS) <= set(aligner.face_model.expression_names or ())

    def values(face: Face) -> tuple[float, float]:
        weights = aligner.decoder.expression(face) if named else dict.fromkeys(BLINKS, np.nan)
        return float(np.mean([weights[name] for name in BLINKS])), _ear(face.landmarks)

    measured = {"given": values(given), "detector": None if found is None else values(found)}
    if peer is not None:
        other = peer(image)
        measured["peer"] = None
        if other is not None:
            weight = float(np.mean([other.blendshapes[name] for name in BLINKS]))
            measured["peer"] = weight, _ear(landmarks_68(other.points))
    return _Eyes(path, closed, measured)


def _ear(landmarks: NDArray[np.floating]) -> float:
    return float(np.mean(metrics.eye_openness(landmarks)))


def _figures(source: str, name: str, eyes: list[_Eyes]) -> Iterator[Figure]:
    closed = np.array([each.closed for each in eyes])
    found = np.array([each.measured[source] is not None for each in eyes])
    # a missed face has open eyes
    blink, ear = np.array([each.measured[source] or (0.0, np.inf) for each in eyes]).T
    yes, no = blink[closed], blink[~closed]
    known = np.isfinite(blink).all()
    area = metrics.area_under_roc(yes, no) if known else np.nan
    limit = max(THRESHOLD, threshold(no, MAX_FALSE)) if known else np.nan
    over, false = (100 * float(np.mean(part > THRESHOLD)) if known else np.nan for part in (yes, no))
    at = 100 * float(np.mean(yes > limit)) if known else np.nan
    yield Figure(f"{source}.blink.auc", f"{name}: weight of a blink, AUC", area, "", "higher")
    yield Figure(f"{source}.blink.closed", f"{name}: closed eyes with a weight over 0.5", over, "%", "higher")
    yield Figure(f"{source}.blink.open", f"{name}: open eyes with a weight over 0.5", false, "%", "lower")
    label = f"{name}: closed eyes over 0.5 and over 99.5 % of the open eyes"
    yield Figure(f"{source}.blink.closed.safe", label, at, "%", "higher")
    area = metrics.area_under_roc(-ear[closed], -ear[~closed])
    yield Figure(f"{source}.ear.auc", f"{name}: opening of the lids (EAR), AUC", area, "", "higher")
    if source != "given":
        for kind, group in (("closed", closed), ("open", ~closed)):
            missed = int((~found[group]).sum())
            yield Figure(f"{source}.{kind}.missed", f"{name}: {kind} eyes, faces missed", missed, "images", "lower")


def threshold(values: Floats, fraction: float) -> float:
    """The lowest of the values that at most a fraction of them exceed.

    Examples
    --------
    >>> threshold(np.array([0.1, 0.9, 0.3, 0.2]), 0.25)
    0.3
    """
    ordered = np.sort(values)[::-1]
    return float(ordered[int(fraction * len(ordered))])
