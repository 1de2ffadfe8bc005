"""Labels whose jaw is not to be trusted, fitted again: the face as it was, its jaw where a network sees it.

Teachers of face meshes are good at eyes and mouths, and put the outline of the face where it usually is. A network that
was trained on few photos with true jaws, and on many crops without their jaw (`inner_labels`), tells where it is in
the others; `refitted` moves the labels' shape there, and leaves pose, expression and the inner face as they are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tddfa.aligner import Regressor
from tddfa.landmarks68 import JAW
from tddfa.model.face_model import FaceModel
from tddfa.model.mirror import mirrored_landmarks
from tddfa.train.data.augment import Augment, Placement, place
from tddfa.train.data.crops import Crops
from tddfa.train.data.shards import Labels
from tddfa.train.labels.agreement import projected_landmarks
from tddfa.train.labels.fitting import VertexMap

Floats = NDArray[np.float32]

# Each crop is seen upright and turned over, at these scales, and what the network says is averaged.
_SCALES = (0.95, 1.12)
_BATCH = 64
# Faces whose equations lie in memory together.
_AT_ONCE = 256
# Vertices that stay where they are: so many, no nearer to a landmark of the jaw than this share of the face's size.
_HELD, _MIN_AWAY = 240, 0.16
# What all of them weigh together, what a landmark inside the face and one of the jaw do; and how much a distance along
# the line of sight counts, of which a picture says nothing: the labels' own depth is the best there is.
_HELD_WEIGHT, _INNER_WEIGHT, _JAW_WEIGHT, _DEPTH = 40.0, 1.0, 4.0, 0.5
# Standard deviation of where a landmark is seen, a share of the face's size, against 1 of a shape coefficient's change.
_NOISE = 0.015
# Degrees of yaw up to which, and from which on no more, a jaw that is seen counts: on a face that is turned farther
# it is not the face's own (`tddfa.train.labels.fitting.unsure_jaw`).
_SURE, _UNSURE = 12.0, 22.0


def seen_landmarks(crops: Crops, regressor: Regressor, model: FaceModel) -> Floats:
    """Where a network sees the 68 landmarks of crops (n, 68, 2), px of the stored crops.

    Parameters
    ----------
    crops : Crops
        With known parameters, which say where the face is.
    regressor : Regressor
        What sees them.
    model : FaceModel
        Of the regressor and of the labels.
    """
    seen = np.zeros((len(crops), 68, 2), dtype=np.float32)
    ways = [(scale, flipped) for scale in _SCALES for flipped in (False, True)]
    labelled = labelled_landmarks(crops.labels, model)
    for first in range(0, len(crops), _BATCH):
        rows = range(first, min(first + _BATCH, len(crops)))
        images = [crops.image(row) for row in rows]
        for scale, flipped in ways:
            placed = [
                _placed(labelled[row], image.shape[1], scale, flipped) for row, image in zip(rows, images, strict=True)
            ]
            cut = np.stack([placement.crop(image) for placement, image in zip(placed, images, strict=True)])
            said = regressor(cut)
            points = projected_landmarks(model, said["camera"], said["shape"], said["expression"])
            for row, image, placement, found in zip(rows, images, placed, points, strict=True):
                back = (found - placement.matrix[:, 2]) @ np.linalg.inv(placement.matrix[:, :2]).T
                seen[row] += (mirrored_landmarks(back, image.shape[1]) if flipped else back) / len(ways)
    return seen


def _placed(landmarks: Floats, width: int, scale: float, flipped: bool) -> Placement:
    """Where a stored crop of a width is cut at a scale, whose landmarks lie there."""
    if flipped:
        landmarks = mirrored_landmarks(landmarks, width)
    augment = replace(Augment.none(), scale=(scale, scale))
    return place(landmarks, width, augment, np.random.default_rng(0), flipped)


def labelled_landmarks(labels: Labels, model: FaceModel) -> Floats:
    """Landmarks (n, 68, 2) of labels' parameters, px of the stored crops."""
    return projected_landmarks(model, labels.camera, labels.shape, labels.expression)


def refitted(crops: Crops, regressor: Regressor, model: FaceModel) -> Labels:
    """Labels of crops, with the jaw where a network sees it.

    The shape changes as little as it can. Faces that are turned too far for their jaw to be seen change as the others
    do on average. Rows without parameters stay as they are. Those for validation change too: measured by a jaw that is
    wrong, a network that is right would not be the best.

    Parameters
    ----------
    crops : Crops
        To fit again.
    regressor : Regressor
        Sees jaws.
    model : FaceModel
        Of both.
    """
    rows = np.flatnonzero(crops.labels.has_params & crops.labels.face)
    chosen = crops.take(rows)
    labelled = labelled_landmarks(chosen.labels, model)
    sure = np.clip((_UNSURE - np.abs(chosen.yaw())) / (_UNSURE - _SURE), 0, 1)
    moved = np.zeros((len(rows), 17, 2))
    seen = np.flatnonzero(sure)
    moved[seen] = seen_landmarks(chosen.take(seen), regressor, model)[:, JAW] - labelled[seen, JAW]
    change = shape_changes(chosen.labels.camera, moved, sure, model)
    shape = crops.labels.shape.copy()
    shape[rows] += change
    return replace(crops.labels, shape=shape)


def shape_changes(
    camera: Floats, moved: NDArray[np.floating], sure: NDArray[np.floating], model: FaceModel
) -> NDArray[np.float64]:
    """Changes of shape (n, s) that move the jaw in the picture, and as little else as they can: ridge regression.

    Parameters
    ----------
    camera : ndarray (n, 3, 4)
        Face model to px.
    moved : ndarray (n, 17, 2)
        Where the jaw's landmarks are to go, px from where they are.
    sure : ndarray (n,)
        How much each row's jaw counts, 0..1; the rest of its change is the mean of those that count.
    model : FaceModel
    """
    where, weights = _held(model)
    basis = where.on(model.basis[: model.shape_count])
    size = float(np.ptp(where.on(model.mean)[:68, :2], axis=0).max())
    ridge = (_NOISE * size) ** 2
    # in the model's unit, along the picture's axes and the line of sight
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
    """Least squares of each row, in which the jaw goes where it is to go and all else stays, in depth all of it."""
    change = np.zeros((len(axes), len(basis)))
    for first in range(0, len(axes), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        moves = np.einsum("nai,mki->nkam", axes[part], basis)
        target = np.zeros(moves.shape[:3])
        target[:, JAW, :2] = moved[part]
        rows = (moves * weights[:, None, None]).reshape(len(moves), -1, len(basis))
        normal = rows.transpose(0, 2, 1) @ moves.reshape(rows.shape) + ridge * np.eye(len(basis))
        right = np.einsum("nrm,nr->nm", rows, target.reshape(len(moves), -1))
        change[part] = np.linalg.solve(normal, right[..., None])[..., 0]
    return change


def _held(model: FaceModel) -> tuple[VertexMap, NDArray[np.float64]]:
    """The 68 landmarks, and after them vertices away from the jaw, evenly by number; and how much each counts."""
    landmarks = VertexMap.of_300w(model)
    jaw = landmarks.on(model.mean)[JAW]
    size = float(np.ptp(landmarks.on(model.mean)[:, :2], axis=0).max())
    distance = np.linalg.norm(model.mean[:, None] - jaw, axis=2).min(axis=1)
    inner = np.flatnonzero((distance > _MIN_AWAY * size) & (model.part == 0) & (model.mean[:, 2] > jaw[:, 2].min()))
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
    """Labels of which only the 51 landmarks inside the face are known; those for validation stay as they are."""
    changed = labels.has_params & labels.face & ~labels.validation
    landmarks = labels.landmarks.copy()
    inner = labelled_landmarks(labels.take(changed), model)
    inner[:, JAW] = np.nan
    landmarks[changed] = inner
    return replace(labels, landmarks=landmarks, has_params=labels.has_params & ~changed)
