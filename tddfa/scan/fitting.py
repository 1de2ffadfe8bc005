"""The face model registered to a scan: landmarks first, then the surface (point-to-plane ICP with robust weights)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from tddfa.fitting.least_squares import bounded_least_squares
from tddfa.model.face_model import FaceModel
from tddfa.scan.head import MM
from tddfa.scan.landmarker import ScanFace
from tddfa.scan.mesh import Scan
from tddfa.scan.sampling import random_points
from tddfa.scan.similarity import Similarity

Floats = NDArray[np.float64]

# Vertices of the model and points of the scan that are matched.
_MODEL_POINTS, _SCAN_POINTS = 2500, 30_000
# Largest distance of a match, mm: at first, and at the end; cosine of the largest angle between the normals.
_FIRST_REACH, _LAST_REACH, _ALIKE = 14.0, 4.0, 0.6
_LANDMARK_STEPS, _STEPS = 5, 14
# Standard deviations: of a landmark and of a matched point, mm; of shape coefficients and of expression weights.
_LANDMARK, _POINT, _SHAPE, _EXPRESSION = 2.5, 1.0, 1.0, 0.35
# Matched points are not independent.
_REDUNDANCY = 8.0
# Radius of the part of the scan that is matched, mm.
_REGION = 150.0


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
        Model, in mm, to the scan.
    distances : ndarray (n,)
        mm, from each vertex to the scan along the scan's normal, positive outside; NaN where there is no scan.
    colors : ndarray (n, 3) float32 or None
        Those of the scan, RGB, 0..1.
    landmarks : ndarray (68, 3)
        Of the fitted model, in the frame of the scan.
    """

    vertices: Floats
    triangles: NDArray[np.int32]
    shape: Floats
    expression: Floats
    similarity: Similarity
    distances: Floats
    colors: NDArray[np.float32] | None
    landmarks: Floats


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
        self.z = np.zeros(len(self.basis))
        self.similarity = Similarity(np.eye(3), 1.0, np.zeros(3))

    def places(self, mean: Floats, basis: Floats) -> Floats:
        """Points of the model with the coefficients so far."""
        return np.asarray(mean + np.tensordot(self.z, basis, axes=1))

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
        s, r = self.similarity.scale, self.similarity.rotation
        turned = s * own @ r.T
        placed = turned + self.similarity.shift
        x, y, z = turned.T
        zero = np.zeros_like(x)
        rotations = np.stack(
            [np.stack([zero, -z, y], 1), np.stack([z, zero, -x], 1), np.stack([-y, x, zero], 1)], axis=1
        )
        moves = np.concatenate(
            [
                rotations,
                turned[:, None],
                np.broadcast_to(np.eye(3), (len(own), 3, 3)),
                s * np.einsum("ckj,ij->kci", basis, r),
            ],
            axis=1,
        )
        residual = target - placed
        if normals is None:
            rows = moves.transpose(0, 2, 1).reshape(-1, moves.shape[1])
            right, weight = residual.reshape(-1), np.repeat(weights, 3)
        else:
            rows = np.einsum("kci,ki->kc", moves, normals)
            right, weight = np.einsum("ki,ki->k", residual, normals), weights
        right = right + rows[:, 7:] @ self.z
        self.normal += (rows * weight[:, None]).T @ rows
        self.right += (rows * weight[:, None]).T @ right

    def begin(self) -> None:
        """Begin a step: nothing is known but the prior."""
        self.normal, self.right = np.diag(self.ridge), np.zeros(len(self.ridge))

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
    rng = np.random.default_rng(0)
    near = np.linalg.norm(to_scan.inverse(scan.vertices), axis=1) < _REGION
    inside = near[scan.triangles].all(axis=1)
    part = Scan(scan.vertices, scan.triangles[inside]) if inside.any() else scan
    points, normals = random_points(part, _SCAN_POINTS, rng)
    points, normals = to_scan.inverse(points), (normals @ to_scan.rotation).astype(np.float64)
    close = np.linalg.norm(points, axis=1) < _REGION
    points, normals = points[close], normals[close]
    if np.median(normals[:, 2]) < 0:
        normals = -normals
    tree = cKDTree(points)

    fit = _Fit(model)
    marks = model.landmark_triangles, model.landmark_weights.astype(np.float64)
    mark_mean = np.einsum("lki,lk->li", fit.mean[marks[0]], marks[1])
    mark_basis = np.einsum("clki,lk->cli", fit.basis[:, marks[0]], marks[1])
    fit.similarity = Similarity(np.eye(3), 1.0, -mark_mean.mean(axis=0))
    target = to_scan.inverse(face.landmarks)
    mark_weights = (0.2 + face.confidence) * np.where(face.on_surface, 1.0, 0.3) / _LANDMARK**2
    for _ in range(_LANDMARK_STEPS):
        fit.begin()
        fit.step(fit.places(mark_mean, mark_basis), mark_basis, target, None, mark_weights)
        fit.end()
    chosen = rng.permutation(np.flatnonzero(model.front & (model.part == 0)))[:_MODEL_POINTS]
    mean, basis = fit.mean[chosen], fit.basis[:, chosen]
    for number in range(_STEPS):
        reach = _FIRST_REACH * (_LAST_REACH / _FIRST_REACH) ** (number / (_STEPS - 1))
        own = fit.places(mean, basis)
        placed, own_normals = fit.similarity(own), _normals(fit, chosen)
        away, at = tree.query(placed)
        plane = normals[at]
        alike = np.einsum("ki,ki->k", plane, own_normals)
        weights = np.where((alike > _ALIKE) & (away < reach), 1 / (1 + (away / (reach / 2)) ** 2) ** 2, 0.0)
        fit.begin()
        fit.step(own, basis, points[at], plane, weights / (_REDUNDANCY * _POINT**2))
        fade = 1 - 0.8 * number / (_STEPS - 1)
        fit.step(fit.places(mark_mean, mark_basis), mark_basis, target, None, fade * mark_weights)
        fit.end()
    return _result(scan, fit, to_scan, points, normals, tree)


def _normals(fit: _Fit, chosen: NDArray[np.intp]) -> Floats:
    """Normals of some vertices of the model, in the frame of the head."""
    vertices = fit.places(fit.mean, fit.basis)
    normals = Scan(vertices, fit.model.triangles).normals[chosen].astype(np.float64)
    return np.asarray(normals @ fit.similarity.rotation.T)


def _result(scan: Scan, fit: _Fit, to_scan: Similarity, points: Floats, normals: Floats, tree: cKDTree) -> FittedFace:
    local = fit.similarity(fit.places(fit.mean, fit.basis))
    away, at = tree.query(local)
    along = np.einsum("ki,ki->k", local - points[at], normals[at])
    distances = np.where(away < 3 * _LAST_REACH, along, np.nan)
    vertices = to_scan(local)
    colors = None
    if scan.colors is not None:
        colors = scan.colors[cKDTree(scan.vertices).query(vertices)[1]]
    rotation = to_scan.rotation @ fit.similarity.rotation
    whole = Similarity(rotation, to_scan.scale * fit.similarity.scale, to_scan(fit.similarity.shift[None])[0])
    count = fit.model.shape_count
    model = fit.model
    landmarks = np.einsum("lki,lk->li", vertices[model.landmark_triangles], model.landmark_weights)
    return FittedFace(vertices, model.triangles, fit.z[:count], fit.z[count:], whole, distances, colors, landmarks)
