"""Labels whose jaw is not to be trusted, fitted again: the face as it was, its jaw where a network sees it.

Teachers of face meshes are good at eyes and mouths, and put the outline of the face where it usually is. A network that
was trained on few photos with true jaws, and on many crops without their jaw (`inner_crops`), tells where it is in the
others; `refitted` moves the labels' shape and camera there, and leaves expressions and the inner face as they are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tddfa.aligner import Regressor
from tddfa.face_model import LANDMARK_REGIONS, FaceModel
from tddfa.train.augment import Augment, Placement, place
from tddfa.train.crops import Crops
from tddfa.train.fitting import Prior, VertexMap, fit
from tddfa.train.mirror import mirrored_landmarks
from tddfa.train.shards import Labels

Floats = NDArray[np.float32]

_JAW = LANDMARK_REGIONS["jaw"]
# Each crop is seen upright and turned over, at these scales, and what the network says is averaged.
_SCALES = (0.95, 1.12)
_BATCH = 64
# Vertices that stay where they are: so many, no nearer to a landmark of the jaw than this share of the face's size.
_HELD, _LEAST_AWAY = 240, 0.16
# Weights of a landmark of the jaw, of an inner one, and of all the vertices that are held together.
_JAW_WEIGHT, _INNER_WEIGHT, _HELD_WEIGHT = 1.0, 1.0, 40.0


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
    for first in range(0, len(crops), _BATCH):
        rows = range(first, min(first + _BATCH, len(crops)))
        labelled = labelled_landmarks(crops.labels.take(np.array(rows)), model)
        for scale, flipped in ways:
            placed = [_placed(crops, row, labelled[row - first], scale, flipped) for row in rows]
            said = regressor(np.stack([placement.cut(crops.image(row)) for row, placement in placed]))
            points = model.landmarks(said["shape"], said["expression"]) @ said["camera"][:, :2, :3].transpose(0, 2, 1)
            points += said["camera"][:, None, :2, 3]
            for (row, placement), found in zip(placed, points, strict=True):
                back = (found - placement.matrix[:, 2]) @ np.linalg.inv(placement.matrix[:, :2]).T
                width = crops.image(row).shape[1]
                seen[row] += (mirrored_landmarks(back, width) if flipped else back) / len(ways)
    return seen


def _placed(crops: Crops, row: int, landmarks: Floats, scale: float, flipped: bool) -> tuple[int, Placement]:
    width = crops.image(row).shape[1]
    if flipped:
        landmarks = mirrored_landmarks(landmarks, width)
    augment = replace(Augment.none(), scale=(scale, scale))
    return row, place(landmarks, width, augment, np.random.default_rng(0), flipped)


def labelled_landmarks(labels: Labels, model: FaceModel) -> Floats:
    """Landmarks (n, 68, 2) of labels' parameters, px of the stored crops."""
    points = model.landmarks(labels.shape, labels.expression) @ labels.camera[:, :2, :3].transpose(0, 2, 1)
    return np.asarray(points + labels.camera[:, None, :2, 3], dtype=np.float32)


def refitted(crops: Crops, regressor: Regressor, model: FaceModel) -> Labels:
    """Labels of crops, with the jaw where a network sees it.

    Rows without parameters stay as they are. Those for validation are fitted again too: measured by a jaw that is
    wrong, a network that is right would not be the best.

    Parameters
    ----------
    crops : Crops
        To fit again.
    regressor : Regressor
        Knows jaws.
    model : FaceModel
        Of both.
    """
    rows = np.flatnonzero(crops.labels.has_params & crops.labels.face)
    chosen = crops.take(rows)
    labels = chosen.labels
    where, weights = _held(model)
    vertices = np.stack([where.on(model.vertices(s, e)) for s, e in zip(labels.shape, labels.expression, strict=True)])
    points = np.einsum("nij,nkj->nki", labels.camera[:, :2, :3], vertices) + labels.camera[:, None, :2, 3]
    points[:, _JAW] = seen_landmarks(chosen, regressor, model)[:, _JAW]
    found = fit(
        points, model, where, Prior(pairs=0, jaw=1), np.broadcast_to(weights, points.shape[:2]),
        shape=labels.shape, expression=labels.expression,
    )  # fmt: skip
    camera, shape = crops.labels.camera.copy(), crops.labels.shape.copy()
    camera[rows], shape[rows] = found.camera, found.shape
    return replace(crops.labels, camera=camera, shape=shape)


def _held(model: FaceModel) -> tuple[VertexMap, NDArray[np.float64]]:
    """The 68 landmarks, and after them vertices of the inner face, spread evenly; and how much each counts."""
    landmarks = VertexMap.of_300w(model)
    jaw = landmarks.on(model.mean)[_JAW]
    size = float(np.ptp(landmarks.on(model.mean)[:, :2], axis=0).max())
    distance = np.linalg.norm(model.mean[:, None] - jaw, axis=2).min(axis=1)
    inner = np.flatnonzero((distance > _LEAST_AWAY * size) & (model.part == 0) & (model.mean[:, 2] > jaw[:, 2].min()))
    held = inner[np.linspace(0, len(inner) - 1, min(_HELD, len(inner))).astype(np.intp)]
    more = VertexMap.of_vertices(held)
    weights = np.full(68 + len(held), _HELD_WEIGHT / max(len(held), 1))
    weights[:68] = _INNER_WEIGHT
    weights[_JAW] = _JAW_WEIGHT
    both = VertexMap(
        np.concatenate([landmarks.triangles, more.triangles]),
        np.concatenate([landmarks.weights, more.weights]),
        more.pairs,
        np.concatenate([landmarks.jaw, more.jaw]),
    )
    return both, weights


def inner_labels(labels: Labels, model: FaceModel) -> Labels:
    """Labels of which only the 51 landmarks inside the face are known; those for validation stay as they are."""
    changed = labels.has_params & labels.face & ~labels.validation
    landmarks = labels.landmarks.copy()
    inner = labelled_landmarks(labels.take(changed), model)
    inner[:, _JAW] = np.nan
    landmarks[changed] = inner
    return replace(labels, landmarks=landmarks, has_params=labels.has_params & ~changed)
