"""Similarities between point sets: rotation, scale and shift, by least squares and robust to wrong points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_TRIALS = 300
_REWEIGHTINGS = 6


@dataclass(frozen=True, eq=False)
class Similarity:
    """``y = scale * rotation @ x + shift``.

    Examples
    --------
    >>> from tddfa.scan.similarity import Similarity
    >>> double = Similarity(np.eye(3), 2.0, np.ones(3))
    >>> double(np.zeros((1, 3))).tolist(), double.inverse(np.ones((1, 3))).tolist()
    ([[1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0]])
    """

    rotation: Floats
    scale: float
    shift: Floats

    def __call__(self, points: NDArray[np.floating]) -> Floats:
        """Map points (n, 3)."""
        return np.asarray(self.scale * points @ self.rotation.T + self.shift)

    def moved(self, by: NDArray[np.floating]) -> Similarity:
        """The same similarity, followed by a shift (3,)."""
        return Similarity(self.rotation, self.scale, self.shift + by)

    def inverse(self, points: NDArray[np.floating]) -> Floats:
        """Map points (n, 3) back."""
        return np.asarray((points - self.shift) @ self.rotation / self.scale)


def fit_similarity(source: Floats, target: Floats, weights: Floats | None = None) -> Similarity:
    """Least-squares similarity from points (n, 3) to points (n, 3), never a reflection (Umeyama, 1991)."""
    weights = np.ones(len(source)) if weights is None else weights
    rotation, scale, shift = _fits(source, target, weights)
    return Similarity(rotation, float(scale), shift)


def _fits(source: Floats, target: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Rotations (..., 3, 3), scales (...) and shifts (..., 3) from points (..., n, 3) to (..., n, 3)."""
    # float32 weights would sum to 1 to only seven digits, which moves the mean of points far from the origin
    weights = weights.astype(np.float64)
    weight = (weights / np.maximum(weights.sum(axis=-1, keepdims=True), 1e-12))[..., None]
    mean_source, mean_target = ((weight * points).sum(axis=-2, keepdims=True) for points in (source, target))
    away_source, away_target = source - mean_source, target - mean_target
    u, singular, vt = np.linalg.svd((away_target * weight).swapaxes(-1, -2) @ away_source)
    signs = np.ones_like(singular)
    signs[..., 2] = np.where(np.linalg.det(u) * np.linalg.det(vt) < 0, -1, 1)
    rotation = (u * signs[..., None, :]) @ vt
    variance = (weight * np.square(away_source)).sum(axis=(-2, -1))
    scale = np.maximum((singular * signs).sum(axis=-1) / np.maximum(variance, 1e-12), 1e-9)
    shift = mean_target[..., 0, :] - scale[..., None] * (mean_source @ rotation.swapaxes(-1, -2))[..., 0, :]
    return rotation, scale, shift


def robust_similarity(
    source: Floats, target: Floats, weights: Floats, tolerance: float, rng: np.random.Generator
) -> tuple[Similarity, Floats]:
    """Similarity from points (n, 3) to points (n, 3) of which some are wrong.

    Parameters
    ----------
    source, target : ndarray (n, 3)
    weights : ndarray (n,)
        How reliable each pair is, 0 or more.
    tolerance : float
        Distance in the frame of `source` at which a pair counts little.
    rng : numpy.random.Generator
        Chooses the triples that are tried.

    Returns
    -------
    similarity : Similarity
    agreement : ndarray (n,)
        0..1: how well each pair fits.
    """
    # those of the least waiting times are drawn without replacement (Efraimidis and Spirakis, 2006)
    waiting = rng.exponential(size=(_TRIALS, len(source))) / (weights + 1e-6)
    few = np.argpartition(waiting, 3, axis=1)[:, :4]
    rotations, scales, shifts = _fits(source[few], target[few], np.ones(few.shape))
    back = (target - shifts[:, None]) @ rotations / scales[:, None, None]
    scores = _agreement(back - source, tolerance) @ weights
    index = int(scores.argmax())
    best = Similarity(rotations[index], float(scales[index]), shifts[index])
    for _ in range(_REWEIGHTINGS):
        weight = weights * _agreement(best.inverse(target) - source, tolerance)
        if np.count_nonzero(weight > 1e-3 * weight.max(initial=0)) < 4:
            break
        best = fit_similarity(source, target, weight)
    return best, _agreement(best.inverse(target) - source, tolerance)


def _agreement(away: Floats, tolerance: float) -> Floats:
    """How well pairs (..., n) agree that are this far (..., n, 3) from each other: 0..1."""
    return np.asarray(1 / (1 + (np.linalg.norm(away, axis=-1) / tolerance) ** 4))
