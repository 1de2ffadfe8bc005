"""Least squares within bounds, for many small problems at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_NEWTON_STEPS = 30
_HALVINGS = 12
_TOLERANCE = 1e-7


def bounded_least_squares(
    normal: Floats, right: Floats, low: ArrayLike, high: ArrayLike, start: ArrayLike | None = None
) -> Floats:
    """Minimise ``x.normal.x / 2 - right.x`` within ``low <= x <= high``, for many at once.

    Projected Newton: variables that rest on a bound and would leave it stay, the others take Newton's step, cut back
    while it does not lower the objective (D. P. Bertsekas, SIAM J. Control and Optimization 20(2), 1982).

    Parameters
    ----------
    normal : ndarray (n, m, m)
        Positive definite.
    right : ndarray (n, m)
        The linear term.
    low, high : array_like (m,)
        Bounds; infinite where there is none.
    start : array_like (n, m), optional
        Where to begin.

    Returns
    -------
    ndarray (n, m)
    """
    lowest, highest = (np.broadcast_to(np.asarray(bound, dtype=np.float64), right.shape[1:]) for bound in (low, high))
    x = np.clip(np.zeros_like(right) if start is None else np.asarray(start, dtype=np.float64), lowest, highest)
    left = np.arange(len(x))
    for _ in range(_NEWTON_STEPS):
        h, b, at = normal[left], right[left], x[left]
        gradient = np.einsum("nij,nj->ni", h, at) - b
        stuck = ((at <= lowest) & (gradient > 0)) | ((at >= highest) & (gradient < 0))
        free = ~stuck
        reduced = h * free[:, :, None] * free[:, None, :]
        reduced[:, np.arange(h.shape[1]), np.arange(h.shape[1])] += stuck
        step = -np.linalg.solve(reduced, (gradient * free)[..., None])[..., 0]
        length = np.ones(len(at))
        moved = np.clip(at + step, lowest, highest)
        for _ in range(_HALVINGS):
            change = moved - at
            gain = np.einsum("ni,ni->n", change, gradient) + np.einsum("ni,nij,nj->n", change, h, change) / 2
            worse = gain > 0
            if not worse.any():
                break
            length[worse] /= 2
            moved[worse] = np.clip(at[worse] + length[worse, None] * step[worse], lowest, highest)
        moved[gain > 0] = at[gain > 0]
        x[left] = moved
        left = left[np.abs(moved - at).max(axis=1, initial=0) > _TOLERANCE]
        if not len(left):
            break
    return x
