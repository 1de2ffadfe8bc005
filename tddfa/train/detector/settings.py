"""Settings of the detector's training: data, loss, layout of scenes, augmentation and schedule."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tddfa._shared.errors import ConfigError
from tddfa.train.data.augment import Augment
from tddfa.train.detector.data import KINDS
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
    """

    folder: Path
    weight: float = 1.0
    first: float = 0.0
    last: float = 1.0

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
        Images that only a teacher labels.
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
        Images that select the best network; not ``unlabelled``. Of crops, those that are marked for validation.
    face_model : Path or None
        Face model of the coefficients of ``crops``.
    init : Path or None
        ``.onnx`` file whose weights the training starts from.
    teacher : Path or None
        ``.onnx`` file of a detector whose soft scores are learnt.
    negative_ratio : float
        Negative prior boxes per positive one in the score loss (`tddfa.train.detector.losses`).
    box_weight : float
        Weight of the box loss relative to the score loss.
    feature_maps : tuple of int
        Feature maps whose prior boxes count and whose layers are trained
        (`tddfa.train.detector.networks.train_only`): 0 has the priors of 32 to 128 px, 1 of 256 px, 2 of 512 px.
    init_fraction : float
        Fraction of the weights of `init` in the exported weights (`tddfa.train.detector.networks.blended`).
    logit_shifts : tuple of float
        Added to the score logits of each feature map at export; choose them on validation images.
    workers : int
        Processes that make batches; 0 makes them in the training process.
    threads : int
        Threads of torch.
    layout : Layout
    augment : Augment
        `noise` and `occlusion` are for crops and must be 0.
    schedule : Schedule
    """

    RENAMED: ClassVar[dict[str, str]] = {
        "ratio": "negative_ratio",
        "place": "box_weight",
        "maps": "feature_maps",
        "init_share": "init_fraction",
        "logits": "logit_shifts",
    }

    data: Folders
    validation: Folders
    face_model: Path | None = None
    init: Path | None = None
    teacher: Path | None = None
    negative_ratio: float = 7.0
    box_weight: float = 2.0
    feature_maps: tuple[int, ...] = (0, 1, 2)
    init_fraction: float = 0.0
    logit_shifts: tuple[float, float, float] = (0.0, 0.0, 0.0)
    workers: int = 1
    threads: int = 1
    layout: Layout = field(default_factory=Layout)
    augment: Augment = field(default_factory=_augment)
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not self.data.parts() or not self.validation.parts():
            raise ConfigError("data, validation: expected one folder at least for each")
        if self.validation.unlabelled:
            raise ConfigError("validation: expected labelled images, got unlabelled ones")
        if not self.feature_maps or not set(self.feature_maps) <= {0, 1, 2}:
            raise ConfigError(f"feature_maps: expected some of 0, 1, 2, got {list(self.feature_maps)}")
        if not 0 <= self.init_fraction <= 1 or (self.init_fraction and self.init is None):
            raise ConfigError(f"init_fraction: expected 0..1, and init where it is over 0, got {self.init_fraction}")
        for name, minimum in (("workers", 0), ("threads", 1)):
            if getattr(self, name) < minimum:
                raise ConfigError(f"{name}: expected {minimum} or more, got {getattr(self, name)}")
        for name in ("negative_ratio", "box_weight"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name}: expected a number over 0, got {getattr(self, name)}")
        for name in ("noise", "occlusion"):
            if getattr(self.augment, name):
                raise ConfigError(f"augment.{name}: expected 0, it is for crops; got {getattr(self.augment, name)}")
