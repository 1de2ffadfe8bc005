"""Settings of the score's training: images, the network that is scored, the limit of a right alignment, schedule."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tddfa._shared.errors import ConfigError
from tddfa.train.data.augment import Augment
from tddfa.train.detector.settings import Folders
from tddfa.train.engine.settings import Schedule


def _augment() -> Augment:
    return Augment(color=0.6, occlusion=0.12, blur=0.12, low_resolution=0.12, noise=0.15, jpeg=0.15)


@dataclass(frozen=True)
class ScoreSettings:
    """Settings of the score's training.

    Attributes
    ----------
    data : Folders
        Images that crops are made of: ``crops`` and ``landmarks`` of faces; ``boxes`` for upright faces whose box alone
        is known, and windows beside them; ``empty`` for windows without a face. The weight of a folder is that of all
        its images together.
    validation : Folders
        Images whose crops select the best score. Of ``crops``, those that are marked for validation.
    init : Path
        ``.onnx`` file of the regressor. Its backbone and its other outputs stay as they are.
    face_model : Path
        Face model of the regressor and of ``crops``.
    detector : Path or None
        ``.onnx`` file of a detector: most crops are then at its boxes (`tddfa.train.score.boxes`).
    samples, validation_samples : int
        Number of samples; every placement of a crop gives several, one for each pass of the regressor.
    max_error : float
        An alignment is right if its error is less (`tddfa.evaluate.metrics.nme_inner`), %.
    max_label_error : float
        Maximum difference between regressor and label on a crop by the crop rule, %. Faces of ``crops`` with a larger
        difference are left out, because their label is wrong as often as the regressor.
    mask_fraction : float
        Fraction of the faces that get a face mask (`tddfa.train.data.face_masks`), 0..1.
    hidden : int
        Width of the score's hidden layer, which is added to a linear score; 0 has none.
    workers : int
        Processes that make samples; 0 makes them in the training process.
    threads : int
        Threads of torch.
    augment : Augment
        Changes of pixels, and the probability of a flip. Placements are those of
        `tddfa.train.score.placement`.
    schedule : Schedule
    """

    data: Folders
    validation: Folders
    init: Path
    face_model: Path
    detector: Path | None = None
    samples: int = 100_000
    validation_samples: int = 20_000
    max_error: float = 12.0
    max_label_error: float = 12.0
    mask_fraction: float = 0.0
    hidden: int = 64
    workers: int = 1
    threads: int = 1
    augment: Augment = field(default_factory=_augment)
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("data", "validation"):
            folders = getattr(self, name)
            if not (folders.crops or folders.landmarks):
                why = "because the score needs right alignments too"
                raise ConfigError(f"{name}: expected crops or landmarks, {why}; got none")
            if folders.unlabelled:
                raise ConfigError(f"{name}.unlabelled: expected none, because an error needs a label")
        for name, minimum in (
            ("samples", 2), ("validation_samples", 2), ("hidden", 0), ("workers", 0), ("threads", 1),
        ):  # fmt: skip
            if getattr(self, name) < minimum:
                raise ConfigError(f"{name}: expected {minimum} or more, got {getattr(self, name)}")
        if not 0 <= self.mask_fraction <= 1:
            raise ConfigError(f"mask_fraction: expected a fraction of 0..1, got {self.mask_fraction}")
        for name in ("max_error", "max_label_error"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name}: expected a number over 0, got {getattr(self, name)}")
