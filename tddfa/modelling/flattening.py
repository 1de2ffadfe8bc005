"""Flattening of a triangle mesh: a map to the plane without flipped triangles and with little distortion.

The map starts as a harmonic map into a convex shape (Tutte 1963; no triangle is flipped). Then the symmetric Dirichlet
energy is minimised (Smith and Schaefer 2015) by Newton's method with the Hessian of each triangle made positive
semidefinite in closed form (Smith et al. 2019). The line search never lets a triangle flip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array
from scipy.sparse.linalg import splu

Floats = NDArray[np.float64]
Indices = NDArray[np.integer[Any]]

# Fraction of the step at which the first triangle would lose all its area.
_SAFE_STEP = 0.8
_SUFFICIENT_DECREASE = 1e-4
_SMALLEST_STEP = 1e-9
# Added to the diagonal of the Hessian, relative to its mean.
_DAMPING = 1e-9


def signed_areas(points: Floats, triangles: Indices) -> Floats:
    """Areas (m,) of plane triangles; negative if clockwise.

    Examples
    --------
    >>> signed_areas(np.array([[0.0, 0], [1, 0], [0, 1]]), np.array([[0, 1, 2], [0, 2, 1]])).tolist()
    [0.5, -0.5]
    """
    a, b, c = (points[triangles[:, k]] for k in range(3))
    area: Floats = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
    return area


def laid_flat(points: Floats, triangles: Indices) -> Floats:
    """Corners (m, 3, 2) of each triangle of a surface in its own plane: the first at 0, the second on the x axis.

    Examples
    --------
    >>> laid_flat(np.array([[0.0, 0, 5], [0, 2, 5], [0, 0, 6]]), np.array([[0, 1, 2]])).tolist()
    [[[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]]]
    """
    a, b, c = (points[triangles[:, k]] for k in range(3))
    length = np.linalg.norm(b - a, axis=1)
    along = np.einsum("ij,ij->i", c - a, b - a) / length
    height = np.linalg.norm(np.cross(b - a, c - a), axis=1) / length
    zero = np.zeros(len(triangles))
    return np.stack(
        [np.stack([zero, zero], axis=1), np.stack([length, zero], axis=1), np.stack([along, height], axis=1)], axis=1
    )


def harmonic(triangles: Indices, fixed: Indices, positions: Floats) -> Floats:
    """Place each vertex at the mean of its neighbours.

    Without flipped triangles if the mesh is a disc and its boundary is fixed on a convex curve (Tutte 1963).

    Parameters
    ----------
    triangles : ndarray (m, 3) int
        Of vertices 0..n-1, all in use.
    fixed : ndarray (k,) int
        Vertices whose positions (k, 2) are given.

    Returns
    -------
    ndarray (n, 2)

    Examples
    --------
    >>> fan = np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]])
    >>> harmonic(fan, np.arange(4), np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]))[4].tolist()
    [0.5, 0.5]
    """
    count = int(triangles.max()) + 1
    one, other = (triangles[:, [0, 1, 2, 1, 2, 0]].ravel(), triangles[:, [1, 2, 0, 0, 1, 2]].ravel())
    adjacent = csc_array((np.ones(len(one)), (one, other)), shape=(count, count))
    adjacent.data[:] = 1
    free = np.setdiff1d(np.arange(count), fixed)
    out = np.zeros((count, 2))
    out[fixed] = positions
    degree = np.asarray(adjacent.sum(axis=1)).ravel()
    system = csc_array((degree[free], (np.arange(len(free)),) * 2)) - adjacent[free][:, free]
    out[free] = _solve(csc_array(system), (adjacent @ out)[free])
    return out


@dataclass(frozen=True)
class Pull:
    """Quadratic pull of coordinates towards targets: ``sum(weight * (point - target)**2) / 2``; both (n, 2)."""

    weight: Floats
    target: Floats


class Flattening:
    """A map of a mesh to the plane that is being improved.

    Parameters
    ----------
    triangles : ndarray (m, 3) int
        Of vertices 0..n-1.
    shapes : ndarray (m, 3, 2)
        The shape that each triangle should have in the plane, counter-clockwise.
    weights : ndarray (m,)
        Weight of each triangle's distortion, per area of its shape.
    points : ndarray (n, 2)
        The start: no triangle is flipped.
    fixed : ndarray (n, 2) bool, optional
        Coordinates that keep their values.

    Raises
    ------
    ValueError
        If a triangle of the start is flipped.
    """

    def __init__(
        self,
        triangles: Indices,
        shapes: Floats,
        weights: Floats,
        points: Floats,
        *,
        fixed: NDArray[np.bool_] | None = None,
    ) -> None:
        if (signed_areas(points, triangles) <= 0).any():
            raise ValueError("points: expected a start without flipped triangles, got a flipped triangle")
        self.triangles, self.points = triangles, points.copy()
        first, second = shapes[:, 1] - shapes[:, 0], shapes[:, 2] - shapes[:, 0]
        double = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
        self._weights = weights * double / 2
        # the gradient of each corner's hat function
        gradients = np.empty((len(triangles), 3, 2))
        gradients[:, 1] = np.stack([second[:, 1], -second[:, 0]], axis=1) / double[:, None]
        gradients[:, 2] = np.stack([-first[:, 1], first[:, 0]], axis=1) / double[:, None]
        gradients[:, 0] = -gradients[:, 1] - gradients[:, 2]
        self._gradients = gradients
        free = np.ones(points.shape, dtype=bool) if fixed is None else ~fixed
        self._free = np.flatnonzero(free)
        number = np.full(points.size, -1, dtype=np.int64)
        number[self._free] = np.arange(len(self._free))
        own = number[(2 * triangles[:, :, None].astype(np.int64) + np.arange(2)).reshape(len(triangles), 6)]
        row, column = np.broadcast_arrays(own[:, :, None], own[:, None, :])
        self._kept = np.flatnonzero(((row >= 0) & (column >= 0)).ravel())
        size = len(self._free)
        keys = (column.ravel() * size + row.ravel())[self._kept]
        diagonal = np.arange(size) * (size + 1)
        entries, index = np.unique(np.concatenate([keys, diagonal]), return_inverse=True)
        self._index, self._diagonal = index[: len(keys)], index[len(keys) :]
        self._rows, columns = entries % size, entries // size
        self._starts = np.searchsorted(columns, np.arange(size + 1))

    def _energy(self, points: Floats, pull: Pull | None) -> float:
        jacobian = self._jacobians(points)
        determinant = jacobian[:, 0, 0] * jacobian[:, 1, 1] - jacobian[:, 0, 1] * jacobian[:, 1, 0]
        if (determinant <= 0).any():
            return np.inf
        squares = np.square(jacobian).sum(axis=(1, 2))
        energy = float((self._weights * squares * (1 + determinant**-2)).sum()) / 2
        if pull is not None:
            energy += float((pull.weight * np.square(points - pull.target)).sum()) / 2
        return energy

    def _jacobians(self, points: Floats) -> Floats:
        return np.einsum("tia,tib->tab", points[self.triangles], self._gradients)

    def _derivatives(self, pull: Pull | None) -> tuple[Floats, csc_array]:
        """Gradient of the energy, and its Hessian made positive definite, of the free coordinates."""
        jacobian = self._jacobians(self.points)
        (a, b), (c, d) = jacobian[:, 0].T, jacobian[:, 1].T
        # singular values and rotations of 2 x 2 matrices in closed form
        half_sum, half_difference = np.hypot(a + d, c - b) / 2, np.hypot(a - d, c + b) / 2
        s, t = half_sum + half_difference, half_sum - half_difference
        one, other = np.arctan2(c + b, a - d), np.arctan2(c - b, a + d)
        left, right = _rotations((other + one) / 2), _rotations((other - one) / 2)
        product = (s * t) ** 3
        modes = np.array([[[1, 0], [0, 0]], [[0, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1], [1, 0]]], dtype=np.float64)
        modes[2:] *= np.sqrt(0.5)
        curvature = np.stack(
            [
                1 + 3 / s**4,
                1 + 3 / t**4,
                1 + (s * s + s * t + t * t) / product,
                np.maximum(1 - (s * s - s * t + t * t) / product, 0),
            ],
            axis=1,
        )
        directions = left[:, None] @ modes @ right[:, None]
        vectors = np.einsum("tkab,tib->tkia", directions, self._gradients).reshape(len(self.triangles), 4, 6)
        slopes = np.stack([s - s**-3, t - t**-3], axis=1) * self._weights[:, None]
        local = np.einsum("tk,tkj->tj", slopes, vectors[:, :2]).reshape(-1, 3, 2)
        gradient: Floats = np.stack(
            [
                np.bincount(self.triangles.ravel(), weights=local[..., k].ravel(), minlength=len(self.points))
                for k in range(2)
            ],
            axis=1,
        )
        hessians = np.matmul((vectors * (curvature * self._weights[:, None])[..., None]).transpose(0, 2, 1), vectors)
        data = np.bincount(self._index, weights=hessians.ravel()[self._kept], minlength=len(self._rows)).astype(
            np.float64
        )
        if pull is not None:
            gradient = gradient + pull.weight * (self.points - pull.target)
            data[self._diagonal] += pull.weight.ravel()[self._free]
        data[self._diagonal] += _DAMPING * data[self._diagonal].mean()
        size = len(self._free)
        return gradient.ravel()[self._free], csc_array((data, self._rows, self._starts), shape=(size, size))

    def improve(
        self,
        steps: int,
        *,
        pull: Pull | None = None,
        tolerance: float = 1e-9,
        report: Callable[[str], None] | None = None,
    ) -> bool:
        """Take Newton's steps until the energy decreases by less than a fraction `tolerance`; whether it does."""
        energy = self._energy(self.points, pull)
        for step in range(steps):
            gradient, hessian = self._derivatives(pull)
            move = np.zeros(self.points.size)
            move[self._free] = -_solve(hessian, gradient)
            direction = move.reshape(self.points.shape)
            slope = float(gradient @ move[self._free])
            length = min(1.0, _SAFE_STEP * _first_collapse(self.points, direction, self.triangles))
            while length > _SMALLEST_STEP:
                moved = self.points + length * direction
                after = self._energy(moved, pull)
                if after <= energy + _SUFFICIENT_DECREASE * length * slope:
                    break
                length /= 2
            else:
                return True
            self.points = moved
            change, energy = energy - after, after
            if report is not None:
                report(f"{step} energy {energy:.6f} length {length:.3g} slope {slope:.3g}")
            if change <= tolerance * abs(energy) and length > 0.5:
                return True
        return False

    def move_towards(self, target: Floats, *, fraction: float = 1.0) -> float:
        """Move in a straight line as far as no triangle flips; return the fraction of the way."""
        direction = target - self.points
        length = min(fraction, _SAFE_STEP * _first_collapse(self.points, direction, self.triangles))
        self.points = self.points + length * direction
        return length


def _rotations(angle: Floats) -> Floats:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cosine, -sine], axis=1), np.stack([sine, cosine], axis=1)], axis=1)


def _first_collapse(points: Floats, direction: Floats, triangles: Indices) -> float:
    """The smallest positive step at which a triangle has no area; infinity if there is none."""
    p, q = (values[triangles[:, 1:]] - values[triangles[:, :1]] for values in (points, direction))
    c = p[:, 0, 0] * p[:, 1, 1] - p[:, 0, 1] * p[:, 1, 0]
    b = p[:, 0, 0] * q[:, 1, 1] - p[:, 0, 1] * q[:, 1, 0] + q[:, 0, 0] * p[:, 1, 1] - q[:, 0, 1] * p[:, 1, 0]
    a = q[:, 0, 0] * q[:, 1, 1] - q[:, 0, 1] * q[:, 1, 0]
    # a t^2 + b t + c = 0 with c > 0; this form of the roots is stable
    inner = b * b - 4 * a * c
    real = inner >= 0
    root = np.sqrt(np.where(real, inner, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        first = 2 * c / (-b + root)
        second = 2 * c / (-b - root)
    steps = np.concatenate([first[real], second[real]])
    steps = steps[np.isfinite(steps) & (steps > 0)]
    return float(steps.min(initial=np.inf))


def _solve(matrix: csc_array, right: Floats) -> Floats:
    factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return np.asarray(factors.solve(right))
