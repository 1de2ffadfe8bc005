"""MediaPipe's 478 points as positions on the surface of the face model.

A position is a triangle of vertices and three weights, the same for all faces. It is the one whose images are nearest
to where MediaPipe's Face Landmarker detects the point, over thousands of labelled crops: a robust fit in the image.
Depth follows from the turned faces. The irises are not fitted, because the labels do not turn the eyeballs: their
centres and edges are those of the eyeballs that look straight ahead.

Run ``python -m tddfa.modelling.mediapipe POINTS CROPS FACE_MODEL OUT`` to make ``mediapipe_points.npz``, which lies
beside this file. POINTS comes from ``benchmarks/mediapipe_teacher.py``. Every fifth crop is kept for the evaluation.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.files import write_atomic
from tddfa.model.face_model import FaceModel
from tddfa.modelling.teacher import Detections, Floats, Indices, Labels, Positions

COUNT = 478
"""Number of points."""

SURFACE_COUNT = 468
"""The first points lie on the face, the others on the eyeballs."""

IRISES = {1: 473, 2: 468}
"""Centre of the iris by part of the face model (1 left, 2 right).

The four points after it lie on the edge: to the subject's left, above, to the right, below.
"""

REGIONS: dict[str, tuple[int, ...]] = {
    "lids": (
        33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246,
        263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466,
    ),
    "lips": (
        61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409,
        78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415,
    ),
    "brows": (276, 283, 282, 295, 285, 300, 293, 334, 296, 336, 46, 53, 52, 65, 55, 70, 63, 105, 66, 107),
    "oval": (
        10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
        148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
    ),
    "irises": tuple(range(SURFACE_COUNT, COUNT)),
}  # fmt: skip
"""Points by part of the face, from MediaPipe's lists of connections."""

HELD_OUT = 5
"""Every fifth crop is for the evaluation alone."""

# Face model units (cm): where a detection counts a quarter; where a position is searched around the nearest vertex.
_TOLERANCE, _RADIUS = 0.25, 0.6
_SEARCH_FACES, _FIT_FACES, _ROUNDS = 128, 3000, 12
# Cosine between the view and the direction from the head's axis to the point: below, the head may hide the point.
_MIN_FACING = 0.2
# Degrees between two triangles at the edge of the iris.
_IRIS_CREASE = 20.0


def derive(model: FaceModel, detections: Detections) -> tuple[Positions, dict[str, float]]:
    """Find the positions of all 478 points.

    Parameters
    ----------
    model : FaceModel
        With eyeballs.
    detections : Detections
        Of well detected faces.

    Returns
    -------
    positions : Positions
        Symmetric on the mean face, as far as the triangles of both sides are.
    offsets : dict of str to float
        See `label_offsets`.
    """
    surface, offsets = surface_positions(model, detections.first_points(SURFACE_COUNT))
    eyes = irises(model)
    parts = [surface, *(eyes[part] for part in sorted(IRISES, key=lambda part: IRISES[part]))]
    triangles = np.concatenate([part.triangles for part in parts])
    return Positions(triangles, np.concatenate([part.weights for part in parts])), offsets


def surface_positions(model: FaceModel, detections: Detections) -> tuple[Positions, dict[str, float]]:
    """Find the positions of points on the face, without the eyeballs; the rest as of `derive`."""
    vertices = np.flatnonzero((model.part == 0) & model.front)
    nearest = nearest_vertices(model, detections.labels, detections.points, vertices)
    offsets = label_offsets(model, detections, nearest)
    fitted = detections.with_offsets(offsets)[:: -(-len(detections.points) // _FIT_FACES)]
    face = model.triangles[(model.part[model.triangles] == 0).all(axis=1)]
    places = [_fitted(model, fitted, face, point, vertex) for point, vertex in enumerate(nearest)]
    return _symmetric(model, face, np.array(places), detections.mirrored), offsets


def label_offsets(model: FaceModel, detections: Detections, nearest: Indices) -> dict[str, float]:
    """Offsets in px, right and down, of the labels of each source.

    Half a pixel more or less is a convention of images, so it is the same in x and in y. It is measured across the
    face, where a symmetric teacher leaves no doubt: the middle between a point and its mirror image lies in the middle
    of the face.
    """
    labels, mirrored = detections.labels, detections.mirrored
    places = model.mean[nearest]
    towards_middle = (places[mirrored] * np.array([-1, 1, 1], dtype=np.float32) - places) / 2
    inner = np.abs(places[:, 0]) < np.abs(places[:, 0]).max() * 0.6
    used, local = np.unique(nearest[inner], return_inverse=True)
    residual = labels.project(model, used)[:, local] - detections.points[:, inner]
    residual += towards_middle[inner] @ labels.camera[:, :2, :3].transpose(0, 2, 1)
    across = labels.camera[:, :2, 0] / np.linalg.norm(labels.camera[:, :2, 0], axis=1, keepdims=True)
    lateral = (np.median(residual, axis=1) * across).sum(axis=1)
    return {
        str(name): float(np.median((lateral / across.sum(axis=1))[detections.source == name]))
        for name in np.unique(detections.source)
    }


def irises(model: FaceModel) -> dict[int, Positions]:
    """Centre and edge of each iris (5,), by part, on the outer surface of the eyeball that looks straight ahead.

    The iris of the open face model is a disc behind the cornea. Its edge is a crease, a circle.
    """
    balls = {part: model.triangles[(model.part[model.triangles] == part).all(axis=1)] for part in IRISES}
    (left, left_radius), (right, right_radius) = (iris_circle(model, balls[part]) for part in (1, 2))
    centre, radius = (left + right * [-1, 1]) / 2, (left_radius + right_radius) / 2
    directions = np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]])
    return {
        part: _foremost(model, ball, centre * ([1, 1] if part == 1 else [-1, 1]) + radius * directions)
        for part, ball in balls.items()
    }


def _foremost(model: FaceModel, triangles: Indices, places: Floats) -> Positions:
    """Positions at x and y (p, 2) of the mean face; of the triangles one behind the other, on the foremost."""
    corners = np.asarray(model.mean[triangles], dtype=np.float64)
    chosen, weights = [], []
    for place in places:
        offsets = corners[..., :2] - place
        share, distance = simplex_minimum(offsets @ offsets.transpose(0, 2, 1))
        depth = (corners[..., 2] * share).sum(axis=1)
        best = int(np.where(distance < 1e-9, depth, -np.inf).argmax())
        chosen.append(triangles[best])
        weights.append(share[best])
    return Positions(np.array(chosen, dtype=np.int32), np.array(weights, dtype=np.float32))


def iris_circle(model: FaceModel, triangles: NDArray[np.int32]) -> tuple[NDArray[np.float64], float]:
    """Centre (2,) and radius of the iris of an eyeball, seen from the front."""
    corners = np.asarray(model.mean[triangles], dtype=np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    faces = np.tile(np.arange(len(triangles)), 3)
    order = np.lexsort(edges.T)
    edges, faces = edges[order], faces[order]
    shared = np.flatnonzero((edges[1:] == edges[:-1]).all(axis=1))
    one, other = normals[faces[shared]], normals[faces[shared + 1]]
    crease = (one * other).sum(axis=1) < np.cos(np.radians(_IRIS_CREASE))
    forward = np.minimum(one[:, 2], other[:, 2]) > 0.3
    points = np.asarray(model.mean[np.unique(edges[shared[crease & forward]])][:, :2], dtype=np.float64)
    if len(points) < 8:
        raise ValueError(f"model: expected the crease of an iris, got {len(points)} vertices of one")
    system = np.column_stack([2 * points, np.ones(len(points))])
    x, y, rest = np.linalg.lstsq(system, np.square(points).sum(axis=1), rcond=None)[0]
    radius = float(np.sqrt(rest + x * x + y * y))
    error = float(np.abs(np.linalg.norm(points - (x, y), axis=1) - radius).max())
    if error > 0.02 * radius:
        raise ValueError(f"model: expected an iris that is a circle, got one of {radius:.3f} that is {error:.3f} off")
    return np.array([x, y]), radius


def _fitted(
    model: FaceModel, detections: Detections, face: NDArray[np.int32], point: int, vertex: int
) -> NDArray[np.float32]:
    """Place (3,) of a point on the mean face."""
    place = model.mean[vertex]
    outward = place * [1, 0, 1] / np.linalg.norm(place[[0, 2]])
    towards_viewer = detections.labels.camera[:, 2, :3]
    facing = (towards_viewer / np.linalg.norm(towards_viewer, axis=1, keepdims=True)) @ outward
    seen = facing > min(_MIN_FACING, float(np.median(facing)))
    triangles = _around(model, face, place)
    used, local = np.unique(triangles, return_inverse=True)
    local = local.reshape(-1, 3)
    labels = detections.labels[seen]
    tolerance = _TOLERANCE * labels.scale
    best, weights = best_position(labels.project(model, used), detections.points[seen, point], local, tolerance)
    return np.asarray(weights @ model.mean[triangles[best]], dtype=np.float32)


def _around(model: FaceModel, face: NDArray[np.int32], place: Floats) -> NDArray[np.int32]:
    near = np.linalg.norm(model.mean - place, axis=1) < _RADIUS
    return face[near[face].all(axis=1)]


def _symmetric(model: FaceModel, face: NDArray[np.int32], places: Floats, mirrored: Indices) -> Positions:
    """Positions nearest to the mean of each place (p, 3) and its mirrored point's mirror image."""
    middle = (places + places[mirrored] * [-1, 1, 1]) / 2
    triangles, weights = [], []
    for place in middle:
        around = _around(model, face, place)
        best, share = closest_position(place, model.mean[around])
        triangles.append(around[best])
        weights.append(share)
    return Positions(np.array(triangles, dtype=np.int32), np.array(weights, dtype=np.float32))


def simplex_minimum(quadratic: Floats) -> tuple[Floats, Floats]:
    """Barycentric weights w that minimise ``w @ Q @ w``.

    Parameters
    ----------
    quadratic : ndarray (t, 3, 3)
        Symmetric, positive semi-definite.

    Returns
    -------
    weights : ndarray (t, 3)
        Not negative; they sum to 1.
    minimum : ndarray (t,)

    Examples
    --------
    >>> weights, minimum = simplex_minimum(np.diag([1.0, 1.0, 0.5])[None])
    >>> weights[0].tolist(), float(minimum[0])
    ([0.25, 0.25, 0.5], 0.25)
    """
    q = np.asarray(quadratic, dtype=np.float64)
    candidates = [np.broadcast_to(corner, (len(q), 3)) for corner in np.eye(3)]
    for i, j in ((0, 1), (1, 2), (2, 0)):
        along = q[:, i, i] + q[:, j, j] - 2 * q[:, i, j]
        share = np.clip((q[:, i, i] - q[:, i, j]) / np.maximum(along, 1e-300), 0, 1)
        edge = np.zeros((len(q), 3))
        edge[:, i], edge[:, j] = 1 - share, share
        candidates.append(edge)
    adjugate = np.stack([np.cross(q[:, 1], q[:, 2]), np.cross(q[:, 2], q[:, 0]), np.cross(q[:, 0], q[:, 1])], axis=1)
    inner = adjugate.sum(axis=2)
    total = inner.sum(axis=1, keepdims=True)
    inside = (inner >= 0).all(axis=1, keepdims=True) & (total > 0)
    candidates.append(np.where(inside, inner / np.where(inside, total, 1), candidates[0]))
    weights = np.stack(candidates, axis=1)
    value = np.einsum("tci,tij,tcj->tc", weights, q, weights)
    best = value.argmin(axis=1)
    at = np.arange(len(q))
    return weights[at, best], value[at, best]


def _first_least(values: Floats) -> int:
    """Row of the first value that is the least but for rounding: neighbouring triangles share their edges."""
    return int((values <= values.min() * (1 + 1e-9) + 1e-15).argmax())


def closest_position(point: Floats, corners: Floats) -> tuple[int, Floats]:
    """Triangle and weights (3,) of the point of a surface, triangles (t, 3, 3), that is closest to `point` (3,)."""
    offsets = np.asarray(corners, dtype=np.float64) - point
    weights, distance = simplex_minimum(offsets @ offsets.transpose(0, 2, 1))
    best = _first_least(distance)
    return best, weights[best]


def nearest_vertices(model: FaceModel, labels: Labels, points: Floats, vertices: Indices) -> Indices:
    """For each point (n, p, 2) the vertex of those given whose image is nearest, over the crops."""
    step = -(-len(points) // _SEARCH_FACES)
    labels, points = labels[::step], points[::step]
    cost = np.zeros((points.shape[1], len(vertices)))
    for row, projected in enumerate(labels.project(model, vertices)):
        square = np.square(points[row]).sum(axis=1)[:, None] + np.square(projected).sum(axis=1)
        square -= 2 * (points[row] @ projected.T)
        square /= (_TOLERANCE * labels.scale[row]) ** 2
        cost += square / (1 + square)
    return np.asarray(vertices[cost.argmin(axis=1)])


def best_position(projected: Floats, points: Floats, triangles: Indices, tolerance: Floats) -> tuple[int, Floats]:
    """Position on a surface whose images are nearest to a point's.

    Iteratively reweighted least squares (Geman-McClure); each round solves all triangles exactly.

    Parameters
    ----------
    projected : ndarray (n, k, 2)
        Vertices of the surface in n images.
    points : ndarray (n, 2)
        The point in each.
    triangles : ndarray (t, 3)
        Rows of the vertices.
    tolerance : ndarray (n,)
        Distance in px at which an image counts a quarter.

    Returns
    -------
    triangle : int
    weights : ndarray (3,)
    """
    offsets = (projected - points[:, None]) / tolerance[:, None, None]
    flat = np.ascontiguousarray(offsets.transpose(1, 0, 2), dtype=np.float64)
    certainty = np.ones(len(points))
    previous: tuple[int, Floats] = (-1, np.zeros(3))
    for _ in range(_ROUNDS):
        root = (flat * np.sqrt(certainty)[:, None]).reshape(len(flat), -1)
        product = root @ root.T
        weights, value = simplex_minimum(product[triangles[:, :, None], triangles[:, None, :]])
        best = _first_least(value)
        if best == previous[0] and np.allclose(weights[best], previous[1], rtol=0, atol=1e-4):
            break
        previous = best, weights[best]
        residual = np.einsum("k,knc->nc", weights[best], flat[triangles[best]])
        certainty = 1 / np.square(1 + np.square(residual).sum(axis=1))
    return previous


def evaluate(model: FaceModel, positions: Positions, detections: Detections) -> dict[str, tuple[float, float, float]]:
    """Distances between detected points and positions, in % of the face's size.

    The size is the root of the area of the box around the detected points.

    Returns
    -------
    dict of str to (mean, median, passes)
        By region; `passes` is the mean distance between the teacher's own two passes.
    """
    extent = np.ptp(detections.points[:, :SURFACE_COUNT], axis=1)
    size = np.sqrt(extent.prod(axis=1))[:, None] / 100
    distance = np.linalg.norm(positions.project(model, detections.labels) - detections.points, axis=2) / size
    passes = detections.disagreement / size
    listed = {point for points in REGIONS.values() for point in points}
    regions = REGIONS | {"rest": tuple(set(range(COUNT)) - listed), "all": tuple(range(COUNT))}
    return {
        name: (
            float(distance[:, points].mean()),
            float(np.median(distance[:, points])),
            float(passes[:, points].mean()),
        )
        for name, points in regions.items()
    }


def main(arguments: list[str] | None = None) -> None:
    """Derive the positions, save them and print their evaluation."""
    parser = argparse.ArgumentParser(description="Derive MediaPipe's 478 points on the surface of a face model.")
    parser.add_argument("points", type=Path, help="from benchmarks/mediapipe_teacher.py")
    parser.add_argument("crops", type=Path, help="folder with labels.npz")
    parser.add_argument("face_model", type=Path, help=".npz")
    parser.add_argument("out", type=Path, help=".npz")
    parsed = parser.parse_args(arguments)
    model = FaceModel.load(parsed.face_model)
    detections = Detections.load(parsed.points, parsed.crops)
    held_out = np.arange(len(detections.points)) % HELD_OUT == 0
    positions, offsets = derive(model, detections[~held_out].well_detected())
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **positions.arrays())  # type: ignore[arg-type]  # its stub has a switch as a keyword
    write_atomic(parsed.out, buffer.getvalue())
    lines = [f"label offset, {name}: {offset:.2f} px" for name, offset in offsets.items()]
    tested = detections[held_out].with_offsets(offsets)
    for title, some in (("held out", tested), ("held out, well detected", tested.well_detected())):
        lines.append(f"{title}: {len(some.points)} crops, % of the face's size: mean, median; between two passes")
        for name, (mean, median, passes) in evaluate(model, positions, some).items():
            lines.append(f"  {name:7} {mean:5.2f} {median:5.2f}; {passes:5.2f}")
    print("\n".join(lines))  # noqa: T201 (a script's result)


if __name__ == "__main__":
    main()
