"""Samples to train the score on: crops with known alignment error, as features of the frozen regressor.

A crop is placed on an image at a box of the detector, or at random (`tddfa.train.score.placement`). The regressor
aligns it several times, as `tddfa.Aligner` does: on this crop, then on crops around the result of the pass before, of
which every other one is horizontally flipped. Each pass is a sample.

Of people in crowds, who wear masks or are small, boxes alone are known. An alignment there is right if it is upright
and fits the labelled box, wrong if it is far from both, and left out if it is between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa._shared.files import write_atomic
from tddfa.evaluate.benchmarks.score import shows_no_face
from tddfa.evaluate.metrics import nme_inner
from tddfa.geometry.boxes import box_around, box_iou
from tddfa.landmarks68 import MIRRORED
from tddfa.model.face_model import FaceModel
from tddfa.model.runtime import Model
from tddfa.onnx_tools.graph import Graph
from tddfa.train.data.augment import BORDERS, CROP_SIZE, change_pixels
from tddfa.train.data.face_masks import put_on_mask
from tddfa.train.data.photos import squares_of_boxes
from tddfa.train.detector.data import LabelledImage, Source, source
from tddfa.train.detector.settings import Folders
from tddfa.train.regressor.export import FEATURES, head_of
from tddfa.train.score.boxes import Boxes, Placement, at_box, near_box, view
from tddfa.train.score.placement import (
    Matrix,
    composed,
    cut,
    face_placement,
    flipped,
    similarity,
    square_around,
    warped,
    window_placement,
)
from tddfa.train.score.settings import ScoreSettings

Image = NDArray[np.uint8]
BATCH = 64
"""Placements per batch of a `SampleMaker`; each gives `PASSES` samples."""

PASSES = 4
"""Passes of the regressor over each placement: `tddfa.Aligner` makes two, and more where it is not sure."""

# Fraction of the face crops that are at boxes of the detector; fraction of the others whose photo is cut at the face.
_DETECTED, _CUT = 0.6, 0.3
# Fraction of the crops without a face that are at boxes of the detector, and the most of one image in a row.
_DETECTED_EMPTY, _PER_IMAGE = 0.75, 3
# Fraction of the crops of photos with landmarks that are at boxes of the detector beside the face; and the score of the
# regressor as it is from which such a box may be a face without a label.
_BESIDE, _MAY_BE_FACE = 0.3, 0.3
# Fraction of the crops of photos with boxes that are of their faces; the others are windows beside them.
_OF_FACES = 0.6
# Faces with a box alone: IoU of the landmarks' box with it and roll, degrees, of a right alignment and of a wrong one.
# Of the alignments in crowds that score over 0.9, 5 % have an IoU under 0.61.
_FITS, _UPRIGHT = 0.55, 40.0
_MISSES, _TURNED_AWAY = 0.25, 60.0
# Enlargements at which the detector searches images without a face: false faces differ with the scale.
_ZOOMS = (1, 2, 3)
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
        `nme_inner` of the landmarks; infinite without a face. Of a face with a box alone, 0 if the alignment fits it
        and infinite if not.
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
    """A crop: its image, the map to it, the border beyond the image, and what is labelled there.

    With `boxes` (n, 4), it shows a face of which the box alone is known.
    """

    image: Image
    matrix: Matrix
    border: int
    kind: str
    landmarks: NDArray[np.float64] | None
    squares: NDArray[np.float64]
    boxes: NDArray[np.float64] | None = None


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
        self.augment, self.mask_fraction = settings.augment, settings.mask_fraction
        self.seed = (settings.schedule.seed, int(validation))
        self.network = Model(network, "cpu", threads=1)
        self.detector = None if settings.detector is None else Boxes(settings.detector)
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
        """Samples of all passes of `BATCH` crops."""
        rng = np.random.default_rng((*self.seed, number))
        placed: list[_Placed] = []
        while len(placed) < BATCH:
            placed += self._placed(rng)
        placed = placed[:BATCH]
        seeds = rng.integers(2**31, size=BATCH)
        flips = rng.random(BATCH) < self.augment.flip
        upright = rng.random(BATCH) < 0.5
        matrices = [flipped(each.matrix) if flip else each.matrix for each, flip in zip(placed, flips, strict=True)]
        parts: list[Samples] = []
        for _ in range(PASSES):
            outputs = self._regress(placed, matrices, seeds)
            parts.append(self._samples(placed, matrices, outputs))
            points = self._points(outputs)
            for k, matrix in enumerate(matrices):
                # the crop of the next pass may be cut upright, by the roll of this one
                camera = outputs["camera"][k]
                roll = -float(np.arctan2(camera[1, 0], camera[0, 0])) if upright[k] else 0.0
                matrices[k] = flipped(composed(similarity(*square_around(points[k], roll), roll), matrix))
        return Samples.joined(parts)

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
        """Error of each crop; infinite without a face, NaN where it is not known."""
        error = np.full(len(placed), np.inf, dtype=np.float32)
        for k, (each, matrix, points) in enumerate(zip(placed, matrices, self._points(outputs), strict=True)):
            if each.landmarks is not None:
                target = each.landmarks @ matrix[:, :2].T + matrix[:, 2]
                error[k] = nme_inner(points, target[MIRRORED] if np.linalg.det(matrix[:, :2]) < 0 else target)
                continue
            inverse = cv2.invertAffineTransform(matrix)
            if each.boxes is not None:
                landmarks = points @ inverse[:, :2].T + inverse[:, 2]
                error[k] = _error_by_box(
                    landmarks[MIRRORED] if np.linalg.det(matrix[:, :2]) < 0 else landmarks, each.boxes
                )
            elif len(each.squares):
                side = CROP_SIZE * float(np.sqrt(abs(np.linalg.det(inverse[:, :2]))))
                centre = inverse[:, :2] @ np.full(2, (CROP_SIZE - 1) / 2) + inverse[:, 2]
                unlabelled = each.kind == "landmarks" and outputs["score"][k] >= _MAY_BE_FACE
                if unlabelled or not shows_no_face(centre, side, each.squares):
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

    def _placed(self, rng: np.random.Generator) -> list[_Placed]:
        """Crops of one image; none if no place was found."""
        index = int(rng.choice(len(self.parts), p=self.weights))
        kind, _, rows = self.parts[index]
        row = int(rows[int(rng.integers(len(rows)))])
        labelled = self._image(index, row)
        if labelled.landmarks is None:
            return self._without_face(kind, (index, row), labelled, rng)
        image, landmarks, none = labelled.image, labelled.landmarks, np.zeros((0, 3))
        if kind == "landmarks" and self.detector is not None and rng.random() < _BESIDE:
            centre, side = square_around(landmarks)
            placements = self.detector(image, (index, row))
            return self._at_boxes(image, placements, kind, None, np.array([[*centre, side]]), rng)
        if rng.random() < self.mask_fraction:
            image = put_on_mask(image, landmarks, rng)
        if self.detector is not None and rng.random() < _DETECTED:
            image, landmarks = view(image, landmarks, rng)
            placements = near_box(self.detector(image), box_around(landmarks))
            return self._at_boxes(image, placements, kind, landmarks, none, rng)
        border = BORDERS[0]
        if kind == "crops":
            # stored crops end near the face, photos do not
            border = int(rng.choice(BORDERS))
        elif rng.random() < _CUT:
            image, landmarks = cut(image, landmarks, rng)
        return [_Placed(image, face_placement(landmarks, rng), border, kind, landmarks, none)]

    def _without_face(
        self, kind: str, key: tuple[int, int], labelled: LabelledImage, rng: np.random.Generator
    ) -> list[_Placed]:
        image, squares = labelled.image, squares_of_boxes(labelled.faces.xyxy)
        boxes = labelled.faces.xyxy
        # a crop may move to another face, so all of them need a label
        labels = kind == "boxes" and not labelled.faces.ignored.any()
        if labels and self.detector is not None and rng.random() < _OF_FACES:
            centres = self.detector(image, key)
            at = np.concatenate([near_box(centres, box) for box in boxes] or [centres[:0]])
            return [replace(each, boxes=boxes) for each in self._at_boxes(image, at, kind, None, squares, rng)]
        # not in photos with boxes: a box far from all labels is often a small face without one
        if kind == "empty" and self.detector is not None and rng.random() < _DETECTED_EMPTY:
            # the aligner searches images without a face at all four rotations
            zoom, turns, flip = int(rng.choice(_ZOOMS)), int(rng.integers(4)), bool(rng.random() < 0.5)
            image = np.ascontiguousarray(np.rot90(image[:, ::-1] if flip else image, turns))
            image = np.asarray(cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR))
            placements = self.detector(image, (*key, zoom, turns, flip))
            return self._at_boxes(image, placements, kind, None, squares, rng)
        matrix = window_placement(image, squares, rng)
        return [] if matrix is None else [_Placed(image, matrix, BORDERS[0], kind, None, squares)]

    @staticmethod
    def _at_boxes(
        image: Image,
        placements: Placement,
        kind: str,
        landmarks: NDArray[np.float64] | None,
        squares: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> list[_Placed]:
        chosen = rng.permutation(placements)[:_PER_IMAGE]
        return [_Placed(image, at_box(each, rng), BORDERS[0], kind, landmarks, squares) for each in chosen]


def _error_by_box(landmarks: NDArray[np.float64], boxes: NDArray[np.float64]) -> float:
    """Error of an alignment that shows one of some upright faces with boxes (n, 4): 0, infinite, or NaN if unsure."""
    iou = float(box_iou(box_around(landmarks)[None], boxes).max())
    x, y = landmarks[42:48].mean(axis=0) - landmarks[36:42].mean(axis=0)
    roll = abs(float(np.degrees(np.arctan2(y, x))))
    if iou >= _FITS and roll <= _UPRIGHT:
        return 0.0
    return np.inf if iou < _MISSES or roll > _TURNED_AWAY else np.nan


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
