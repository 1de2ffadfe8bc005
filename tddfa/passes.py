"""The passes of the regressor over faces: one on the first crop, further ones on upright crops around the landmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from tddfa.crop import all_to_crop, all_to_image, crop_angles, crop_images, squares_around
from tddfa.decoder import Decoder
from tddfa.geometry.squares import Squares, iou, rolls
from tddfa.landmarks68 import COUNT, MIRRORED
from tddfa.model.config import CropRule
from tddfa.model.face_model import FaceModel
from tddfa.model.mirror import Mirror, mirrored_camera

Regressor = Callable[[NDArray[np.uint8]], Mapping[str, NDArray[np.float32]]]
"""``crops (n, size, size, 3) uint8`` BGR -> ``camera (n, 3, 4)``, ``shape (n, s)``, ``expression (n, e)`` and, where
the model has them, ``score (n,)`` and ``confidence (n, 68)`` of the landmarks."""

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Crops per call of a regressor that has no limit of its own: bounds the memory of an image with hundreds of faces.
_MAX_CROPS = 64
# Two passes are averaged if the IoU of their squares is at least this. Chosen on the photos behind RESULTS.md, where
# 0.7 and 0.8 give the same results except for a few wrong boxes of profiles.
_MIN_PASS_IOU = 0.75
# Degrees: if the squares of the last two passes differ by more than this, another pass follows, because the first pass
# did not see an upright face. It reduces the error by another 3 % if a face is rolled by 60 degrees, and by 9 % at 90.
_MAX_ROLL_STEP = 20.0
# Maximum number of passes of `Passes.settled`. Of 100 profiles (CFP, persons 401 to 425), 8 are missed without these
# passes, and 6 with four passes.
_MORE = 6


class Targets(NamedTuple):
    """Faces to align, one row per face.

    Attributes
    ----------
    image : ndarray (n,) int64
        Index of the image.
    box : ndarray (n, 4) float32
        Box of the detector, px.
    score : ndarray (n,) float64
        Score of the detector.
    roi : ndarray (n, 4) float64
        Square, see `tddfa.geometry.squares`.
    points : ndarray (n, 5, 2) float32
        Five points of the detector, px; NaN where it has none.
    """

    image: NDArray[np.int64]
    box: Floats
    score: NDArray[np.float64]
    roi: Squares
    points: Floats


class Predictions(NamedTuple):
    """Results of a pass, one row per face.

    Attributes
    ----------
    roi : ndarray (n, 4) float64
        Squares of the crops.
    score : ndarray (n,) float64
        Score of the regressor; the score of the targets if the regressor has none.
    crop_camera, shape, expression : ndarray (n, 3, 4), (n, s), (n, e) float32
        See `tddfa.Params`.
    camera : ndarray (n, 3, 4) float32
        Matrices to image px.
    landmarks : ndarray (n, 68, 3) float32
        Landmarks on the surface, in image px.
    confidence : ndarray (n, 68) float32
        Confidence of the landmarks, 0..1; NaN if the regressor predicts none.
    """

    roi: Squares
    score: NDArray[np.float64]
    crop_camera: Floats
    shape: Floats
    expression: Floats
    camera: Floats
    landmarks: Floats
    confidence: Floats


Table = TypeVar("Table", Targets, Predictions)
Rows = NDArray[np.intp] | NDArray[np.bool_] | slice


def rows(table: Table, which: Rows) -> Table:
    """Some rows of a table, by their indices or by a mask; the table itself if the mask has them all."""
    if isinstance(which, np.ndarray) and which.dtype == np.bool_ and which.all():
        return table
    return _table(type(table), (column[which] for column in table))


def joined(tables: Sequence[Table]) -> Table:
    """One table of the rows of several; at least one."""
    first, *others = tables
    return _table(type(first), map(np.concatenate, zip(*tables, strict=True))) if others else first


def replaced(table: Table, which: Rows, by: Table) -> Table:
    """The table with other values in some rows."""
    columns: list[NDArray[Any]] = [column.copy() for column in table]
    for column, values in zip(columns, by, strict=True):
        column[which] = values
    return _table(type(table), columns)


def _table(kind: type[Table], columns: Iterable[NDArray[Any]]) -> Table:
    make: Callable[..., Table] = kind
    return make(*columns)


class Passes:
    """All passes of a regressor over faces.

    Parameters
    ----------
    regressor : callable
        See `Regressor`.
    decoder : Decoder
        Interprets the output of the regressor.
    refine : int
        Number of further passes, see `tddfa.Aligner`.
    flip : bool
        Whether every other further pass uses flipped crops.
    """

    def __init__(self, regressor: Regressor, decoder: Decoder, *, refine: int, flip: bool) -> None:
        self.regressor, self.decoder = regressor, decoder
        self.refine, self.flip = refine, flip
        self.rule, self.face_model = decoder.crop_rule, decoder.face_model

    def __call__(self, images: Sequence[Image], targets: Targets) -> Predictions:
        """Predict the faces at the targets, in all passes."""
        return self.further(images, targets, self.first(images, targets))

    def first(self, images: Sequence[Image], targets: Targets) -> Predictions:
        """Predict the faces at the targets, in one pass."""
        return self._regress(images, targets)

    def further(self, images: Sequence[Image], targets: Targets, first: Predictions) -> Predictions:
        """Run all passes after the first."""
        predictions = before = first
        for turn in range(self.refine):
            before = predictions
            predictions = self._again(images, targets, before, flip=self.flip and turn % 2 == 0)
        rolled = np.flatnonzero(roll_steps(before.roi, predictions.roi) > _MAX_ROLL_STEP)
        if rolled.size:
            flip = self.flip and self.refine % 2 == 0
            again = self._again(images, rows(targets, rolled), rows(predictions, rolled), flip=flip)
            predictions = replaced(predictions, rolled, again)
        return predictions

    def settled(self, images: Sequence[Image], targets: Targets, before: Predictions, score: float) -> Predictions:
        """Run up to `_MORE` further passes for faces with a lower score; keep the best mean of two passes in a row.

        Each pass uses a square around the landmarks of the previous pass. So from pass to pass, the square comes nearer
        to a turned face that the first square missed.
        """
        best = last = before
        for turn in range(_MORE):
            low = np.flatnonzero(best.score < score)
            if not low.size:
                break
            former = rows(last, low)
            again = rows(targets, low)._replace(roi=self.next_rois(former))
            later = self._regress(images, again, flip=self.flip and turn % 2 == 1)
            # the results before the first of these passes already combine all others
            both = self._combined(former, later) if turn else rows(before, low)
            better = both.score > best.score[low]
            best = replaced(best, low[better], rows(both, better))
            last = replaced(last, low, later)
        return best

    def _again(self, images: Sequence[Image], targets: Targets, before: Predictions, *, flip: bool) -> Predictions:
        """One more pass, on squares around the landmarks of the one before."""
        later = self._regress(images, targets._replace(roi=self.next_rois(before)), flip=flip)
        return self._combined(before, later) if self.flip else later

    def next_rois(self, predictions: Predictions) -> Squares:
        """Squares around the faces for another pass."""
        return next_squares(self.rule, predictions.landmarks, predictions.camera, predictions.roi)

    def _regress(self, images: Sequence[Image], targets: Targets, *, flip: bool = False) -> Predictions:
        """One pass."""
        count, most = len(targets.roi), int(getattr(self.regressor, "max_batch", _MAX_CROPS))
        if count > most:
            parts = [slice(start, start + most) for start in range(0, count, most)]
            return joined([self._regress(images, rows(targets, part), flip=flip) for part in parts])
        rule, model = self.rule, self.face_model
        if not count:
            return _no_predictions(model)
        crops = np.empty((count, rule.size, rule.size, 3), dtype=np.uint8)
        crop_images(images, targets.image, targets.roi, crops, rounded=rule.rounded, flipped=flip)
        outputs = self.regressor(crops)
        camera = _output(outputs, "camera", (count, 3, 4))
        shape = _output(outputs, "shape", (count, model.shape_count))
        expression = _output(outputs, "expression", (count, model.expression_count))
        score = _output(outputs, "score", (count,)).astype(np.float64) if "score" in outputs else targets.score
        if "confidence" in outputs:
            sure = _output(outputs, "confidence", (count, COUNT))
        else:
            sure = np.full((count, COUNT), np.nan, dtype=np.float32)
        if flip:
            camera = mirrored_camera(camera, rule.size)
            shape, expression = _mirror(model).coefficients(shape, expression)
            sure = sure[:, MIRRORED]
        in_image = all_to_image(targets.roi, camera, rule)
        landmarks = model.landmarks(shape, expression, matrices=in_image)
        finite = np.isfinite(landmarks).all() and np.isfinite(score).all()
        if not finite or ("confidence" in outputs and not np.isfinite(sure).all()):
            raise ValueError("regressor: expected finite numbers, got NaN or infinity")
        return Predictions(targets.roi, score, camera, shape, expression, in_image, landmarks, sure)

    def _combined(self, first: Predictions, second: Predictions) -> Predictions:
        """Combine two passes: their mean if the squares nearly agree, else the second, whose square is better.

        The score is the mean also if the second square is rotated against the first. Otherwise, many patterns would
        pass for a face once they are rotated like one.
        """
        near = iou(first.roi, second.roi) >= _MIN_PASS_IOU
        both = near | (first.roi[:, 3] != second.roi[:, 3])
        score = np.where(both, (first.score + second.score) / 2, second.score)
        shape, expression = _mean(first.shape, second.shape), _mean(first.expression, second.expression)
        camera = _mean(first.camera, second.camera)
        landmarks = self.face_model.landmarks(shape, expression, matrices=camera)
        crop_camera = all_to_crop(second.roi, camera, self.rule)
        sure = _mean(first.confidence, second.confidence)
        mean = Predictions(second.roi, score, crop_camera, shape, expression, camera, landmarks, sure)
        return mean if near.all() else replaced(mean, ~near, rows(second._replace(score=score), ~near))


def next_squares(rule: CropRule, landmarks: Floats, cameras: Floats, rois: Squares) -> Squares:
    """Squares around faces (n) for another pass, in which they are upright.

    With a crop rule that rounds, the angles stay those of `rois`: 3DDFA_V2 rotates no crop.
    """
    angles = rois[:, 3] if rule.rounded else crop_angles(*rolls(cameras))
    return squares_around(landmarks, rule, angles)


def roll_steps(before: Squares, after: Squares) -> NDArray[np.float64]:
    """Angles (n,) between pairs of squares, 0 to 180 degrees."""
    return np.abs((after[:, 3] - before[:, 3] + 180) % 360 - 180)


def _no_predictions(model: FaceModel) -> Predictions:
    shapes = (4,), (), (3, 4), (model.shape_count,), (model.expression_count,), (3, 4), (COUNT, 3), (COUNT,)
    types = [np.float64] * 2 + [np.float32] * 6
    return _table(Predictions, (np.zeros((0, *shape), dtype) for shape, dtype in zip(shapes, types, strict=True)))


@lru_cache(maxsize=2)
def _mirror(model: FaceModel) -> Mirror:
    # takes some hundredths of a second, and only flipped passes need it
    return Mirror.of(model)


def _mean(a: Floats, b: Floats) -> Floats:
    return (a + b) / np.float32(2)


def _output(outputs: Mapping[str, Floats], name: str, shape: tuple[int, ...]) -> Floats:
    if not isinstance(outputs, Mapping):
        raise TypeError(f"regressor: expected a mapping of outputs, got {type(outputs).__name__}")
    if name not in outputs:
        raise ValueError(f"regressor: expected an output {name!r}, got {', '.join(map(str, outputs))}")
    value = np.asarray(outputs[name], dtype=np.float32)
    if value.shape != shape:
        raise ValueError(f"regressor: {name}: expected shape {shape}, got {value.shape}")
    return value
