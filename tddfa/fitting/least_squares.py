"""Bounded least squares for many small problems at once."""

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
    """Minimise ``x.normal.x / 2 - right.x`` within ``low <= x <= high`` for n problems.

    Projected Newton: variables at a bound whose gradient points outside stay there. The others take Newton's step,
    which is halved while it does not lower the objective (D. P. Bertsekas, SIAM J. Control and Optimization 20(2),
    1982).

    Parameters
    ----------
    normal : ndarray (n, m, m)
        Positive definite.
    right : ndarray (n, m)
        The linear term.
    low, high : array_like (m,)
        Bounds; infinite for none.
    start : array_like (n, m), optional
        Start of the iteration; 0 by default.

    Returns
    -------
    ndarray (n, m)
        The solutions.

    Examples
    --------
    >>> from tddfa.fitting.least_squares import bounded_least_squares
    >>> bounded_least_squares(np.eye(2)[None], np.array([[0.5, 3.0]]), [0, 0], [1, 1])
    array([[0.5, 1. ]])
    """
    lowest, highest = (np.broadcast_to(np.asarray(bound, dtype=np.float64), right.shape[1:]) for bound in (low, high))
    x = np.clip(np.zeros_like(right) if start is None else np.asarray(start, dtype=np.float64), lowest, highest)
    left = np.arange(len(x))
    for _ in range(_NEWTON_STEPS):
        h, b, at = normal[left], right[left], x[left]
        gradient = np.einsum("nij,nj->ni", h, at) - b
        at_bound = ((at <= lowest) & (gradient > 0)) | ((at >= highest) & (gradient < 0))
        free = ~at_bound
        reduced = h * free[:, :, None] * free[:, None, :]
        reduced[:, np.arange(h.shape[1]), np.arange(h.shape[1])] += at_bound
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
