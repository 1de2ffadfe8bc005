"""Crops whose labels a network agrees with: labels that were fitted to wrong landmarks are left out.

A teacher that is shown an eye may find a face in it. A network trained on many labels, few of them wrong, says
otherwise; where the two are far apart, the label is not to be trained on.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tddfa.aligner import Aligner, Regressor
from tddfa.geometry.boxes import box_iou
from tddfa.geometry.camera import Camera
from tddfa.model.face_model import FaceModel
from tddfa.train.data.batches import in_order
from tddfa.train.data.crops import Crops
from tddfa.train.data.shards import write_shard

_BATCH = 16
# Overlap of a detector's box with the landmarks' own from which it is the same face.
_MIN_IOU = 0.3


def projected_landmarks(
    model: FaceModel, camera: NDArray[np.floating], shape: NDArray[np.floating], expression: NDArray[np.floating]
) -> NDArray[np.float32]:
    """The 68 landmarks (n, 68, 2) of coefficients (n, s), (n, e), as cameras (n, 3, 4) see them, px."""
    points = model.landmarks(shape, expression) @ camera[:, :2, :3].transpose(0, 2, 1)
    return np.asarray(points + camera[:, None, :2, 3], dtype=np.float32)


def disagreement(crops: Crops, regressor: Regressor, model: FaceModel) -> NDArray[np.float64]:
    """How far the landmarks of labels and network are apart (n,), % of sqrt(width * height) of the labels' box.

    Rows without parameters have 0.
    """
    apart = []
    for batch in in_order(crops, _BATCH, model):
        said = regressor(batch.crops)
        found = projected_landmarks(model, said["camera"], said["shape"], said["expression"])
        labelled = projected_landmarks(model, batch.camera, batch.shape, batch.expression)
        size = np.sqrt(np.prod(np.ptp(labelled, axis=1), axis=1))
        error = np.linalg.norm(found - labelled, axis=2).mean(axis=1)
        apart.append(np.where(batch.has_params, 100 * error / np.maximum(size, 1e-6), 0))
    return np.concatenate(apart) if apart else np.zeros(0)


def detected(crops: Crops, rows: NDArray[np.intp], aligner: Aligner) -> NDArray[np.bool_]:
    """Whether the detector finds a face where the labels of some rows (k,) say that it is; all are, without one."""
    if aligner.detector is None:
        return np.ones(len(rows), dtype=bool)
    labels, found = crops.labels, np.zeros(len(rows), dtype=bool)
    for i, row in enumerate(rows.tolist()):
        points = aligner.face_model.landmarks(labels.shape[row], labels.expression[row])
        points = Camera(labels.camera[row]).project(points)[:, :2]
        low, high = points.min(axis=0), points.max(axis=0)
        boxes = aligner.detector(crops.image(row)).xyxy
        found[i] = bool((box_iou(boxes, [np.concatenate([low, high])]) > _MIN_IOU).any())
    return found


def write_agreeing(folder: str | os.PathLike[str], crops: Crops, aligner: Aligner, most: float) -> tuple[Path, int]:
    """Write a folder of the crops whose labels a network agrees with; those for validation are all kept.

    Parameters
    ----------
    folder : path
        Made if missing.
    crops : Crops
        With known parameters.
    aligner : Aligner
        Of the same face model. What its regressor half agrees with, its detector must find.
    most : float
        What counts as agreeing, see `disagreement`; half of that counts where the detector finds no face.

    Returns
    -------
    path : Path
        Of the labels.
    left_out : int
        How many crops were left out.
    """
    apart = disagreement(crops, aligner.regressor, aligner.face_model)
    agree = apart <= most
    doubtful = np.flatnonzero(agree & (apart > most / 2))
    agree[doubtful] = detected(crops, doubtful, aligner)
    agree |= crops.labels.validation
    kept = crops.take(agree)
    jpegs = [kept.jpeg(row) for row in range(len(kept))]
    return write_shard(folder, jpegs, kept.labels), int((~agree).sum())
