"""68 points on folders of images with ``.pts`` files, as 300-W publishes them (Sagonas et al., 2013), and open eyes.

Errors are divided by the distance between the outer eye corners (inter-ocular): all 68 points, the inner 51, eyes and
mouth. The area under the cumulative error curve and the failure rate count a missed face as a failure. The eye aspect
ratio (EAR) measures how open an eye is (Soukupova and Cech, 2016). Its correlation with the EAR of the ground truth
shows whether a model captures blinks.

Landmarks are measured in the landmark convention of 300-W if the model supports it
(`tddfa.model.face_model.FaceModel.convention`).

Data: folders in DIR (or DIR itself), at most three deep, with images and a .pts file of the same name beside each, 68
points in the format of 300-W: DIR/lfpw, DIR/300W/01_Indoor, DIR/helen/testset, …
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tddfa import landmarks68
from tddfa.datasets import files as sources
from tddfa.datasets.pts import SPLIT, held_out, pts_folders, read_pts
from tddfa.evaluate import crops, metrics
from tddfa.evaluate.benchmarks import BENCHMARKS
from tddfa.evaluate.crops import CROP_SOURCES, CROPS, Aligned
from tddfa.evaluate.metrics import Floats
from tddfa.evaluate.result import Curve, DataMissing, Figure, Result, Setup, number

_BENCHMARK = BENCHMARKS["300w"]

LIMITS = (8, 10)
"""Ends of the error curves and failure thresholds, per cent."""

_PARTS = {
    "68": ("all 68 points", slice(0, 68)),
    "51": ("inner 51 points", landmarks68.INNER),
    "eyes": ("eyes", landmarks68.EYES),
    "mouth": ("mouth", landmarks68.MOUTH),
}
_CONVENTION = "300w"


@dataclass(frozen=True, eq=False)
class _Image:
    path: str
    ground_truth: Floats
    aligned: Aligned


def evaluate(setup: Setup) -> Result:
    """Run the benchmark on every folder; see the docstring of the module.

    Raises
    ------
    DataMissing
        If there is no such folder.
    ValueError
        If a file is damaged; the message names it.
    """
    folders = pts_folders(setup.data)
    if not folders:
        raise DataMissing(f"no .pts files in {setup.data}: expected {_BENCHMARK.data}")

    def job(path: Path) -> _Image:
        return _read(setup, path)

    settings: dict[str, Any] = {"labels": ".pts, 68 points", "crops": CROP_SOURCES}
    figures: list[Figure] = []
    rows: list[dict[str, Any]] = []
    curves: list[Curve] = []
    notes: list[str] = []
    every: list[_Image] = []
    for folder in folders:
        name = sources.relative_name(folder, setup.data) if folder != setup.data else folder.resolve().name
        everything = sorted(folder.glob("*.pts"))
        labels = setup.chosen(everything)
        done = sources.parallel_map(job, labels)
        images = [image for _, image in zip(setup.track(labels, name), done, strict=True)]
        groups = {name: images}
        if folder.resolve().name == SPLIT:
            last = set(held_out(folder))
            kept = [image for image, path in zip(images, labels, strict=True) if path in last]
            groups = {f"{name} (last 30 %)": kept, name: images}
            notes.append(f"Training may use the first 70 % by name of {name}, and not the last 30 %.")
        for group, members in groups.items():
            errors = _errors(members)
            settings[f"images.{group}"] = len(members)
            figures += _figures(group, members, errors)
            curves += [
                crops.curve(f"{group}, {label}, inner 51 points", errors[crop, "51"].tolist(), "%")
                for crop, label in CROPS.items()
            ]
        rows += _rows(name, images)
        every += images
    if _CONVENTION not in setup.aligner.face_model.landmark_offsets:
        own = setup.aligner.face_model.convention
        notes.append(
            f"The labels are in the landmark convention of 300-W, the predicted landmarks in another one ({own}): the "
            "errors include that difference."
        )
    shown = crops.worst(
        [image.path for image in every],
        _errors(every)["ground_truth", "68"].tolist(),
        [image.ground_truth for image in every],
        [image.aligned for image in every],
    )
    return Result(_BENCHMARK.name, settings, tuple(figures), tuple(rows), tuple(curves), shown, tuple(notes))


def _read(setup: Setup, path: Path) -> _Image:
    image = sources.image_beside(path)
    if image is None:
        raise ValueError(f"{path}: expected its image beside it, got none")
    ground_truth = read_pts(path)
    aligned = crops.align(setup.aligner, image, ground_truth)
    if _CONVENTION in setup.aligner.face_model.landmark_offsets:
        faces = {
            crop: face and replace(face, landmarks=setup.aligner.decoder.landmarks(face, _CONVENTION))
            for crop, face in aligned.faces.items()
        }
        aligned = replace(aligned, faces=faces)
    return _Image(sources.relative_name(image, setup.data), ground_truth, aligned)


def _errors(images: Sequence[_Image]) -> dict[tuple[str, str], Floats]:
    """An error per image, by crop and part; NaN where the face is missed."""

    def error(image: _Image, crop: str, part: slice) -> float:
        face = image.aligned.faces[crop]
        return np.nan if face is None else metrics.nme_eyes(face.landmarks, image.ground_truth, part)

    return {
        (crop, part): np.array([error(image, crop, points) for image in images])
        for crop in CROPS
        for part, (_, points) in _PARTS.items()
    }


def _openness(images: Sequence[_Image], crop: str) -> tuple[Floats, Floats]:
    """EAR (n, 2) of both eyes: predicted (NaN where the face is missed), and of the ground truth."""

    def predicted(image: _Image) -> tuple[float, float]:
        face = image.aligned.faces[crop]
        return (np.nan, np.nan) if face is None else metrics.eye_openness(face.landmarks)

    labels = [metrics.eye_openness(image.ground_truth) for image in images]
    return np.array([predicted(image) for image in images]).reshape(-1, 2), np.array(labels).reshape(-1, 2)


def _figures(group: str, images: Sequence[_Image], errors: dict[tuple[str, str], Floats]) -> Iterator[Figure]:
    yield crops.missed_figure([image.aligned for image in images], f"{group}.missed.detector", f"{group}: ")
    for crop, source in CROPS.items():
        where = f"{group}, {source}"
        only = ", detected faces only" if crop == "detector" else ""
        for part, (label, _) in _PARTS.items():
            value = metrics.mean(errors[crop, part])
            yield Figure(f"{group}.nme.{crop}.{part}", f"{where}: NME{only}, {label}", value, "%", "lower")
        for part in ("68", "51"):
            values, label = errors[crop, part], _PARTS[part][0]
            for limit in LIMITS:
                area, failed = metrics.area_under_curve(values, limit), metrics.failure_rate(values, limit)
                key = f"{limit}.{crop}.{part}"
                yield Figure(f"{group}.auc_{key}", f"{where}: AUC to {limit} %, {label}", area, "%", "higher")
                description = f"{where}: failures over {limit} %, {label}"
                yield Figure(f"{group}.failures_{key}", description, failed, "%", "lower")
        predicted, labels = _openness(images, crop)
        related, off = metrics.correlation(predicted, labels), metrics.mean(np.abs(predicted - labels))
        label = f"{where}: eye openness (EAR)"
        yield Figure(f"{group}.ear_correlation.{crop}", f"{label}, correlation", related, better="higher")
        yield Figure(f"{group}.ear_error.{crop}", f"{label}, mean error", off, better="lower")


def _rows(group: str, images: Sequence[_Image]) -> Iterator[dict[str, Any]]:
    errors = _errors(images)
    openness = {crop: _openness(images, crop) for crop in CROPS}
    for i, image in enumerate(images):
        row: dict[str, Any] = {"image": image.path, "folder": group}
        row |= {f"nme.{crop}.{part}": number(values[i]) for (crop, part), values in errors.items()}
        for side, eye in (("right", 0), ("left", 1)):
            row[f"ear.label.{side}"] = number(openness["ground_truth"][1][i, eye])
            row |= {f"ear.{crop}.{side}": number(values[i, eye]) for crop, (values, _) in openness.items()}
        yield row
