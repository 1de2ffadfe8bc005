"""Folders of photos with ``.pts`` files, as 300-W publishes them (Sagonas et al., 2013): 68 points, and open eyes.

Errors are by the distance of the outer eye corners (inter-ocular): all 68 points, the inner 51, eyes, mouth; with the
area under the cumulative error curve and the failure rate, in which a missed face is a failure. EAR tells whether eyes
are open (Soukupova and Cech, 2016): how well it follows the truth's says whether blinking shows.

Landmarks are measured by the landmark convention of 300-W where the model has it (`tddfa.model.face_model.FaceModel.convention`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tddfa import landmarks68
from tddfa.datasets import files as sources
from tddfa.datasets.pts import read_pts
from tddfa.evaluate import crops, metrics
from tddfa.evaluate.crops import CROPS, Aligned
from tddfa.evaluate.metrics import Floats
from tddfa.evaluate.result import Curve, DataMissing, Figure, Result, Setup, number

NAME = "300w"
LAYOUT = (
    "folders in DIR (or DIR itself), at most three deep, with photos and a .pts file of the same name beside each, "
    "68 points in the format of 300-W: DIR/lfpw, DIR/300W/01_Indoor, DIR/helen/testset, …"
)

LIMITS = (8, 10)
"""Per cent: where the curves end, and what is a failure."""

_PARTS = {
    "68": ("all 68 points", slice(0, 68)),
    "51": ("inner 51 points", landmarks68.INNER),
    "eyes": ("eyes", landmarks68.EYES),
    "mouth": ("mouth", landmarks68.MOUTH),
}
_DEPTH = 3
_MARKUP = "300w"
# Of a folder of this name that holds photos itself, the first 70 % by name may be trained on.
_SPLIT, _KEPT_FROM = "lfpw", 0.7


@dataclass(frozen=True, eq=False)
class _Photo:
    path: str
    truth: Floats
    aligned: Aligned


def evaluate(setup: Setup) -> Result:
    """Run the benchmark on every folder; see the module's docstring, and `LAYOUT`.

    Raises
    ------
    DataMissing
        If there is no such folder.
    ValueError
        If a file is damaged; the message names it.
    """
    folders = [folder for folder in _folders(setup.data, _DEPTH) if next(iter(folder.glob("*.pts")), None)]
    if not folders:
        raise DataMissing(f"no .pts files in {setup.data}: expected {LAYOUT}")

    def job(path: Path) -> _Photo:
        return _read(setup, path)

    settings: dict[str, Any] = {"labels": ".pts, 68 points", "crops": ", ".join(CROPS)}
    figures: list[Figure] = []
    rows: list[dict[str, Any]] = []
    curves: list[Curve] = []
    notes: list[str] = []
    everybody: list[_Photo] = []
    for folder in folders:
        name = sources.below(folder, setup.data) if folder != setup.data else folder.resolve().name
        everything = sorted(folder.glob("*.pts"))
        labels = setup.chosen(everything)
        done = sources.worked(job, labels)
        photos = [photo for _, photo in zip(setup.track(labels, name), done, strict=True)]
        groups = {name: photos}
        if folder.name == _SPLIT:
            last = set(everything[int(_KEPT_FROM * len(everything)) :])
            kept = [photo for photo, path in zip(photos, labels, strict=True) if path in last]
            groups = {f"{name} (last 30 %)": kept, name: photos}
            notes.append(f"The first 70 % by name of {name} may be trained on; the last 30 % may not.")
        for group, members in groups.items():
            errors = _errors(members)
            settings[f"photos.{group}"] = len(members)
            figures += _figures(group, members, errors)
            curves += [
                crops.curve(f"{group}, {spoken}, inner 51 points", errors[crop, "51"].tolist(), "%")
                for crop, spoken in CROPS.items()
            ]
        rows += _rows(name, photos)
        everybody += photos
    if _MARKUP not in setup.aligner.face_model.landmark_offsets:
        theirs = setup.aligner.face_model.convention
        notes.append(
            f"The labels are by 300-W's landmark convention, the model's landmarks by another ({theirs}): it errs by that too."
        )
    shown = crops.worst(
        [photo.path for photo in everybody],
        _errors(everybody)["truth", "68"].tolist(),
        [photo.truth for photo in everybody],
        [photo.aligned for photo in everybody],
    )
    return Result(NAME, settings, tuple(figures), tuple(rows), tuple(curves), shown, tuple(notes))


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    if not folder.is_dir():
        return
    yield folder
    if depth:
        for inside in sorted(folder.iterdir()):
            if inside.is_dir() and not inside.name.startswith("."):
                yield from _folders(inside, depth - 1)


def _read(setup: Setup, path: Path) -> _Photo:
    photo = sources.photo_beside(path)
    if photo is None:
        raise ValueError(f"{path}: expected its photo beside it, found none")
    truth = read_pts(path)
    aligned = crops.align(setup.aligner, photo, truth)
    if _MARKUP in setup.aligner.face_model.landmark_offsets:
        faces = {
            crop: face and replace(face, landmarks=setup.aligner.decoder.landmarks(face, _MARKUP))
            for crop, face in aligned.found.items()
        }
        aligned = replace(aligned, found=faces)
    return _Photo(sources.below(photo, setup.data), truth, aligned)


def _errors(photos: Sequence[_Photo]) -> dict[tuple[str, str], Floats]:
    """By crop and part, a number a photo; NaN where the face was missed."""
    return {
        (crop, part): np.array([
            np.nan if (face := photo.aligned.found[crop]) is None
            else metrics.nme_eyes(face.landmarks, photo.truth, points) for photo in photos
        ])
        for crop in CROPS for part, (_, points) in _PARTS.items()
    }  # fmt: skip


def _openness(photos: Sequence[_Photo], crop: str) -> tuple[Floats, Floats]:
    """EAR (n, 2) of both eyes as found (NaN where missed), and the truth's."""
    truth = np.array([metrics.eye_openness(photo.truth) for photo in photos]).reshape(-1, 2)
    found = np.array([
        (np.nan, np.nan) if (face := photo.aligned.found[crop]) is None else metrics.eye_openness(face.landmarks)
        for photo in photos
    ]).reshape(-1, 2)  # fmt: skip
    return found, truth


def _figures(group: str, photos: Sequence[_Photo], errors: dict[tuple[str, str], Floats]) -> Iterator[Figure]:
    yield crops.missed_figure([p.aligned for p in photos], f"{group}.missed.detector", f"{group}: ")
    for crop, spoken in CROPS.items():
        where = f"{group}, {spoken}"
        rest = ", of the rest" if crop == "detector" else ""
        for part, (label, _) in _PARTS.items():
            value = metrics.mean(errors[crop, part])
            yield Figure(f"{group}.nme.{crop}.{part}", f"{where}: NME{rest}, {label}", value, "%")
        for part in ("68", "51"):
            values, label = errors[crop, part], _PARTS[part][0]
            for limit in LIMITS:
                area, failed = metrics.area_under_curve(values, limit), metrics.failure_rate(values, limit)
                yield Figure(f"{group}.auc_{limit}.{crop}.{part}", f"{where}: AUC to {limit} %, {label}", area, "%")
                yield Figure(
                    f"{group}.failures_{limit}.{crop}.{part}", f"{where}: failures over {limit} %, {label}", failed, "%"
                )
        found, truth = _openness(photos, crop)
        related, off = metrics.correlation(found, truth), metrics.mean(np.abs(found - truth))
        yield Figure(f"{group}.ear_correlation.{crop}", f"{where}: eye openness (EAR), correlation", related)
        yield Figure(f"{group}.ear_error.{crop}", f"{where}: eye openness (EAR), mean error", off)


def _rows(group: str, photos: Sequence[_Photo]) -> Iterator[dict[str, Any]]:
    errors = _errors(photos)
    openness = {crop: _openness(photos, crop) for crop in CROPS}
    for i, photo in enumerate(photos):
        row: dict[str, Any] = {"photo": photo.path, "folder": group}
        row |= {f"nme.{crop}.{part}": number(values[i]) for (crop, part), values in errors.items()}
        for side, which in (("right", 0), ("left", 1)):
            row[f"ear.label.{side}"] = number(openness["truth"][1][i, which])
            row |= {f"ear.{crop}.{side}": number(found[i, which]) for crop, (found, _) in openness.items()}
        yield row
