"""Which crops something can be made of: whole faces for training, not turned too far."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count as numbers

import numpy as np
from numpy.typing import NDArray

from tddfa.geometry.camera import Camera
from tddfa.geometry.rotation import euler_from_rotation
from tddfa.model.face_model import FaceModel
from tddfa.train.data.crops import Crops

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Of the longer side of the landmarks' box: how much forehead the photo shows; a quarter of it is enough elsewhere.
_MARGIN = 0.16
# Grey levels by which a line of one colour may vary.
_PLAIN = 14


def fit_rows(crops: Crops, model: FaceModel, most: tuple[float, float, float], seed: int) -> Iterator[int]:
    """Rows to make something of, in random order, again and again.

    Parameters
    ----------
    crops : Crops
        Those for validation, and those without known parameters, are left out.
    model : FaceModel
        Whose coefficients the labels are.
    most : tuple of float
        How far a face may be turned: yaw, pitch and roll, degrees.
    seed : int
        Of the order.

    Raises
    ------
    ValueError
        If no row is fit; at the first one.
    """
    labels = crops.labels
    usable = np.flatnonzero(labels.has_params & labels.face & ~labels.validation)
    pose = np.array([euler_from_rotation(Camera(labels.camera[row]).rotation) for row in usable]).reshape(-1, 3)
    rows = usable[(np.abs(pose) <= most).all(axis=1)]
    found = True
    for turn_of_all in numbers():
        if not found:
            break
        found = False
        for row in np.random.default_rng((seed, 1, turn_of_all)).permutation(rows).tolist():
            if is_whole(crops.image(row), labels.camera[row], labels.shape[row], labels.expression[row], model):
                found = True
                yield row
    raise ValueError("crops: expected some for training that are whole and not turned too far, got none")


def is_whole(crop: Image, camera: Floats, shape: Floats, expression: Floats, model: FaceModel) -> bool:
    """Whether the photo goes on as far as the landmarks of the face do."""
    points = Camera(camera).project(model.landmarks(shape, expression))[:, :2]
    left, top, right, bottom = photo_part(crop)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = _MARGIN * float((high - low).max())
    return bool((low >= (left + margin / 4, top + margin)).all() and (high + margin / 4 <= (right, bottom)).all())


def photo_part(crop: Image) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the part of a crop that is photo: what lies beyond a photo's edge is of one colour.

    The last two are one past the photo's last px. A crop of one colour has none: right and bottom are then 0.
    """
    sides = []
    for lines in (crop.transpose(1, 0, 2), crop):
        # a JPEG's plain areas are not quite plain
        plain = np.ptp(lines, axis=1).max(axis=1) <= _PLAIN
        sides.append((int(np.argmin(plain)), len(plain) - int(np.argmin(plain[::-1]))) if not plain.all() else (0, 0))
    (left, right), (top, bottom) = sides
    return left, top, right, bottom
