"""Crops whose labels agree with a network's predictions: labels that were fitted to wrong landmarks are left out.

The teacher that made the labels may have mistaken an eye for a face. A network trained on many labels, few of them
wrong, predicts something else there; where the two are far apart, the label is not to be trained on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tddfa.aligner import Aligner
from tddfa.geometry.boxes import box_iou
from tddfa.geometry.camera import Camera
from tddfa.model.face_model import FaceModel
from tddfa.passes import Regressor
from tddfa.train.data.batches import in_order
from tddfa.train.data.crops import Crops

_BATCH = 16
# IoU of a detector's box and the landmarks' own above which both are of the same face.
_MIN_IOU = 0.3


def projected_landmarks(
    model: FaceModel, camera: NDArray[np.floating], shape: NDArray[np.floating], expression: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Project the 68 landmarks of coefficients (n, s), (n, e) by cameras (n, 3, 4): (n, 68, 2) px."""
    points = model.landmarks(shape, expression) @ camera[:, :2, :3].transpose(0, 2, 1)
    return np.asarray(points + camera[:, None, :2, 3], dtype=np.float32)


def disagreement(crops: Crops, regressor: Regressor, model: FaceModel) -> NDArray[np.float64]:
    """Mean distance (n,) of labelled and predicted landmarks, % of sqrt(width * height) of the labels' box.

    Rows without parameters have 0.
    """
    distances = []
    for batch in in_order(crops, _BATCH, model):
        output = regressor(batch.crops)
        predicted = projected_landmarks(model, output["camera"], output["shape"], output["expression"])
        labelled = projected_landmarks(model, batch.camera, batch.shape, batch.expression)
        size = np.sqrt(np.prod(np.ptp(labelled, axis=1), axis=1))
        error = np.linalg.norm(predicted - labelled, axis=2).mean(axis=1)
        distances.append(np.where(batch.has_params, 100 * error / np.maximum(size, 1e-6), 0))
    return np.concatenate(distances) if distances else np.zeros(0)


def detected(crops: Crops, rows: NDArray[np.intp], aligner: Aligner) -> NDArray[np.bool_]:
    """Whether the detector finds the labelled face of each of some rows (k,); True for all if there is no detector."""
    if aligner.detector is None:
        return np.ones(len(rows), dtype=bool)
    labels, matched = crops.labels, np.zeros(len(rows), dtype=bool)
    for i, row in enumerate(rows.tolist()):
        points = aligner.face_model.landmarks(labels.shape[row], labels.expression[row])
        points = Camera(labels.camera[row]).project(points)[:, :2]
        low, high = points.min(axis=0), points.max(axis=0)
        boxes = aligner.detector(crops.image(row)).xyxy
        matched[i] = bool((box_iou(boxes, [np.concatenate([low, high])]) > _MIN_IOU).any())
    return matched


def agreeing(crops: Crops, aligner: Aligner, max_error: float) -> Crops:
    """Keep the crops whose labels agree with a network's predictions; those for validation are all kept.

    Parameters
    ----------
    crops : Crops
        With known parameters.
    aligner : Aligner
        Of the same face model.
    max_error : float
        Maximum `disagreement`; half of that where the aligner's detector does not find the face.
    """
    distance = disagreement(crops, aligner.regressor, aligner.face_model)
    agree = distance <= max_error
    doubtful = np.flatnonzero(agree & (distance > max_error / 2))
    agree[doubtful] = detected(crops, doubtful, aligner)
    return crops.take(agree | crops.labels.validation)
