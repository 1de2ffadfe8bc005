"""AFLW as 3DDFA measures it: 21 points made of the 68, by yaw (``benchmark_aflw.py``).

The photos are 3DDFA's crops around the true faces, so there is no detector in it: ``AFLW_GT_crop_roi_box.npy`` says
where in AFLW's own photos each was cut. Inside the crop the face is cut once more, by the truth's landmarks, as the
model's config wants it; for a model that was trained on such crops, 3DDFA_V2's, that is the whole crop. Errors are in
px of AFLW's photos, by the square root of the area of the box of the true 68 points; points that are not labelled (-1)
do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tddfa._shared import image_io
from tddfa.aligner import Aligner
from tddfa.crop import roi_from_landmarks
from tddfa.datasets import files as sources
from tddfa.evaluate import crops, metrics
from tddfa.evaluate.metrics import Floats
from tddfa.evaluate.result import DataMissing, Figure, Result, Setup, Worst, number
from tddfa.landmarks68 import CHIN, NOSE_TIP, PARTS

NAME = "aflw"
LAYOUT = (
    "DIR/AFLW_GT_crop (also in DIR/aflw or DIR/test.data) with 3DDFA's crops and AFLW_GT_crop.list beside it, and "
    "AFLW_GT_crop_roi_box.npy (n, 4), AFLW_GT_crop_yaws.npy (n,), AFLW_GT_pts21.npy (n, 2, 21) and AFLW_GT_pts68.npy "
    "(n, 2, 68) there or in test.configs"
)

_FOLDER, _LIST = "AFLW_GT_crop", "AFLW_GT_crop.list"
_ARRAYS: dict[str, tuple[int | None, ...]] = {
    "AFLW_GT_crop_roi_box.npy": (None, 4),
    "AFLW_GT_crop_yaws.npy": (None,),
    "AFLW_GT_pts21.npy": (None, None, 21),
    "AFLW_GT_pts68.npy": (None, None, 68),
}
_ALL = {name: tuple(range(part.start, part.stop)) for name, part in PARTS.items()}
# Which of the 68 points each of AFLW's 21 is the mean of: brows, eyes with their middles, ears, nose, mouth, chin.
_OF_68: tuple[tuple[int, ...], ...] = (
    (17,), (19,), (21,), (22,), (24,), (26,),
    (36,), _ALL["right_eye"], (39,), (42,), _ALL["left_eye"], (45,),
    (2,), (31,), (NOSE_TIP,), (35,), (14,),
    (48,), _ALL["inner_lips"], (54,), (CHIN,),
)  # fmt: skip
_UNLABELLED = -1.0


@dataclass(frozen=True, eq=False)
class _Photo:
    """Labels and what was found, in px of AFLW's photo, but for what is shown: that is in px of the crop."""

    path: str
    yaw: float
    error: float
    shown: Floats
    found: Floats


@dataclass(frozen=True, eq=False)
class _Labels:
    box: Floats
    yaw: Floats
    points: Floats
    outline: Floats


def points_21(points: Any) -> Floats:
    """AFLW's 21 points (21, d) of the 68 (68, d)."""
    points = np.asarray(points, dtype=np.float64)
    return np.stack([points[list(of)].mean(axis=0) for of in _OF_68])


def evaluate(setup: Setup) -> Result:
    """Run the benchmark; see the module's docstring, and `LAYOUT`.

    Raises
    ------
    DataMissing
        If crops or labels are not there; the message tells what was not found.
    ValueError
        If a file is damaged; the message names it.
    """
    bases = [setup.data / inside for inside in ("", "aflw", "test.data")]
    base = next((base for base in bases if (base / _FOLDER).is_dir()), None)
    if base is None:
        raise DataMissing(f"no folder {_FOLDER} in {setup.data}: expected {LAYOUT}")
    places = [place for each in (base, setup.data) for place in (each, each / "test.configs", each / _FOLDER)]
    names = _names(base, places)
    labels = _labels(places, len(names))

    def job(index: int) -> _Photo:
        return _read(setup.data, base / _FOLDER / names[index], labels, index, setup.aligner)

    chosen = setup.chosen(range(len(names)))
    done = sources.worked(job, chosen)
    return _result([photo for _, photo in zip(setup.track(chosen, "AFLW"), done, strict=True)])


def _names(base: Path, places: list[Path]) -> list[str]:
    listed = sources.first_file(places, [_LIST])
    if listed is None:
        raise DataMissing(f"no file {_LIST} in {base}: expected {LAYOUT}")
    names = [Path(line).name for line in sources.read_list(listed)]
    if not names:
        raise ValueError(f"{listed}: expected a file name a line, got none")
    return names


def _labels(places: list[Path], count: int) -> _Labels:
    arrays = []
    for name, shape in _ARRAYS.items():
        path = sources.first_file(places, [name])
        if path is None:
            raise DataMissing(f"no file {name} in {places[0]}: expected {LAYOUT}")
        array = sources.read_array(path, shape)
        if len(array) != count:
            raise ValueError(f"{path}: expected a row for each of the {count} photos of {_LIST}, got {len(array)}")
        if array.ndim == 3:
            if array.shape[1] not in (2, 3):
                raise ValueError(f"{path}: expected x and y of each point, got shape {array.shape}")
            array = array[:, :2].transpose(0, 2, 1)
        arrays.append(array)
    return _Labels(*arrays)


def _read(data: Path, path: Path, labels: _Labels, index: int, aligner: Aligner) -> _Photo:
    image = image_io.read(path)
    left, top, right, bottom = labels.box[index]
    if not (right > left and bottom > top):
        raise ValueError(
            f"{path}: expected its box in AFLW_GT_crop_roi_box.npy to have a size, got {labels.box[index]}"
        )
    scale = np.array([right - left, bottom - top]) / image.shape[1::-1]
    # 3DDFA puts the first px of the crop at the box's edge itself, and its weights were trained so; else px lie where
    # they were cut
    corner = np.array([left, top]) + (0 if aligner.crop.rounded else (scale - 1) / 2)
    outline, truth = labels.outline[index], labels.points[index]
    length = metrics.box_length(outline)
    labelled = (truth != _UNLABELLED).all(axis=1)
    in_crop = (outline - corner) / scale
    (face,) = aligner(image, rois=[roi_from_landmarks(in_crop, aligner.crop)])
    found = points_21(face.landmarks[:, :2] * scale + corner)
    error = metrics.percent(metrics.mean_distance(found[labelled], truth[labelled]), length)
    shown = (truth[labelled] - corner) / scale
    return _Photo(
        sources.below(path, data), float(metrics.wrapped(labels.yaw[index])), error, shown,
        points_21(face.landmarks[:, :2]),
    )  # fmt: skip


def _result(photos: list[_Photo]) -> Result:
    yaw, errors = np.array([photo.yaw for photo in photos]), np.array([photo.error for photo in photos])
    settings: dict[str, Any] = {"photos": len(photos), "labels": "AFLW, 21 points", "crops": "truth"}
    figures, means, label = [], [], "21 points, crop from the truth"
    for low, high in metrics.YAW_BINS:
        inside = metrics.in_bin(yaw, low, high)
        settings[f"photos.{low}-{high}"] = int(inside.sum())
        means.append(metrics.mean(errors[inside]))
        figures.append(Figure(f"nme_21.{low}-{high}", f"{label}, yaw {low}-{high}", means[-1], "%"))
    figures.append(Figure("nme_21.bins", f"{label}, mean of the bins", float(np.mean(means)), "%"))
    figures.append(Figure("nme_21.all", f"{label}, mean of all photos", metrics.mean(errors), "%"))
    unlabelled = int((~np.isfinite(errors)).sum())
    order = sorted((i for i in range(len(photos)) if np.isfinite(errors[i])), key=lambda i: -errors[i])
    notes = [f"Photos without a labelled point ({unlabelled}) count nowhere."] if unlabelled else []
    return Result(
        NAME,
        settings,
        tuple(figures),
        tuple({"photo": p.path, "yaw": number(p.yaw), "nme_21": number(p.error)} for p in photos),
        (crops.curve("crop from the truth, 21 points", errors.tolist(), "%", yaw.tolist()),),
        tuple(
            Worst(
                photos[i].path, round(float(errors[i]), 6), crops.plain(photos[i].shown), crops.plain(photos[i].found)
            )
            for i in order[: crops.MAX_WORST]
        ),
        tuple(notes),
    )
