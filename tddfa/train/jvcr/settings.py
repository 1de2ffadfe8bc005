"""Settings of JVCR's training: data, network, stages and schedule."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from tddfa._shared.errors import ConfigError
from tddfa.train.data.augment import Augment
from tddfa.train.engine.settings import Folder, Schedule

STAGES = ("volumes", "coordinates", "joint")
"""The stages of a training, in order: volumes from crops, points from ground-truth volumes, and both together."""

# Side of the crop over the side of the volumes; and the side of a volume after the convolutions with stride 2.
STRIDE, LAST_SIDE = 4, 4


@dataclass(frozen=True)
class NetworkSettings:
    """Shape of the network (`tddfa.train.jvcr.networks`). The defaults are the published configuration.

    Attributes
    ----------
    size : int
        Side of the crop, px: a power of 2. The volumes have a fourth of it.
    depths : tuple of int
        Number of slices of the volume of each stack; the last is the side of the volumes.
    features : int
        Width of the stacks: half their channels with ``bottleneck`` blocks, their channels with ``separable`` ones.
    blocks : int
        Blocks at each place of a stack.
    block : {"bottleneck", "separable"}
        Pre-activated residual blocks of 1 x 1, 3 x 3 and 1 x 1 convolutions, or depthwise separable convolutions.
    encoder : {"hourglass", "mobilenet"}
        The first stack: an hourglass as the others, or a decoder on the MobileNet of a regressor, which can start from
        a released one (`JvcrSettings.init`).
    width : float
        Width multiplier of that MobileNet.
    coordinate_features : tuple of int
        Channels of the 3D convolutions; each but the last halves the side, down to 4.
    """

    size: int = 256
    depths: tuple[int, ...] = (1, 2, 4, 64)
    features: int = 128
    blocks: int = 1
    block: Literal["bottleneck", "separable"] = "bottleneck"
    encoder: Literal["hourglass", "mobilenet"] = "hourglass"
    width: float = 0.5
    coordinate_features: tuple[int, ...] = (64, 128, 256, 512, 256)

    def __post_init__(self) -> None:
        """Check the numbers against each other."""
        object.__setattr__(self, "depths", tuple(self.depths))
        object.__setattr__(self, "coordinate_features", tuple(self.coordinate_features))
        if self.size < STRIDE * LAST_SIDE * 2 or self.size & (self.size - 1):
            raise ConfigError(f"size: expected a power of 2 from {STRIDE * LAST_SIDE * 2} px on, got {self.size}")
        if not self.depths or min(self.depths) < 1 or self.depths[-1] != self.side:
            raise ConfigError(f"depths: expected the last to be {self.side}, a fourth of size, got {self.depths}")
        for name, minimum in (("features", 2), ("blocks", 1)):
            if getattr(self, name) < minimum:
                raise ConfigError(f"{name}: expected {minimum} or more, got {getattr(self, name)}")
        count = (self.side // LAST_SIDE).bit_length()
        if len(self.coordinate_features) != count or min(self.coordinate_features) < 1:
            raise ConfigError(
                f"coordinate_features: expected {count} numbers for volumes of {self.side} voxels, "
                f"got {self.coordinate_features}"
            )
        if not 0.05 <= self.width <= 4:
            raise ConfigError(f"width: expected 0.05..4, got {self.width}")

    @property
    def side(self) -> int:
        """Side of the volumes, voxels."""
        return self.size // STRIDE


@dataclass(frozen=True)
class JvcrLosses:
    """Losses of the joint stage: the loss of the points, and the weight of the losses of the volumes.

    Attributes
    ----------
    coordinates : {"mse", "l1"}
        Squared or absolute error of the coordinates, as fractions of the crop.
    volumes : float
        Weight of the sum of the volumes' losses, mean squared errors of their voxels.
    foreground : float
        A voxel's error has weight 1 plus this times its ground truth. 0 is the published loss.
    eyes, mouth : float
        Weight of these landmarks within the loss of the points; others have weight 1.
    """

    coordinates: Literal["mse", "l1"] = "mse"
    volumes: float = 0.1
    foreground: float = 0.0
    eyes: float = 1.0
    mouth: float = 1.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if not isinstance(value, str) and not 0 <= value < float("inf"):
                raise ConfigError(f"{item.name}: expected a number from 0 on, got {value}")


@dataclass(frozen=True)
class StageSettings:
    """A stage: its part of the schedule, and what differs from it.

    Attributes
    ----------
    fraction : float
        Fraction of the schedule's steps and minutes.
    learning_rate : float or None
        None is the schedule's.
    batch_size : int or None
        None is the schedule's.
    """

    fraction: float
    learning_rate: float | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0 < self.fraction <= 1:
            raise ConfigError(f"fraction: expected a number over 0, at most 1, got {self.fraction}")


@dataclass(frozen=True)
class Stages:
    """The stages. The defaults are the published ones: of 60 epochs, 15 + 15 are separate and 30 are joint."""

    volumes: StageSettings = StageSettings(0.25)
    coordinates: StageSettings = StageSettings(0.25)
    joint: StageSettings = StageSettings(0.5)


@dataclass(frozen=True)
class JvcrSettings:
    """Settings of JVCR's training.

    Attributes
    ----------
    data : tuple of Folder
        Labelled crops (`tddfa.train.data.shards`); those marked for validation are used for that alone. Crops without
        depth count in x and y.
    face_model : Path
        Face model of the labels' coefficients.
    name, licence : str
        Name and licence in the metadata of the exported file.
    network : NetworkSettings
    init : Path or None
        ``.onnx`` file of a regressor whose MobileNet the first stack starts from, for the encoder ``mobilenet``. It is
        kept as it is in the stage of the volumes.
    yaw_balance : float
        0 draws crops by the weights of their folders, 1 draws all yaw angles equally often.
    max_turn : float
        Maximum angle, degrees, by which the faces of the coordinate stage are turned, besides the augmentation.
    workers : int
        Processes that make batches; 0 makes them in the training process.
    threads : int
        Threads of torch.
    half : bool
        Train in bfloat16 where that is exact enough (autocast), also on a CPU; one with AVX-512 BF16 is a third faster.
    losses : JvcrLosses
    augment : Augment
    stages : Stages
    stage : {"all", "volumes", "coordinates", "joint"}
        Train all stages one after the other, or one of them: it starts from the best networks of those before it.
    schedule : Schedule
        Of all stages together.
    """

    data: tuple[Folder, ...]
    face_model: Path
    name: str = "jvcr"
    licence: str = ""
    network: NetworkSettings = field(default_factory=NetworkSettings)
    init: Path | None = None
    yaw_balance: float = 0.3
    max_turn: float = 40.0
    workers: int = 1
    threads: int = 1
    half: bool = False
    losses: JvcrLosses = field(default_factory=JvcrLosses)
    augment: Augment = field(default_factory=Augment)
    stages: Stages = field(default_factory=Stages)
    stage: Literal["all", "volumes", "coordinates", "joint"] = "all"
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, minimum in (("workers", 0), ("threads", 1)):
            if getattr(self, name) < minimum:
                raise ConfigError(f"{name}: expected {minimum} or more, got {getattr(self, name)}")
        if not 0 <= self.yaw_balance <= 1:
            raise ConfigError(f"yaw_balance: expected 0..1, got {self.yaw_balance}")
        if not 0 <= self.max_turn <= 180:
            raise ConfigError(f"max_turn: expected 0..180 degrees, got {self.max_turn}")
        if self.init is not None and self.network.encoder != "mobilenet":
            raise ConfigError(f"init: expected none with the encoder {self.network.encoder}, got {self.init}")

    def schedule_of(self, stage: str) -> Schedule:
        """Return the schedule of a stage."""
        own: StageSettings = getattr(self.stages, stage)
        schedule = self.schedule
        minutes = None if schedule.minutes is None else own.fraction * schedule.minutes
        return replace(
            schedule,
            steps=max(1, round(own.fraction * schedule.steps)),
            minutes=minutes,
            learning_rate=schedule.learning_rate if own.learning_rate is None else own.learning_rate,
            batch_size=schedule.batch_size if own.batch_size is None else own.batch_size,
        )
