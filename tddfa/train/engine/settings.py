"""A training's yml file to frozen dataclasses: every key is known and checked, paths are relative to the file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from tddfa._shared.errors import ConfigError
from tddfa.train.data.augment import Augment


@dataclass(frozen=True)
class Folder:
    """Crops to train on (`tddfa.train.data.shards`), and how often each is drawn next to one of weight 1."""

    folder: Path
    weight: float = 1.0


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a training goes; of any network (`tddfa.train.engine.loop`).

    Attributes
    ----------
    steps : int
        Steps of the optimiser.
    minutes : float or None
        The training also ends after so many minutes of work, and the learning rate falls by whichever is nearer to
        its end. What comes out then depends on the machine's speed; steps alone give the same every time.
    batch : int
        Crops a step.
    learning_rate : float
        The highest; it falls to `last_rate` of it along a half cosine.
    warm_up : float
        Share of the training in which the rate rises from 0.
    last_rate : float
        Share of the highest rate at the end.
    weight_decay : float
        Of weights; offsets and BatchNorm have none.
    clip : float
        Longest gradient.
    average : float
        Decay of the moving average of the weights (EMA), which is what is validated and exported.
    validate_every : int
        Steps.
    save_every_minutes : float
        How often a checkpoint is written, besides at the end.
    log_every : int
        Steps.
    seed : int
        Of all chance.
    """

    steps: int = 20000
    minutes: float | None = None
    batch: int = 64
    learning_rate: float = 1.1e-3
    warm_up: float = 0.03
    last_rate: float = 0.01
    weight_decay: float = 0.02
    clip: float = 5.0
    average: float = 0.999
    validate_every: int = 1000
    save_every_minutes: float = 5.0
    log_every: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("steps", "batch", "validate_every", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected 1 or more, got {getattr(self, name)}")
        for name in ("learning_rate", "clip", "save_every_minutes"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name}: expected a number over 0, got {getattr(self, name)}")
        for name in ("warm_up", "last_rate", "weight_decay", "average"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}: expected 0..1, got {getattr(self, name)}")
        if self.minutes is not None and not 0 < self.minutes < float("inf"):
            raise ConfigError(f"minutes: expected a number over 0, got {self.minutes}")
        if not 0 <= self.seed < 2**31:
            raise ConfigError(f"seed: expected 0..2^31 - 1, got {self.seed}")


@dataclass(frozen=True)
class LossWeights:
    """How much each term counts (`tddfa.train.regressor.losses`); 0 leaves it out.

    Attributes
    ----------
    surface, depth : float
        Surface points, px, and how much z counts in them.
    landmarks : float
        The 68 points, px, of which those of the parts count `jaw`, `brows`, `nose`, `eyes`, `mouth`. The jaw of rows
        that have true landmarks but no parameters does not count: annotators put it on the outline that is seen.
    lids, lips : float
        Differences of upper and lower lid, and lip, px.
    camera, shape, expression : float
        Whitened coefficients.
    score : float
        Face score.
    wpdc, vdc : float
        The two losses of Zhu et al., 2016.
    """

    surface: float = 1.0
    depth: float = 0.5
    landmarks: float = 2.0
    jaw: float = 1.5
    brows: float = 4.0
    nose: float = 4.0
    eyes: float = 7.0
    mouth: float = 5.0
    lids: float = 1.0
    lips: float = 0.5
    camera: float = 1.0
    shape: float = 0.5
    expression: float = 1.0
    score: float = 2.0
    wpdc: float = 0.0
    vdc: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for item in dataclasses.fields(self):
            if not 0 <= getattr(self, item.name) < float("inf"):
                raise ConfigError(f"{item.name}: expected a number from 0 on, got {getattr(self, item.name)}")


@dataclass(frozen=True)
class MetaJoint:
    """Meta-joint optimisation (`tddfa.train.engine.meta_joint`): WPDC and VDC are each tried for `steps` steps ahead.

    0 leaves it out. The other terms of `LossWeights` go with both.
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
    """How a regressor is trained.

    Attributes
    ----------
    data : tuple of Folder
        Crops; those marked for validation are validated on.
    face_model : Path
        Of which the labels' coefficients are.
    name, licence : str
        What the exported file's metadata says it is, and who may use it.
    width : float
        Of MobileNet V1; None is that of `init`, or 0.5. An `init` that is narrower is made so wide
        (`tddfa.train.regressor.widening`), a wider one stays.
    init : Path or None
        A released ``.onnx`` to go on from.
    balance : float
        See `tddfa.train.data.batches.Crops.weights`.
    workers : int
        Processes that make batches; 0 makes them between the steps.
    threads : int
        Of torch.
    vertices : int
        Surface points that are compared, besides the landmarks.
    loss : LossWeights
    augment : Augment
    meta_joint : MetaJoint
    schedule : Schedule
    """

    data: tuple[Folder, ...]
    face_model: Path
    name: str = "regressor"
    licence: str = ""
    width: float | None = None
    init: Path | None = None
    balance: float = 0.3
    workers: int = 1
    threads: int = 1
    vertices: int = 402
    loss: LossWeights = field(default_factory=LossWeights)
    augment: Augment = field(default_factory=Augment)
    meta_joint: MetaJoint = field(default_factory=MetaJoint)
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, least in (("workers", 0), ("threads", 1), ("vertices", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}: expected {least} or more, got {getattr(self, name)}")
        if not 0 <= self.balance <= 1:
            raise ConfigError(f"balance: expected 0..1, got {self.balance}")
