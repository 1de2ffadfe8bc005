"""What a detector is trained on: photos with the boxes of their faces, photos with landmarks, labelled crops, no faces.

Each source gives a picture at a time, with what is known of it; `tddfa.train.detector.scenes` makes scenes of them.
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
from tddfa.datasets.boxes import Boxes
from tddfa.datasets.pts import read_pts
from tddfa.model.face_model import FaceModel
from tddfa.train.data.crops import Crops

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# A detector's box by the box of a face's 68 landmarks: x1, y1, x2, y2 from its middle, in its longer side. Medians of
# 3DDFA_V2's FaceBoxes on LFPW's training part and on crops turned up to 90 degrees; its spread is 0.04 to 0.08.
_BOX_OF_LANDMARKS = np.array([-0.47, -0.78, 0.47, 0.47])
_WIDER = {part: (f"wider_face_split/wider_face_{part}_bbx_gt.txt", f"WIDER_{part}/images") for part in ("train", "val")}


@dataclass(frozen=True, eq=False)
class Piece:
    """A picture, and what is known of its faces.

    Attributes
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    faces : tuple of ndarray (k, 2) float64
        Points of each face, px, that turn with the picture: two opposite corners of its box, or its landmarks.
    exact : bool
        Whether the faces are boxes that were drawn as a detector should draw them, not made from landmarks.
    ignored : ndarray (n,) bool
        Faces that may be found or not.
    complete : bool
        Whether there are no faces but these.
    """

    image: Image
    faces: tuple[Floats, ...]
    exact: bool
    ignored: Flags
    complete: bool

    @property
    def may_turn(self) -> bool:
        """Whether the boxes are known when the picture is turned: a box would only grow."""
        return not self.exact or not self.faces


class Source(Protocol):
    """Pictures by number."""

    def __len__(self) -> int:
        """Count them."""

    def __getitem__(self, index: int) -> Piece:
        """Read one; a ValueError names a file that cannot be read."""


def box_of_landmarks(landmarks: ArrayLike) -> Floats:
    """The box (4,) that a detector gives of a face with these 68 landmarks (68, 2), px.

    It is upright however the head is rolled, as the crop rule is that cuts the face out by it.
    """
    points = checked("landmarks", landmarks, (None, 2), np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    return np.asarray(np.tile((low + high) / 2, 2) + (high - low).max() * _BOX_OF_LANDMARKS)


@dataclass(frozen=True)
class Boxed:
    """Photos with the boxes of all their faces.

    Parameters
    ----------
    photos : sequence of Boxes
        See `tddfa.datasets.boxes`.
    """

    photos: Sequence[Boxes]

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> Piece:
        photo = self.photos[index]
        faces = tuple(box.reshape(2, 2) for box in photo.xyxy)
        return Piece(image_io.read(photo.path), faces, True, photo.ignored, True)


@dataclass(frozen=True)
class Landmarked:
    """Photos with the landmarks of one face, as ``.pts`` beside them. There may be more faces."""

    photos: Sequence[Path]

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> Piece:
        photo = self.photos[index]
        points = read_pts(photo.with_suffix(".pts"))
        return Piece(image_io.read(photo), (points,), False, np.zeros(1, dtype=np.bool_), False)


@dataclass(frozen=True)
class Unlabelled:
    """Photos of which nothing is known, for a teacher; or, if `empty`, of which none shows a face."""

    photos: Sequence[Path]
    empty: bool = False

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> Piece:
        return Piece(image_io.read(self.photos[index]), (), False, np.zeros(0, dtype=np.bool_), self.empty)


class Labelled:
    """Labelled crops (`tddfa.train.data.shards`): faces, and windows without one.

    Parameters
    ----------
    crops : Crops
        Rows of which neither coefficients nor landmarks are known are left out.
    model : FaceModel
        Whose coefficients the labels are.
    """

    def __init__(self, crops: Crops, model: FaceModel) -> None:
        labels = crops.labels
        points = np.empty((len(labels), 68, 2))
        for first in range(0, len(labels), 1024):
            part = slice(first, first + 1024)
            camera = labels.camera[part].astype(np.float64)
            solid = model.landmarks(labels.shape[part], labels.expression[part])
            points[part] = solid @ camera[:, :2, :3].transpose(0, 2, 1) + camera[:, None, :2, 3]
        true = np.isfinite(labels.landmarks).all(axis=(1, 2))
        points[true] = labels.landmarks[true]
        known = ~labels.face | true | labels.has_params
        self._crops, self._points, self._face = crops.take(known), points[known], labels.face[known]
        self.yaw = self._crops.yaw()

    def __len__(self) -> int:
        return len(self._crops)

    def __getitem__(self, index: int) -> Piece:
        face = bool(self._face[index])
        faces = (self._points[index],) if face else ()
        # beside the face that a crop is about there may be others
        return Piece(self._crops.image(index), faces, False, np.zeros(len(faces), dtype=np.bool_), not face)


def photos_of(folder: str | os.PathLike[str]) -> list[Path]:
    """The pictures of a folder, and of those in it, by path.

    Raises
    ------
    FileNotFoundError
        If there are none.
    """
    found = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise FileNotFoundError(f"{folder}: expected pictures ({', '.join(SUFFIXES)}), got none")
    return found


def boxed(folder: str | os.PathLike[str], part: str = "train") -> list[Boxes]:
    """Photos with boxes, of whichever layout a folder has.

    ``*.txt`` (``x1 y1 x2 y2`` a line) or VOC's ``*.xml`` beside the photos; PASCAL VOC's ``Annotations`` and
    ``JPEGImages``; WIDER FACE's ``wider_face_split`` and ``WIDER_train``.

    Parameters
    ----------
    folder : path
        Where they are.
    part : str
        Of WIDER FACE: ``train`` or ``val``.

    Raises
    ------
    FileNotFoundError
        If none of the layouts is there.
    ValueError
        If a file of boxes is none.
    """
    folder = Path(folder)
    label, pictures = (folder / name for name in _WIDER[part])
    found = labelled_boxes.beside(folder) or labelled_boxes.voc(folder)
    if not found and label.is_file():
        found = [each for each in labelled_boxes.read_wider(label, pictures) if each.path.is_file()]
    if found:
        return found
    raise FileNotFoundError(
        f"{folder}: expected photos with boxes: .txt or .xml beside them, PASCAL VOC's Annotations and JPEGImages, or "
        f"WIDER FACE's {_WIDER[part][0]} and {_WIDER[part][1]}; got none of them"
    )


KINDS = ("boxes", "landmarks", "crops", "unlabelled", "empty")
"""What a folder may hold; see `tddfa.train.detector.settings.Folders`."""


def source(
    folder: Path, kind: str, first: float, last: float, model: FaceModel | None, validation: bool = False
) -> Source:
    """Open a folder.

    Parameters
    ----------
    folder : Path
        Where it is.
    kind : str
        One of `KINDS`.
    first, last : float
        Which part of its pictures, by name; of crops, by number.
    model : FaceModel or None
        Of which the coefficients of crops are.
    validation : bool
        Of crops: those kept aside for validation, or the others.

    Raises
    ------
    FileNotFoundError, ValueError
        If nothing of that kind is there, or if it is damaged.
    """
    opened: Source
    if kind == "boxes":
        photos = boxed(folder)
        opened = Boxed(photos[int(first * len(photos)) : int(last * len(photos))])
    elif kind == "crops":
        if model is None:
            raise ValueError(f"{folder}: crops need a face_model, whose coefficients they have")
        crops = Crops.open([folder]).split(validation)
        rows = np.arange(int(first * len(crops)), int(last * len(crops)))
        opened = Labelled(crops.take(rows), model)
    else:
        paths = photos_of(folder)
        if kind == "landmarks":
            paths = [path for path in paths if path.with_suffix(".pts").is_file()]
        paths = paths[int(first * len(paths)) : int(last * len(paths))]
        opened = Landmarked(paths) if kind == "landmarks" else Unlabelled(paths, empty=kind == "empty")
    if not len(opened):
        part = f" from {first:g} to {last:g}" if (first, last) != (0, 1) else ""
        raise FileNotFoundError(f"{folder}: expected pictures of kind {kind!r}{part}, got none")
    return opened
