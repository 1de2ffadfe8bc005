"""A crop with its ground truth, and the writing of many to a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa.geometry.camera import Camera
from tddfa.model.face_model import FaceModel
from tddfa.train.data.augment import STORED_SCALE
from tddfa.train.data.shards import Labels, write_shard

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

STORED_SIZE = 160
"""Side of a stored crop, px."""

_JPEG_QUALITY = 92


@dataclass(frozen=True, eq=False)
class Sample:
    """A stored crop and its labels, as in `tddfa.train.data.shards.Labels`.

    Attributes
    ----------
    crop : ndarray (160, 160, 3) uint8
        BGR.
    source : str
        Name of the data set.
    camera, shape, expression : ndarray or None
        None if unknown.
    landmarks : ndarray (68, 2) or None
        Ground truth, px of the crop.
    face : bool
        Whether there is a face.
    validation : bool
        For validation, never for training.
    depth : ndarray (68,) or None
        z of the landmarks, px of the crop.
    person : str
        Name of the person; empty if unknown.
    """

    crop: Image
    source: str
    camera: Floats | None = None
    shape: Floats | None = None
    expression: Floats | None = None
    landmarks: Floats | None = None
    face: bool = True
    validation: bool = False
    depth: Floats | None = None
    person: str = ""


def write_samples(folder: str | os.PathLike[str], samples: Iterable[Sample], model: FaceModel) -> int:
    """Write a folder of crops (`tddfa.train.data.shards`); return how many.

    Parameters
    ----------
    folder : path
        Made if missing.
    samples : iterable of Sample
        At least one.
    model : FaceModel
        The face model of their coefficients; unknown coefficients are written as zeros, with `has_params` False.

    Raises
    ------
    ValueError
        If there are no samples.

    Examples
    --------
    >>> from tddfa.train.data.crops import Crops
    >>> from tddfa.train.data.samples import Sample, crop_face, write_samples
    >>> crop, _ = crop_face(image, face.landmarks)
    >>> write_samples(tmp, [Sample(crop, "astronaut")], aligner.face_model)
    1
    >>> Crops.open([tmp]).image(0).shape
    (160, 160, 3)
    """
    jpegs: list[bytes] = []
    rows: list[Sample] = []
    for sample in samples:
        jpegs.append(encode_jpeg(sample.crop))
        # of the crop, only the JPEG is kept
        rows.append(Sample(sample.crop[:0], *(getattr(sample, name) for name in list(Sample.__dataclass_fields__)[1:])))
    if not rows:
        raise ValueError(f"{folder}: expected samples to write, got none")
    n = len(rows)
    camera = np.zeros((n, 3, 4), dtype=np.float32)
    shape = np.zeros((n, model.shape_count), dtype=np.float32)
    expression = np.zeros((n, model.expression_count), dtype=np.float32)
    landmarks = np.full((n, 68, 2), np.nan, dtype=np.float32)
    depth = np.full((n, 68), np.nan, dtype=np.float32)
    has_params = np.zeros(n, dtype=bool)
    for i, row in enumerate(rows):
        if row.camera is not None and row.shape is not None and row.expression is not None:
            camera[i], shape[i], expression[i], has_params[i] = row.camera, row.shape, row.expression, True
        if row.landmarks is not None:
            landmarks[i] = row.landmarks
        if row.depth is not None:
            depth[i] = row.depth
    labels = Labels.of(
        camera,
        shape,
        expression,
        np.array([row.source for row in rows]),
        landmarks=landmarks,
        has_params=has_params,
        face=np.array([row.face for row in rows]),
        validation=np.array([row.validation for row in rows]),
        depth=depth,
        person=np.array([row.person for row in rows]),
    )
    write_shard(folder, jpegs, labels)
    return len(jpegs)


def encode_jpeg(crop: Image) -> bytes:
    """Encode a crop as it is stored."""
    done, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert done
    return bytes(data.tobytes())


def crop_square(
    image: Image, centre: ArrayLike, side: float, border: int = cv2.BORDER_CONSTANT
) -> tuple[Image, NDArray[np.float64]]:
    """Crop a square of an image as a stored crop; also return the map (2, 3) from px of the image to px of the crop.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    centre : array_like (2,)
        x, y in px.
    side : float
        px.
    border : int
        What is beyond the image, one of OpenCV's ``BORDER_``.
    """
    x, y = np.asarray(centre, dtype=np.float64)
    scale = STORED_SIZE / side
    matrix = np.array([[scale, 0, (STORED_SIZE - 1) / 2 - scale * x], [0, scale, (STORED_SIZE - 1) / 2 - scale * y]])
    shrink = int(1 / scale)
    if shrink >= 2:
        # averaged first: bilinear sampling alone would use four of the many px that become one
        height, width = (max(length // shrink, 1) for length in image.shape[:2])
        factor_x, factor_y = image.shape[1] / width, image.shape[0] / height
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))
        enlarge = np.array([[factor_x, 0, (factor_x - 1) / 2], [0, factor_y, (factor_y - 1) / 2], [0, 0, 1]])
        sampled = matrix @ enlarge
    else:
        sampled = matrix
    crop = cv2.warpAffine(image, sampled, (STORED_SIZE, STORED_SIZE), flags=cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(crop), matrix


def crop_face(image: Image, landmarks: NDArray[np.floating]) -> tuple[Image, NDArray[np.float64]]:
    """Crop the square of a stored crop, around the landmarks (k, 2 or more) of a face, px; see `crop_square`."""
    low, high = landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)
    return crop_square(image, (low + high) / 2, STORED_SCALE * float((high - low).max()))


def centred(camera: Camera, model: FaceModel, shape: Floats, expression: Floats) -> Floats:
    """Matrix (3, 4) of a camera moved and scaled so that the landmarks are where stored crops have them."""
    points = camera.project(model.landmarks(shape, expression))[:, :2]
    low, high = points.min(axis=0), points.max(axis=0)
    factor = STORED_SIZE / (STORED_SCALE * float((high - low).max()))
    matrix = camera.matrix * np.float32(factor)
    matrix[:2, 3] += (STORED_SIZE - 1) / 2 - factor * (low + high) / 2
    matrix[2, 3] = 0
    return matrix
