"""Settings of the detector's training: data, loss, layout of scenes, augmentation and schedule."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tddfa._shared.errors import ConfigError
from tddfa.train.data.augment import Augment
from tddfa.train.detector.data import KINDS
from tddfa.train.detector.networks import Architecture
from tddfa.train.detector.scenes import Layout
from tddfa.train.engine.settings import Schedule


def _augment() -> Augment:
    """Augmentation of scenes: weaker than that of crops, so that small faces stay visible."""
    return Augment(grayscale=0.12, lighting=0.15, occlusion=0.0, blur=0.06, low_resolution=0.03, noise=0.0, jpeg=0.25)


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images, or a part of one.

    Attributes
    ----------
    folder : Path
        The folder.
    weight : float
        How often an image of this folder is drawn, relative to the other folders.
    first, last : float
        Part of the folder that is used, 0..1: from fraction `first` to fraction `last` of its images in order of name.
    predictions : Path or None
        Faces that a teacher found in these images, written by ``tddfa train predictions``.
    """

    folder: Path
    weight: float = 1.0
    first: float = 0.0
    last: float = 1.0
    predictions: Path | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0 < self.weight < float("inf"):
            raise ConfigError(f"weight: expected a number over 0, got {self.weight}")
        if not 0 <= self.first < self.last <= 1:
            raise ConfigError(f"first, last: expected 0 <= first < last <= 1, got {self.first} and {self.last}")


@dataclass(frozen=True)
class Folders:
    """Folders by the kind of their labels (`tddfa.train.detector.data.KINDS`).

    Attributes
    ----------
    boxes : tuple of ImageFolder
        Images with the boxes of all their faces, in any layout of `tddfa.train.detector.data.boxed_images`.
    landmarks : tuple of ImageFolder
        Images with ``.pts`` files beside them.
    crops : tuple of ImageFolder
        Labelled crops (`tddfa.train.data.shards`).
    unlabelled : tuple of ImageFolder
        Images that only a teacher labels, with `predictions`.
    empty : tuple of ImageFolder
        Images without faces.
    """

    boxes: tuple[ImageFolder, ...] = ()
    landmarks: tuple[ImageFolder, ...] = ()
    crops: tuple[ImageFolder, ...] = ()
    unlabelled: tuple[ImageFolder, ...] = ()
    empty: tuple[ImageFolder, ...] = ()

    def parts(self) -> list[tuple[str, ImageFolder]]:
        """Each folder with its kind."""
        return [(kind, part) for kind in KINDS for part in getattr(self, kind)]


@dataclass(frozen=True)
class DetectorSettings:
    """Settings of the detector's training.

    Attributes
    ----------
    data : Folders
        Images to train on.
    validation : Folders
        Images that select the best network. Of crops, those that are marked for validation.
    validation_scenes : int
        Number of scenes that are made of the validation images, with the layout of the training. In addition, the
        photos of ``boxes`` are measured as they are.
    face_model : Path or None
        Face model of the coefficients of ``crops``.
    init : Path or None
        Weights that the training starts from, in place of `architecture`: an ``.onnx`` file of
        `tddfa.train.detector.export.to_onnx`, whose BatchNorms stay frozen, or a checkpoint (``.pt``) of another
        training.
    architecture : Architecture
        Size of the network. If `init` has no rotations and this has, untrained heads are added.
    added_blocks : tuple of int
        Residual blocks that are added to each map of `init`; the outputs stay the same at first. Empty adds none.
    narrow_to : tuple of int
        Channels of each map to which `init` is narrowed (`tddfa.train.detector.narrowing`). Empty leaves them.
    teacher : Path or None
        A trained detector (``.onnx``), whose predictions for the same images are learned besides the labels.
    teacher_weight : float
        Weight of the distance from the teacher, relative to the loss of the labels.
    box_weight, points_weight, rotations_weight : float
        Weight of the loss of boxes, of the five points, and of the rotations where the network predicts them, relative
        to that of the scores.
    workers : int
        Processes that make batches; 0 makes them in the training process.
    threads : int
        Threads of torch.
    layout : Layout
    augment : Augment
        `noise` and `occlusion` are for crops and must be 0.
    schedule : Schedule
    """

    data: Folders
    validation: Folders
    validation_scenes: int = 200
    face_model: Path | None = None
    init: Path | None = None
    architecture: Architecture = field(default_factory=Architecture)
    added_blocks: tuple[int, ...] = ()
    narrow_to: tuple[int, ...] = ()
    teacher: Path | None = None
    teacher_weight: float = 1.0
    box_weight: float = 2.0
    points_weight: float = 0.3
    rotations_weight: float = 0.5
    workers: int = 1
    threads: int = 1
    layout: Layout = field(default_factory=Layout)
    augment: Augment = field(default_factory=_augment)
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not self.data.parts() or not self.validation.parts():
            raise ConfigError("data, validation: expected at least one folder for each")
        for name, minimum in (("workers", 0), ("threads", 1), ("validation_scenes", 0)):
            if getattr(self, name) < minimum:
                raise ConfigError(f"{name}: expected {minimum} or more, got {getattr(self, name)}")
        if self.narrow_to and self.init is None:
            raise ConfigError("narrow_to: expected init, the trained network to narrow, got none")
        for name in ("box_weight", "points_weight", "rotations_weight", "teacher_weight"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name}: expected a number over 0, got {getattr(self, name)}")
        for name in ("noise", "occlusion"):
            if getattr(self.augment, name):
                got = getattr(self.augment, name)
                raise ConfigError(f"augment.{name}: expected 0, because it is for crops only, got {got}")
