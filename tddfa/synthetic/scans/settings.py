"""Settings of synthetic scans: the variety of the heads, and the defects of the scans."""

from __future__ import annotations

from dataclasses import dataclass

from tddfa._shared.errors import ConfigError

Range = tuple[float, float]


@dataclass(frozen=True)
class ScanSettings:
    """Settings of synthetic scans. Ranges are uniform; lengths are in mm.

    Attributes
    ----------
    spread : float
        Standard deviation of the shape coefficients.
    warp : float
        Root mean square of a smooth random displacement of the whole head, which adds identities that the face model
        does not have.
    neutral : float
        Fraction of the scans with a neutral expression.
    faces, busts : float
        Fractions of the scans that end around the face, and that have shoulders. The others end at the neck.
    cameras : float
        Fraction of the scans that show only what one to three virtual cameras see. The others are closed.
    noise : tuple of float
        Standard deviation of the noise along the normals.
    holes : tuple of float
        Fraction of the area that is missing.
    remeshed : float
        Fraction of the scans whose triangles are made anew, with edges of the range `edge`.
    edge : tuple of float
    covered : float
        Fraction of the scans with hair-like bumps or glasses-like bars.
    rotated : bool
        Rotate each scan by a uniformly random rotation, and shift it.
    """

    spread: float = 0.9
    warp: float = 2.0
    neutral: float = 0.35
    faces: float = 0.35
    busts: float = 0.35
    cameras: float = 0.7
    noise: Range = (0.2, 0.6)
    holes: Range = (0.05, 0.25)
    remeshed: float = 0.8
    edge: Range = (1.2, 4.0)
    covered: float = 0.3
    rotated: bool = True

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("spread", "warp"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name}: expected a number from 0 on, got {getattr(self, name)}")
        for name in ("neutral", "faces", "busts", "cameras", "remeshed", "covered"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}: expected 0..1, got {getattr(self, name)}")
        if self.faces + self.busts > 1:
            raise ConfigError(f"faces + busts: expected 1 or less, got {self.faces + self.busts:g}")
        for name, most in (("noise", 100.0), ("holes", 0.9), ("edge", 100.0)):
            low, high = getattr(self, name)
            if not 0 <= low <= high <= most:
                raise ConfigError(f"{name}: expected low, high of 0..{most:g}, got {low:g}, {high:g}")
        if not self.edge[0] > 0:
            raise ConfigError(f"edge: expected lengths over 0, got {self.edge[0]:g}")


TRAINING_SCANS = ScanSettings(spread=1.0, warp=2.5, noise=(0.1, 0.7), holes=(0.02, 0.25), edge=(2.0, 4.5))
"""Settings of the scans to train on: a little more varied than those of the benchmark."""
