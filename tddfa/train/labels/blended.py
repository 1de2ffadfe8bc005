"""Better labels of crops: between a network's predictions and those of MediaPipe's Face Landmarker.

A network and the Face Landmarker have different errors, so their weighted mean is nearer to the landmarks that people
place than each alone. Each is calibrated first: `Offsets` has the mean offset of each predicted landmark from the
landmark that people place. `blended` changes pose, shape and expression of the labels so that their landmarks lie at
the weighted mean.

Labels can also be off to one side as a whole, by half a pixel for example. Flipping turns that into noise: a network
that is trained with flips lies in the middle. `centred` moves labels there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa.bench.face_landmarker import FaceLandmarker, landmarks_68
from tddfa.evaluate.metrics import box_length
from tddfa.fitting.landmarks import Guess, Prior, fit
from tddfa.landmarks68 import INNER, JAW, MIRRORED, OUTER_EYE_CORNERS
from tddfa.model.face_model import FaceModel
from tddfa.passes import Regressor
from tddfa.train.data.crops import Crops
from tddfa.train.data.shards import Labels
from tddfa.train.labels.agreement import projected_landmarks
from tddfa.train.labels.refit import labelled_landmarks, predicted_landmarks

Floats = NDArray[np.float64]

# Weight of the Face Landmarker beside the network, which falls linearly between these degrees of yaw: it is the better
# one on frontal faces, and worse on turned ones. Measured on LFPW, the first 60 % by name.
_WEIGHT, _FULL_YAW, _NO_YAW = 0.6, 20.0, 45.0
# A teacher that is farther from the network than this, % of the face's size, mistakes something for the face.
_MAX_DISTANCE = 6.0
# Border around a crop in which the teacher searches, as a fraction of its width.
_BORDER = 0.25
# How far labels may move: degrees of each rotation, and standard deviations of the coefficients.
_POSE = 2.0
_PRIOR = Prior(shape=0.7, expression=0.25)


@dataclass(frozen=True, eq=False)
class Offsets:
    """Mean offset of predicted landmarks from those that people place, in the frame of the face.

    Attributes
    ----------
    values : ndarray (68, 2)
        Along the line from the right outer eye corner to the left one and across it, as fractions of the face's size.
        Mirrored landmarks have mirrored values.
    """

    values: Floats

    @classmethod
    def measure(cls, predicted: Floats, truth: Floats) -> Offsets:
        """Measure the offsets of landmarks (n, 68, 2) from true ones; landmarks that are NaN do not count.

        Raises
        ------
        ValueError
            If a landmark of the inner face is known in no row.
        """
        difference = np.einsum("nij,nkj->nki", _frames(truth), predicted - truth) / _sizes(truth)[:, None, None]
        known = np.isfinite(difference).all(axis=2)
        unknown = np.count_nonzero(~known[:, INNER].any(axis=0))
        if unknown:
            raise ValueError(f"truth: expected each landmark inside the face in some crop, got {unknown} in none")
        count = known.sum(axis=0)
        mean = np.where(known[..., None], difference, 0).sum(axis=0) / np.maximum(count, 1)[:, None]
        return cls((mean + mean[list(MIRRORED)] * [-1, 1]) / 2)

    def removed(self, points: Floats) -> Floats:
        """Landmarks (n, 68, 2) without the offsets."""
        return points - np.einsum("nji,kj->nki", _frames(points), self.values) * _sizes(points)[:, None, None]


def _frames(points: Floats) -> Floats:
    """Rotations (n, 2, 2) from the image to the frame of each face."""
    right, left = OUTER_EYE_CORNERS
    axis = points[:, left] - points[:, right]
    axis = axis / np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-9)
    return np.stack([axis, np.stack([-axis[:, 1], axis[:, 0]], axis=1)], axis=1)


def _sizes(points: Floats) -> Floats:
    """Longer side (n,) of the box of the landmarks inside the face: people mark the jaw in different ways."""
    return np.asarray(np.ptp(points[:, INNER], axis=1).max(axis=1))


def teacher_landmarks(crops: Crops, teacher: FaceLandmarker) -> Floats:
    """The 68 landmarks (n, 68, 2) as the Face Landmarker sees them, px of the stored crops; NaN where it finds none."""
    points = np.full((len(crops), 68, 2), np.nan)
    for row in range(len(crops)):
        image = crops.image(row)
        border = round(_BORDER * image.shape[1])
        found = teacher(np.asarray(cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REPLICATE)))
        if found is not None:
            points[row] = landmarks_68(found.points)[:, :2] - border
    return points


def centred(labels: Labels, predicted: Floats, model: FaceModel) -> Labels:
    """Move labels horizontally, so that on average they lie where a network predicts them.

    Parameters
    ----------
    labels : Labels
    predicted : ndarray (n, 68, 2)
        Of a network that was trained with flipped crops, px of the stored crops.
    model : FaceModel
        Of the labels.
    """
    own = known_landmarks(labels, model)
    size = _sizes(own)
    # rows without a size, of which landmarks are missing, stay where they are
    shift = np.nan_to_num(np.nanmean((predicted - own)[:, INNER, 0].mean(axis=1) / size) * size)
    camera, landmarks = labels.camera.copy(), labels.landmarks.copy()
    camera[:, 0, 3] += np.where(labels.has_params, shift, 0)
    landmarks[..., 0] += shift[:, None]
    return replace(labels, camera=camera, landmarks=landmarks)


def known_landmarks(labels: Labels, model: FaceModel) -> Floats:
    """Landmarks (n, 68, 2): those of people where they are known, or of the parameters; NaN without either."""
    of_model = labelled_landmarks(labels, model).astype(np.float64)
    of_model[~labels.has_params] = np.nan
    return np.where(np.isfinite(labels.landmarks), labels.landmarks, of_model)


def blended(
    labels: Labels, predicted: Floats, taught: Floats, yaw: Floats, model: FaceModel
) -> tuple[Labels, NDArray[np.bool_]]:
    """Fit labels anew, to landmarks between two calibrated predictions.

    Parameters
    ----------
    labels : Labels
        Labels from which the fit starts, and near which it stays.
    predicted, taught : ndarray (n, 68, 2)
        Of the network and of the teacher, px of the stored crops; NaN where there are none.
    yaw : ndarray (n,)
        Degrees: the teacher counts less on turned faces.
    model : FaceModel
        Of the labels.

    Returns
    -------
    Labels
        Rows without a teacher's landmarks, or with ones that are far from the network's, stay as they are.
    ndarray (n,) bool
        Rows that were fitted.
    """
    weight = _WEIGHT * np.clip((_NO_YAW - np.abs(yaw)) / (_NO_YAW - _FULL_YAW), 0, 1)
    distance = 100 * np.linalg.norm((predicted - taught)[:, INNER], axis=2).mean(axis=1)
    distance /= np.maximum(_lengths(predicted), 1e-9)
    usable = labels.has_params & labels.face & (weight > 0) & (distance < _MAX_DISTANCE)
    rows = np.flatnonzero(usable)
    target = mixed(predicted[rows], taught[rows], weight[rows])
    guess = Guess(labels.camera[rows], labels.shape[rows], labels.expression[rows].clip(0, 1), _POSE)
    fits = fit(target, model, None, _PRIOR, guess=guess)
    camera, shape, expression = labels.camera.copy(), labels.shape.copy(), labels.expression.copy()
    camera[rows], shape[rows], expression[rows] = fits.camera, fits.shape, fits.expression
    landmarks = labels.landmarks.copy()
    landmarks[rows] = target
    # the outline that a network predicts is one of people's; that of the fit is the jaw itself
    landmarks[rows, JAW] = projected_landmarks(model, fits.camera, fits.shape, fits.expression)[:, JAW]
    return replace(labels, camera=camera, shape=shape, expression=expression, landmarks=landmarks), usable


def mixed(predicted: Floats, taught: Floats, weight: Floats) -> Floats:
    """Landmarks between those of a network and of the teacher; the jaw is the network's."""
    target = predicted.copy()
    target[:, INNER] += weight[:, None, None] * (taught - predicted)[:, INNER]
    return target


def _lengths(points: Floats) -> Floats:
    """`box_length` of several faces."""
    return np.array([box_length(each) for each in points])


@dataclass(frozen=True)
class Report:
    """Measurements of `relabelled`.

    Attributes
    ----------
    errors : dict of str to float
        Mean error inside the face on the crops with people's landmarks, % of the face's size, of ``network``,
        ``teacher`` and their ``blend``, each calibrated on the same crops.
    shift : float
        Mean distance by which the labels were moved to the right, px.
    fitted : int
        Crops with new parameters.
    """

    errors: dict[str, float]
    shift: float
    fitted: int


def relabelled(
    crops: Crops, truth: Crops, regressor: Regressor, model: FaceModel, teacher: FaceLandmarker
) -> tuple[Labels, Report]:
    """Label crops anew, by a network and the Face Landmarker.

    Parameters
    ----------
    crops : Crops
        Labelled crops. Labels of those marked for validation are centred, and not fitted.
    truth : Crops
        Crops with people's landmarks, which calibrate network and teacher: the frontal ones with parameters count.
    regressor : Regressor
        Trained with flipped crops.
    model : FaceModel
        Of all labels.
    teacher : FaceLandmarker
    """
    truth = truth.take(truth.labels.has_params & (np.abs(truth.yaw()) < _FULL_YAW))
    if not len(truth):
        raise ValueError("truth: expected frontal faces with parameters, got none")
    seen = {
        "network": predicted_landmarks(truth, regressor, model).astype(np.float64),
        "teacher": teacher_landmarks(truth, teacher),
    }
    known = known_landmarks(centred(truth.labels, seen["network"], model), model)
    offsets = {name: Offsets.measure(points, known) for name, points in seen.items()}
    seen = {name: offsets[name].removed(points) for name, points in seen.items()}
    seen["blend"] = mixed(seen["network"], seen["teacher"], np.full(len(truth), _WEIGHT))
    errors = {
        name: float(np.nanmean(100 * np.linalg.norm(points - known, axis=2)[:, INNER] / _sizes(known)[:, None]))
        for name, points in seen.items()
    }
    predicted = predicted_landmarks(crops, regressor, model, known_landmarks(crops.labels, model)).astype(np.float64)
    labels = centred(crops.labels, predicted, model)
    training = np.flatnonzero(~labels.validation)
    taught = np.full(predicted.shape, np.nan)
    taught[training] = teacher_landmarks(crops.take(training), teacher)
    labels, fitted = blended(
        labels,
        offsets["network"].removed(predicted),
        offsets["teacher"].removed(taught),
        crops.yaw().astype(np.float64),
        model,
    )
    return labels, Report(errors, _moved(crops.labels, labels), int(fitted.sum()))


def shifted(crops: Crops, regressor: Regressor, model: FaceModel) -> tuple[Labels, float]:
    """`centred` labels of crops, and the mean distance by which they moved to the right, px."""
    around = known_landmarks(crops.labels, model)
    labels = centred(crops.labels, predicted_landmarks(crops, regressor, model, around).astype(np.float64), model)
    return labels, _moved(crops.labels, labels)


def _moved(before: Labels, after: Labels) -> float:
    known = before.has_params & before.face
    return float((after.camera - before.camera)[known, 0, 3].mean()) if known.any() else 0.0
