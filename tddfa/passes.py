"""The passes of the regressor over faces: one on the first crop, further ones on upright crops around the landmarks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tddfa.crop import crop_angle, crop_image, roi_from_landmarks, to_crop, to_image
from tddfa.decoder import Decoder
from tddfa.geometry.camera import Camera
from tddfa.model.face_model import FaceModel
from tddfa.model.mirror import Mirror, mirrored_camera
from tddfa.types import Roi

Regressor = Callable[[NDArray[np.uint8]], Mapping[str, NDArray[np.float32]]]
"""``crops (n, size, size, 3) uint8`` BGR -> ``camera (n, 3, 4)``, ``shape (n, s)``, ``expression (n, e)`` and, where
the model has one, ``score (n,)``."""

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Crops per call of a regressor that has no limit of its own: bounds the memory of an image with hundreds of faces.
_MAX_CROPS = 64
# Two passes are averaged if the IoU of their squares is at least this. Chosen on the photos behind RESULTS.md, where
# 0.7 and 0.8 give the same but for a few wrong boxes of profiles.
_MIN_PASS_IOU = 0.75
# Degrees: where the squares of the last two passes differ by more than this, a third one follows, for the first pass
# did not see an upright face. It reduces the error of a face rolled by 60 degrees by another 3 %, by 90 by 9 %.
_MAX_ROLL_STEP = 20.0
# Passes of `Passes.settled`. Of 100 profiles (CFP, persons 401 to 425), 8 are missed without them, 6 with four.
_MORE = 6


class Target(NamedTuple):
    """A face to align: index of its image, box, score and five points of the detector, and square."""

    image: int
    box: Floats
    score: float
    roi: Roi
    points: Floats | None = None


class Prediction(NamedTuple):
    """What a pass gives for a face. Landmarks are those on the surface, in image px."""

    roi: Roi
    score: float
    crop_camera: Floats
    shape: Floats
    expression: Floats
    camera: Camera
    landmarks: Floats


class Passes:
    """All passes of a regressor over faces.

    Parameters
    ----------
    regressor : callable
        See `Regressor`.
    decoder : Decoder
        Meaning of its output.
    refine : int
        Number of further passes, see `tddfa.Aligner`.
    flip : bool
        Whether every other one of these takes flipped crops.
    """

    def __init__(self, regressor: Regressor, decoder: Decoder, *, refine: int, flip: bool) -> None:
        self.regressor, self.decoder = regressor, decoder
        self.refine, self.flip = refine, flip
        self.rule, self.face_model = decoder.crop_rule, decoder.face_model

    def __call__(self, images: Sequence[Image], targets: Sequence[Target]) -> list[Prediction]:
        """Predict the faces at the targets, in all passes."""
        return self.further(images, targets, self.first(images, targets))

    def first(self, images: Sequence[Image], targets: Sequence[Target]) -> list[Prediction]:
        """Predict the faces at the targets, in one pass."""
        return self._regress(images, targets)

    def further(
        self, images: Sequence[Image], targets: Sequence[Target], first: Sequence[Prediction]
    ) -> list[Prediction]:
        """All passes after the first."""
        predictions = before = list(first)
        for turn in range(self.refine):
            before = predictions
            predictions = self._again(images, targets, before, flip=self.flip and turn % 2 == 0)
        pairs = enumerate(zip(before, predictions, strict=True))
        rolled = [k for k, (last, own) in pairs if roll_step(last.roi, own.roi) > _MAX_ROLL_STEP]
        if rolled:
            several, last = [targets[k] for k in rolled], [predictions[k] for k in rolled]
            flip = self.flip and self.refine % 2 == 0
            for k, predicted in zip(rolled, self._again(images, several, last, flip=flip), strict=True):
                predictions[k] = predicted
        return predictions

    def settled(
        self, images: Sequence[Image], targets: Sequence[Target], before: Sequence[Prediction], score: float
    ) -> list[Prediction]:
        """Up to `_MORE` further passes for faces with a lower score; of each, the best mean of two passes in a row.

        Each pass is on a square around the landmarks of the one before: a turned face that the first square missed
        comes nearer from pass to pass.
        """
        best, last = list(before), list(before)
        for turn in range(_MORE):
            rows = [k for k, predicted in enumerate(best) if predicted.score < score]
            squares = [self.next_roi(last[k].landmarks, last[k].camera, last[k].roi) for k in rows]
            again = [targets[k]._replace(roi=roi) for k, roi in zip(rows, squares, strict=True)]
            for k, later in zip(rows, self._regress(images, again, flip=self.flip and turn % 2 == 1), strict=True):
                # before the first of these passes are all others, together
                both = self._combined(last[k], later) if turn else before[k]
                best[k] = max(best[k], both, key=lambda predicted: predicted.score)
                last[k] = later
        return best

    def _again(
        self, images: Sequence[Image], targets: Sequence[Target], before: Sequence[Prediction], *, flip: bool
    ) -> list[Prediction]:
        """One more pass, on squares around the landmarks of the one before."""
        squares = [self.next_roi(predicted.landmarks, predicted.camera, predicted.roi) for predicted in before]
        again = [target._replace(roi=roi) for target, roi in zip(targets, squares, strict=True)]
        later = self._regress(images, again, flip=flip)
        return [self._combined(*pair) for pair in zip(before, later, strict=True)] if self.flip else later

    def next_roi(self, landmarks: Floats, camera: Camera, roi: Roi) -> Roi:
        """Square around a face for another pass, in which the face is upright.

        With a crop rule that rounds, the angle stays that of `roi`: 3DDFA_V2 rotates no crop.
        """
        return roi_from_landmarks(landmarks, self.rule, roi.angle if self.rule.rounded else _angle(camera))

    def _regress(self, images: Sequence[Image], targets: Sequence[Target], *, flip: bool = False) -> list[Prediction]:
        """One pass."""
        predictions: list[Prediction] = []
        rule, model = self.rule, self.face_model
        most = int(getattr(self.regressor, "max_batch", _MAX_CROPS)) if targets else 1
        for start in range(0, len(targets), most):
            part = targets[start : start + most]
            crops = np.empty((len(part), rule.size, rule.size, 3), dtype=np.uint8)
            for crop, target in zip(crops, part, strict=True):
                crop_image(images[target.image], target.roi, crop, rounded=rule.rounded)
            outputs = self.regressor(np.ascontiguousarray(crops[:, :, ::-1]) if flip else crops)
            camera, shape, expression = (
                _output(outputs, name, len(part)) for name in ("camera", "shape", "expression")
            )
            scores = _output(outputs, "score", len(part)) if "score" in outputs else None
            if flip:
                camera = mirrored_camera(camera, rule.size)
                shape, expression = _mirror(self.face_model).coefficients(shape, expression)
            points = model.landmarks(shape, expression)
            for k, target in enumerate(part):
                in_image = to_image(target.roi, camera[k], rule)
                score = target.score if scores is None else float(scores[k])
                landmarks = in_image.project(points[k])
                predictions.append(
                    Prediction(target.roi, score, camera[k], shape[k], expression[k], in_image, landmarks)
                )
        return predictions

    def _combined(self, first: Prediction, second: Prediction) -> Prediction:
        """Mean of two passes whose squares nearly agree, else the later one, whose square is the better.

        The score is the mean also if the second square is rotated against the first: rotated as a false face asks for,
        many a pattern looks like a face.
        """
        if first.roi.iou(second.roi) < _MIN_PASS_IOU:
            turned = first.roi.angle != second.roi.angle
            return second._replace(score=(first.score + second.score) / 2) if turned else second
        camera = Camera(_mean(first.camera.matrix, second.camera.matrix))
        shape, expression = _mean(first.shape, second.shape), _mean(first.expression, second.expression)
        return Prediction(
            second.roi,
            (first.score + second.score) / 2,
            to_crop(second.roi, camera, self.rule),
            shape,
            expression,
            camera,
            camera.project(self.face_model.landmarks(shape, expression)),
        )


def _angle(camera: Camera) -> float:
    """Angle of the square for a face: the rotation in the image that is nearest to its pose, 0 if it is small.

    It is the roll of a face that looks into the camera, and defined for all other poses too.
    """
    linear = camera.matrix[:, :3]
    (a, b, _), (c, d, _), _ = linear.tolist()
    # cosine and sine of the roll, times the scale and a factor that is 1 from the front and 1/2 from the side
    cosine, sine = (a - d) / 2, (b + c) / 2
    seen = 3 * (cosine**2 + sine**2) / max(float(np.square(linear).sum()), 1e-12)
    return crop_angle(math.degrees(math.atan2(sine, cosine)), seen)


def roll_step(before: Roi, after: Roi) -> float:
    """Angle between two squares, 0 to 180 degrees."""
    return abs((after.angle - before.angle + 180) % 360 - 180)


@lru_cache(maxsize=2)
def _mirror(model: FaceModel) -> Mirror:
    # takes some hundredths of a second, and only flipped passes need it
    return Mirror.of(model)


def _mean(a: Floats, b: Floats) -> Floats:
    return np.mean((a, b), axis=0, dtype=np.float32)


def _output(outputs: Mapping[str, Floats], name: str, count: int) -> Floats:
    if name not in outputs:
        raise ValueError(f"regressor: expected an output {name!r}, got {', '.join(outputs)}")
    value = np.asarray(outputs[name])
    if value.shape[:1] != (count,):
        raise ValueError(f"regressor: {name}: expected {count} rows, got shape {value.shape}")
    return value
