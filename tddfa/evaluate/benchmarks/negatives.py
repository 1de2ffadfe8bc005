"""False detections on images without a face.

Data: DIR/negatives/*.jpg, images without a face.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tddfa._shared import image_io
from tddfa._shared.image_io import has_image_name
from tddfa.datasets.files import parallel_map, relative_name
from tddfa.evaluate.benchmarks import BENCHMARKS
from tddfa.evaluate.benchmarks.detection import corners
from tddfa.evaluate.result import DataMissing, Figure, Result, Setup, Worst

_BENCHMARK = BENCHMARKS["negatives"]

_WORST = 24


def evaluate(setup: Setup) -> Result:
    """Count false faces per image: the detections, and the faces that the aligner reports, at any roll that it tries.

    Raises
    ------
    DataMissing
        If there is no such folder.
    ValueError
        If the aligner has no detector.
    """
    aligner = setup.aligner
    detector = setup.detector(_BENCHMARK.name)
    folder = setup.data / "negatives"
    paths = sorted(p for p in folder.iterdir() if has_image_name(p)) if folder.is_dir() else []
    if not paths:
        raise DataMissing(f"{folder}: no images; expected {_BENCHMARK.data}")
    chosen = setup.chosen(paths)

    def one(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        image = image_io.read(path)
        detections = detector(image, name=path)
        faces = [face.box for face in aligner(path)]
        return detections.xyxy, detections.scores, np.array(faces, dtype=np.float32).reshape(-1, 4)

    threshold = aligner.min_score
    items: list[dict[str, object]] = []
    worst: list[Worst] = []
    for path, (xyxy, confidence, faces) in zip(
        setup.track(chosen, _BENCHMARK.name), parallel_map(one, chosen), strict=True
    ):
        row = {"name": relative_name(path, setup.data), "detector": len(xyxy), "faces": len(faces)}
        items.append({**row, "score": float(confidence.max()) if len(confidence) else None})
        if len(xyxy) or len(faces):
            # a false face that is reported is worse than one that the score drops; several are worse than one
            shown = faces if len(faces) else xyxy
            caption = f"detector {len(xyxy)}, after score {len(faces)}"
            worst.append(Worst(str(row["name"]), float(len(faces) + len(xyxy) / 1000), [], corners(shown), caption))
    worst.sort(key=lambda case: -case.error)
    by_detector, by_score = (np.array([item[key] for item in items]) for key in ("detector", "faces"))
    notes = [] if threshold is not None else ["This model has no face score: all detections are kept."]
    label = "false faces"
    return Result(
        benchmark=_BENCHMARK.name,
        settings={
            "images": len(chosen),
            "score": detector.score,
            "face score": threshold,
        },
        figures=[
            Figure("false.detector", f"{label} per image, detector alone", by_detector.mean(), better="lower"),
            Figure("false.faces", f"{label} per image, after the face score", by_score.mean(), better="lower"),
            Figure("false.detector.count", f"{label}, detector alone", by_detector.sum(), "faces", "lower"),
            Figure("false.faces.count", f"{label}, after the face score", by_score.sum(), "faces", "lower"),
            Figure("images.with", "images with a false face", int((by_score > 0).sum()), "images", "lower"),
        ],
        items=items,
        worst=worst[:_WORST],
        notes=notes,
    )
