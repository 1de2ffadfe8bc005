"""Settings of multiview-consistent fine-tuning: those of the regressor's training, and the views."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tddfa._shared.errors import ConfigError
from tddfa.geometry.triangulation import SOURCES
from tddfa.train.jvcr.settings import JvcrSettings
from tddfa.train.regressor.settings import RegressorSettings


@dataclass(frozen=True)
class ViewSettings:
    """Views to train on, and their weight.

    Attributes
    ----------
    folder : Path or None
        Stored views (`tddfa.datasets.views.LAYOUT`). None renders heads with the textures of the labelled crops.
    heads : int
        Number of heads rendered for training.
    validation_heads : int
        Number of heads for validation: rendered with the textures of the validation crops, or the last of the stored
        heads.
    views_per_head : int
        Views of each head that are rendered, or taken from the stored ones.
    views_per_step : int
        Views of one head in each step.
    source_views : int
        How many of those views the landmarks are triangulated from.
    weight : float
        Weight of the three multiview terms, which are in px of the crop like the regressor's own terms. The paper uses
        0.2 in its script and 0.05 for its published weights, next to WPDC alone and for terms in fractions of the view
        (1 is 168 px of the crop). The terms of JVCR are in fractions of the crop.
    jaw_weight : float
        Weight of the jaw where predicted landmarks are compared with labels.
    """

    RENAMED: ClassVar[dict[str, str]] = {
        "kept": "views_per_head",
        "count": "views_per_step",
        "sources": "source_views",
        "jaw": "jaw_weight",
    }

    folder: Path | None = None
    heads: int = 200
    validation_heads: int = 8
    views_per_head: int = 48
    views_per_step: int = 32
    source_views: int = SOURCES
    weight: float = 0.2
    jaw_weight: float = 1.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, minimum in (
            ("heads", 1),
            ("validation_heads", 1),
            ("source_views", 2),
            ("views_per_step", self.source_views + 1),
            ("views_per_head", max(self.views_per_step, SOURCES + 1)),
        ):
            if getattr(self, name) < minimum:
                raise ConfigError(f"{name}: expected {minimum} or more, got {getattr(self, name)}")
        for name in ("weight", "jaw_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name}: expected a number from 0 on, got {getattr(self, name)}")


@dataclass(frozen=True)
class MultiviewSettings:
    """Settings of multiview-consistent fine-tuning: of a regressor, or of a network of JVCR.

    Attributes
    ----------
    regressor : RegressorSettings or None
        Labelled crops, loss and schedule; `init` is the network that is fine-tuned.
    views : ViewSettings
    jvcr : JvcrSettings or None
        As `regressor`, for a network of JVCR; `checkpoint` is the network that is fine-tuned. Its own `network` is not
        used.
    checkpoint : Path or None
        ``best.pt`` of the joint stage of `tddfa train jvcr`.
    """

    regressor: RegressorSettings | None = None
    views: ViewSettings = field(default_factory=ViewSettings)
    jvcr: JvcrSettings | None = None
    checkpoint: Path | None = None

    @property
    def own(self) -> RegressorSettings | JvcrSettings:
        """The settings of the network."""
        own = self.regressor if self.jvcr is None else self.jvcr
        assert own is not None
        return own

    @property
    def exported(self) -> str:
        """Name of the exported network's file."""
        return "regressor.onnx" if self.jvcr is None else "jvcr.onnx"

    def __post_init__(self) -> None:
        """Check what fine-tuning needs."""
        if (self.regressor is None) == (self.jvcr is None):
            got = "neither" if self.jvcr is None else "both"
            raise ConfigError(f"regressor, jvcr: expected one of them, got {got}")
        if (self.checkpoint is None) == (self.jvcr is not None):
            file = self.checkpoint or "none"
            raise ConfigError(f"checkpoint: expected a file for jvcr, and none for a regressor, got {file}")
        if self.regressor is None:
            return
        if self.regressor.init is None:
            raise ConfigError("regressor.init: expected a network to fine-tune (.onnx), got none")
        if self.regressor.meta_joint.steps:
            raise ConfigError("regressor.meta_joint: expected none, because fine-tuning does not support it")
