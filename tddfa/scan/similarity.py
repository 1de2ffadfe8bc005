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

    def inverse(self, points: NDArray[np.floating]) -> Floats:
        """Map points (n, 3) back."""
        return np.asarray((points - self.shift) @ self.rotation / self.scale)


def fit_similarity(source: Floats, target: Floats, weights: Floats | None = None) -> Similarity:
    """Least-squares similarity from points (n, 3) to points (n, 3), never a reflection (Umeyama, 1991)."""
    weight = np.full(len(source), 1 / len(source)) if weights is None else weights / max(weights.sum(), 1e-12)
    mean_source, mean_target = weight @ source, weight @ target
    away_source, away_target = source - mean_source, target - mean_target
    u, singular, vt = np.linalg.svd((away_target * weight[:, None]).T @ away_source)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt)) or 1.0])
    rotation = (u * signs) @ vt
    variance = float(weight @ np.square(away_source).sum(axis=1))
    scale = float((singular * signs).sum()) / max(variance, 1e-12)
    scale = max(scale, 1e-9)
    return Similarity(rotation, scale, mean_target - scale * rotation @ mean_source)


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
    probability = (weights + 1e-6) / (weights + 1e-6).sum()
    total = max(float(weights.sum()), 1e-12)
    best, most = fit_similarity(source, target, weights + 1e-6), -1.0
    for _ in range(_TRIALS):
        triple = rng.choice(len(source), 4, replace=False, p=probability)
        trial = fit_similarity(source[triple], target[triple])
        score = float(weights @ _agreement(trial, source, target, tolerance)) / total
        if score > most:
            best, most = trial, score
    for _ in range(_REWEIGHTINGS):
        weight = weights * _agreement(best, source, target, tolerance)
        if np.count_nonzero(weight > 1e-3 * weight.max(initial=0)) < 4:
            break
        best = fit_similarity(source, target, weight)
    return best, _agreement(best, source, target, tolerance)


def _agreement(similarity: Similarity, source: Floats, target: Floats, tolerance: float) -> Floats:
    away = np.linalg.norm(similarity.inverse(target) - source, axis=1)
    return np.asarray(1 / (1 + (away / tolerance) ** 4))
