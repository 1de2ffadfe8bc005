"""How well the detector finds faces: average precision by size, on sets of pictures with boxes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from FaceBoxes import Detector
from tddfa._shared import image_io
from tddfa.datasets import boxes as labelled_boxes
from tddfa.datasets.boxes import Boxes
from tddfa.datasets.files import below, worked
from tddfa.evaluate.detections import SIZES, Sample, match, precision
from tddfa.evaluate.result import Curve, DataMissing, Figure, Result, Setup, Worst
from tddfa.geometry.boxes import box_iou

NAME = "detection"
LAYOUT = (
    "DIR/detect/*.jpg with *.txt beside them (lines 'x1 y1 x2 y2', px), or PASCAL VOC's DIR/voc/Annotations/*.xml with "
    "DIR/voc/JPEGImages, or WIDER FACE's DIR/wider_face_split/wider_face_val_bbx_gt.txt with DIR/WIDER_val/images"
)

THRESHOLDS = (0.5, 0.4)
"""Intersection over union from which a detection has found a face."""

# Scores go down to here, so that there is a curve: 3DDFA_V2 and FaceBoxes' own evaluation start there too.
_LOWEST_SCORE = 0.05
# `detect` is a folder whose first 70 % by name training may use.
_KEPT_ASIDE = 0.7
_WORST = 24


@dataclass(frozen=True)
class _Picture:
    path: Path
    sample: Sample


def evaluate(setup: Setup) -> Result:
    """Detection of faces, average precision (AP) at the overlaps of `THRESHOLDS`, by size.

    AP is the area under the envelope of the precision-recall curve (`tddfa.evaluate.detections`), the detector's score
    threshold lowered to 0.05. Of a folder ``detect``, the last 30 % by name are given by themselves: training may have
    seen the rest.

    Raises
    ------
    DataMissing
        If there is none of the layouts.
    ValueError
        If the aligner has no detector, or if a file of boxes is none.
    """
    detector = setup.aligner.detector
    if not isinstance(detector, Detector):
        raise ValueError(f"{NAME}: expected a model with a detector, this one has none")
    sources = [
        ("detect", labelled_boxes.beside(setup.data / "detect")),
        ("voc", labelled_boxes.voc(setup.data)),
        ("wider", labelled_boxes.wider(setup.data)),
    ]
    sources = [(name, source) for name, source in sources if source]
    if not sources:
        raise DataMissing(f"{setup.data}: no pictures with boxes; expected {LAYOUT}")
    figures: list[Figure] = []
    items: list[dict[str, object]] = []
    curves: list[Curve] = []
    worst: list[Worst] = []
    settings: dict[str, object] = {"lowest score": _LOWEST_SCORE, "score": detector.score}
    lowered = replace(detector, score=min(_LOWEST_SCORE, detector.score))
    for name, source in sources:
        pictures = _detect(setup, lowered, name, setup.chosen(source))
        settings[f"{name} pictures"] = len(pictures)
        subsets = {"all": pictures}
        if name == "detect":
            names = sorted(truth.path.name for truth in source)
            first = names[min(int(_KEPT_ASIDE * len(names)), len(names) - 1)]
            subsets = {"last-30": [p for p in pictures if p.path.name >= first], **subsets}
        for subset, chosen in subsets.items():
            figures += _figures(f"{name}.{subset}", f"{name}, {_SUBSETS[subset]}", chosen, detector.score)
        for picture in pictures:
            row, mistakes = _row(picture, below(picture.path, setup.data), detector.score)
            items.append(row)
            worst.append(mistakes)
        misfits = list(_misfits(pictures))
        # a face that no box touches is missed, not found with an error
        touched = tuple(misfit for misfit in misfits if misfit < 1)
        missed = len(misfits) - len(touched)
        curves.append(Curve(f"{name}: best box of each face", touched, "1 - IoU", missed=missed))
    worst.sort(key=lambda case: -case.error)
    return Result(
        benchmark=NAME,
        settings=settings,
        figures=figures,
        items=items,
        curves=curves,
        worst=[case for case in worst if case.error > 0][:_WORST],
        notes=[
            "AP: area under the precision envelope (VOC 2010 on); greedy, best score first. Sizes: square root of the "
            "box's area, px of the picture as it is; other sizes are ignored, as COCO does.",
            "Worst: faces missed and false ones at the detector's own score, at an IoU of 0.4.",
        ],
    )


_SUBSETS = {"all": "all pictures", "last-30": "last 30 % by name"}
_SAID = {
    "all": "all faces",
    "under-16": "faces under 16 px",
    "16-48": "faces of 16-48 px",
    "48-96": "faces of 48-96 px",
    "over-96": "faces over 96 px",
}


def _detect(setup: Setup, detector: Detector, name: str, source: list[Boxes]) -> list[_Picture]:
    def one(truth: Boxes) -> _Picture:
        detections = detector(image_io.read(truth.path))
        sample = Sample(
            detections.xyxy.astype(np.float64), detections.scores.astype(np.float64), truth.xyxy, truth.ignored
        )
        return _Picture(truth.path, sample)

    # the bar moves on when a picture is done, not when it is handed out
    return [done for _, done in zip(setup.track(source, f"{NAME}: {name}"), worked(one, source), strict=True)]


def _figures(name: str, label: str, pictures: list[_Picture], score: float) -> Iterable[Figure]:
    yield Figure(f"{name}.pictures", f"{label}: pictures", len(pictures), "pictures")
    for threshold in THRESHOLDS:
        for size, limits in SIZES.items():
            found = precision([match(p.sample, threshold, limits) for p in pictures], score)
            at, said = f"iou{round(100 * threshold)}.{size}", f"{label}, {_SAID[size]}"
            if threshold == THRESHOLDS[0]:
                yield Figure(f"{name}.faces.{size}", said, found.faces, "faces")
            yield Figure(f"{name}.ap.{at}", f"{said}: AP at IoU {threshold:g}", found.average)
            yield Figure(f"{name}.recall.{at}", f"{said}: recall at IoU {threshold:g}, own score", found.recall_at)
            if size == "all":
                at_iou = f"at IoU {threshold:g}"
                yield Figure(f"{name}.precision.{at}", f"{said}: precision {at_iou}, own score", found.precision_at)
                yield Figure(f"{name}.recall-low.{at}", f"{said}: recall {at_iou}, score 0.05 on", found.recall)


def _row(picture: _Picture, name: str, score: float) -> tuple[dict[str, object], Worst]:
    """What of a picture was found at the detector's own score."""
    sample = picture.sample
    sure = sample.scores > score
    shown = Sample(sample.detected[sure], sample.scores[sure], sample.ground_truth, sample.ignored)
    verdict = match(shown, THRESHOLDS[-1])
    hits = int(verdict.correct.sum())
    missed, false = verdict.faces - hits, len(verdict.correct) - hits
    row = {"name": name, "faces": verdict.faces, "found": hits, "missed": missed, "false": false}
    truth = sample.ground_truth[~sample.ignored]
    caption = f"{missed} missed, {false} false"
    return row, Worst(name, float(missed + false), corners(truth), corners(shown.detected), caption)


def corners(xyxy: NDArray[np.floating]) -> list[list[float]]:
    """The four corners of each box (n, 4), one after the other."""
    return [[float(box[i]), float(box[j])] for box in xyxy for i, j in ((0, 1), (2, 1), (2, 3), (0, 3))]


def _misfits(pictures: list[_Picture]) -> Iterable[float]:
    for picture in pictures:
        sample = picture.sample
        best = box_iou(sample.ground_truth[~sample.ignored], sample.detected).max(axis=1, initial=0.0)
        yield from (1 - best).tolist()
