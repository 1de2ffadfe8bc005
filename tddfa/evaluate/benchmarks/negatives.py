"""False faces: what is found in pictures that hold none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from FaceBoxes import Detector
from tddfa._shared import image_io
from tddfa._shared.image_io import SUFFIXES
from tddfa.datasets.files import below, worked
from tddfa.evaluate.benchmarks.detection import corners
from tddfa.evaluate.result import DataMissing, Figure, Result, Setup, Worst

NAME = "negatives"
LAYOUT = "DIR/negatives/*.jpg, pictures without a face"

_WORST = 24


def evaluate(setup: Setup) -> Result:
    """False faces a picture, by the detector alone, and of those the ones that the regressor's score lets through.

    Raises
    ------
    DataMissing
        If there is no such folder.
    ValueError
        If the aligner has no detector.
    """
    aligner = setup.aligner
    detector = aligner.detector
    if detector is None:
        raise ValueError(f"{NAME}: expected a model with a detector, this one has none")
    folder = setup.data / "negatives"
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not paths:
        raise DataMissing(f"{folder}: no pictures; expected {LAYOUT}")
    chosen = setup.chosen(paths)

    def one(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        image = image_io.read(path)
        detections = detector(image)
        upright = (detections.xyxy[:, :2] < detections.xyxy[:, 2:]).all(axis=1)
        xyxy, sure = detections.xyxy[upright], detections.scores[upright]
        scores = np.array([face.score for face in aligner(image, boxes=xyxy)], dtype=np.float32)
        return xyxy, sure, scores

    least = aligner.min_score
    items: list[dict[str, object]] = []
    worst: list[Worst] = []
    for path, (xyxy, sure, scores) in zip(setup.track(chosen, NAME), worked(one, chosen), strict=True):
        kept = scores >= (-np.inf if least is None else least)
        row = {"name": below(path, setup.data), "detector": len(xyxy), "faces": int(kept.sum())}
        items.append({**row, "score": float(sure.max()) if len(sure) else None})
        if len(xyxy):
            # what gets through is worse than what does not, and many are worse than one
            shown = xyxy[kept] if kept.any() else xyxy
            caption = f"detector {len(xyxy)}, after score {kept.sum()}"
            worst.append(Worst(str(row["name"]), float(kept.sum() + len(xyxy) / 1000), [], corners(shown), caption))
    worst.sort(key=lambda case: -case.error)
    by_detector, through = (np.array([item[key] for item in items]) for key in ("detector", "faces"))
    notes = [] if least is not None else ["This model has no face score: nothing follows the detector."]
    return Result(
        benchmark=NAME,
        settings={
            "pictures": len(chosen),
            "score": detector.score if isinstance(detector, Detector) else None,
            "face score": least,
        },
        figures=[
            Figure("false.detector", "false faces a picture, detector alone", by_detector.mean()),
            Figure("false.faces", "false faces a picture, after the regressor's score", through.mean()),
            Figure("false.detector.count", "false faces, detector alone", by_detector.sum(), "faces"),
            Figure("false.faces.count", "false faces, after the regressor's score", through.sum(), "faces"),
            Figure("pictures.with", "pictures with a false face", int((through > 0).sum()), "pictures"),
        ],
        items=items,
        worst=worst[:_WORST],
        notes=notes,
    )
