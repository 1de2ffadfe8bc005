"""`ScanFace`: a face with its landmarks on a scan; `FittedFace`: a face model registered to the scan."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa.scan.similarity import Similarity

Floats = NDArray[np.float64]

UNITS = {"mm": 1.0, "cm": 0.1, "m": 0.001, "in": 1 / 25.4}
"""Unit -> its number in a mm."""

# Where the size of a face differs by more than this factor, the unit is uncertain.
_ODD_SIZE = 1.35


@dataclass(frozen=True, eq=False)
class FittedFace:
    """A face model that was registered to a scan.

    Attributes
    ----------
    vertices : ndarray (n, 3)
        In the unit and the frame of the scan.
    triangles : ndarray (m, 3) int32
    shape, expression : ndarray (s,), (e,)
        The model's coefficients.
    similarity : Similarity
        From the model, in mm, to the scan.
    distances : ndarray (n,)
        mm, from each vertex to the scan along the scan's normal, positive outside; NaN where there is no scan.
    colors : ndarray (n, 3) float32 or None
        Colours of the scan, RGB, 0..1.
    landmarks : ndarray (68, 3)
        Of the fitted model, in the frame of the scan.
    fits : bool
        Whether this is a face, by its surface, size and proportions.
    """

    vertices: Floats
    triangles: NDArray[np.int32]
    shape: Floats
    expression: Floats
    similarity: Similarity
    distances: Floats
    colors: NDArray[np.float32] | None
    landmarks: Floats
    fits: bool

    def moved(self, by: Floats) -> FittedFace:
        """The same face, shifted by a vector (3,)."""
        similarity = self.similarity.moved(by)
        return replace(self, vertices=self.vertices + by, landmarks=self.landmarks + by, similarity=similarity)


@dataclass(frozen=True, eq=False)
class ScanFace:
    """A face of a scan.

    Attributes
    ----------
    landmarks : ndarray (68, 3)
        In the unit and the frame of the scan.
    confidence : ndarray (68,)
        0..1.
    on_surface : ndarray (68,) bool
        False where the scan has a hole. There, the position is estimated from the other landmarks.
    score : float
        0..1, of the whole face.
    similarity : Similarity
        From the frame of the head (mm; x to the subject's left, y up, z out of the face) to the scan.
    decoded : dict of str to ndarray (68, 3)
        Earlier landmarks: ``gd``, ``tkd``, ``pd`` (`tddfa.scan.decoding`); ``completed``, which is ``pd`` where the
        heat is sure, and an estimate from the other landmarks elsewhere; and ``refined``, after stage 2.
    unit : str
        The unit of the scan, as given or as estimated from the size of the face.
    warnings : tuple of str
    fitted : FittedFace or None
        The face model registered to the scan, if it was.
    points, heat : ndarray (n, 3), (n, 68)
        The points that the network processed, in the frame of the scan, and their heat.
    """

    landmarks: Floats
    confidence: Floats
    on_surface: NDArray[np.bool_]
    score: float
    similarity: Similarity
    decoded: dict[str, Floats]
    unit: str
    warnings: tuple[str, ...] = ()
    fitted: FittedFace | None = field(default=None, repr=False)
    points: Floats = field(default_factory=lambda: np.zeros((0, 3)), repr=False)
    heat: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 68), np.float32), repr=False)

    def moved(self, by: Floats) -> ScanFace:
        """The same face, shifted by a vector (3,)."""
        return replace(
            self,
            landmarks=self.landmarks + by,
            similarity=self.similarity.moved(by),
            decoded={name: points + by for name, points in self.decoded.items()},
            fitted=None if self.fitted is None else self.fitted.moved(by),
            points=self.points + by,
        )

    def to_dict(self) -> dict[str, Any]:
        """The record of the face: plain numbers, for JSON."""
        return {
            "score": round(self.score, 4),
            "unit": self.unit,
            "landmarks": np.round(self.landmarks, 6).tolist(),
            "confidence": np.round(self.confidence, 4).tolist(),
            "on_surface": self.on_surface.tolist(),
            "pose": {
                "rotation": np.round(self.similarity.rotation, 6).tolist(),
                "per_mm": self.similarity.scale,
                "origin": np.round(self.similarity.shift, 6).tolist(),
            },
            "warnings": list(self.warnings),
        }


def unit_of(per_mm: float) -> tuple[str, float]:
    """The likeliest unit of a scan by the size of its face, and this size relative to the usual one in that unit.

    Examples
    --------
    >>> from tddfa.scan.face import unit_of
    >>> unit_of(0.1)
    ('cm', 1.0)
    """
    unit = min(UNITS, key=lambda name: abs(math.log(per_mm / UNITS[name])))
    return unit, per_mm / UNITS[unit]


def is_odd(size: float) -> bool:
    """Whether a size relative to the usual one is so far from it that the unit is uncertain."""
    return max(size, 1 / size) > _ODD_SIZE
