"""The score as a probability: alignments of shifted, rolled and cut faces and of windows without a face.

The crops are made from photos with landmarks, with fixed seeds, and given to the aligner as squares. The error is the
error of the inner 51 landmarks, % of the distance between the outer eye corners, but of at least half the longer side
of the landmarks' box (`tddfa.evaluate.metrics.nme_inner`). An alignment is right if its error is under 8 %. It is wrong
if its error is over 15 % or if there is no face. Errors from 8 to 15 % count as neither. Each crop is measured after
the first pass alone and after all passes of the model.

Data: the folders of the benchmark ``300w`` (of ``lfpw`` the last 30 % by name) and of ``aflw2000-3d``. Windows without
a face: DIR/negatives, the second half by name, and DIR/detect, away from its boxes, the last 30 % by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tddfa._shared import image_io
from tddfa._shared.image_io import has_image_name
from tddfa.aligner import Aligner
from tddfa.crop import roi_from_box, roi_from_landmarks
from tddfa.datasets import files as sources
from tddfa.datasets.boxes import load_folder
from tddfa.datasets.pts import held_out, pts_folders, read_pts
from tddfa.evaluate import metrics
from tddfa.evaluate.benchmarks import BENCHMARKS
from tddfa.evaluate.benchmarks.detection_stress import rolled
from tddfa.evaluate.metrics import Floats
from tddfa.evaluate.result import DataMissing, Figure, Result, Setup
from tddfa.model.config import CropRule
from tddfa.types import Roi

_BENCHMARK = BENCHMARKS["score"]

RIGHT, WRONG, LIMIT = 8.0, 15.0, 0.5
"""Errors, %, under and over which an alignment is right and wrong; score from which it should be right."""

KINDS = {
    "placed": "about as a detector places them",
    "shifted": "shifted and scaled",
    "rolled": "of rolled heads",
    "cut": "partly outside the image",
    "none": "without a face",
}
"""Kind of crop -> description."""

FAR, LARGE, SMALL = 0.7, 2.75, 0.15
"""See `shows_no_face`."""

_AFLW = ("aflw2000", "AFLW2000", "AFLW2000-3D")
_CONVENTIONS = {".pts": "300w", ".mat": "300w-lp"}
_SEED = 17
# Crops of each kind and photo; windows of each image without a face, or away from its faces.
_CROPS, _WINDOWS = 2, 10
_DETECT_FIRST = 0.7
_MIN_WINDOW, _TRIES = 24.0, 30

Image = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class _Crop:
    """A square of an image; landmarks (68, 2) of its face, px, or the squares (n, 3) of the faces it does not show."""

    kind: str
    image: Image
    roi: Roi
    landmarks: Floats | None
    squares: Floats


@dataclass(frozen=True)
class _Row:
    """Error (infinite without a face, NaN if unknown) and score, by number of passes."""

    kind: str
    errors: tuple[float, ...]
    scores: tuple[float, ...]


def evaluate(setup: Setup) -> Result:
    """Measure how well the score separates right from wrong alignments.

    Raises
    ------
    DataMissing
        If there are no photos with landmarks.
    ValueError
        If a file is damaged; the message names it.
    """
    faces = setup.chosen(_labels(setup.data))
    if not faces:
        raise DataMissing(f"no photos with landmarks in {setup.data}: expected {_BENCHMARK.data}")
    empty = setup.chosen(_empty(setup.data, setup.aligner.crop))
    first = copy(setup.aligner)
    first.refine = 0
    aligners = {"first": first, "all": setup.aligner}
    items: list[Path | tuple[Path, Floats]] = [*faces, *empty]
    jobs = list(enumerate(items))

    def one(job: tuple[int, Path | tuple[Path, Floats]]) -> list[_Row]:
        rng, item = np.random.default_rng((_SEED, job[0])), job[1]
        if isinstance(item, Path):
            return [_row(aligners.values(), crop, _CONVENTIONS[item.suffix]) for crop in _face_crops(first, item, rng)]
        return [_row(aligners.values(), crop) for crop in _windows(*item, rng)]

    done = sources.parallel_map(one, jobs)
    rows = [row for _, found in zip(setup.track(jobs, _BENCHMARK.name), done, strict=True) for row in found]
    figures: list[Figure] = []
    kinds = np.array([row.kind for row in rows])
    for k, key in enumerate(aligners):
        name = {"first": "one pass", "all": "all passes"}[key]
        error, score = (np.array([getattr(row, part)[k] for row in rows]) for part in ("errors", "scores"))
        figures += _figures(key, f"{name}, all crops", error, score, counts=True)
        for kind, label in KINDS.items():
            part = kinds == kind
            figures += _figures(f"{key}.{kind}", f"{name}, crops {label}", error[part], score[part], counts=False)
    return Result(
        benchmark=_BENCHMARK.name,
        settings={"photos": len(faces), "images without a face": len(empty)},
        figures=figures,
        notes=[] if empty else ["Without images in negatives or detect, every crop is of a face."],
    )


def _figures(key: str, name: str, error: Floats, score: Floats, *, counts: bool) -> Iterator[Figure]:
    right, wrong = score[error < RIGHT], score[error > WRONG]
    above, below = (100 * float(np.mean(hit)) if hit.size else float("nan") for hit in (right >= LIMIT, wrong < LIMIT))
    yield Figure(f"{key}.right", f"{name}: error under {RIGHT:g} %, score {LIMIT:g} or more", above, "%", "higher")
    yield Figure(f"{key}.wrong", f"{name}: error over {WRONG:g} % or no face, score less", below, "%", "higher")
    if counts:
        yield Figure(f"{key}.auc", f"{name}: AUC", metrics.area_under_roc(right, wrong), "", "higher")
        yield Figure(f"{key}.right.count", f"{name}: error under {RIGHT:g} %", len(right), "crops")
        yield Figure(f"{key}.wrong.count", f"{name}: error over {WRONG:g} % or no face", len(wrong), "crops")


def _row(aligners: Iterable[Aligner], crop: _Crop, convention: str = "") -> _Row:
    errors, scores = [], []
    for aligner in aligners:
        (face,) = aligner(crop.image, rois=[crop.roi])
        error = float("inf")
        if crop.landmarks is not None:
            own = convention if convention in aligner.face_model.landmark_offsets else None
            error = metrics.nme_inner(aligner.decoder.landmarks(face, own), crop.landmarks)
        elif not shows_no_face(*_centre(face.roi), crop.squares):
            # a later pass has moved to a face without labelled landmarks
            error = float("nan")
        errors.append(error)
        scores.append(face.score)
    return _Row(crop.kind, tuple(errors), tuple(scores))


def _face_crops(aligner: Aligner, label: Path, rng: np.random.Generator) -> Iterator[_Crop]:
    path = sources.image_beside(label)
    if path is None:
        raise ValueError(f"{label}: expected its image beside it, got none")
    image, points = image_io.read(path), _landmarks(label)
    sources.check_landmarks(label, points, image)

    def crop(kind: str, image: Image, points: Floats, shift: float, scale: tuple[float, float]) -> _Crop:
        roi = roi_from_landmarks(points, aligner.crop)
        centre, side = _centre(roi)
        side *= float(np.exp(rng.uniform(*np.log(scale))))
        angle = rng.uniform(0, 2 * np.pi)
        x, y = centre + side * rng.uniform(0, shift) * np.array([np.cos(angle), np.sin(angle)])
        return _Crop(kind, image, Roi.around(x, y, side), points, np.zeros((0, 3)))

    near = 0.1, (0.87, 1.2)
    for _ in range(_CROPS):
        yield crop("placed", image, points, *near)
        yield crop("shifted", image, points, 0.8, (0.4, 2.5))
        yield crop("rolled", *rolled(image, points, float(rng.uniform(0, 360))), *near)
        yield crop("cut", *cut(image, points, rng), *near)


def cut(image: Image, points: Floats, rng: np.random.Generator) -> tuple[Image, Floats]:
    """Cut 10 to 60 % of a face off, at one side of the image or at two."""
    low, high = points.min(axis=0), points.max(axis=0)
    first, last = np.zeros(2, dtype=int), np.array(image.shape[1::-1])
    for axis in (0, 1) if rng.random() < 0.3 else (int(rng.integers(2)),):
        depth = rng.uniform(0.1, 0.6) * (high - low)[axis]
        if rng.random() < 0.5:
            first[axis] = max(int(low[axis] + depth), 0)
        else:
            last[axis] = min(int(np.ceil(high[axis] - depth)), int(last[axis]))
    first = np.minimum(first, last - 1)
    return np.ascontiguousarray(image[first[1] : last[1], first[0] : last[0]]), points - first


def _windows(path: Path, squares: Floats, rng: np.random.Generator) -> Iterator[_Crop]:
    image = image_io.read(path)
    height, width = image.shape[:2]
    largest = max(1.2 * min(height, width), _MIN_WINDOW + 1)
    for _ in range(_WINDOWS):
        for _ in range(_TRIES):
            side = float(np.exp(rng.uniform(np.log(_MIN_WINDOW), np.log(largest))))
            centre = rng.uniform(0, 1, 2) * (width, height)
            if shows_no_face(centre, side, squares):
                yield _Crop("none", image, Roi.around(float(centre[0]), float(centre[1]), side), None, squares)
                break


def shows_no_face(centre: Floats, side: float, squares: Floats) -> bool:
    """Whether a square shows no face that could be aligned.

    For the square of each face, one of these is true. It is at least `FAR` away, in sides of the larger square. It is
    more than `LARGE` times as large, so that only a part of it is shown. Or it is less than `SMALL` times as large.

    Parameters
    ----------
    centre : ndarray (2,)
        Centre of the square, px.
    side : float
        Side of the square, px.
    squares : ndarray (n, 3)
        Centre and side of the squares of all faces.
    """
    distance = np.linalg.norm(squares[:, :2] - centre, axis=1) / np.maximum(side, squares[:, 2])
    ratio = squares[:, 2] / side
    return bool(((distance >= FAR) | (ratio > LARGE) | (ratio < SMALL)).all())


def _centre(roi: Roi) -> tuple[Floats, float]:
    return np.array([roi.left, roi.top]) + roi.side / 2, roi.side


def _landmarks(label: Path) -> Floats:
    if label.suffix == ".pts":
        return read_pts(label)
    return np.ascontiguousarray(sources.read_mat(label, {"pt3d_68": (3, 68)})["pt3d_68"].T[:, :2])


def _labels(data: Path) -> list[Path]:
    """Label files: ``.pts`` of 300-W, ``.mat`` of AFLW2000-3D."""
    folder = sources.first_folder(data, _AFLW, "*.mat")
    mats = [] if folder is None else sorted(folder.glob("*.mat"))
    return [path for each in pts_folders(data) for path in held_out(each)] + mats


def _empty(data: Path, rule: CropRule) -> list[tuple[Path, Floats]]:
    """Images for windows without a face, and centre and side (n, 3) of the squares of their faces."""
    folder = data / "negatives"
    paths = sorted(p for p in folder.iterdir() if has_image_name(p)) if folder.is_dir() else []
    boxed = load_folder(data / "detect")
    images = [(path, np.zeros((0, 3))) for path in paths[len(paths) // 2 :]]
    for each in boxed[int(_DETECT_FIRST * len(boxed)) :]:
        squares = [(*centre, side) for centre, side in (_centre(roi_from_box(box, rule)) for box in each.xyxy)]
        images.append((each.path, np.array(squares).reshape(-1, 3)))
    return images
