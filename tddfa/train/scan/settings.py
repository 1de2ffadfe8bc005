"""Settings of the scan landmarker's training."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tddfa._shared.errors import ConfigError
from tddfa.train.engine.settings import Schedule


@dataclass(frozen=True)
class ScanTrainingSettings:
    """Settings of a training of stage 1.

    Attributes
    ----------
    data : tuple of Path
        Folders of synthetic scans (`tddfa.train.scan.shards`).
    face_model : Path
        The face model whose mean landmarks define the frame of the head.
    points : int
        Points of a scan.
    sigma : float
        Standard deviation of the heat around a landmark, mm.
    jaw_sigma : float
        The same for the landmarks of the jaw, which are less distinct.
    inner : float
        Fraction of the points that lie near the inner landmarks.
    radius : float
        Radius of the part around the face, mm.
    rotation : float
        Standard deviation of the rotation angle, degrees; a tenth of the scans has three times this.
    shift, scale : float
        Standard deviations of shift (mm) and relative scale.
    noise : float
        Maximum noise that is added to the points, mm.
    variants : int
        Number of point sets that are drawn from each scan. Then they are used again, with other rotations.
    width, layers, edge_width : int
        Size of the network (`tddfa.train.scan.network.ScanNetwork`).
    validation : int
        Scans for validation, the last ones.
    init : Path or None
        A checkpoint to start from.
    name, licence : str
        Name and licence of the exported network.
    threads : int
        Threads of torch.
    workers : int
        Processes that make batches.
    schedule : Schedule
    """

    data: tuple[Path, ...]
    face_model: Path
    points: int = 1024
    sigma: float = 4.0
    jaw_sigma: float = 8.0
    inner: float = 0.65
    radius: float = 110.0
    rotation: float = 10.0
    shift: float = 5.0
    scale: float = 0.04
    noise: float = 0.5
    variants: int = 2
    width: int = 48
    layers: int = 4
    edge_width: int = 24
    validation: int = 60
    init: Path | None = None
    name: str = "scan"
    licence: str = "MIT"
    threads: int = 1
    workers: int = 0
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not self.data:
            raise ConfigError("data: expected one folder or more, got none")
        for name, minimum in (
            ("points", 100), ("variants", 1), ("width", 1), ("layers", 1), ("edge_width", 1), ("validation", 1),
            ("threads", 1), ("workers", 0),
        ):  # fmt: skip
            if getattr(self, name) < minimum:
                raise ConfigError(f"{name}: expected {minimum} or more, got {getattr(self, name)}")
        for name in ("sigma", "jaw_sigma", "radius"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name}: expected a number over 0, got {getattr(self, name)}")
        if not 0 <= self.inner <= 1:
            raise ConfigError(f"inner: expected 0..1, got {self.inner}")
        for name in ("rotation", "shift", "scale", "noise"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name}: expected a number from 0 on, got {getattr(self, name)}")
