"""Training images of the detector: images with boxes or landmarks of their faces, labelled crops, images without faces.

A source gives one labelled image at a time; `tddfa.train.detector.scenes` makes scenes of them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared import image_io
from tddfa._shared.arrays import checked
from tddfa._shared.image_io import SUFFIXES
from tddfa.datasets import boxes as labelled_boxes
from tddfa.datasets.boxes import BoxedImage
from tddfa.datasets.pts import read_pts
from tddfa.model.face_model import FaceModel
from tddfa.train.data.crops import Crops

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# A detector's box relative to the box of a face's 68 landmarks: x1, y1, x2, y2 from its centre, in units of its longer
# side. Medians of 3DDFA_V2's FaceBoxes on LFPW's training part and on crops with yaw up to 90 degrees; the standard
# deviations are 0.04 to 0.08.
_BOX_OF_LANDMARKS = np.array([-0.47, -0.78, 0.47, 0.47])
_WIDER = {part: (f"wider_face_split/wider_face_{part}_bbx_gt.txt", f"WIDER_{part}/images") for part in ("train", "val")}


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image and the labels of its faces.

    Attributes
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    faces : tuple of ndarray (k, 2) float64
        Points of each face, px: two opposite corners of its box, or its landmarks.
    exact : bool
        Whether the faces are annotated boxes; False if boxes are derived from landmarks.
    ignored : ndarray (n,) bool
        Faces that may be detected or missed.
    complete : bool
        Whether all faces of the image are labelled.
    """

    image: Image
    faces: tuple[Floats, ...]
    exact: bool
    ignored: Flags
    complete: bool

    @property
    def can_rotate(self) -> bool:
        """Whether the labels stay exact when the image is rotated: a rotated box would only grow."""
        return not self.exact or not self.faces


class Source(Protocol):
    """Labelled images by index."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, index: int) -> LabelledImage:
        """Read an image; a ValueError names a file that cannot be read."""


def box_of_landmarks(landmarks: ArrayLike) -> Floats:
    """Estimate a detector's box (4,) from the 68 landmarks of a face (68, 2), px.

    The box is upright at any roll of the head, as the crop rule that uses it expects.
    """
    points = checked("landmarks", landmarks, (None, 2), np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    return np.asarray(np.tile((low + high) / 2, 2) + (high - low).max() * _BOX_OF_LANDMARKS)


@dataclass(frozen=True)
class BoxedImages:
    """Images with the boxes of all their faces.

    Parameters
    ----------
    images : sequence of BoxedImage
        See `tddfa.datasets.boxes`.
    """

    images: Sequence[BoxedImage]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> LabelledImage:
        image = self.images[index]
        faces = tuple(box.reshape(2, 2) for box in image.xyxy)
        return LabelledImage(image_io.read(image.path), faces, True, image.ignored, True)


@dataclass(frozen=True)
class LandmarkedImages:
    """Images with the landmarks of one face in a ``.pts`` file beside them. There may be more faces."""

    images: Sequence[Path]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> LabelledImage:
        path = self.images[index]
        points = read_pts(path.with_suffix(".pts"))
        return LabelledImage(image_io.read(path), (points,), False, np.zeros(1, dtype=np.bool_), False)


@dataclass(frozen=True)
class UnlabelledImages:
    """Images without labels, for a teacher; or, if `empty`, images without faces."""

    images: Sequence[Path]
    empty: bool = False

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> LabelledImage:
        return LabelledImage(image_io.read(self.images[index]), (), False, np.zeros(0, dtype=np.bool_), self.empty)


class CropImages:
    """Labelled crops (`tddfa.train.data.shards`): faces, and crops without a face.

    Parameters
    ----------
    crops : Crops
        Crops; faces without coefficients and landmarks are left out.
    model : FaceModel
        Face model of the labels.
    """

    def __init__(self, crops: Crops, model: FaceModel) -> None:
        labels = crops.labels
        points = np.empty((len(labels), 68, 2))
        for first in range(0, len(labels), 1024):
            part = slice(first, first + 1024)
            camera = labels.camera[part].astype(np.float64)
            in_model = model.landmarks(labels.shape[part], labels.expression[part])
            points[part] = in_model @ camera[:, :2, :3].transpose(0, 2, 1) + camera[:, None, :2, 3]
        annotated = np.isfinite(labels.landmarks).all(axis=(1, 2))
        points[annotated] = labels.landmarks[annotated]
        known = ~labels.face | annotated | labels.has_params
        self._crops, self._points, self._face = crops.take(known), points[known], labels.face[known]
        self.yaw = self._crops.yaw()

    def __len__(self) -> int:
        return len(self._crops)

    def __getitem__(self, index: int) -> LabelledImage:
        face = bool(self._face[index])
        faces = (self._points[index],) if face else ()
        # a crop of a face may show other faces, which are not labelled
        return LabelledImage(self._crops.image(index), faces, False, np.zeros(len(faces), dtype=np.bool_), not face)


def images_in(folder: str | os.PathLike[str]) -> list[Path]:
    """List the images of a folder and its subfolders in order of path.

    Raises
    ------
    FileNotFoundError
        If there are none.
    """
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
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
    folder: Path, kind: str, first: float, last: float, model: FaceModel | None, validation: bool = False
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
    validation : bool
        Whether to open the crops marked for validation, or the others.

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder has no images of that kind, or if it is damaged.
    """
    opened: Source
    if kind == "boxes":
        images = boxed_images(folder)
        opened = BoxedImages(images[int(first * len(images)) : int(last * len(images))])
    elif kind == "crops":
        if model is None:
            raise ValueError(f"{folder}: crops need a face_model, the one of their labels")
        crops = Crops.open([folder]).split(validation)
        rows = np.arange(int(first * len(crops)), int(last * len(crops)))
        opened = CropImages(crops.take(rows), model)
    else:
        paths = images_in(folder)
        if kind == "landmarks":
            paths = [path for path in paths if path.with_suffix(".pts").is_file()]
        paths = paths[int(first * len(paths)) : int(last * len(paths))]
        opened = LandmarkedImages(paths) if kind == "landmarks" else UnlabelledImages(paths, empty=kind == "empty")
    if not len(opened):
        part = f" from {first:g} to {last:g}" if (first, last) != (0, 1) else ""
        raise FileNotFoundError(f"{folder}: expected images of kind {kind!r}{part}, got none")
    return opened
