"""The undamaged head of a synthetic scan: identity, expression, skull, neck, shoulders, and where hair may be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tddfa.geometry.rotation import rotation_from_euler
from tddfa.model.face_model import FaceModel
from tddfa.scan.mesh import Scan
from tddfa.synthetic.bust import bust_of
from tddfa.synthetic.scans.settings import ScanSettings

Floats = NDArray[np.float64]

_MM = {"cm": 10.0, "um": 1e-3}
# Edges of the skull and the shoulders are split until they are no longer than this, mm.
_MAX_EDGE = 6.0
# Waves of the random displacement: their number and their lengths, mm.
_WAVES, _WAVELENGTHS = 8, (50.0, 220.0)
# Standard deviations of the stretch along, and the shear between, the axes.
_STRETCH, _SHEAR = 0.035, 0.02
# Height of the trunk below the origin of the open face model, cm.
_TRUNK = 30.0
# Largest angles of the body below the head, degrees: yaw, pitch, roll.
_BODY_ANGLES = (25.0, 12.0, 10.0)


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A head, in mm, x to the subject's left, y up, z out of the face.

    Attributes
    ----------
    scan : Scan
    landmarks : ndarray (68, 3)
    scalp : ndarray (n,)
        0..1: where hair may grow on a vertex.
    beard : ndarray (n,)
        0..1: where a beard may grow.
    """

    scan: Scan
    landmarks: Floats
    scalp: Floats
    beard: Floats


def random_expression(model: FaceModel, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw expression weights (e,): a few shapes, most of them alike on both sides."""
    weights = np.zeros(model.expression_count, dtype=np.float32)
    names = model.expression_names
    for name in rng.permutation(names)[: rng.integers(1, 7)]:
        value = rng.random()
        weights[names.index(name)] = value
        other = name[:-4] + "Right" if name.endswith("Left") else name[:-5] + "Left"
        if other in names and rng.random() < 0.75:
            weights[names.index(other)] = value
    if "jawOpen" in names and rng.random() < 0.25:
        weights[names.index("jawOpen")] = rng.uniform(0.2, 1)
    if "eyeBlinkLeft" in names and rng.random() < 0.2:
        for side in ("Left", "Right"):
            weights[names.index(f"eyeBlink{side}")] = rng.uniform(0.8, 1)
    return weights


def anatomy(model: FaceModel, settings: ScanSettings, shoulders: bool, rng: np.random.Generator) -> Anatomy:
    """Make a random head."""
    bust = bust_of(model)
    shape = rng.normal(0, settings.spread, model.shape_count).astype(np.float32)
    expression = (
        np.zeros(model.expression_count, dtype=np.float32)
        if rng.random() < settings.neutral
        else random_expression(model, rng)
    )
    face = model.vertices(shape, expression)
    upper = bust.head(face)
    turn = rotation_from_euler(*(rng.uniform(-limit, limit) for limit in _BODY_ANGLES))
    joint = bust.neck_joint

    def turned(points: Floats) -> Floats:
        return np.asarray((points - joint) @ turn.T + joint)

    follows = bust.neck_follows()[:, None, None]
    rings = bust.neck()
    neck = (rings * (1 - follows) + turned(rings) * follows).reshape(-1, 3)
    parts: list[NDArray[np.floating]] = [upper, neck]
    triangles = [_visible_triangles(model, bust.triangles)]
    if shoulders:
        body = bust.body()
        # no scan shows more of the trunk
        near = (bust.origin[1] - body[:, 1] < _TRUNK * bust.scale)[bust.body_triangles].all(axis=1)
        triangles.append(bust.body_triangles[near] + sum(map(len, parts)))
        parts.append(turned(body))
    vertices = np.concatenate(parts).astype(np.float64) * _MM[model.unit]
    mm = bust.scale * _MM[model.unit] / 10

    skull = np.zeros(len(vertices))
    skull[len(face) : len(upper)] = 1
    height = (vertices[:, 1] - bust.origin[1] * _MM[model.unit]) / mm
    scalp = np.maximum(
        skull * (height > -40), (height > rng.uniform(62, 95)) * (skull + (np.arange(len(skull)) < len(face)) > 0)
    )
    beard = np.zeros(len(vertices))
    if "jaw" in model.regions:
        beard[model.regions["jaw"]] = 1
        beard[model.regions.get("lips", model.regions["jaw"][:0])] = 0

    vertices = _warped(vertices, settings.warp, rng)
    landmarks = np.einsum("lk,lki->li", model.landmark_weights.astype(np.float64), vertices[model.landmark_triangles])
    table = np.column_stack([vertices, scalp, beard])
    table, joined = split_long_edges(table, np.concatenate(triangles), _MAX_EDGE)
    return Anatomy(Scan(table[:, :3], joined), landmarks, table[:, 3], table[:, 4])


def _visible_triangles(model: FaceModel, triangles: NDArray[np.int32]) -> NDArray[np.int32]:
    """All but the triangles behind the surface that a scanner sees: sockets, and the inside of the mouth."""
    hidden = np.zeros(int(triangles.max()) + 1, dtype=bool)
    if model.shade is not None:
        hidden[: len(model.shade)] = model.shade < 0.3
    return triangles[~hidden[triangles].any(axis=1)]


def _warped(vertices: Floats, amplitude: float, rng: np.random.Generator) -> Floats:
    """Stretch, shear and bend a head smoothly."""
    matrix = np.diag(1 + rng.normal(0, _STRETCH, 3)) + rng.normal(0, _SHEAR, (3, 3)) * (1 - np.eye(3))
    waves = rng.normal(size=(_WAVES, 3))
    waves *= 2 * np.pi / rng.uniform(*_WAVELENGTHS, (_WAVES, 1)) / np.linalg.norm(waves, axis=1, keepdims=True)
    moves = rng.normal(size=(_WAVES, 3)) * amplitude * rng.uniform(0, 1.5) / np.sqrt(1.5 * _WAVES)
    return np.asarray(vertices @ matrix.T + np.sin(vertices @ waves.T + rng.uniform(0, 2 * np.pi, _WAVES)) @ moves)


def split_long_edges(table: Floats, triangles: NDArray[np.integer], longest: float) -> tuple[Floats, NDArray[np.int32]]:
    """Split edges in half until none is longer than `longest`; triangles stay joined.

    Parameters
    ----------
    table : ndarray (n, 3 + k)
        Positions, and more numbers of each vertex, which are interpolated.
    triangles : ndarray (m, 3)
    longest : float

    Returns
    -------
    table : ndarray (n', 3 + k)
    triangles : ndarray (m', 3) int32
    """
    done: list[NDArray[np.int64]] = []
    left = triangles.astype(np.int64)
    for _ in range(12):
        corners = table[left, :3]
        moves = corners - corners[:, [1, 2, 0]]
        sides = np.einsum("mki,mki->mk", moves, moves)
        long = sides.max(axis=1) > longest**2
        done.append(left[~long])
        left, sides = left[long], sides[long]
        if not len(left):
            break
        # each is cut at its longest edge; a neighbour is cut at the same point when its turn comes
        at = sides.argmax(axis=1)
        rows = np.arange(len(left))
        a, b, c = left[rows, at], left[rows, (at + 1) % 3], left[rows, (at + 2) % 3]
        keys, inverse = np.unique(np.minimum(a, b) * len(table) + np.maximum(a, b), return_inverse=True)
        middle = len(table) + inverse.reshape(-1)
        table = np.concatenate([table, (table[keys // len(table)] + table[keys % len(table)]) / 2])
        left = np.concatenate([np.column_stack([a, middle, c]), np.column_stack([middle, b, c])])
    return table, np.concatenate([*done, left]).astype(np.int32)
