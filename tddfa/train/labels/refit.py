"""Refit labels with an unreliable jaw: the shape changes so that the jaw is where a network predicts it.

Teachers of face meshes are accurate at eyes and mouths, and place the outline of the face where it usually is. A
network trained on few photos with ground-truth jaws, and on many crops without their jaw (`inner_labels`), predicts
the jaw of the others. `refitted` moves the shape of the labels there, and keeps pose, expression and the inner face.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tddfa.fitting.landmarks import VertexMap
from tddfa.landmarks68 import JAW
from tddfa.model.face_model import FaceModel
from tddfa.model.mirror import mirrored_landmarks
from tddfa.passes import Regressor
from tddfa.train.data.augment import Augment, Placement, place
from tddfa.train.data.crops import Crops
from tddfa.train.data.shards import Labels
from tddfa.train.labels.agreement import projected_landmarks

Floats = NDArray[np.float32]

# Predictions are averaged over these scales, and over a horizontal flip.
_SCALES = (0.95, 1.12)
_BATCH = 64
# Faces whose equations are in memory together.
_CHUNK = 256
# Number of vertices that are held in place, and their minimum distance from the jaw's landmarks, as a fraction of the
# face's size.
_HELD, _MIN_DISTANCE = 240, 0.16
# Weight of all held vertices together, of a landmark inside the face and of one of the jaw; and of a distance along
# the line of sight, which an image does not show: the depth of the labels is the best estimate.
_HELD_WEIGHT, _INNER_WEIGHT, _JAW_WEIGHT, _DEPTH = 40.0, 1.0, 4.0, 0.5
# Standard deviation of a predicted landmark, as a fraction of the face's size; for a change of a shape coefficient it
# is 1.
_NOISE = 0.015
# Degrees of yaw up to which a predicted jaw has full weight, and from which on it has none: on a face that is turned
# farther, annotators mark another line (`tddfa.fitting.landmarks.unsure_jaw`).
_SURE, _UNSURE = 12.0, 22.0


def predicted_landmarks(
    crops: Crops, regressor: Regressor, model: FaceModel, around: NDArray[np.floating] | None = None
) -> Floats:
    """Predict the 68 landmarks of crops: (n, 68, 2), px of the stored crops.

    Parameters
    ----------
    crops : Crops
    regressor : Regressor
        Makes the predictions.
    model : FaceModel
        Of the regressor and of the labels.
    around : ndarray (n, 68, 2), optional
        Landmarks that place the crops; by default those of the labels' parameters, which must be known then. Where
        some of a crop are NaN, it is placed as the stored crop was made.
    """
    predicted = np.zeros((len(crops), 68, 2), dtype=np.float32)
    passes = [(scale, flipped) for scale in _SCALES for flipped in (False, True)]
    labelled = labelled_landmarks(crops.labels, model) if around is None else around.astype(np.float32)
    labelled[~np.isfinite(labelled).all(axis=(1, 2))] = np.nan
    for first in range(0, len(crops), _BATCH):
        rows = range(first, min(first + _BATCH, len(crops)))
        images = [crops.image(row) for row in rows]
        for scale, flipped in passes:
            placed = [
                _placed(labelled[row], image.shape[1], scale, flipped) for row, image in zip(rows, images, strict=True)
            ]
            batch = np.stack([placement.crop(image) for placement, image in zip(placed, images, strict=True)])
            output = regressor(batch)
            landmarks = projected_landmarks(model, output["camera"], output["shape"], output["expression"])
            for row, image, placement, points in zip(rows, images, placed, landmarks, strict=True):
                back = (points - placement.matrix[:, 2]) @ np.linalg.inv(placement.matrix[:, :2]).T
                predicted[row] += (mirrored_landmarks(back, image.shape[1]) if flipped else back) / len(passes)
    return predicted


def _placed(landmarks: Floats, width: int, scale: float, flipped: bool) -> Placement:
    """Placement at a scale, for a stored crop of a width with these landmarks."""
    if flipped:
        landmarks = mirrored_landmarks(landmarks, width)
    augment = replace(Augment.none(), scale=(scale, scale))
    return place(landmarks, width, augment, np.random.default_rng(0), flipped)


def labelled_landmarks(labels: Labels, model: FaceModel) -> Floats:
    """Landmarks (n, 68, 2) of labels' parameters, px of the stored crops."""
    return projected_landmarks(model, labels.camera, labels.shape, labels.expression)


def refitted(crops: Crops, regressor: Regressor, model: FaceModel) -> Labels:
    """Labels of crops, with the jaw where a network predicts it.

    The shape changes as little as possible. Faces turned too far change by the mean change of the others. Rows without
    parameters stay unchanged. Rows for validation change too: a wrong jaw there would select a wrong network.

    Parameters
    ----------
    crops : Crops
        Crops with labels to refit.
    regressor : Regressor
        Predicts the jaw.
    model : FaceModel
        Of both.
    """
    rows = np.flatnonzero(crops.labels.has_params & crops.labels.face)
    chosen = crops.take(rows)
    labelled = labelled_landmarks(chosen.labels, model)
    sure = np.clip((_UNSURE - np.abs(chosen.yaw())) / (_UNSURE - _SURE), 0, 1)
    moved = np.zeros((len(rows), 17, 2))
    usable = np.flatnonzero(sure)
    moved[usable] = predicted_landmarks(chosen.take(usable), regressor, model)[:, JAW] - labelled[usable, JAW]
    change = shape_changes(chosen.labels.camera, moved, sure, model)
    shape = crops.labels.shape.copy()
    shape[rows] += change
    return replace(crops.labels, shape=shape)


def shape_changes(
    camera: Floats, moved: NDArray[np.floating], sure: NDArray[np.floating], model: FaceModel
) -> NDArray[np.float64]:
    """Changes of shape (n, s) that move the jaw in the image, and little else, by ridge regression.

    Parameters
    ----------
    camera : ndarray (n, 3, 4)
        Face model to px.
    moved : ndarray (n, 17, 2)
        Displacement of the jaw's landmarks, px.
    sure : ndarray (n,)
        Weight of each row's own jaw, 0..1; the rest of its change is the weighted mean of all rows.
    model : FaceModel
    """
    where, weights = _held(model)
    basis = where.on(model.basis[: model.shape_count])
    size = float(np.ptp(where.on(model.mean)[:68, :2], axis=0).max())
    ridge = (_NOISE * size) ** 2
    # in the model's unit, along the image's axes and the line of sight
    scale = np.linalg.norm(camera[:, :2, :3], axis=2).mean(axis=1)[:, None, None]
    axes = camera[:, :, :3] / np.maximum(scale, 1e-12) * np.array([1, 1, _DEPTH])[:, None]
    change = _solved(axes, basis, moved / scale, weights, ridge)
    mean = np.average(change, axis=0, weights=sure) if sure.any() else np.zeros(len(basis))
    return np.asarray(sure[:, None] * change + (1 - sure[:, None]) * mean)


def _solved(
    axes: NDArray[np.floating],
    basis: NDArray[np.float64],
    moved: NDArray[np.floating],
    weights: NDArray[np.float64],
    ridge: float,
) -> NDArray[np.float64]:
    """Least squares of each row: the jaw moves by `moved` in the image, all else and all depths stay."""
    change = np.zeros((len(axes), len(basis)))
    for first in range(0, len(axes), _CHUNK):
        part = slice(first, first + _CHUNK)
        moves = np.einsum("nai,mki->nkam", axes[part], basis)
        target = np.zeros(moves.shape[:3])
        target[:, JAW, :2] = moved[part]
        rows = (moves * weights[:, None, None]).reshape(len(moves), -1, len(basis))
        normal = rows.transpose(0, 2, 1) @ moves.reshape(rows.shape) + ridge * np.eye(len(basis))
        right = np.einsum("nrm,nr->nm", rows, target.reshape(len(moves), -1))
        change[part] = np.linalg.solve(normal, right[..., None])[..., 0]
    return change


def _held(model: FaceModel) -> tuple[VertexMap, NDArray[np.float64]]:
    """The 68 landmarks, then vertices away from the jaw, evenly by index; and the weight of each."""
    landmarks = VertexMap.of_300w(model)
    jaw = landmarks.on(model.mean)[JAW]
    size = float(np.ptp(landmarks.on(model.mean)[:, :2], axis=0).max())
    distance = np.linalg.norm(model.mean[:, None] - jaw, axis=2).min(axis=1)
    inner = np.flatnonzero((distance > _MIN_DISTANCE * size) & (model.part == 0) & (model.mean[:, 2] > jaw[:, 2].min()))
    more = VertexMap.of_vertices(inner[np.linspace(0, len(inner) - 1, min(_HELD, len(inner))).astype(np.intp)])
    both = VertexMap(
        np.concatenate([landmarks.triangles, more.triangles]),
        np.concatenate([landmarks.weights, more.weights]),
        more.pairs,
        np.concatenate([landmarks.jaw, more.jaw]),
    )
    weights = np.full(len(both.weights), _HELD_WEIGHT / max(len(more.weights), 1))
    weights[:68] = _INNER_WEIGHT
    weights[JAW] = _JAW_WEIGHT
    return both, weights


def inner_labels(labels: Labels, model: FaceModel) -> Labels:
    """Reduce labels to the 51 landmarks inside the face; those for validation stay unchanged."""
    changed = labels.has_params & labels.face & ~labels.validation
    landmarks = labels.landmarks.copy()
    inner = labelled_landmarks(labels.take(changed), model)
    inner[:, JAW] = np.nan
    landmarks[changed] = inner
    return replace(labels, landmarks=landmarks, has_params=labels.has_params & ~changed)
