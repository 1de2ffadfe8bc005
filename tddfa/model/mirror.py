"""Horizontal flip of a face, in the coefficients of a face model.

A horizontally flipped image shows another face: its shape is mirrored, and its left eye winks where the right one did.
In coefficients this is a linear map, which is computed from the face model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tddfa.landmarks68 import MIRRORED
from tddfa.model.face_model import FaceModel

Floats = NDArray[np.float32]


# Vertices around the mirror image of a vertex that are interpolated; rows per block; vertices of the fit.
_NEIGHBOURS = 4
_AT_ONCE = 64
_SAMPLED = 1000


@dataclass(frozen=True, eq=False)
class Mirror:
    """Linear maps from the coefficients of a face to those of its mirror image.

    Attributes
    ----------
    shape : ndarray (s, s) float32
        ``mirrored = shape_coefficients @ shape.T``; its own inverse.
    expression : ndarray (e, e) float32
        The same for the expressions; a permutation if their names have a side.

    Examples
    --------
    >>> import numpy as np
    >>> from tddfa.model.mirror import Mirror
    >>> model = aligner.face_model
    >>> mirror = Mirror.of(model)
    >>> weights = np.zeros(model.expression_count, np.float32)
    >>> weights[model.expression_names.index("eyeBlinkLeft")] = 1
    >>> _, mirrored = mirror.coefficients(np.zeros(model.shape_count, np.float32), weights)
    >>> model.expression_names[int(mirrored.argmax())]
    'eyeBlinkRight'
    """

    shape: Floats
    expression: Floats

    @classmethod
    def of(cls, model: FaceModel) -> Mirror:
        """The maps of a face model: the stored ones, or computed.

        A face is mirrored about the plane x = 0 by ``v'(p) = R v(R p)`` with R = diag(-1, 1, 1): the mirrored offset
        of a vertex p is that of the surface at R p, reflected. The basis is fitted to it (least squares), and the map
        is moved to the nearest one that is its own inverse, as a mirror's is.

        Expressions whose names end in ``Left`` and ``Right`` swap by name.
        """
        if model.mirror_shape is not None and model.mirror_expression is not None:
            return cls(model.mirror_shape, model.mirror_expression)
        shape_basis, expression_basis = np.split(model.basis, [model.shape_count])
        at, neighbours, weights = _mirrored_points(model)
        named = _swapped_names(model.expression_names)
        if named is None:
            expression = _involution(_least_squares(expression_basis, at, neighbours, weights))
        else:
            expression = np.eye(len(named))[named]
        shape = _involution(_least_squares(shape_basis, at, neighbours, weights))
        return cls(shape.astype(np.float32), expression.astype(np.float32))

    def coefficients(self, shape: Floats, expression: Floats) -> tuple[Floats, Floats]:
        """Shape (..., s) and expression (..., e) of the mirrored face."""
        return shape @ self.shape.T, expression @ self.expression.T


def mirrored_camera(camera: Floats, width: int) -> Floats:
    """Camera (..., 3, 4) of the mirrored face in the horizontally flipped image of `width` px.

    ``x' = width - 1 - x`` in the image, and ``x' = -x`` in the face model.
    """
    flipped = np.array(camera, dtype=np.float32)
    flipped[..., 0, :] *= -1
    flipped[..., 0, 3] += width - 1
    flipped[..., :, 0] *= -1
    return flipped


def mirrored_landmarks(landmarks: Floats, width: int) -> Floats:
    """Landmarks (..., 68, 2) in the horizontally flipped image of `width` px; NaN stays NaN."""
    flipped = landmarks[..., MIRRORED, :].copy()
    flipped[..., 0] = width - 1 - flipped[..., 0]
    return flipped


def _swapped_names(names: tuple[str, ...]) -> NDArray[np.intp] | None:
    """Index of the mirror image of each expression; None if the names have no side."""
    index = {name: i for i, name in enumerate(names)}
    if not any(name.endswith(("Left", "Right")) for name in names):
        return None
    swapped = []
    for name in names:
        other = name
        for end, opposite in (("Left", "Right"), ("Right", "Left")):
            if name.endswith(end):
                other = name.removesuffix(end) + opposite
        if other not in index:
            raise ValueError(f"expression_names: expected {other!r} beside {name!r}, got none")
        swapped.append(index[other])
    return np.array(swapped)


def _mirrored_points(model: FaceModel) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """A sample of the vertices, and the vertices around the mirror image of each, with weights."""
    step = max(1, len(model.mean) // _SAMPLED)
    at = np.arange(0, len(model.mean), step)
    wanted = model.mean[at] * np.array([-1, 1, 1], dtype=np.float32)
    neighbours = np.empty((len(at), _NEIGHBOURS), dtype=np.intp)
    # the mirror image of an eye is the other eye, not the lid on it
    part = model.part
    for own, other in ((0, 0), (1, 2), (2, 1), (3, 3)):
        rows, others = np.flatnonzero(part[at] == own), np.flatnonzero(part == other)
        if not len(others):  # a model with one eye
            others = np.arange(len(part))
        neighbours[rows] = others[_nearest(model.mean[others], wanted[rows])]
    distance = np.linalg.norm(model.mean[neighbours] - wanted[:, None], axis=2)
    weights = 1 / np.square(distance + 1e-4 * float(np.ptp(model.mean)))
    return at, neighbours, weights / weights.sum(axis=1, keepdims=True)


def _nearest(points: Floats, wanted: Floats) -> NDArray[np.intp]:
    """Rows (m, 4) of the points (n, 3) that are nearest to each of `wanted` (m, 3).

    All distances are computed: for so few points, importing a k-d tree takes many times as long.
    """
    nearest = np.empty((len(wanted), _NEIGHBOURS), dtype=np.intp)
    squares = np.square(points).sum(axis=1)
    for first in range(0, len(wanted), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        apart = squares - 2 * (wanted[part] @ points.T)
        for k in range(_NEIGHBOURS):
            nearest[part, k] = apart.argmin(axis=1)
            np.put_along_axis(apart, nearest[part, k, None], np.inf, axis=1)
    return nearest


def _least_squares(
    basis: Floats, at: NDArray[np.intp], neighbours: NDArray[np.intp], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Map M (k, k) of coefficients for which ``M c`` fits the mirror image of ``c``, by least squares."""
    if not len(basis):
        return np.zeros((0, 0))
    mirrored = np.zeros((len(basis), len(at), 3))
    for column in range(neighbours.shape[1]):
        mirrored += basis[:, neighbours[:, column]] * weights[:, column, None]
    mirrored[..., 0] *= -1
    own = basis[:, at].reshape(len(basis), -1).astype(np.float64)
    # a basis is far from singular, so the normal equations are accurate enough, and take a tenth of the time
    products, crossed = own @ own.T, own @ mirrored.reshape(len(basis), -1).T
    try:
        return np.asarray(np.linalg.solve(products, crossed))
    except np.linalg.LinAlgError:  # offsets that are zero, or depend on each other: their coefficients stay
        least = 1e-9 * max(float(np.trace(products)), 1e-30) * np.eye(len(basis))
        return np.asarray(np.linalg.solve(products + least, crossed + least))


def _involution(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The map near `matrix` that is its own inverse: its matrix sign, by Newton's iteration (Higham 2008, 5.2)."""
    for _ in range(40):
        following = (matrix + np.linalg.inv(matrix)) / 2
        if np.allclose(following, matrix, rtol=0, atol=1e-13):
            break
        matrix = following
    return matrix
