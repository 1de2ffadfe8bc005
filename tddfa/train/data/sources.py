"""Selection of crops that can be turned, edited or used as textures: whole faces for training, not turned too far."""

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

# Visible forehead, as a fraction of the longer side of the landmarks' box; elsewhere a quarter of it is enough.
_MARGIN = 0.16
# Range of grey levels within a line of one colour.
_PLAIN = 14


def usable_rows(crops: Crops, model: FaceModel, max_angles: tuple[float, float, float], seed: int) -> Iterator[int]:
    """Rows of usable crops, in random order, again and again.

    Parameters
    ----------
    crops : Crops
        Those for validation, and those without known parameters, are left out.
    model : FaceModel
        The face model of the labels.
    max_angles : tuple of float
        Maximum absolute yaw, pitch and roll of a face, degrees.
    seed : int
        Of the order.

    Raises
    ------
    ValueError
        If no row is usable; raised when the first one is asked for.
    """
    labels = crops.labels
    usable = np.flatnonzero(labels.has_params & labels.face & ~labels.validation)
    pose = np.array([euler_from_rotation(Camera(labels.camera[row]).rotation) for row in usable]).reshape(-1, 3)
    rows = usable[(np.abs(pose) <= max_angles).all(axis=1)]
    any_whole = True
    for pass_number in numbers():
        if not any_whole:
            break
        any_whole = False
        for row in np.random.default_rng((seed, 1, pass_number)).permutation(rows).tolist():
            if is_whole(crops.image(row), labels.camera[row], labels.shape[row], labels.expression[row], model):
                any_whole = True
                yield row
    raise ValueError("crops: expected some for training that are whole and not turned too far, got none")


def is_whole(crop: Image, camera: Floats, shape: Floats, expression: Floats, model: FaceModel) -> bool:
    """Whether the photo reaches beyond all landmarks of the face."""
    points = Camera(camera).project(model.landmarks(shape, expression))[:, :2]
    left, top, right, bottom = photo_part(crop)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = _MARGIN * float((high - low).max())
    return bool((low >= (left + margin / 4, top + margin)).all() and (high + margin / 4 <= (right, bottom)).all())


def photo_part(crop: Image) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the part of a crop that the photo fills: beyond the photo's edge is a plain colour.

    Right and bottom are exclusive. They are 0 if the whole crop is of one colour.
    """
    sides = []
    for lines in (crop.transpose(1, 0, 2), crop):
        # plain areas of a JPEG vary a little
        plain = np.ptp(lines, axis=1).max(axis=1) <= _PLAIN
        sides.append((int(np.argmin(plain)), len(plain) - int(np.argmin(plain[::-1]))) if not plain.all() else (0, 0))
    (left, right), (top, bottom) = sides
    return left, top, right, bottom
