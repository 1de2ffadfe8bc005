"""Face detection: average precision (AP) and recall by size of the faces, on images with labelled boxes.

The faces that the aligner reports are measured too, by the boxes around their landmarks, because the face score drops
many boxes after the alignment.

Data: DIR/detect/*.jpg with *.txt beside them (lines 'x1 y1 x2 y2', px), or PASCAL VOC's DIR/voc/Annotations/*.xml with
DIR/voc/JPEGImages, or WIDER FACE's DIR/wider_face_split/wider_face_val_bbx_gt.txt with DIR/WIDER_val/images.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tddfa._shared import image_io
from tddfa.datasets import boxes as labelled_boxes
from tddfa.datasets.boxes import BoxedImage
from tddfa.datasets.files import parallel_map, relative_name
from tddfa.detector import Detector
from tddfa.evaluate.benchmarks import BENCHMARKS
from tddfa.evaluate.detections import SIZES, Sample, match, precision
from tddfa.evaluate.result import Curve, DataMissing, Figure, Result, Setup, Worst
from tddfa.geometry.boxes import box_around, box_iou

_BENCHMARK = BENCHMARKS["detection"]

THRESHOLDS = (0.5, 0.4)
"""Intersection over union from which a detection is correct."""

# Score threshold of the precision-recall curve; 3DDFA_V2's and FaceBoxes' own evaluations use the same one.
_LOWEST_SCORE = 0.05
# Training may use the first 70 % by name of the folder `detect`.
_TRAINING_FRACTION = 0.7
_WORST = 24


@dataclass(frozen=True)
class _Image:
    """An image, the faces that the detector alone finds in it, and the faces that the aligner reports."""

    path: Path
    sample: Sample
    reported: Sample


def evaluate(setup: Setup) -> Result:
    """Measure average precision (AP), precision and recall at the IoU thresholds `THRESHOLDS`, by size.

    AP is the area under the envelope of the precision-recall curve (`tddfa.evaluate.detections`), with the detector's
    score threshold lowered to 0.05. Faces that the aligner reports count from an IoU of 0.4. The last 30 % by name of
    the folder ``detect`` are also measured separately, because training may use the rest.

    Raises
    ------
    DataMissing
        If no data are found.
    ValueError
        If the aligner has no detector, or if a file of boxes is damaged.
    """
    detector = setup.detector(_BENCHMARK.name)
    sources = [
        ("detect", labelled_boxes.load_folder(setup.data / "detect")),
        ("voc", labelled_boxes.load_voc(setup.data)),
        ("wider", labelled_boxes.load_wider(setup.data)),
    ]
    sources = [(name, source) for name, source in sources if source]
    if not sources:
        raise DataMissing(f"{setup.data}: no images with boxes; expected {_BENCHMARK.data}")
    figures: list[Figure] = []
    items: list[dict[str, object]] = []
    curves: list[Curve] = []
    worst: list[Worst] = []
    own = detector.score or 0.0
    settings: dict[str, object] = {"lowest score": _LOWEST_SCORE, "score": own}
    lowered = detector.with_options(score=_LOWEST_SCORE) if own > _LOWEST_SCORE else detector
    for name, source in sources:
        images = _detect(setup, lowered, name, setup.chosen(source))
        settings[f"{name} images"] = len(images)
        subsets = {"all": images}
        if name == "detect":
            names = sorted(labelled.path.name for labelled in source)
            first = names[min(int(_TRAINING_FRACTION * len(names)), len(names) - 1)]
            subsets = {"last-30": [image for image in images if image.path.name >= first], **subsets}
        for subset, chosen in subsets.items():
            figures += _figures(f"{name}.{subset}", f"{name}, {_SUBSETS[subset]}", chosen, own)
        for image in images:
            row, case = _row(image, relative_name(image.path, setup.data), own)
            items.append(row)
            worst.append(case)
        errors = list(_box_errors(images))
        # a face that no box overlaps is missed, not detected with an error
        overlapped = tuple(error for error in errors if error < 1)
        missed = len(errors) - len(overlapped)
        curves.append(Curve(f"{name}: best detection of each face", overlapped, "1 - IoU", missed=missed))
    worst.sort(key=lambda case: -case.error)
    return Result(
        benchmark=_BENCHMARK.name,
        settings=settings,
        figures=figures,
        items=items,
        curves=curves,
        worst=[case for case in worst if case.error > 0][:_WORST],
        notes=[
            "AP: area under the envelope of precision over recall (PASCAL VOC since 2010); greedy matching by "
            "descending score. Sizes: square root of the box's area, px of the original image; faces of other sizes "
            "are ignored, as in COCO.",
            "Reported by the aligner: with landmarks whose box fits the labelled one (IoU 0.4). Faces without a label "
            "count against the precision.",
            "Contact sheet: missed faces and false detections at the detector's own score threshold, IoU 0.4.",
        ],
    )


_SUBSETS = {"all": "all images", "last-30": "last 30 % by name"}
_LABELS = {
    "all": "all faces",
    "under-16": "faces under 16 px",
    "16-48": "faces of 16-48 px",
    "48-96": "faces of 48-96 px",
    "over-96": "faces over 96 px",
}


def _detect(setup: Setup, detector: Detector, name: str, source: list[BoxedImage]) -> list[_Image]:
    def one(labelled: BoxedImage) -> _Image:
        detections = detector(image_io.read(labelled.path), name=labelled.path)
        boxes, scores = detections.xyxy.astype(np.float64), detections.scores.astype(np.float64)
        faces = setup.aligner(labelled.path)
        reported = np.array([box_around(face.landmarks[:, :2]) for face in faces]).reshape(-1, 4)
        return _Image(
            labelled.path,
            Sample(boxes, scores, labelled.xyxy, labelled.ignored),
            Sample(reported, np.array([face.score for face in faces]), labelled.xyxy, labelled.ignored),
        )

    # the progress bar advances when an image is done, not when its job starts
    return [
        done
        for _, done in zip(setup.track(source, f"{_BENCHMARK.name}: {name}"), parallel_map(one, source), strict=True)
    ]


def _figures(name: str, label: str, images: list[_Image], score: float) -> Iterable[Figure]:
    yield Figure(f"{name}.images", f"{label}: images", len(images), "images")
    for threshold in THRESHOLDS:
        for size, limits in SIZES.items():
            measured = precision([match(image.sample, threshold, limits) for image in images], score)
            key, iou = f"iou{round(100 * threshold)}.{size}", f"at IoU {threshold:g}"
            faces = f"{label}, {_LABELS[size]}"
            if threshold == THRESHOLDS[0]:
                yield Figure(f"{name}.faces.{size}", faces, measured.faces, "faces")
            yield Figure(f"{name}.ap.{key}", f"{faces}: AP {iou}", measured.average, better="higher")
            figures = [("recall", f"recall {iou}, own score threshold", measured.recall_at)]
            if size == "all":
                figures += [
                    ("precision", f"precision {iou}, own score threshold", measured.precision_at),
                    ("recall-low", f"recall {iou}, score threshold {_LOWEST_SCORE:g}", measured.recall),
                ]
            for measure, description, value in figures:
                yield Figure(f"{name}.{measure}.{key}", f"{faces}: {description}", value, better="higher")
    for size, limits in SIZES.items():
        matches = [match(image.reported, THRESHOLDS[-1], limits) for image in images]
        measured, faces = precision(matches, score=-1), f"{label}, {_LABELS[size]}"
        yield Figure(f"{name}.reported.{size}", f"{faces}: reported by the aligner", measured.recall, better="higher")
        if size == "all":
            yield Figure(
                f"{name}.reported-precision.{size}",
                f"{faces}: precision of what the aligner reports",
                measured.precision_at,
                better="higher",
            )


def _row(image: _Image, name: str, score: float) -> tuple[dict[str, object], Worst]:
    """Numbers and contact-sheet case of an image, at the detector's own score threshold."""
    sample = image.sample
    confident = sample.scores > score
    kept = Sample(sample.detected[confident], sample.scores[confident], sample.ground_truth, sample.ignored)
    matches = match(kept, THRESHOLDS[-1])
    hits = int(matches.correct.sum())
    missed, false = matches.faces - hits, len(matches.correct) - hits
    row = {"name": name, "faces": matches.faces, "detected": hits, "missed": missed, "false": false}
    labelled = sample.ground_truth[~sample.ignored]
    caption = f"{missed} missed, {false} false"
    return row, Worst(name, float(missed + false), corners(labelled), corners(kept.detected), caption)


def corners(xyxy: NDArray[np.floating]) -> list[list[float]]:
    """The four corners of each box (n, 4), in order."""
    return [[float(box[i]), float(box[j])] for box in xyxy for i, j in ((0, 1), (2, 1), (2, 3), (0, 3))]


def _box_errors(images: list[_Image]) -> Iterable[float]:
    for image in images:
        sample = image.sample
        best = box_iou(sample.ground_truth[~sample.ignored], sample.detected).max(axis=1, initial=0.0)
        yield from (1 - best).tolist()
