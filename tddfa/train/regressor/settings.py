"""Settings of the regressor's training: data, loss weights, augmentation and schedule."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tddfa._shared.errors import ConfigError
from tddfa.train.data.augment import CROP_SIZE, Augment
from tddfa.train.engine.settings import Folder, Schedule


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term of the loss (`tddfa.train.regressor.losses`); 0 leaves a term out.

    Attributes
    ----------
    surface : float
        Distance of surface points, px.
    depth : float
        Weight of z within the `surface` term.
    landmarks : float
        Distance of the 68 landmarks, px.
    jaw, brows, nose, eyes, mouth : float
        Weights of the parts of the face within the `landmarks` term. The jaw of crops that have ground-truth landmarks
        but no parameters is left out: annotators mark the visible outline there.
    eyelids, lips : float
        Distance between upper and lower eyelid, and between upper and lower lip, px.
    camera, shape, expression : float
        Whitened coefficients.
    blendshapes : float
        Expression weights, squared: for avatars, whose weights are too small without it. They are about 0.1, so a
        weight of 10 to 100 is of the size of the other terms.
    score : float
        Face score.
    wpdc, vdc : float
        Weighted parameter distance cost and vertex distance cost (Zhu et al., CVPR 2016).
    identity : float
        Agreement of the shape over the photos of a person (`tddfa.train.regressor.face_losses`).
    closure, gaze : float
        Weights of blinks, one-sided, with winks; and the direction of the gaze.
    confidence : float
        Confidence of each landmark; over 0, the network gets an output for it.
    """

    RENAMED: ClassVar[dict[str, str]] = {"lids": "eyelids"}

    surface: float = 1.0
    depth: float = 0.5
    landmarks: float = 2.0
    jaw: float = 1.5
    brows: float = 4.0
    nose: float = 4.0
    eyes: float = 7.0
    mouth: float = 5.0
    eyelids: float = 1.0
    lips: float = 0.5
    camera: float = 1.0
    shape: float = 0.5
    expression: float = 1.0
    blendshapes: float = 0.0
    score: float = 2.0
    wpdc: float = 0.0
    vdc: float = 0.0
    identity: float = 0.0
    closure: float = 0.0
    gaze: float = 0.0
    confidence: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for item in dataclasses.fields(self):
            if not 0 <= getattr(self, item.name) < float("inf"):
                raise ConfigError(f"{item.name}: expected a number from 0 on, got {getattr(self, item.name)}")


@dataclass(frozen=True)
class MetaJoint:
    """Meta-joint optimisation of Guo et al., ECCV 2020 (`tddfa.train.engine.meta_joint`).

    The other terms of `LossWeights` are added to both candidates.

    Attributes
    ----------
    steps : int
        Steps that each candidate is tried for; 0 turns meta-joint optimisation off.
    wpdc, vdc : float
        Loss weights of WPDC and of VDC in their candidate.
    """

    steps: int = 0
    wpdc: float = 1.0
    vdc: float = 0.05

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.steps < 0:
            raise ConfigError(f"steps: expected 0 or more, got {self.steps}")


@dataclass(frozen=True)
class RegressorSettings:
    """Settings of the regressor's training.

    Attributes
    ----------
    data : tuple of Folder
        Labelled crops; those marked for validation are used for that alone.
    face_model : Path
        Face model of the labels' coefficients.
    name, licence : str
        Name and licence in the metadata of the exported file.
    width : float or None
        Width multiplier of MobileNet V1. None is that of `init`, or 0.5 without `init`. If `init` is narrower, it is
        widened (`tddfa.train.regressor.widening`); a wider one is kept.
    init : Path or None
        ``.onnx`` file whose weights the training starts from.
    yaw_balance : float
        0 draws crops by the weights of their folders, 1 draws all yaw angles equally often
        (`tddfa.train.data.crops.Crops.weights`).
    workers : int
        Processes that make batches; 0 makes them in the training process.
    threads : int
        Threads of torch.
    vertices : int
        Vertices in the `surface` term, besides the landmarks.
    training_side : int
        Side that training crops are reduced to, px: 120 leaves them. A smaller one is faster, for the first half of a
        training from scratch that is then resumed without it.
    loss_weights : LossWeights
    augment : Augment
    meta_joint : MetaJoint
    schedule : Schedule
    """

    RENAMED: ClassVar[dict[str, str]] = {"balance": "yaw_balance", "loss": "loss_weights"}

    data: tuple[Folder, ...]
    face_model: Path
    name: str = "regressor"
    licence: str = ""
    width: float | None = None
    init: Path | None = None
    yaw_balance: float = 0.3
    workers: int = 1
    threads: int = 1
    vertices: int = 402
    training_side: int = 120
    loss_weights: LossWeights = field(default_factory=LossWeights)
    augment: Augment = field(default_factory=Augment)
    meta_joint: MetaJoint = field(default_factory=MetaJoint)
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, minimum in (("workers", 0), ("threads", 1), ("vertices", 1), ("training_side", 32)):
            if getattr(self, name) < minimum:
                raise ConfigError(f"{name}: expected {minimum} or more, got {getattr(self, name)}")
        if self.training_side > CROP_SIZE:
            raise ConfigError(f"training_side: expected at most {CROP_SIZE}, got {self.training_side}")
        if not 0 <= self.yaw_balance <= 1:
            raise ConfigError(f"yaw_balance: expected 0..1, got {self.yaw_balance}")
