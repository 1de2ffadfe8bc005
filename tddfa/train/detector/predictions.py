"""Faces that a teacher found in the training images, in one file per folder: boxes, scores, points and rotations."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from FaceBoxes.detections import Detections
from FaceBoxes.nms import nms
from tddfa._shared.errors import TddfaError
from tddfa._shared.files import write_atomic
from tddfa._shared.npz import read_npz
from tddfa.detector.poses import boxes_of_ellipses, ellipses_of_landmarks, points_of_landmarks
from tddfa.geometry.boxes import box_iou
from tddfa.types import Face

Image = NDArray[np.uint8]

MAX_BYTES = 1 << 30
"""Limit of the arrays of a file."""

# Scales at which the teacher sees an image, and the longest side that it is enlarged to, px.
_SCALES, _MAX_SIDE = (2.0, 1.0, 0.5, 0.25), 1800
# Black border around the image, px: faces that fill a crop have context then.
_BORDER = 32
# Arrays of a file, one row per face: fields of `Detections`.
_ARRAYS = ("xyxy", "scores", "points", "rotations")
_IOU = 0.4
# Face score from which an alignment is good enough to learn from.
_SURE = 0.8


class PredictionsError(TddfaError, ValueError):
    """A file of predictions is damaged."""


def none() -> Detections:
    """No faces."""
    return Detections(*(np.empty(shape, dtype=np.float32) for shape in ((0, 4), 0, (0, 5, 2), (0, 3, 3))))


def predict(teacher: Callable[[Image], Detections], image: Image) -> Detections:
    """Faces that a teacher finds at several scales.

    Parameters
    ----------
    teacher : callable
        Detector that gives boxes, scores and five points.
    image : ndarray (h, w, 3) uint8
        BGR.

    Raises
    ------
    ValueError
        If the teacher gives no points.
    """
    longest = max(image.shape[:2])
    found = []
    for scale in _SCALES:
        if scale != 1 and not _BORDER <= longest * scale <= _MAX_SIDE:
            continue
        size = tuple(max(round(side * scale), 1) for side in image.shape[1::-1])
        view = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR))
        view = np.asarray(cv2.copyMakeBorder(view, _BORDER, _BORDER, _BORDER, _BORDER, cv2.BORDER_CONSTANT))
        faces = teacher(view)
        if faces.points is None:
            raise ValueError("teacher: expected a detector that predicts five points, such as YuNet, got one without")
        # a detector counts from the edge of the image, landmarks from the centre of the first px
        boxes, points = (np.float32((values - _BORDER) / scale - 0.5) for values in (faces.xyxy, faces.points))
        found.append(Detections(boxes, faces.scores, points))
    every = Detections.concatenate(found)
    return every[nms(every.xyxy, every.scores, _IOU, len(every))] if len(every) else every


def with_rotations(found: Detections, faces: Sequence[Face]) -> Detections:
    """Add the rotations of aligned heads to the faces that a teacher found, NaN where no alignment is sure.

    A face whose alignment is sure also takes its five points: those of a turned face are better than a detector's.

    Parameters
    ----------
    found : Detections
        With five points.
    faces : sequence of Face
        What an aligner gives for the same image.
    """
    if found.points is None:
        raise ValueError("found: expected detections with five points, got none")
    points, rotations = found.points.copy(), np.full((len(found), 3, 3), np.nan, dtype=np.float32)
    sure = [face for face in faces if face.score >= _SURE]
    if sure and len(found):
        landmarks = np.stack([face.landmarks[:, :2] for face in sure])
        overlap = box_iou(boxes_of_ellipses(ellipses_of_landmarks(landmarks)), found.xyxy)
        for face, row in enumerate(overlap.argmax(axis=1)):
            if overlap[face, row] >= _IOU and overlap[face, row] == overlap[:, row].max():
                points[row] = points_of_landmarks(landmarks[face])
                rotations[row] = sure[face].camera.rotation
    return replace(found, points=points, rotations=rotations)


def write_predictions(path: str | os.PathLike[str], faces: Iterable[tuple[str, Detections]]) -> Path:
    """Write the faces of images by name. The file appears whole or not at all."""
    names, counts, parts = [], [], [none()]
    for name, found in faces:
        names.append(name)
        counts.append(len(found))
        parts.append(found)
    every = Detections.concatenate([_with_all(part) for part in parts])
    data = io.BytesIO()
    np.savez_compressed(
        data, name=np.array(names, dtype=np.str_), count=np.array(counts, dtype=np.int64),
        **{key: getattr(every, key) for key in _ARRAYS},
    )  # fmt: skip
    return write_atomic(path, data.getvalue())


def _with_all(found: Detections) -> Detections:
    """Detections with unknown rotations where they have none; points are needed."""
    if found.points is None:
        raise ValueError("expected faces with five points, got none")
    return found if found.rotations is not None else with_rotations(found, ())


def read_predictions(path: str | os.PathLike[str]) -> Mapping[str, Detections]:
    """Read the faces of images by name.

    Raises
    ------
    FileNotFoundError, PredictionsError
        If the file is missing or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected predictions (.npz), see tddfa train predictions")
    try:
        arrays = read_npz(path, MAX_BYTES, ("name", "count", *_ARRAYS))
        names, count = arrays["name"], np.asarray(arrays["count"], dtype=np.int64)
        # files from before rotations were added have none
        known = {key: np.asarray(arrays[key], dtype=np.float32) for key in _ARRAYS if key in arrays}
        every = _with_all(Detections(**known))
        if names.dtype.kind != "U" or names.shape != count.shape or count.ndim != 1 or (count < 0).any():
            raise ValueError(f"expected names and counts of faces, got {names.dtype} {names.shape} and {count.shape}")
        if count.sum() != len(every):
            raise ValueError(f"expected {count.sum()} faces, got {len(every)}")
    except (KeyError, TypeError, ValueError) as error:
        raise PredictionsError(f"{path}: not a file of predictions: {error}") from error
    ends = np.cumsum(count)
    return {str(name): every[slice(int(end - k), int(end))] for name, k, end in zip(names, count, ends, strict=True)}
