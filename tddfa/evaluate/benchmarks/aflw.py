"""AFLW with the protocol of 3DDFA (``benchmark_aflw.py``): 21 points, derived from the 68, by yaw.

The images are 3DDFA's crops around the labelled faces; no detector is used. ``AFLW_GT_crop_roi_box.npy`` has the box of
each crop in AFLW's own images. Inside the crop, the face is cropped again by the labelled landmarks, with the crop rule
of the model's config. For a model trained on such crops (3DDFA_V2), that is the whole crop. Errors are in px of AFLW's
images, divided by the square root of the area of the box of the 68 labelled points. Points without a label (-1) do not
count.

Data: DIR/AFLW_GT_crop (also in DIR/aflw or DIR/test.data) with 3DDFA's crops and AFLW_GT_crop.list beside it, and
AFLW_GT_crop_roi_box.npy (n, 4), AFLW_GT_crop_yaws.npy (n,), AFLW_GT_pts21.npy (n, 2, 21) and AFLW_GT_pts68.npy
(n, 2, 68) there or in test.configs.
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
from tddfa.evaluate.benchmarks import BENCHMARKS
from tddfa.evaluate.metrics import Floats
from tddfa.evaluate.result import DataMissing, Figure, Result, Setup, Worst, number
from tddfa.landmarks68 import CHIN, NOSE_TIP, PARTS

_BENCHMARK = BENCHMARKS["aflw"]
_FOLDER, _LIST = "AFLW_GT_crop", "AFLW_GT_crop.list"
_ARRAYS: dict[str, tuple[int | None, ...]] = {
    "AFLW_GT_crop_roi_box.npy": (None, 4),
    "AFLW_GT_crop_yaws.npy": (None,),
    "AFLW_GT_pts21.npy": (None, None, 21),
    "AFLW_GT_pts68.npy": (None, None, 68),
}
_ALL = {name: tuple(range(part.start, part.stop)) for name, part in PARTS.items()}
# AFLW's 21 points as means of some of the 68: brows, eyes with their middles, ears, nose, mouth, chin.
_OF_68: tuple[tuple[int, ...], ...] = (
    (17,), (19,), (21,), (22,), (24,), (26,),
    (36,), _ALL["right_eye"], (39,), (42,), _ALL["left_eye"], (45,),
    (2,), (31,), (NOSE_TIP,), (35,), (14,),
    (48,), _ALL["inner_lips"], (54,), (CHIN,),
)  # fmt: skip
_UNLABELLED = -1.0


@dataclass(frozen=True, eq=False)
class _Image:
    """Error of an image, and its points in px of the crop."""

    path: str
    yaw: float
    error: float
    ground_truth: Floats
    predicted: Floats


@dataclass(frozen=True, eq=False)
class _Labels:
    box: Floats
    yaw: Floats
    points: Floats
    outline: Floats


def points_21(points: Any) -> Floats:
    """AFLW's 21 points (21, d), derived from 68 points (68, d).

    Examples
    --------
    >>> points_21(face.landmarks).shape
    (21, 3)
    """
    points = np.asarray(points, dtype=np.float64)
    return np.stack([points[list(of)].mean(axis=0) for of in _OF_68])


def evaluate(setup: Setup) -> Result:
    """Run the benchmark; see the docstring of the module.

    Raises
    ------
    DataMissing
        If crops or labels are missing; the message names them.
    ValueError
        If a file is damaged; the message names it.
    """
    bases = [setup.data / inside for inside in ("", "aflw", "test.data")]
    base = next((base for base in bases if (base / _FOLDER).is_dir()), None)
    if base is None:
        raise DataMissing(f"no folder {_FOLDER} in {setup.data}: expected {_BENCHMARK.data}")
    folders = [folder for each in (base, setup.data) for folder in (each, each / "test.configs", each / _FOLDER)]
    names = _names(base, folders)
    labels = _labels(folders, len(names))

    def job(index: int) -> _Image:
        return _read(setup.data, base / _FOLDER / names[index], labels, index, setup.aligner)

    chosen = setup.chosen(range(len(names)))
    done = sources.parallel_map(job, chosen)
    return _result([image for _, image in zip(setup.track(chosen, "AFLW"), done, strict=True)])


def _names(base: Path, folders: list[Path]) -> list[str]:
    listed = sources.first_file(folders, [_LIST])
    if listed is None:
        raise DataMissing(f"no file {_LIST} in {base}: expected {_BENCHMARK.data}")
    names = [Path(line).name for line in sources.read_list(listed)]
    if not names:
        raise ValueError(f"{listed}: expected one file name per line, got none")
    return names


def _labels(folders: list[Path], count: int) -> _Labels:
    arrays = []
    for name, shape in _ARRAYS.items():
        path = sources.first_file(folders, [name])
        if path is None:
            raise DataMissing(f"no file {name} in {folders[0]}: expected {_BENCHMARK.data}")
        array = sources.read_array(path, shape)
        if len(array) != count:
            raise ValueError(f"{path}: expected a row for each of the {count} images of {_LIST}, got {len(array)}")
        if array.ndim == 3:
            if array.shape[1] not in (2, 3):
                raise ValueError(f"{path}: expected x and y of each point, got shape {array.shape}")
            array = array[:, :2].transpose(0, 2, 1)
        arrays.append(array)
    return _Labels(*arrays)


def _read(data: Path, path: Path, labels: _Labels, index: int, aligner: Aligner) -> _Image:
    image = image_io.read(path)
    left, top, right, bottom = labels.box[index]
    if not (right > left and bottom > top):
        raise ValueError(
            f"{path}: expected its box in AFLW_GT_crop_roi_box.npy to have a size, got {labels.box[index]}"
        )
    scale = np.array([right - left, bottom - top]) / image.shape[1::-1]
    # 3DDFA puts the first px of the crop at the edge of the box, and its weights were trained so. For other models, px
    # stay where they were in the image.
    corner = np.array([left, top]) + (0 if aligner.crop.rounded else (scale - 1) / 2)
    outline, ground_truth = labels.outline[index], labels.points[index]
    length = metrics.box_length(outline)
    labelled = (ground_truth != _UNLABELLED).all(axis=1)
    in_crop = (outline - corner) / scale
    (face,) = aligner(image, rois=[roi_from_landmarks(in_crop, aligner.crop)])
    predicted = points_21(face.landmarks[:, :2] * scale + corner)
    error = metrics.percent(metrics.mean_distance(predicted[labelled], ground_truth[labelled]), length)
    return _Image(
        path=sources.relative_name(path, data),
        yaw=float(metrics.wrapped(labels.yaw[index])),
        error=error,
        ground_truth=(ground_truth[labelled] - corner) / scale,
        predicted=points_21(face.landmarks[:, :2]),
    )


def _result(images: list[_Image]) -> Result:
    yaw, errors = np.array([image.yaw for image in images]), np.array([image.error for image in images])
    settings: dict[str, Any] = {"images": len(images), "labels": "AFLW, 21 points", "crops": "ground truth"}
    figures, means, label = [], [], "21 points, crop from the ground truth"
    for low, high in metrics.YAW_BINS:
        inside = metrics.in_bin(yaw, low, high)
        settings[f"images.{low}-{high}"] = int(inside.sum())
        means.append(metrics.mean(errors[inside]))
        figures.append(Figure(f"nme_21.{low}-{high}", f"{label}, yaw {low}-{high}", means[-1], "%", "lower"))
    figures.append(Figure("nme_21.bins", f"{label}, mean of the bins", float(np.mean(means)), "%", "lower"))
    figures.append(Figure("nme_21.all", f"{label}, mean of all images", metrics.mean(errors), "%", "lower"))
    unlabelled = int((~np.isfinite(errors)).sum())
    order = sorted((i for i in range(len(images)) if np.isfinite(errors[i])), key=lambda i: -errors[i])
    notes = [f"Images without a labelled point ({unlabelled}) are left out."] if unlabelled else []
    return Result(
        _BENCHMARK.name,
        settings,
        tuple(figures),
        tuple({"image": each.path, "yaw": number(each.yaw), "nme_21": number(each.error)} for each in images),
        (crops.curve("crop from the ground truth, 21 points", errors.tolist(), "%", yaw.tolist()),),
        tuple(
            Worst(
                images[i].path,
                round(float(errors[i]), 6),
                crops.plain(images[i].ground_truth),
                crops.plain(images[i].predicted),
            )
            for i in order[: crops.MAX_WORST]
        ),
        tuple(notes),
    )
