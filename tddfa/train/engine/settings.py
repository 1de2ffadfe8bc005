"""Settings that all trainings share, as they stand in a training's yml file (`tddfa._shared.settings`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tddfa._shared.errors import ConfigError


@dataclass(frozen=True)
class Folder:
    """Folder of labelled crops (`tddfa.train.data.shards`).

    Attributes
    ----------
    folder : Path
        The folder.
    weight : float
        How often its crops are drawn, relative to those of a folder of weight 1.
    """

    folder: Path
    weight: float = 1.0


@dataclass(frozen=True)
class Schedule:
    """Length of a training, learning rate and moving average, for any network (`tddfa.train.engine.loop`).

    Attributes
    ----------
    steps : int
        Steps of the optimiser.
    minutes : float or None
        The training also ends after this many minutes of work. The learning rate then follows whichever limit is
        closer. The result depends on the speed of the machine; with `steps` alone it is reproducible.
    batch_size : int
        Samples per step.
    learning_rate : float
        Highest learning rate.
    warmup_fraction : float
        Fraction of the training in which the learning rate rises linearly from 0. A fraction, because the number of
        steps is not known in advance if `minutes` ends the training.
    final_lr_ratio : float
        Learning rate at the end, as a fraction of the highest; the rate falls along a half cosine.
    weight_decay : float
        Decay of the weights (AdamW). Biases and BatchNorm do not decay.
    max_grad_norm : float
        Gradients are scaled down to this norm.
    ema_decay : float
        Decay of the exponential moving average of the weights, which is validated and exported.
    validate_every : int
        Steps between validations.
    save_every_minutes : float
        Minutes between checkpoints; the last one is written at the end.
    log_every : int
        Steps between lines of the log.
    seed : int
        Seed of all random numbers.
    """

    RENAMED: ClassVar[dict[str, str]] = {
        "batch": "batch_size",
        "warm_up": "warmup_fraction",
        "last_rate": "final_lr_ratio",
        "clip": "max_grad_norm",
        "average": "ema_decay",
    }

    steps: int = 20000
    minutes: float | None = None
    batch_size: int = 64
    learning_rate: float = 1.1e-3
    warmup_fraction: float = 0.03
    final_lr_ratio: float = 0.01
    weight_decay: float = 0.02
    max_grad_norm: float = 5.0
    ema_decay: float = 0.999
    validate_every: int = 1000
    save_every_minutes: float = 5.0
    log_every: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("steps", "batch_size", "validate_every", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected 1 or more, got {getattr(self, name)}")
        for name in ("learning_rate", "max_grad_norm", "save_every_minutes"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name}: expected a number over 0, got {getattr(self, name)}")
        for name in ("warmup_fraction", "final_lr_ratio", "weight_decay", "ema_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}: expected 0..1, got {getattr(self, name)}")
        if self.minutes is not None and not 0 < self.minutes < float("inf"):
            raise ConfigError(f"minutes: expected a number over 0, got {self.minutes}")
        if not 0 <= self.seed < 2**31:
            raise ConfigError(f"seed: expected 0..2^31 - 1, got {self.seed}")
