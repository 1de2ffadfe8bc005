"""Training images of the detector: photos and crops with their faces, photos without faces.

A source gives one labelled image at a time; `tddfa.train.detector.scenes` makes scenes of them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from FaceBoxes.detections import Detections
from tddfa._shared import image_io
from tddfa._shared.image_io import SUFFIXES, has_image_name
from tddfa.datasets import boxes as labelled_boxes
from tddfa.datasets.boxes import BoxedImage
from tddfa.datasets.pts import read_pts
from tddfa.geometry.boxes import box_iou
from tddfa.geometry.camera import Camera
from tddfa.model.face_model import FaceModel
from tddfa.train.data.crops import Crops
from tddfa.train.detector.faces import Faces
from tddfa.train.detector.predictions import none, read_predictions

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]

_WIDER = {part: (f"wider_face_split/wider_face_{part}_bbx_gt.txt", f"WIDER_{part}/images") for part in ("train", "val")}
# IoU from which a prediction belongs to a labelled face.
_SAME = 0.4
# A prediction with a score over the first is a face; one over the second may be detected or missed.
_SURE, _DOUBTFUL = 0.6, 0.3
# From YuNet's boxes, which reach up to the forehead, to those of landmarks (`Faces.of_landmarks`): shift of x1, y1, x2,
# y2 in widths and heights. Medians of 483 faces of LFPW (first 60 % by name) and 446 of CFP, which differ by 0.05 at
# the top and by 0.01 elsewhere.
_FROM_TEACHER = np.array([-0.018, 0.185, 0.03, 0.058])
# Bytes of decoded images that a source keeps.
_MAX_KEPT = 1 << 29


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image and its faces.

    Attributes
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    faces : Faces
    landmarks : ndarray (68, 2) float64 or None
        Landmarks of the first face, px, where they are labelled.
    """

    image: Image
    faces: Faces
    landmarks: Floats | None = None


class Source(Protocol):
    """Labelled images by index."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, index: int) -> LabelledImage:
        """Read an image; a ValueError names a file that cannot be read."""


@dataclass(frozen=True)
class Photos:
    """Photos with the faces of each, and with landmarks; decoded photos are kept in memory as far as they fit."""

    paths: Sequence[Path]
    faces: Sequence[Faces]
    landmarks: Sequence[Floats] | None = None
    _kept: dict[int, Image] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.paths)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_kept": {}}

    def __getitem__(self, index: int) -> LabelledImage:
        image = self._kept.get(index)
        if image is None:
            image = image_io.read(self.paths[index])
            if sum(each.nbytes for each in self._kept.values()) + image.nbytes <= _MAX_KEPT:
                self._kept[index] = image
        landmarks = None if self.landmarks is None else self.landmarks[index]
        return LabelledImage(image, self.faces[index], landmarks)


@dataclass(frozen=True)
class CropImages:
    """Labelled crops (`tddfa.train.data.shards`), with the faces and landmarks of each."""

    crops: Crops
    faces: Sequence[Faces]
    landmarks: Sequence[Floats | None]

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int) -> LabelledImage:
        return LabelledImage(self.crops.image(index), self.faces[index], self.landmarks[index])


def merged(labelled: Faces, predicted: Detections, complete: bool) -> Faces:
    """Combine the labelled faces of an image with the faces that a teacher predicted.

    A labelled face without points or rotation takes those of its prediction. Predictions without a labelled face count
    as faces if they are certain and the labels are not `complete`; otherwise they may be detected or missed. Their
    boxes are changed to the convention of the labels, that of `Faces.of_landmarks`.

    Parameters
    ----------
    labelled : Faces
        Labelled faces.
    predicted : Detections
        Of the same image.
    complete : bool
        Whether all faces are labelled.
    """
    low, high = predicted.xyxy[:, :2], predicted.xyxy[:, 2:]
    boxes = predicted.xyxy + _FROM_TEACHER * np.tile(high - low, 2)
    overlap = box_iou(labelled.xyxy, boxes)
    rotations = None if predicted.rotations is None else predicted.rotations.astype(np.float64)
    teacher = replace(Faces.of_boxes(boxes, predicted.points), rotations=rotations)
    known = {"points": labelled.points.copy(), "rotations": labelled.known_rotations.copy()}
    for i in np.flatnonzero(overlap.max(axis=1, initial=0.0) >= _SAME):
        for name, values in known.items():
            if np.isnan(values[i]).any():
                values[i] = getattr(teacher, name)[int(overlap[i].argmax())]
    rest = (overlap.max(axis=0, initial=0.0) < _SAME) & (predicted.scores >= _DOUBTFUL)
    extra = teacher.take(rest).ignoring(complete | (predicted.scores[rest] < _SURE))
    return Faces.joined(replace(labelled, **known), extra)


def images_in(folder: str | os.PathLike[str]) -> list[Path]:
    """List the images of a folder and its subfolders in order of path.

    Raises
    ------
    FileNotFoundError
        If there are none.
    """
    paths = sorted(path for path in Path(folder).rglob("*") if has_image_name(path))
    if not paths:
        raise FileNotFoundError(f"{folder}: expected images ({', '.join(SUFFIXES)}), got none")
    return paths


def boxed_images(folder: str | os.PathLike[str], part: str = "train") -> list[BoxedImage]:
    """List the images with boxes of a folder in any of the known layouts.

    These are ``*.txt`` (one ``x1 y1 x2 y2`` per line) or VOC's ``*.xml`` beside the images; PASCAL VOC's
    ``Annotations`` and ``JPEGImages``; WIDER FACE's ``wider_face_split`` and ``WIDER_train``.

    Parameters
    ----------
    folder : path
        The folder.
    part : str
        Part of WIDER FACE: ``train`` or ``val``.

    Raises
    ------
    FileNotFoundError
        If the folder has none of the layouts.
    ValueError
        If a file of boxes cannot be read.
    """
    folder = Path(folder)
    list_file, image_folder = (folder / name for name in _WIDER[part])
    boxes = labelled_boxes.load_folder(folder) or labelled_boxes.load_voc(folder)
    if not boxes and list_file.is_file():
        boxes = [each for each in labelled_boxes.read_wider(list_file, image_folder) if each.path.is_file()]
    if boxes:
        return boxes
    raise FileNotFoundError(
        f"{folder}: expected images with boxes: .txt or .xml beside them, PASCAL VOC's Annotations and JPEGImages, or "
        f"WIDER FACE's {_WIDER[part][0]} and {_WIDER[part][1]}; got none of them"
    )


KINDS = ("boxes", "landmarks", "crops", "unlabelled", "empty")
"""Kinds of folders; see `tddfa.train.detector.settings.Folders`."""


def source(
    folder: Path,
    kind: str,
    first: float,
    last: float,
    model: FaceModel | None,
    predictions: Path | None = None,
    validation: bool = False,
) -> Source:
    """Open a folder of images.

    Parameters
    ----------
    folder : Path
        The folder.
    kind : str
        One of `KINDS`.
    first, last : float
        Part of the images that is used, in order of name (crops: in order of number), as fractions 0..1.
    model : FaceModel or None
        Face model of the coefficients of crops.
    predictions : Path or None
        Faces that a teacher predicted in these images (`tddfa.train.detector.predictions`). Images of the kind
        ``unlabelled`` need them.
    validation : bool
        Whether to open the crops marked for validation, or the others.

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder has no images of that kind, or if it is damaged.
    """
    if kind == "unlabelled" and predictions is None:
        raise ValueError(f"{folder}: expected predictions of a teacher for images without labels, got none")
    teacher = _Teacher(predictions)
    opened: Source
    if kind == "boxes":
        images = boxed_images(folder)
        images = images[int(first * len(images)) : int(last * len(images))]
        paths = [image.path for image in images]
        faces = [
            merged(Faces.of_boxes(image.xyxy, ignored=image.ignored), teacher(image.path.name), complete=True)
            for image in images
        ]
        opened = Photos(paths, faces)
    elif kind == "crops":
        if model is None:
            raise ValueError(f"{folder}: expected the face_model of the crops' labels, got none")
        opened = _crops(folder, first, last, model, teacher, validation)
    else:
        paths = images_in(folder)
        if kind == "landmarks":
            paths = [path for path in paths if path.with_suffix(".pts").is_file()]
        paths = paths[int(first * len(paths)) : int(last * len(paths))]
        if kind == "unlabelled":
            # a face that the teacher missed would be taken for background
            paths = [path for path in paths if (teacher(path.name).scores >= _SURE).any()]
        landmarks: list[Floats] | None = None
        if kind == "empty":
            faces = [Faces.none()] * len(paths)
        elif kind == "landmarks":
            landmarks = [read_pts(path.with_suffix(".pts")) for path in paths]
            faces = [
                merged(Faces.of_landmarks(points[None]), teacher(path.name), complete=False)
                for points, path in zip(landmarks, paths, strict=True)
            ]
        else:
            faces = [merged(Faces.none(), teacher(path.name), complete=False) for path in paths]
        opened = Photos(paths, faces, landmarks)
    if not len(opened):
        part = f" from {first:g} to {last:g}" if (first, last) != (0, 1) else ""
        raise FileNotFoundError(f"{folder}: expected images of kind {kind!r}{part}, got none")
    return opened


class _Teacher:
    """Predictions by the name of an image; empty without a file."""

    def __init__(self, path: Path | None) -> None:
        self._all = {} if path is None else read_predictions(path)

    def __call__(self, name: str) -> Detections:
        return self._all.get(name, none())


def _crops(folder: Path, first: float, last: float, model: FaceModel, teacher: _Teacher, validation: bool) -> Source:
    crops = Crops.open([folder])
    part = crops.split(validation)
    number = np.flatnonzero(crops.labels.validation == validation)
    rows = np.arange(int(first * len(part)), int(last * len(part)))
    part, number = part.take(rows), number[rows]
    labels = part.labels
    faces: list[Faces] = []
    landmarks: list[Floats | None] = []
    kept: list[int] = []
    for start in range(0, len(labels), 1024):
        batch = slice(start, start + 1024)
        camera = labels.camera[batch].astype(np.float64)
        points = model.landmarks(labels.shape[batch], labels.expression[batch]) @ camera[:, :2, :3].transpose(0, 2, 1)
        points += camera[:, None, :2, 3]
        for i, predicted in enumerate(points, start):
            annotated = labels.landmarks[i].astype(np.float64)
            known = np.isfinite(annotated).all()
            if labels.face[i] and not known and not labels.has_params[i]:
                continue
            kept.append(i)
            landmarks.append((annotated if known else predicted) if labels.face[i] else None)
            own = landmarks[-1]
            found = teacher(f"{number[i]:06d}.jpg")
            if own is None:
                faces.append(Faces.none())
                continue
            rotation = Camera(labels.camera[i]).rotation if labels.has_params[i] else np.full((3, 3), np.nan)
            face = replace(Faces.of_landmarks(own[None]), rotations=rotation[None])
            faces.append(merged(face, found, complete=False))
    return CropImages(part.take(np.array(kept, dtype=np.intp)), faces, landmarks)
