"""Landmarks to a face model's parameters: camera, shape and expression, for many faces at once.

The solver is Gauss-Newton, first over the camera alone (scaled orthography), then over camera and coefficients
together. A Gaussian prior (ridge) keeps the coefficients near their mean, and their bounds are exact (projected Newton,
Bertsekas 1982).

For two landmarks on opposite lids or lips, their *difference* is fitted too, with a larger weight: a small error of the
pose moves both landmarks and leaves the gap between them. So eyes close as far as their landmarks do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared.arrays import checked
from tddfa.fitting.least_squares import bounded_least_squares
from tddfa.geometry.camera import Camera
from tddfa.landmarks68 import INNER_LIP_PAIRS, JAW, LID_PAIRS
from tddfa.model.face_model import FaceModel

Floats = NDArray[np.float64]

PAIRS = (*LID_PAIRS, *INNER_LIP_PAIRS)
"""Pairs of landmarks whose difference is fitted too, so that eyes and mouth open as far as they should."""

_FLIP = np.array([1.0, -1.0, 1.0])
# Minimum number of known landmarks: fewer do not determine the camera.
_MIN_KNOWN = 6
_CAMERA_STEPS, _STEPS = 6, 5
_MAX_ROTATION = 0.7  # radians per step
# Landmarks at the ends of the jaw are unreliable once the head is turned by this much; those nearer to the chin are at
# larger angles, as the sine of the angle times their distance from the middle.
_TURNED = float(np.sin(np.radians(12)))
# Faces whose equations are in memory together.
_CHUNK = 256


@dataclass(frozen=True)
class Prior:
    """Prior of a fit: expected noise of landmarks, and spread of coefficients.

    Attributes
    ----------
    noise : float
        Standard deviation of a landmark, as a fraction of the face's size (the longer side of its landmarks' box).
    shape : float or None
        Standard deviation of each shape coefficient; None makes each move the face as much as the others.
    expression : float or None
        The same for the expression weights.
    pairs : float
        Weight of the difference of a pair, relative to a landmark.
    jaw : float
        Weight of the jaw's landmarks on a turned face, if landmarks are 2D: annotators mark another line on the face
        there (`unsure_jaw`).
    """

    noise: float = 0.01
    shape: float | None = 1.0
    expression: float | None = 0.4
    pairs: float = 8.0
    jaw: float = 0.02

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("noise", "shape", "expression"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise ValueError(f"Prior.{name}: expected a number over 0, got {value}")
        for name in ("pairs", "jaw"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"Prior.{name}: expected 0 or more, got {getattr(self, name)}")


@dataclass(frozen=True, eq=False)
class Fit:
    """Parameters of n faces.

    Attributes
    ----------
    camera : ndarray (n, 3, 4) float32
        Face model to px (frames: `tddfa.geometry.camera`); z of the model's origin is 0, or as 3D landmarks have it.
    shape : ndarray (n, s) float32
        Shape coefficients.
    expression : ndarray (n, e) float32
        Expression weights, within the face model's bounds.
    error : ndarray (n,) float32
        Weighted mean distance of landmarks and fit in the image, % of the face's size; NaN where too few landmarks are
        known, with all parameters 0.
    """

    camera: NDArray[np.float32]
    shape: NDArray[np.float32]
    expression: NDArray[np.float32]
    error: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class VertexMap:
    """Positions of landmarks on a face model.

    Attributes
    ----------
    triangles : ndarray (k, 3) int32
        Vertices around each landmark.
    weights : ndarray (k, 3) float32
        Their weights.
    pairs : ndarray (p, 2) int
        Pairs of landmarks whose difference is fitted too.
    jaw : ndarray (k,) bool
        Whether the landmark is on the jaw line.
    """

    triangles: NDArray[np.int32]
    weights: NDArray[np.float32]
    pairs: NDArray[np.intp]
    jaw: NDArray[np.bool_]

    @classmethod
    def of_300w(cls, model: FaceModel) -> VertexMap:
        """The face model's own 68 landmarks."""
        jaw = np.zeros(68, dtype=bool)
        jaw[JAW] = True
        return cls(model.landmark_triangles, model.landmark_weights, np.array(PAIRS), jaw)

    @classmethod
    def of_vertices(cls, vertices: ArrayLike, pairs: Iterable[tuple[int, int]] = ()) -> VertexMap:
        """A map of landmarks that are vertices (k,) of the face model."""
        index = checked("vertices", vertices, (None,), np.int32)
        weights = np.zeros((len(index), 3), dtype=np.float32)
        weights[:, 0] = 1
        chosen = np.array(list(pairs), dtype=np.intp).reshape(-1, 2)
        return cls(np.stack([index] * 3, axis=1), weights, chosen, np.zeros(len(index), dtype=bool))

    def on(self, values: NDArray[np.float32]) -> Floats:
        """Interpolate values (..., n, 3) of the vertices at the landmarks: (..., k, 3)."""
        return np.asarray((values[..., self.triangles, :].astype(np.float64) * self.weights[..., None]).sum(axis=-2))


def fit(
    landmarks: ArrayLike,
    model: FaceModel,
    vertex_map: VertexMap | None = None,
    prior: Prior | None = None,
    weights: ArrayLike | None = None,
) -> Fit:
    """Fit a face model to landmarks.

    Parameters
    ----------
    landmarks : array_like (n, k, 2) or (n, k, 3)
        px, x right, y down; z, if given, in px too, larger towards the viewer. NaN if unknown.
    model : FaceModel
        The face model to fit.
    vertex_map : VertexMap, optional
        Positions of the landmarks on it; by default they are the 68 of 300-W.
    prior : Prior, optional
        Expected noise and spread of coefficients.
    weights : array_like (n, k), optional
        Weight of each landmark, 0 or more; 1 by default.

    Returns
    -------
    Fit
        Parameters of the n faces.

    Raises
    ------
    ValueError
        If an argument has the wrong type, shape or dtype; the message names it.

    Examples
    --------
    >>> from tddfa.fitting.landmarks import fit
    >>> fits = fit(face.landmarks[None, :, :2], aligner.face_model)
    >>> fits.camera.shape, bool(fits.error[0] < 1)
    ((1, 3, 4), True)
    """
    points = np.asarray(landmarks)
    axes = points.shape[-1] if points.ndim == 3 and points.shape[-1] == 3 else 2
    vertex_map = VertexMap.of_300w(model) if vertex_map is None else vertex_map
    prior = Prior() if prior is None else prior
    count = len(vertex_map.triangles)
    points = checked("landmarks", points, (None, count, axes), np.float64, finite=False)
    given = np.ones(points.shape[:2]) if weights is None else checked("weights", weights, points.shape[:2], np.float64)
    if given.size and given.min() < 0:
        raise ValueError(f"weights: expected 0 or more, got {given.min()}")
    known = np.isfinite(points).all(axis=2)
    given = given * known
    parts = [
        _Problem(np.nan_to_num(points[i : i + _CHUNK], nan=0.0), given[i : i + _CHUNK], model, vertex_map, prior)
        for i in range(0, len(points), _CHUNK)
    ]
    solved = [part.solve() for part in parts]
    if not solved:
        none = (
            np.zeros((0, 3, 4)),
            np.zeros((0, model.shape_count)),
            np.zeros((0, model.expression_count)),
            np.zeros(0),
        )
        solved = [none]
    camera, shape, expression, error = (
        np.concatenate(arrays).astype(np.float32) for arrays in zip(*solved, strict=True)
    )
    return Fit(camera, shape, expression, error)


class _Problem:
    """The equations of some faces: landmarks in px, all other lengths in the face model's unit."""

    def __init__(self, points: Floats, weights: Floats, model: FaceModel, where: VertexMap, prior: Prior) -> None:
        # 3D landmarks are on the jaw itself, in any pose
        self.jaw_weight = prior.jaw if points.shape[2] == 2 else 1.0
        self.sure_weight, self.sideways = np.where(where.jaw, self.jaw_weight, 1.0), _sideways(where, model)
        self.enough = (weights * self.sure_weight > 0).sum(axis=1) >= _MIN_KNOWN
        # a face with too few landmarks gets those of the mean face, and its result is discarded
        self.mean, self.basis = where.on(model.mean), where.on(model.basis)
        size = float(np.ptp(self.mean[:, :2], axis=0).max())
        stand_in = self.mean[:, : points.shape[2]] * np.array([1, -1, 1])[: points.shape[2]]
        self.points = np.where(self.enough[:, None, None], points, stand_in)
        self.weights = np.where(self.enough[:, None], weights, 1.0)
        self.axes, self.pairs, self.pair_weight = points.shape[2], where.pairs, prior.pairs
        self.shape_count, self.size = model.shape_count, size
        variance = (prior.noise * size) ** 2
        self.ridge = variance / np.square(_deviations(self.basis, model, prior, size))
        low, high = model.expression_range or (-np.inf, np.inf)
        free = np.full(self.shape_count, np.inf)
        self.low = np.concatenate([-free, np.full(model.expression_count, low)])
        self.high = np.concatenate([free, np.full(model.expression_count, high)])

    def solve(self) -> tuple[Floats, Floats, Floats, Floats]:
        n = len(self.points)
        coefficients = np.clip(np.zeros((n, len(self.ridge))), self.low, self.high)
        # first by the landmarks that are reliable in any pose, to learn the pose
        given, self.weights = self.weights, self.weights * self.sure_weight
        rotation, scale, offset = self._first_camera()
        face = self.mean + np.einsum("nm,mkc->nkc", coefficients, self.basis)
        for _ in range(_CAMERA_STEPS):
            rotation, scale, offset = self._better_camera(face, rotation, scale, offset)
        self.weights = given * np.where(_unsure(rotation, self.sideways), self.jaw_weight, 1.0)
        for _ in range(_STEPS):
            rotation, scale, offset, coefficients = self._better_all(face, rotation, scale, offset, coefficients)
            face = self.mean + np.einsum("nm,mkc->nkc", coefficients, self.basis)
        camera = np.zeros((n, 3, 4))
        camera[:, :, :3] = scale[:, None, None] * _FLIP[:, None] * rotation
        camera[:, : self.axes, 3] = offset
        fitted = np.einsum("nij,nkj->nki", camera[:, :2, :3], face) + camera[:, None, :2, 3]
        distance = np.linalg.norm(fitted - self.points[..., :2], axis=2)
        mean = (distance * self.weights).sum(axis=1) / self.weights.sum(axis=1)
        error = 100 * mean / (scale * self.size)
        good = self.enough
        return (
            camera * good[:, None, None],
            coefficients[:, : self.shape_count] * good[:, None],
            coefficients[:, self.shape_count :] * good[:, None],
            np.where(good, error, np.nan),
        )

    def _first_camera(self) -> tuple[Floats, Floats, Floats]:
        """Camera from the best affine map of the mean face: the rotation nearest to its rows."""
        total = self.weights.sum(axis=1)[:, None]
        middle = np.einsum("nk,nkc->nc", self.weights, self.points) / total
        own = (self.weights @ self.mean) / total
        away = self.mean - own[:, None]
        moments = np.einsum("nk,nki,nkj->nij", self.weights, away, away)
        moments += 1e-6 * np.trace(moments, axis1=1, axis2=2)[:, None, None] * np.eye(3)
        mixed = np.einsum("nk,nki,nkj->nij", self.weights, away, (self.points - middle[:, None])[..., :2])
        affine = np.linalg.solve(moments, mixed).transpose(0, 2, 1) * _FLIP[:2, None]
        u, singular, vt = np.linalg.svd(affine, full_matrices=False)
        rows = u @ vt
        rotation = np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], axis=1)
        scale = np.maximum(singular.mean(axis=1), 1e-9)
        turned = np.einsum("nij,nj->ni", rotation, own) * _FLIP
        return rotation, scale, middle - scale[:, None] * turned[:, : self.axes]

    def _camera_moves(self, turned: Floats) -> Floats:
        """Derivatives of projected points, divided by the scale: (n, k, axes, 4 + axes).

        With respect to a small rotation w, which moves a rotated point Y by ``w x Y``, to the logarithm of the scale,
        and to the offset.
        """
        x, y, z = np.moveaxis(turned, 2, 0)
        zero = np.zeros_like(x)
        rows = [
            np.stack([zero, z, -y, x], axis=2),
            np.stack([z, zero, -x, -y], axis=2),
            np.stack([y, -x, zero, z], axis=2),
        ][: self.axes]
        moves = np.zeros((*x.shape, self.axes, 4 + self.axes))
        for axis, row in enumerate(rows):
            moves[:, :, axis, :4] = row
            moves[:, :, axis, 4 + axis] = 1
        return moves

    def _moved_camera(
        self, face: Floats, rotation: Floats, scale: Floats, step: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """The camera after a step of rotation and scale (n, 4), with the best offset for these."""
        # far from the solution, a long step would overshoot
        angle = np.linalg.norm(step[:, :3], axis=1, keepdims=True)
        rotation = _rotations(step[:, :3] * np.minimum(1, _MAX_ROTATION / np.maximum(angle, 1e-12))) @ rotation
        scale = scale * np.exp(np.clip(step[:, 3], -0.5, 0.5))
        turned = np.einsum("nij,nkj->nki", rotation, face) * _FLIP
        left = self.points - (scale[:, None, None] * turned)[..., : self.axes]
        return rotation, scale, np.einsum("nk,nkc->nc", self.weights, left) / self.weights.sum(axis=1)[:, None]

    def _better_camera(
        self, face: Floats, rotation: Floats, scale: Floats, offset: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """One step of Gauss-Newton over the camera alone."""
        turned = np.einsum("nij,nkj->nki", rotation, face)
        s = scale[:, None, None]
        residual = (self.points - offset[:, None]) / s - (turned * _FLIP)[..., : self.axes]
        moves = self._camera_moves(turned)
        normal = np.einsum("nk,nkai,nkaj->nij", self.weights, moves, moves)
        right = np.einsum("nk,nkai,nka->ni", self.weights, moves, residual)
        normal += 1e-9 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(normal.shape[1])
        step = np.linalg.solve(normal, right[..., None])[..., 0]
        return self._moved_camera(face, rotation, scale, step)

    def _better_all(
        self, face: Floats, rotation: Floats, scale: Floats, offset: Floats, start: Floats
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """One step of Gauss-Newton over camera and coefficients, the latter within their bounds."""
        seen = rotation[:, : self.axes] * _FLIP[: self.axes, None]
        camera_moves = self._camera_moves(np.einsum("nij,nkj->nki", rotation, face))
        free = camera_moves.shape[-1]
        moves = np.concatenate([camera_moves, np.einsum("nai,mki->nkam", seen, self.basis)], axis=3)
        target = (self.points - offset[:, None]) / scale[:, None, None] - np.einsum("nai,ki->nka", seen, self.mean)
        first, second = self.pairs.T
        pair_weight = self.pair_weight * np.minimum(self.weights[:, first], self.weights[:, second])
        moves = np.concatenate([moves, moves[:, first] - moves[:, second]], axis=1)
        target = np.concatenate([target, target[:, first] - target[:, second]], axis=1)
        root = np.sqrt(np.concatenate([self.weights, pair_weight], axis=1))[..., None]
        n, _, _, m = moves.shape
        jacobian = (moves * root[..., None]).reshape(n, -1, m)
        normal = jacobian.transpose(0, 2, 1) @ jacobian
        diagonal = np.arange(m)
        normal[:, diagonal, diagonal] += np.concatenate([np.full(free, self.ridge.min() * 1e-3), self.ridge])
        right = np.einsum("nrm,nr->nm", jacobian, (target * root).reshape(n, -1))
        unbounded = np.full(free, np.inf)
        solution = bounded_least_squares(
            normal,
            right,
            np.concatenate([-unbounded, self.low]),
            np.concatenate([unbounded, self.high]),
            np.concatenate([np.zeros((n, free)), start], axis=1),
        )
        coefficients = solution[:, free:]
        face = self.mean + np.einsum("nm,mkc->nkc", coefficients, self.basis)
        return *self._moved_camera(face, rotation, scale, solution[:, :4]), coefficients


def unsure_jaw(camera: NDArray[np.float32], model: FaceModel) -> NDArray[np.bool_]:
    """Which of the 68 landmarks are points of the jaw that annotators of photos place elsewhere on a turned face.

    On the far side they mark the outline, on the near side they spread the points along the visible edge. These lines
    are not the jaw itself, and a fit to them is turned less than the face.

    Parameters
    ----------
    camera : ndarray (n, 3, 4)
        Face model to px.
    model : FaceModel
        The fitted face model.

    Returns
    -------
    ndarray (n, 68) bool
    """
    rotation = np.stack([Camera(matrix).rotation for matrix in camera]) if len(camera) else np.zeros((0, 3, 3))
    return _unsure(rotation, _sideways(VertexMap.of_300w(model), model))


def _sideways(where: VertexMap, model: FaceModel) -> Floats:
    """Position of the jaw's points from right to left of the subject, -1..1 (k,); 0 for other points."""
    x = where.on(model.mean)[:, 0] * where.jaw
    return np.asarray(x / np.abs(x).max(initial=1e-9))


def _unsure(rotation: Floats, sideways: Floats) -> NDArray[np.bool_]:
    return np.asarray(np.abs(rotation[:, 2, :1] * sideways) > _TURNED)


def _deviations(basis: Floats, model: FaceModel, prior: Prior, size: float) -> Floats:
    """Standard deviation of each coefficient (m,)."""
    moves = np.sqrt(np.square(model.basis.astype(np.float64)).sum(axis=2).mean(axis=1))
    alike = 0.01 * size / np.maximum(moves, 1e-12)
    shape = alike[: model.shape_count] if prior.shape is None else np.full(model.shape_count, prior.shape)
    rest = basis.shape[0] - model.shape_count
    return np.concatenate(
        [shape, alike[model.shape_count :] if prior.expression is None else np.full(rest, prior.expression)]
    )


def _rotations(vectors: Floats) -> Floats:
    """Rotation matrices (n, 3, 3) of rotation vectors (n, 3), by Rodrigues' formula."""
    angle = np.linalg.norm(vectors, axis=1)[:, None, None]
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
    small = np.maximum(angle, 1e-12)
    return np.asarray(np.eye(3) + np.sin(angle) / small * cross + (1 - np.cos(angle)) / small**2 * (cross @ cross))
