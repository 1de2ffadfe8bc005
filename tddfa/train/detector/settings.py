"""What the yml of a detector's training may say (`tddfa._shared.settings.load_settings`)."""

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
    """Changes of pixels for scenes: less of what would hide small faces altogether."""
    return Augment(grayscale=0.12, lighting=0.15, occlusion=0.0, blur=0.06, low_resolution=0.03, noise=0.0, jpeg=0.25)


@dataclass(frozen=True)
class ImageFolder:
    """A folder, or a part of one.

    Attributes
    ----------
    folder : Path
        Where it is.
    weight : float
        How often its pictures are drawn, all together, next to the other folders'.
    first, last : float
        Which part of the folder, by name: from this share of it to that.
    """

    folder: Path
    weight: float = 1.0
    first: float = 0.0
    last: float = 1.0

    def __post_init__(self) -> None:
        """Check them."""
        if not 0 < self.weight < float("inf"):
            raise ConfigError(f"weight: expected a number over 0, got {self.weight}")
        if not 0 <= self.first < self.last <= 1:
            raise ConfigError(f"first, last: expected 0 <= first < last <= 1, got {self.first} and {self.last}")


@dataclass(frozen=True)
class Folders:
    """Folders by what they hold: `tddfa.train.detector.data.KINDS`.

    Attributes
    ----------
    boxes : tuple of ImageFolder
        Photos with the boxes of all their faces, in any layout of `tddfa.train.detector.data.boxed`.
    landmarks : tuple of ImageFolder
        Photos with ``.pts`` beside them.
    crops : tuple of ImageFolder
        Labelled crops (`tddfa.train.data.shards`).
    unlabelled : tuple of ImageFolder
        Photos for a teacher.
    empty : tuple of ImageFolder
        Photos without faces.
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
    """How a detector is trained.

    Attributes
    ----------
    data : Folders
        To train on.
    validation : Folders
        To choose the best by; not ``unlabelled``. Of crops, those that are marked for it.
    face_model : Path or None
        Of which the coefficients of ``crops`` are.
    init : Path or None
        A ``.onnx`` to go on from.
    teacher : Path or None
        A ``.onnx`` whose soft scores are learnt.
    negative_ratio : float
        Prior boxes without a face for each with one (`tddfa.train.detector.losses`).
    box_weight : float
        Weight of the offsets' loss, next to the scores'.
    feature_maps : tuple of int
        Maps whose prior boxes count, and whose layers are trained (`tddfa.train.detector.networks.train_only`): 0 has those of
        32 to 128 px, 1 of 256, 2 of 512.
    init_fraction : float
        Share of the weights of `init` in those that are exported (`tddfa.train.detector.networks.blended`).
    logit_shifts : tuple of float
        What is added to the logits of the scores of each map in the export; to be chosen on pictures of validation.
    workers : int
        Processes that make batches; 0 makes them between the steps.
    threads : int
        Of torch.
    layout : Layout
    augment : Augment
        Noise and occluders are for crops: 0 here.
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
            raise ConfigError("validation: expected pictures of which something is known, got unlabelled ones")
        if not self.feature_maps or not set(self.feature_maps) <= {0, 1, 2}:
            raise ConfigError(f"feature_maps: expected some of 0, 1, 2, got {list(self.feature_maps)}")
        if not 0 <= self.init_fraction <= 1 or (self.init_fraction and self.init is None):
            raise ConfigError(f"init_fraction: expected 0..1, and init where it is over 0, got {self.init_fraction}")
        for name, least in (("workers", 0), ("threads", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}: expected {least} or more, got {getattr(self, name)}")
        for name in ("negative_ratio", "box_weight"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name}: expected a number over 0, got {getattr(self, name)}")
        for name in ("noise", "occlusion"):
            if getattr(self.augment, name):
                raise ConfigError(f"augment.{name}: expected 0, it is for crops; got {getattr(self.augment, name)}")
