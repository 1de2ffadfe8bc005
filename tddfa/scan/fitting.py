"""The face model registered to a scan: landmarks first, then the surface (point-to-plane ICP with robust weights)."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from tddfa.fitting.least_squares import bounded_least_squares
from tddfa.model.face_model import FaceModel
from tddfa.scan.face import FittedFace, ScanFace
from tddfa.scan.head import MM
from tddfa.scan.mesh import Scan
from tddfa.scan.sampling import random_points
from tddfa.scan.similarity import Similarity

Floats = NDArray[np.float64]

# Vertices of the model and points of the scan that are matched.
_MODEL_POINTS, _SCAN_POINTS = 2500, 30_000
# Largest distance of a match, mm: at first, and at the end; cosine of the largest angle between the normals.
_FIRST_REACH, _LAST_REACH, _ALIKE = 14.0, 4.0, 0.6
_LANDMARK_STEPS, _STEPS = 5, 20
# Standard deviations: of a landmark and of a matched point, mm; of shape coefficients and of expression weights.
_LANDMARK, _POINT, _SHAPE, _EXPRESSION = 5.0, 1.0, 1.0, 0.35
# Matched points are not independent.
_REDUNDANCY = 4.0
# The expression of the second start, and the landmarks that it moves.
_JAW_OPEN, _WIDE = "jawOpen", 0.8
_MOVED_BY_JAW = np.r_[3:14, 54:60, 48, 60, 64:68]
# Limits of a registered face: minimum fraction of its vertices within a distance of the scan, mm; maximum shape
# coefficients (root mean square); maximum factor between its size and the size of the landmarks. The extremes of six
# synthetic scans with holes, and of seven real heads and statues, are 0.70, 1.06 and 1.06. Waves, planes and a sphere
# exceed at least one of the three limits.
_COVERED, _NEAR, _USUAL, _RESIZED = 0.4, 2.0, 1.5, 1.25
# Radius of the part of the scan that is matched, mm.
_REGION = 150.0


class _Fit:
    """The unknowns: a similarity and the coefficients; all lengths in mm."""

    def __init__(self, model: FaceModel) -> None:
        self.mm = MM.get(model.unit, 1.0)
        self.mean = model.mean.astype(np.float64) * self.mm
        self.basis = model.basis.astype(np.float64) * self.mm
        self.model = model
        low, high = model.expression_range or (-np.inf, np.inf)
        free = np.full(7 + model.shape_count, np.inf)
        self.low = np.concatenate([-free, np.full(model.expression_count, low)])
        self.high = np.concatenate([free, np.full(model.expression_count, high)])
        spread = np.concatenate([np.full(model.shape_count, _SHAPE), np.full(model.expression_count, _EXPRESSION)])
        self.ridge = np.concatenate([np.full(7, 1e-6), 1 / spread**2])
        corners, weights = model.landmark_triangles, model.landmark_weights.astype(np.float64)
        self.mark_mean = np.einsum("lki,lk->li", self.mean[corners], weights)
        self.mark_basis = np.einsum("clki,lk->cli", self.basis[:, corners], weights)
        front = np.flatnonzero(model.front & (model.part == 0))
        self.chosen = np.random.default_rng(0).permutation(front)[:_MODEL_POINTS]
        self.z = np.zeros(len(self.basis))
        self.expected = np.zeros(len(self.basis))
        self.similarity = Similarity(np.eye(3), 1.0, np.zeros(3))

    def places(self, mean: Floats, basis: Floats) -> Floats:
        """Points of the model with the coefficients so far."""
        return np.asarray(mean + np.tensordot(self.z, basis, axes=1))

    def fresh(self) -> _Fit:
        """A new fit of the same model, without known pose and coefficients."""
        other = copy(self)
        other.z, other.expected = np.zeros_like(self.z), np.zeros_like(self.expected)
        return other

    def landmarks(self) -> Floats:
        """Landmarks (68, 3) of the model, in the frame of the head, mm."""
        return self.similarity(self.places(self.mark_mean, self.mark_basis))

    def step(self, own: Floats, basis: Floats, target: Floats, normals: Floats | None, weights: Floats) -> None:
        """Move towards targets (k, 3), or towards the planes through them; coefficients stay within bounds.

        Parameters
        ----------
        own : ndarray (k, 3)
            Points of the model, with the coefficients so far.
        basis : ndarray (c, k, 3)
        target : ndarray (k, 3)
        normals : ndarray (k, 3) or None
            Of the planes.
        weights : ndarray (k,)
        """
        if normals is None:  # a point is on three planes
            own, target, weights = (np.repeat(array, 3, axis=0) for array in (own, target, weights))
            basis, normals = np.repeat(basis, 3, axis=1), np.tile(np.eye(3), (len(own) // 3, 1))
        s, r = self.similarity.scale, self.similarity.rotation
        turned = s * own @ r.T
        along = (turned * normals).sum(axis=1)
        moves = s * np.einsum("ckj,kj->ck", basis, normals @ r)
        rows = np.concatenate([np.cross(turned, normals), along[:, None], normals, moves.T], axis=1)
        right = ((target - self.similarity.shift) * normals).sum(axis=1) - along + self.z @ moves
        weighted = (rows * weights[:, None]).T
        self.normal += weighted @ rows
        self.right += weighted @ right

    def begin(self) -> None:
        """Begin a step with the prior alone."""
        self.normal, self.right = np.diag(self.ridge), np.concatenate([np.zeros(7), self.ridge[7:] * self.expected])

    def end(self) -> None:
        """Solve for what `step` has added since `begin`."""
        start = np.concatenate([np.zeros(7), self.z])
        found = bounded_least_squares(self.normal[None], self.right[None], self.low, self.high, start[None])[0]
        turn, log_scale, move, self.z = found[:3], found[3], found[4:7], found[7:]
        angle = float(np.linalg.norm(turn))
        turn = turn * min(1.0, 0.3 / max(angle, 1e-12))
        factor = float(np.exp(np.clip(log_scale, -0.2, 0.2)))
        old = self.similarity
        self.similarity = Similarity(
            Rotation.from_rotvec(turn).as_matrix() @ old.rotation, old.scale * factor, old.shift + move
        )


def fit_face(scan: Scan, face: ScanFace, model: FaceModel) -> FittedFace:
    """Register a face model to a scan.

    Parameters
    ----------
    scan : Scan
    face : ScanFace
        Its landmarks.
    model : FaceModel
    """
    # in mm, in the frame of the head: all numbers are of one size
    to_scan = face.similarity
    target = _Target.of(scan, to_scan, np.random.default_rng(0))
    marks = to_scan.inverse(face.landmarks)
    weights = (0.2 + face.confidence) * np.where(face.on_surface, 1.0, 0.3)
    # from the landmarks as they are, and with the mouth wide open: its bottom may look like a closed mouth
    start = _Fit(model)
    fits = [_registered(start.fresh(), target, marks, weights)]
    if _JAW_OPEN in model.expression_names:
        opened = start.fresh()
        opened.expected[model.shape_count + model.expression_names.index(_JAW_OPEN)] = _WIDE
        above = weights.copy()
        above[_MOVED_BY_JAW] = 0
        fits.append(_registered(opened, target, marks, above))
    best = min(fits, key=lambda fit: target.residual(fit))
    # once more, from its own landmarks
    best = _registered(start.fresh(), target, best.landmarks(), np.ones(len(marks)))
    return _result(scan, best, to_scan, target)


@dataclass(frozen=True, eq=False)
class _Target:
    """Points of a scan in the frame of the head, mm."""

    points: Floats
    normals: Floats
    tree: cKDTree

    @classmethod
    def of(cls, scan: Scan, to_scan: Similarity, rng: np.random.Generator) -> _Target:
        near = np.linalg.norm(to_scan.inverse(scan.vertices), axis=1) < _REGION
        inside = near[scan.triangles].all(axis=1)
        part = Scan(scan.vertices, scan.triangles[inside]) if inside.any() else scan
        points, normals = random_points(part, _SCAN_POINTS, rng)
        points, normals = to_scan.inverse(points), (normals @ to_scan.rotation).astype(np.float64)
        close = np.linalg.norm(points, axis=1) < _REGION
        points, normals = points[close], normals[close]
        if np.median(normals[:, 2]) < 0:
            normals = -normals
        return cls(points, normals, cKDTree(points))

    def residual(self, fit: _Fit) -> float:
        """Mean distance of the model's surface to the scan, mm; no distance counts more than `_LAST_REACH`."""
        placed = fit.similarity(fit.places(fit.mean[fit.chosen], fit.basis[:, fit.chosen]))
        return float(self.tree.query(placed)[0].clip(0, _LAST_REACH).mean())


def _registered(fit: _Fit, target: _Target, marks: Floats, mark_weights: Floats) -> _Fit:
    """Register a model: to landmarks (68, 3) with weights (68,), then to the surface too."""
    mark_weights = mark_weights / _LANDMARK**2
    fit.similarity = Similarity(np.eye(3), 1.0, -fit.mark_mean.mean(axis=0))
    for _ in range(_LANDMARK_STEPS):
        fit.begin()
        fit.step(fit.places(fit.mark_mean, fit.mark_basis), fit.mark_basis, marks, None, mark_weights)
        fit.end()
    fit.expected[:] = 0
    mean, basis = fit.mean[fit.chosen], np.ascontiguousarray(fit.basis[:, fit.chosen])
    for number in range(_STEPS):
        reach = _FIRST_REACH * (_LAST_REACH / _FIRST_REACH) ** (number / (_STEPS - 1))
        own = fit.places(mean, basis)
        placed, own_normals = fit.similarity(own), _normals(fit, fit.chosen)
        away, at = target.tree.query(placed)
        plane = target.normals[at]
        alike = np.einsum("ki,ki->k", plane, own_normals)
        weights = np.where((alike > _ALIKE) & (away < reach), 1 / (1 + (away / (reach / 2)) ** 2) ** 2, 0.0)
        fit.begin()
        fit.step(own, basis, target.points[at], plane, weights / (_REDUNDANCY * _POINT**2))
        fade = 1 - 0.8 * number / (_STEPS - 1)
        fit.step(fit.places(fit.mark_mean, fit.mark_basis), fit.mark_basis, marks, None, fade * mark_weights)
        fit.end()
    return fit


def _normals(fit: _Fit, chosen: NDArray[np.intp]) -> Floats:
    """Normals of some vertices of the model, in the frame of the head."""
    vertices = fit.places(fit.mean, fit.basis)
    normals = Scan(vertices, fit.model.triangles).normals[chosen].astype(np.float64)
    return np.asarray(normals @ fit.similarity.rotation.T)


def _result(scan: Scan, fit: _Fit, to_scan: Similarity, target: _Target) -> FittedFace:
    local = fit.similarity(fit.places(fit.mean, fit.basis))
    away, at = target.tree.query(local)
    along = np.einsum("ki,ki->k", local - target.points[at], target.normals[at])
    distances = np.where(away < 3 * _LAST_REACH, along, np.nan)
    vertices = to_scan(local)
    colors = None
    if scan.colors is not None:
        colors = scan.colors[cKDTree(scan.vertices).query(vertices)[1]]
    rotation = to_scan.rotation @ fit.similarity.rotation
    whole = Similarity(rotation, to_scan.scale * fit.similarity.scale, to_scan(fit.similarity.shift[None])[0])
    count = fit.model.shape_count
    landmarks = to_scan(fit.landmarks())
    shape, expression = fit.z[:count], fit.z[count:]
    skin = fit.model.front & (fit.model.part == 0)
    resized = fit.similarity.scale
    fits = bool(
        np.mean(np.abs(distances[skin]) < _NEAR) >= _COVERED
        and np.sqrt(np.mean(np.square(shape))) <= _USUAL
        and 1 / _RESIZED <= resized <= _RESIZED
    )
    return FittedFace(vertices, fit.model.triangles, shape, expression, whole, distances, colors, landmarks, fits)
