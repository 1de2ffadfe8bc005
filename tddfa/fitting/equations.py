"""The equations of a fit: least squares over camera, shape and expression of many faces at once.

The solver is Gauss-Newton, first over the camera alone (scaled orthography), then over camera and coefficients
together. A Gaussian prior (ridge) keeps the coefficients near their mean or near a given guess, and the rotation near
that of the guess. Bounds of coefficients are exact (projected Newton, Bertsekas 1982). Faces of one person can share
their shape: the other unknowns of each face are eliminated (Schur complement), and the sum is solved.
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
# Landmarks at the ends of the jaw are unreliable once the head is turned by this much. Landmarks nearer to the chin
# become unreliable at larger angles: the sine of the angle times the distance from the middle decides.
_TURNED = float(np.sin(np.radians(12)))
# Weight that fixes the shared shape of a person's faces, relative to the largest entry of the normal equations.
_HELD = 1e4


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
class Guess:
    """What is known of n faces before their landmarks, such as the prediction of a network.

    Half of a face in 2D leaves its yaw nearly free: a guess of the pose keeps it.

    Attributes
    ----------
    camera : ndarray (n, 3, 4)
        Face model to px.
    shape : ndarray (n, s)
        Mean of the prior of the shape.
    expression : ndarray (n, e)
        Mean of the prior of the expression.
    pose : float
        Standard deviation of the rotation about each axis, degrees.
    """

    camera: NDArray[np.float32]
    shape: NDArray[np.float32]
    expression: NDArray[np.float32]
    pose: float = 2.0

    def __post_init__(self) -> None:
        """Check arrays and number."""
        camera = checked("Guess.camera", self.camera, (None, 3, 4))
        object.__setattr__(self, "camera", camera)
        for name in ("shape", "expression"):
            object.__setattr__(self, name, checked(f"Guess.{name}", getattr(self, name), (len(camera), None)))
        if not (np.isfinite(self.pose) and self.pose > 0):
            raise ValueError(f"Guess.pose: expected an angle over 0 degrees, got {self.pose}")

    def __len__(self) -> int:
        return len(self.camera)

    def take(self, rows: NDArray[np.intp]) -> Guess:
        """The guess of some faces."""
        return Guess(self.camera[rows], self.shape[rows], self.expression[rows], self.pose)


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


class Problem:
    """The equations of some faces: landmarks in px, all other lengths in the face model's unit.

    Parameters
    ----------
    points : ndarray (n, k, 2 or 3)
        Landmarks.
    weights : ndarray (n, k)
        0 where a landmark is unknown.
    model : FaceModel
    where : VertexMap
        Positions of the landmarks on the model.
    prior : Prior
    guess : Guess, optional
        Of these faces.
    persons : ndarray (n,) int, optional
        Faces with the same number share their shape.
    """

    def __init__(
        self,
        points: Floats,
        weights: Floats,
        model: FaceModel,
        where: VertexMap,
        prior: Prior,
        guess: Guess | None = None,
        persons: NDArray[np.intp] | None = None,
    ) -> None:
        # 3D landmarks are on the jaw itself, in any pose
        self.jaw_weight = prior.jaw if points.shape[2] == 2 else 1.0
        self.sure_weight, self.sideways = np.where(where.jaw, self.jaw_weight, 1.0), sideways(where, model)
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
        ridge = variance / np.square(_deviations(self.basis, model, prior, size))
        self.ridge = np.tile(ridge, (len(points), 1))
        self.guess, self.persons = guess, None
        self.center = np.zeros_like(self.ridge)
        if guess is not None:
            self.center = np.concatenate([guess.shape, guess.expression], axis=1).astype(np.float64)
            self.near = _rotations_of(guess.camera)
            self.pose_ridge = variance / np.radians(guess.pose) ** 2
        if persons is not None:
            _, self.persons = np.unique(persons, return_inverse=True)
            # the prior of a shared shape counts once, over the faces that say something about it
            counts = np.bincount(self.persons[self.enough], minlength=int(self.persons.max(initial=-1)) + 1)
            self.ridge[:, : self.shape_count] /= np.maximum(counts, 1)[self.persons, None]
        low, high = model.expression_range or (-np.inf, np.inf)
        free = np.full(self.shape_count, np.inf)
        self.low = np.concatenate([-free, np.full(model.expression_count, low)])
        self.high = np.concatenate([free, np.full(model.expression_count, high)])

    def solve(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Solve for cameras (n, 3, 4), shapes, expressions and errors (n,), %."""
        n = len(self.points)
        coefficients = np.clip(self.center, self.low, self.high)
        # first by the landmarks that are reliable in any pose, to learn the pose
        given, self.weights = self.weights, self.weights * self.sure_weight
        rotation, scale, offset = self._first_camera()
        face = self._face(coefficients)
        for _ in range(_CAMERA_STEPS):
            rotation, scale, offset = self._better_camera(face, rotation, scale, offset)
        self.weights = given * np.where(unsure(rotation, self.sideways), self.jaw_weight, 1.0)
        for _ in range(_STEPS):
            rotation, scale, offset, coefficients = self._better_all(face, rotation, scale, offset, coefficients)
            face = self._face(coefficients)
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
        """Camera of the guess, or of the best affine map of the mean face: the rotation nearest to the map's rows."""
        if self.guess is not None:
            scale = np.linalg.norm(self.guess.camera[:, :2, :3], axis=2).mean(axis=1).astype(np.float64)
            scale = np.maximum(scale, 1e-9)
            return self.near, scale, self._offset(self._face(self.center), self.near, scale)
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
        return rotation, scale, self._offset(face, rotation, scale)

    def _face(self, coefficients: Floats) -> Floats:
        """Landmarks (n, k, 3) on the model, in its frame."""
        return np.asarray(self.mean + np.einsum("nm,mkc->nkc", coefficients, self.basis))

    def _offset(self, face: Floats, rotation: Floats, scale: Floats) -> Floats:
        """The best offset of a camera with this rotation and scale."""
        turned = np.einsum("nij,nkj->nki", rotation, face) * _FLIP
        left = self.points - (scale[:, None, None] * turned)[..., : self.axes]
        return np.asarray(np.einsum("nk,nkc->nc", self.weights, left) / self.weights.sum(axis=1)[:, None])

    def _stay_near(self, rotation: Floats, normal: Floats, right: Floats) -> None:
        """Add the prior of the rotation, the first three unknowns of a step, to its equations."""
        if self.guess is None:
            return
        normal[:, [0, 1, 2], [0, 1, 2]] += self.pose_ridge
        right[:, :3] -= self.pose_ridge * _rotation_vectors(rotation @ self.near.transpose(0, 2, 1))

    def _share_shape(self, normal: Floats, right: Floats, first: int, start: Floats) -> None:
        """Hold the shape, the unknowns from `first` on, at the best value for all faces of a person together.

        The other unknowns are eliminated. Coefficients that the last step (`start`) left at a bound stay there.
        """
        if self.persons is None:
            return
        hold = _HELD * np.abs(normal).max()
        shape = np.arange(first, first + self.shape_count)
        others = np.setdiff1d(np.arange(normal.shape[1]), shape)
        values = np.concatenate([np.zeros((len(start), first)), start], axis=1)[:, others]
        at_bound = np.concatenate(
            [np.zeros((len(start), first), bool), (start <= self.low) | (start >= self.high)], axis=1
        )
        held = np.where(at_bound[:, others], hold, 0.0)
        inner = normal[:, others[:, None], others]
        inner[:, np.arange(len(others)), np.arange(len(others))] += held
        coupling = normal[:, others[:, None], shape]
        solved = np.linalg.solve(
            inner, np.concatenate([coupling, (right[:, others] + held * values)[..., None]], axis=2)
        )
        own = normal[:, shape[:, None], shape] - coupling.transpose(0, 2, 1) @ solved[:, :, :-1]
        target = right[:, shape] - np.einsum("noi,no->ni", coupling, solved[:, :, -1])
        count = int(self.persons.max()) + 1
        total, wanted = np.zeros((count, *own.shape[1:])), np.zeros((count, len(shape)))
        # a face with too few landmarks says nothing about its person
        np.add.at(total, self.persons[self.enough], own[self.enough])
        np.add.at(wanted, self.persons[self.enough], target[self.enough])
        none = np.bincount(self.persons[self.enough], minlength=count) == 0
        total[none] = np.eye(len(shape))
        best = np.linalg.solve(total, wanted[..., None])[..., 0][self.persons]
        normal[:, shape, shape] += hold
        right[:, shape] += hold * best

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
        self._stay_near(rotation, normal, right)
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
        normal[:, diagonal, diagonal] += np.concatenate(
            [np.full((n, free), self.ridge.min(axis=1, keepdims=True) * 1e-3), self.ridge], axis=1
        )
        right = np.einsum("nrm,nr->nm", jacobian, (target * root).reshape(n, -1))
        right[:, free:] += self.ridge * self.center
        self._stay_near(rotation, normal, right)
        self._share_shape(normal, right, free, start)
        unbounded = np.full(free, np.inf)
        solution = bounded_least_squares(
            normal,
            right,
            np.concatenate([-unbounded, self.low]),
            np.concatenate([unbounded, self.high]),
            np.concatenate([np.zeros((n, free)), start], axis=1),
        )
        coefficients = solution[:, free:]
        face = self._face(coefficients)
        return *self._moved_camera(face, rotation, scale, solution[:, :4]), coefficients


def sideways(where: VertexMap, model: FaceModel) -> Floats:
    """Position of the jaw's points from right to left of the subject, -1..1 (k,); 0 for other points."""
    x = where.on(model.mean)[:, 0] * where.jaw
    return np.asarray(x / np.abs(x).max(initial=1e-9))


def unsure(rotation: Floats, sideways: Floats) -> NDArray[np.bool_]:
    """Which landmarks (n, k) are on a jaw that is turned too far, by their `sideways` (k,)."""
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


def _rotation_vectors(rotation: Floats) -> Floats:
    """Rotation vectors (n, 3) of rotation matrices (n, 3, 3) of less than half a turn."""
    axis = np.stack(
        [
            rotation[:, 2, 1] - rotation[:, 1, 2],
            rotation[:, 0, 2] - rotation[:, 2, 0],
            rotation[:, 1, 0] - rotation[:, 0, 1],
        ],
        axis=1,
    )
    sine = np.linalg.norm(axis, axis=1) / 2
    angle = np.arctan2(sine, (np.trace(rotation, axis1=1, axis2=2) - 1) / 2)
    return np.asarray(axis / 2 * np.where(sine > 1e-9, angle / np.maximum(sine, 1e-9), 1)[:, None])


def _rotations_of(camera: NDArray[np.float32]) -> Floats:
    """Rotations (n, 3, 3) of cameras (n, 3, 4)."""
    return np.stack([Camera(matrix).rotation for matrix in camera]) if len(camera) else np.zeros((0, 3, 3))
