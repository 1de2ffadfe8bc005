"""Samples to train the score on: crops with known alignment error, as features of the frozen regressor.

A crop is placed on an image at random: near the place that the crop rule gives, far from it, rolled, partly outside the
image, or where no face is. The regressor aligns it twice, as `tddfa.Aligner` does: on this crop, and on a horizontally
flipped crop around the result. Each pass is a sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from FaceBoxes import Detector
from tddfa._shared.files import write_atomic
from tddfa.evaluate.benchmarks.score import FAR, LARGE, SMALL, shows_no_face
from tddfa.evaluate.metrics import nme_inner
from tddfa.landmarks68 import MIRRORED
from tddfa.model.face_model import FaceModel
from tddfa.model.runtime import Model
from tddfa.onnx_tools.graph import Graph
from tddfa.train.data.augment import BORDERS, CROP_SIZE, LANDMARK_SCALE, change_pixels
from tddfa.train.data.photos import squares_of_boxes
from tddfa.train.detector.data import LabelledImage, Source, source
from tddfa.train.detector.settings import Folders
from tddfa.train.regressor.export import FEATURES, head_of
from tddfa.train.score.settings import ScoreSettings

Image = NDArray[np.uint8]
Matrix = NDArray[np.float64]
"""Map (2, 3) from px of an image to px of the crop."""

BATCH = 64
"""Placements per batch of a `SampleMaker`; each gives two samples."""

_FLIP = np.array([[-1.0, 0, CROP_SIZE - 1], [0, 1, 0]])
# Fractions of the crops: placed anywhere about the face, the others about as a detector or a tracker places them;
# rolled by any angle, the others by a few degrees; of a photo whose frame cuts the face.
_ANYWHERE, _ROLLED, _CUT = 0.6, 0.45, 0.3
# Scale and shift of the crop, as fractions of its side, for both.
_SCALES = {True: (0.35, 3.0), False: (0.82, 1.3)}
_SHIFTS = {True: 0.4, False: 0.13}
# Without a face: windows at the boxes of the detector; beside or within a face, where boxes of faces are known.
_DETECTED, _BESIDE, _WITHIN = 0.6, 0.6, 0.4
# Enlargements at which the detector searches images without a face: false faces differ with the scale.
_ZOOMS = (1, 2, 3)
_DETECTOR_SCORE = 0.05
_MIN_WINDOW = 20.0
_TRIES = 30
# Images kept in memory by each process.
_CACHED = 600


@dataclass(frozen=True, eq=False)
class Samples:
    """Features of n crops and the errors of their alignments.

    Attributes
    ----------
    features : ndarray (n, c) float16
        Features of the regressor's backbone.
    error : ndarray (n,) float32
        `nme_inner` of the landmarks; infinite without a face.
    kind : ndarray (n,) str
        Kind of the image's folder (`tddfa.train.detector.settings.Folders`).
    score : ndarray (n,) float32
        Score of the regressor as it is.
    """

    features: NDArray[np.float16]
    error: NDArray[np.float32]
    kind: NDArray[np.str_]
    score: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.error)

    @staticmethod
    def joined(parts: Sequence[Samples]) -> Samples:
        """All samples, one after the other."""
        return Samples(
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in Samples.__dataclass_fields__}
        )


@dataclass(frozen=True, eq=False)
class _Placed:
    """A crop: its image, the map to it, the border beyond the image, and what is labelled there."""

    image: Image
    matrix: Matrix
    border: int
    kind: str
    landmarks: NDArray[np.float64] | None
    squares: NDArray[np.float64]


class SampleMaker:
    """Makes batches of samples: batch k is always the same, wherever it is made.

    Parameters
    ----------
    settings : ScoreSettings
    folders : Folders
        ``settings.data`` or ``settings.validation``.
    network : Path
        A file of `with_features`.
    validation : bool
        Whether to use the crops marked for validation.

    Raises
    ------
    FileNotFoundError, ValueError
        If a folder or a file is missing or damaged.
    """

    def __init__(self, settings: ScoreSettings, folders: Folders, network: Path, *, validation: bool) -> None:
        self.model = FaceModel.load(settings.face_model)
        self.augment = settings.augment
        self.seed = (settings.schedule.seed, int(validation))
        self.network = Model(network, "cpu", threads=1)
        self.detector = None if settings.detector is None else _Boxes(settings.detector)
        self.parts: list[tuple[str, Source, NDArray[np.intp]]] = []
        weights = []
        for kind, part in folders.parts():
            images = source(part.folder, kind, part.first, part.last, self.model, validation=validation)
            rows = np.arange(len(images))
            if kind == "crops":
                rows = self._trusted(images, settings.max_label_error)
            if not len(rows):
                raise ValueError(f"{part.folder}: expected crops within max_label_error, got none")
            self.parts.append((kind, images, rows))
            weights.append(part.weight)
        self.weights = np.array(weights) / np.sum(weights)
        self._image = lru_cache(_CACHED)(self._read)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_image"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._image = lru_cache(_CACHED)(self._read)

    def _read(self, part: int, row: int) -> LabelledImage:
        return self.parts[part][1][row]

    def _trusted(self, images: Source, limit: float) -> NDArray[np.intp]:
        """Crops whose label the regressor agrees with; crops without a face are left out."""
        kept: list[int] = []
        for first in range(0, len(images), BATCH):
            rows = range(first, min(first + BATCH, len(images)))
            placed = []
            for row in rows:
                labelled = images[row]
                landmarks = labelled.landmarks
                if landmarks is not None:
                    matrix, none = similarity(*square_around(landmarks), 0.0), np.zeros((0, 3))
                    placed.append((row, _Placed(labelled.image, matrix, BORDERS[0], "crops", landmarks, none)))
            if placed:
                outputs = self.network(np.stack([warped(each.image, each.matrix, each.border) for _, each in placed]))
                error = self._errors([each for _, each in placed], [each.matrix for _, each in placed], outputs)
                kept += [row for (row, _), value in zip(placed, error, strict=True) if value <= limit]
        return np.array(kept, dtype=np.intp)

    def batch(self, number: int) -> Samples:
        """Samples of both passes of `BATCH` crops."""
        rng = np.random.default_rng((*self.seed, number))
        placed: list[_Placed] = []
        while len(placed) < BATCH:
            each = self._placed(rng)
            if each is not None:
                placed.append(each)
        seeds = rng.integers(2**31, size=BATCH)
        flips = rng.random(BATCH) < self.augment.flip
        first = [flipped(each.matrix) if flip else each.matrix for each, flip in zip(placed, flips, strict=True)]
        outputs = self._regress(placed, first, seeds)
        samples = self._samples(placed, first, outputs)
        points = self._points(outputs)
        upright = rng.random(BATCH) < 0.5
        second = []
        for k, matrix in enumerate(first):
            # the crop of the second pass may be cut upright, by the roll of the first
            camera = outputs["camera"][k]
            roll = -float(np.arctan2(camera[1, 0], camera[0, 0])) if upright[k] else 0.0
            second.append(flipped(composed(similarity(*square_around(points[k], roll), roll), matrix)))
        later = self._samples(placed, second, self._regress(placed, second, seeds))
        return Samples.joined([samples, later])

    def _regress(self, placed: list[_Placed], matrices: list[Matrix], seeds: NDArray[np.int64]) -> Any:
        crops = np.empty((len(placed), CROP_SIZE, CROP_SIZE, 3), dtype=np.uint8)
        for crop, each, matrix, seed in zip(crops, placed, matrices, seeds, strict=True):
            # the same changes in both passes, as if they were the photo's
            crop[:] = change_pixels(
                warped(each.image, matrix, each.border), self.augment, np.random.default_rng(int(seed))
            )
        return self.network(crops)

    def _points(self, outputs: Any) -> NDArray[np.float64]:
        """Predicted landmarks (n, 68, 2), px of the crops."""
        camera = outputs["camera"].astype(np.float64)
        points = self.model.landmarks(outputs["shape"], outputs["expression"])
        return np.asarray(points @ camera[:, :2, :3].transpose(0, 2, 1) + camera[:, None, :2, 3])

    def _errors(self, placed: list[_Placed], matrices: list[Matrix], outputs: Any) -> NDArray[np.float32]:
        """Error of each crop; infinite without a face, NaN where a face may be that is not labelled."""
        error = np.full(len(placed), np.inf, dtype=np.float32)
        for k, (each, matrix, points) in enumerate(zip(placed, matrices, self._points(outputs), strict=True)):
            if each.landmarks is not None:
                target = each.landmarks @ matrix[:, :2].T + matrix[:, 2]
                error[k] = nme_inner(points, target[MIRRORED] if np.linalg.det(matrix[:, :2]) < 0 else target)
            elif len(each.squares):
                inverse = cv2.invertAffineTransform(matrix)
                side = CROP_SIZE * float(np.sqrt(abs(np.linalg.det(inverse[:, :2]))))
                centre = inverse[:, :2] @ np.full(2, (CROP_SIZE - 1) / 2) + inverse[:, 2]
                if not shows_no_face(centre, side, each.squares):
                    error[k] = np.nan
        return error

    def _samples(self, placed: list[_Placed], matrices: list[Matrix], outputs: Any) -> Samples:
        error = self._errors(placed, matrices, outputs)
        known = ~np.isnan(error)
        return Samples(
            outputs[FEATURES][known].astype(np.float16),
            error[known],
            np.array([each.kind for each in placed])[known],
            outputs["score"][known],
        )

    def _placed(self, rng: np.random.Generator) -> _Placed | None:
        index = int(rng.choice(len(self.parts), p=self.weights))
        kind, _, rows = self.parts[index]
        row = int(rows[int(rng.integers(len(rows)))])
        labelled = self._image(index, row)
        none = np.zeros((0, 3))
        if labelled.landmarks is not None:
            image, landmarks = labelled.image, labelled.landmarks
            border = BORDERS[0]
            if kind == "crops":
                # stored crops end near the face, photos do not
                border = int(rng.choice(BORDERS))
            elif rng.random() < _CUT:
                image, landmarks = cut(image, landmarks, rng)
            return _Placed(image, face_placement(landmarks, rng), border, kind, landmarks, none)
        squares = squares_of_boxes(labelled.faces.xyxy)
        windows = none
        image = labelled.image
        if kind == "empty" and self.detector is not None:
            zoom, flip = _ZOOMS[int(rng.integers(len(_ZOOMS)))], bool(rng.random() < 0.5)
            image = np.ascontiguousarray(image[:, ::-1]) if flip else image
            windows = self.detector(image, (index, row, zoom, flip))
        matrix = window_placement(image, squares, windows, rng)
        return None if matrix is None else _Placed(image, matrix, BORDERS[0], kind, None, squares)


class _Boxes:
    """Squares (n, 3) of centre and side at the boxes of a detector, kept by image."""

    def __init__(self, path: Path) -> None:
        self._detector = Detector(Model(path, "cpu", threads=1), score=_DETECTOR_SCORE)
        self._known: dict[tuple[int, int, int, bool], NDArray[np.float64]] = {}

    def __call__(self, image: Image, key: tuple[int, int, int, bool]) -> NDArray[np.float64]:
        if key not in self._known:
            zoom = key[2]
            large = np.asarray(cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR))
            boxes = self._detector(large).xyxy.astype(np.float64) / zoom
            self._known[key] = squares_of_boxes(boxes[(boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])])
        return self._known[key]


def square_around(landmarks: NDArray[np.floating], roll: float = 0.0) -> tuple[NDArray[np.float64], float]:
    """Centre (2,) and side of the square of the crop rule around landmarks (68, 2), rolled by an angle in radians."""
    points = landmarks @ rotation(roll).T
    low, high = points.min(axis=0), points.max(axis=0)
    return rotation(-roll) @ ((low + high) / 2), max(LANDMARK_SCALE * float((high - low).max()), 1.0)


def rotation(roll: float) -> NDArray[np.float64]:
    """Matrix (2, 2) of a rotation by an angle in radians."""
    return np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])


def similarity(centre: NDArray[np.float64], side: float, roll: float) -> Matrix:
    """Map of a square to the crop, after a rotation by `roll` radians."""
    scale = CROP_SIZE / side
    turned = scale * rotation(roll)
    return np.column_stack([turned, (CROP_SIZE - 1) / 2 - turned @ centre])


def composed(later: Matrix, matrix: Matrix) -> Matrix:
    """Map that applies `matrix`, then `later`."""
    return later @ np.vstack([matrix, [0, 0, 1]])


def flipped(matrix: Matrix) -> Matrix:
    """Map to the horizontally flipped crop."""
    return composed(_FLIP, matrix)


def warped(image: Image, matrix: Matrix, border: int) -> Image:
    """Sample a crop (120, 120, 3)."""
    shrink = int(0.75 / np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if shrink >= 2:
        # averaged first: bilinear sampling alone would use four of the many px that become one
        height, width = (max(length // shrink, 1) for length in image.shape[:2])
        factors = image.shape[1] / width, image.shape[0] / height
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))
        enlarge = np.array([[factors[0], 0, (factors[0] - 1) / 2], [0, factors[1], (factors[1] - 1) / 2]])
        matrix = composed(matrix, enlarge)
    size = (CROP_SIZE, CROP_SIZE)
    return np.asarray(cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=border))


def _random_roll(rng: np.random.Generator) -> float:
    return float(np.radians(rng.uniform(-180, 180) if rng.random() < _ROLLED else rng.normal(0, 8)))


def face_placement(landmarks: NDArray[np.float64], rng: np.random.Generator) -> Matrix:
    """Place a crop about a face: near the place of the crop rule, or anywhere, at any roll."""
    roll = _random_roll(rng)
    centre, side = square_around(landmarks, roll)
    anywhere = bool(rng.random() < _ANYWHERE)
    side *= float(np.exp(rng.uniform(*np.log(_SCALES[anywhere]))))
    if anywhere:
        direction = rotation(float(rng.uniform(0, 2 * np.pi))) @ [1, 0]
        centre = centre + side * abs(rng.normal(0, _SHIFTS[True])) * direction
    else:
        centre = centre + side * rng.uniform(-_SHIFTS[False], _SHIFTS[False], 2)
    return similarity(centre, side, roll)


def cut(image: Image, landmarks: NDArray[np.float64], rng: np.random.Generator) -> tuple[Image, NDArray[np.float64]]:
    """Crop a photo to a frame that may cut the face; the image as it is where nothing would be left."""
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    size = float((high - low).max())
    first = np.maximum(np.floor(low - size * rng.uniform(-0.5, 0.4, 2)), 0).astype(int)
    last = np.minimum(np.ceil(high + size * rng.uniform(-0.5, 0.4, 2)), image.shape[1::-1]).astype(int)
    if (last - first < 2).any():
        return image, landmarks
    return np.ascontiguousarray(image[first[1] : last[1], first[0] : last[0]]), landmarks - first


def window_placement(
    image: Image, squares: NDArray[np.float64], windows: NDArray[np.float64], rng: np.random.Generator
) -> Matrix | None:
    """Place a crop where no face is; None if no place was found.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
    squares : ndarray (n, 3)
        Centre and side of the squares of all faces.
    windows : ndarray (m, 3)
        Centre and side of the squares that a detector takes for faces.
    rng : numpy.random.Generator
    """
    height, width = image.shape[:2]
    if len(windows) and rng.random() < _DETECTED:
        x, y, side = windows[int(rng.integers(len(windows)))]
        roll = float(np.radians(rng.normal(0, 5))) if rng.random() < 0.7 else _random_roll(rng)
        centre = np.array([x, y]) + side * rng.normal(0, 0.08, 2)
        return similarity(centre, float(side * np.exp(rng.normal(0, 0.12))), roll)
    roll = _random_roll(rng)
    for _ in range(_TRIES):
        side = float(np.exp(rng.uniform(np.log(_MIN_WINDOW), np.log(max(1.2 * min(height, width), _MIN_WINDOW + 1)))))
        centre = rng.uniform(0, 1, 2) * (width, height)
        if len(squares) and rng.random() < _BESIDE:
            x, y, own = squares[int(rng.integers(len(squares)))]
            if rng.random() < _WITHIN:
                side = float(own * rng.uniform(SMALL, 1 / LARGE))
                centre = np.array([x, y]) + own * rng.uniform(-0.35, 0.35, 2)
            else:
                side = float(own * np.exp(rng.uniform(-0.5, 0.5)))
                away = rotation(float(rng.uniform(0, 2 * np.pi))) @ [1, 0]
                centre = np.array([x, y]) + rng.uniform(FAR, 1.6) * max(side, own) * away
        if shows_no_face(centre, side, squares):
            return similarity(centre, side, roll)
    return None


def with_features(model: bytes, path: Path) -> Path:
    """Write a copy of a regressor that has its features (n, c) as another output, `FEATURES`.

    Raises
    ------
    GraphError
        If `model` is not a regressor with one matrix product before its outputs.
    """
    graph = Graph(model)
    head = head_of(graph)
    features = head.input[0]
    graph.add("Identity", [features], [FEATURES])
    graph.declare(FEATURES, ["n", graph.constants[head.input[1]].shape[1]])
    return write_atomic(path, graph.to_bytes())
