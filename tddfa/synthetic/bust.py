"""The parts that a face model lacks: skull, neck and shoulders around the face, and dark plugs behind mouth and lids.

All of them are computed from the vertices of the face, so that they fit any shape and follow any expression.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa.model.face_model import FaceModel

Floats = NDArray[np.float32]

# Everything below is in cm, in the frame of the open face model; other models are scaled by the height of their
# landmarks.
_LANDMARK_HEIGHT = 13.905
_LANDMARK_MEAN = (0.0, -1.34, 9.4)
_SKULL_CENTRE = (0.0, 3.0, -0.3)
_SKULL_RADII = (7.5, 9.9, 9.4)
_SKULL_BELOW = 7.5
# Exponent of the skull's superellipsoid: 2 is an ellipsoid, more is boxier.
_SKULL_POWER = 2.4
_BACK = (0.0, 0.12, -1.0)
_HAIR_THICKNESS = 1.4
# Position of each ring of the skull between the edge of the face (0) and the back of the head (1).
RINGS = np.array([0.03, 0.07, 0.12, 0.19, 0.28, 0.39, 0.51, 0.64, 0.77, 0.89])
COLUMNS = 108
# Below the jaw: how far in front of the origin a lifted surface rises wholly, and the radius with which it begins.
_IN_FRONT, _JAW_ROUNDING = 3.0, 0.15
# y, half the width, half the depth, z of the centre
_NECK = np.array([(-2.0, 5.2, 5.2, -1.6), (-7.0, 5.4, 5.6, -2.0), (-10.5, 5.5, 5.8, -2.6), (-15.0, 6.6, 6.6, -3.4)])
_NECK_COLUMNS = 32
# how much lower the collar is in front
_COLLAR = 2.0
# the joint between neck and head, about which the head turns
_NECK_JOINT = (0.0, -7.0, -2.0)
_BODY = np.array(
    [
        (-12.4, 6.1, 5.6, -3.4),
        (-13.6, 8.0, 6.4, -3.4),
        (-14.8, 12.0, 7.4, -3.4),
        (-16.1, 15.6, 8.4, -3.4),
        (-18.0, 18.4, 9.2, -3.2),
        (-21.2, 20.4, 10.0, -3.0),
        (-28.2, 21.2, 10.8, -2.6),
        (-48.2, 20.6, 11.2, -2.4),
        (-108.2, 20.6, 11.2, -2.4),
    ]
)
_BODY_COLUMNS = 48

# First and last row of each part of the atlas; 1 is the height of the face's UV map, which is above them.
SKULL_ROWS = (1.01, 1.29)
NECK_ROWS = (1.33, 1.39)
DARK_ROW = 1.42
BODY_ROWS = (1.45, 1.49)
ATLAS_HEIGHT = 1.5


@dataclass(frozen=True, eq=False)
class Bust:
    """Topology of a head around a face, and the functions that compute its vertices.

    Attributes
    ----------
    head_triangles : int
        Number of triangles of face, skull and plugs; those of the neck follow them.
    triangles : ndarray (m, 3) int32
        Face, skull, plugs and neck, one surface where they meet.
    atlas_triangles : ndarray (m, 3) int32
        The same triangles on the atlas, where the surface is cut along seams.
    atlas_points : ndarray (k, 2) float32
        Points of the atlas: x right, y down, 1 is the width of the face's UV map.
    body_triangles : ndarray (b, 3) int32
        Shoulders and trunk.
    body_atlas_points : ndarray (c, 2) float32
        Their points on the atlas.
    loop : ndarray (l,) int32
        The outer edge of the face.
    plugs : tuple of ndarray
        The edges of its openings.
    scale : float
        Model units per cm of the open face model.
    origin : ndarray (3,)
        The origin of the open face model, in this model.
    skull_size : float
        Mean distance between the upper edge of the mean face and the centre of the skull.
    """

    head_triangles: int
    triangles: NDArray[np.int32]
    atlas_triangles: NDArray[np.int32]
    atlas_points: Floats
    body_triangles: NDArray[np.int32]
    body_atlas_points: Floats
    loop: NDArray[np.int32]
    plugs: tuple[NDArray[np.int32], ...]
    scale: float
    origin: NDArray[np.float64]
    skull_size: float

    def place(self, points: ArrayLike) -> NDArray[np.float64]:
        """Convert points from the frame of the open face model to that of this model."""
        return np.asarray(points, dtype=np.float64) * self.scale + self.origin

    @property
    def neck_joint(self) -> NDArray[np.float64]:
        """The joint (3,) of head and body."""
        return self.place(np.array(_NECK_JOINT))

    def skull(self, face: Floats) -> NDArray[np.float64]:
        """Rings (rings, columns, 3) from the face's edge to the back of the head, and the pole repeated as the last."""
        edge = face[self.loop].astype(np.float64)
        columns = edge[np.arange(COLUMNS) * len(edge) // COLUMNS]
        smooth = _smoothed(columns, 5)
        centre = self.place(np.array(_SKULL_CENTRE))
        size = _upper_size(edge, centre) / self.skull_size
        t = RINGS[:, None, None]
        start = columns + (smooth - columns) * _smoothstep(t / 0.2)
        arm = start - centre
        reach = np.linalg.norm(arm, axis=-1, keepdims=True)
        direction = arm / reach
        back = np.array(_BACK) / np.linalg.norm(_BACK)
        angle = np.arccos(np.clip(direction @ back, -1, 1))[..., None]
        direction = (np.sin((1 - t) * angle) * direction + np.sin(t * angle) * back) / np.sin(angle)
        above = _smoothstep((columns[None, :, 1:2] - self.origin[1]) / self.scale / 5 + 0.3)
        hair = _HAIR_THICKNESS * above * _smoothstep(t / 0.15)
        target = (_ellipsoid(direction) + hair) * self.scale * size
        radius = reach + (target - reach) * _smoothstep(t / 0.34)
        pole = (_ellipsoid(back) + 0.6 * _HAIR_THICKNESS) * self.scale * size * back + centre
        return np.concatenate([centre + radius * direction, np.broadcast_to(pole, (1, COLUMNS, 3))])

    def plug_centres(self, face: Floats) -> NDArray[np.float64]:
        """One point (plugs, 3) behind each opening."""
        centres = np.array([face[plug].mean(axis=0) for plug in self.plugs], dtype=np.float64).reshape(-1, 3)
        depth = np.array([0.35 * np.linalg.norm(np.ptp(face[plug], axis=0)) for plug in self.plugs])
        centres[:, 2] -= depth
        return centres

    def neck(self) -> NDArray[np.float64]:
        """Rings (rings, columns, 3) of the neck."""
        rings = _tube(_NECK, _NECK_COLUMNS, 2.0)
        rings[-1, :, 1] -= _COLLAR * np.maximum(-np.cos(np.arange(_NECK_COLUMNS) * (2 * np.pi / _NECK_COLUMNS)), 0)
        return self.place(rings)

    def neck_follows(self) -> NDArray[np.float64]:
        """How far each ring of the neck follows the head (0) or the body (1)."""
        return np.asarray(_smoothstep((_NECK[:, 0] + 4.0) / -9.0))

    def body(self) -> NDArray[np.float64]:
        """Vertices (n, 3) of shoulders and trunk, upright below the head."""
        return self.place(_tube(_BODY, _BODY_COLUMNS, 2.3)).reshape(-1, 3)

    def lifted(self, points: NDArray[np.floating], jaw: Floats, lift: float) -> NDArray[np.float64]:
        """Lift the surface below the jaw.

        Parameters
        ----------
        points : ndarray (..., 3)
            Of face or skull.
        jaw : ndarray (j, 3)
            Points along the lower edge of the jaw; it is as high beyond its ends as there.
        lift : float
            Fraction of the distance from the height of the jaw: 0 leaves the points where they are.
        """
        x, y, z = np.moveaxis(np.asarray(points, dtype=np.float64), -1, 0)
        order = np.argsort(jaw[:, 0])
        below = np.maximum(np.interp(x, jaw[order, 0], jaw[order, 1]) - y, 0)
        # smooth where the surface leaves the jaw; only in front of the neck
        front = _smoothstep((z - self.origin[2]) / self.scale / _IN_FRONT)
        rise = lift * front * below**2 / (below + _JAW_ROUNDING * self.scale)
        return np.stack([x, y + rise, z], axis=-1)

    def head(self, face: Floats) -> Floats:
        """The vertices of face, skull and plugs."""
        skull = self.skull(face)
        rings = skull[:-1].reshape(-1, 3)
        parts = [face, rings, skull[-1:, 0], self.plug_centres(face)]
        return np.concatenate([np.asarray(part, dtype=np.float32) for part in parts])


@lru_cache(maxsize=4)
def bust_of(model: FaceModel) -> Bust:
    """Compute the bust of a face model; cached per model."""
    if model.uv is None:
        raise ValueError("model: expected a face model with uv, got none")
    loops = _loops(model.triangles)
    if not loops:
        raise ValueError("model: expected a face with an outer edge, got a closed surface")
    length = [float(np.linalg.norm(np.diff(model.mean[loop], axis=0), axis=1).sum()) for loop in loops]
    outer = int(np.argmax(length))
    loop = loops[outer]
    # a model with an inner mouth is closed by itself
    plugs = (
        ()
        if model.is_closed
        else tuple(other for k, other in enumerate(loops) if k != outer and model.part[other[0]] == 0)
    )

    landmarks = (model.mean[model.landmark_triangles] * model.landmark_weights[..., None]).sum(axis=1)
    scale = float(np.ptp(landmarks[:, 1])) / _LANDMARK_HEIGHT
    origin = landmarks.mean(axis=0) - scale * np.array(_LANDMARK_MEAN)

    n, edge, rings = len(model.mean), len(loop), len(RINGS)
    pole = n + rings * COLUMNS
    centres = pole + 1
    neck = centres + len(plugs)
    atlas_points: list[NDArray[np.floating]] = [np.column_stack([model.uv[:, 0], 1 - model.uv[:, 1]])]
    triangles: list[NDArray[np.integer]] = [model.triangles]
    on_atlas: list[NDArray[np.integer]] = [model.triangles]

    # from the edge of the face to the first ring: one triangle per step along the edge and per step along the ring
    i = np.arange(edge)
    k = i * COLUMNS // edge
    k_next = (i + 1) * COLUMNS // edge
    follows, step = loop[(i + 1) % edge], k_next > k
    atlas_loop, atlas_ring = n, n + edge + 1
    triangles += [
        np.column_stack([follows, loop, n + k]),
        np.column_stack([follows, n + k, n + k_next % COLUMNS])[step],
    ]
    on_atlas += [
        np.column_stack([atlas_loop + i + 1, atlas_loop + i, atlas_ring + k]),
        np.column_stack([atlas_loop + i + 1, atlas_ring + k, atlas_ring + k_next])[step],
    ]
    atlas_points.append(_on_skull_rows(np.arange(edge + 1) / edge, np.zeros(edge + 1)))
    along = np.arange(COLUMNS + 1) / COLUMNS
    atlas_points += [_on_skull_rows(along, np.full(COLUMNS + 1, t)) for t in RINGS]
    atlas_points.append(_on_skull_rows(along, np.ones(COLUMNS + 1)))
    atlas_pole = atlas_ring + rings * (COLUMNS + 1)
    triangles.append(_bands(rings, COLUMNS, True) + n)
    on_atlas.append(_bands(rings, COLUMNS, False) + atlas_ring)
    k = np.arange(COLUMNS)
    last, atlas_last = n + (rings - 1) * COLUMNS, atlas_pole - COLUMNS - 1
    triangles.append(np.column_stack([last + (k + 1) % COLUMNS, last + k, np.full(COLUMNS, pole)]))
    on_atlas.append(np.column_stack([atlas_last + k + 1, atlas_last + k, atlas_pole + k]))

    dark = atlas_pole + COLUMNS + 1
    atlas_points.append(np.array([[0.5, DARK_ROW]]))
    for index, plug in enumerate(plugs):
        triangles.append(np.column_stack([np.roll(plug, -1), plug, np.full(len(plug), centres + index)]))
        on_atlas.append(np.full((len(plug), 3), dark))

    head_triangles = sum(len(part) for part in triangles)
    tube, tube_atlas = len(_NECK), dark + 1
    triangles.append(_bands(tube, _NECK_COLUMNS, True) + neck)
    on_atlas.append(_bands(tube, _NECK_COLUMNS, False) + tube_atlas)
    atlas_points.append(_tube_points(tube, _NECK_COLUMNS, NECK_ROWS))

    body_atlas_points = _tube_points(len(_BODY), _BODY_COLUMNS, BODY_ROWS).reshape(len(_BODY), -1, 2)
    centre = np.array(_SKULL_CENTRE) * scale + origin
    return Bust(
        head_triangles=head_triangles,
        triangles=np.concatenate(triangles).astype(np.int32),
        atlas_triangles=np.concatenate(on_atlas).astype(np.int32),
        atlas_points=np.concatenate(atlas_points).astype(np.float32),
        body_triangles=_bands(len(_BODY), _BODY_COLUMNS, True).astype(np.int32),
        body_atlas_points=body_atlas_points[:, :-1].reshape(-1, 2).astype(np.float32),
        loop=loop,
        plugs=plugs,
        scale=scale,
        origin=origin,
        skull_size=_upper_size(model.mean[loop].astype(np.float64), centre),
    )


def _loops(triangles: NDArray[np.int32]) -> list[NDArray[np.int32]]:
    """Edges that belong to a single triangle, joined to closed loops, in the direction of their triangles."""
    edges = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)
    count = int(triangles.max(initial=0)) + 1
    alone = edges[~np.isin(edges[:, 1] * count + edges[:, 0], edges[:, 0] * count + edges[:, 1])]
    follows = dict(alone.tolist())
    loops = []
    while follows:
        start, vertex = follows.popitem()
        loop = [start]
        while vertex != start and vertex in follows:
            loop.append(vertex)
            vertex = follows.pop(vertex)
        loops.append(np.array(loop, dtype=np.int32))
    return sorted(loops, key=lambda loop: int(loop[0]))


def _bands(rings: int, columns: int, closed: bool) -> NDArray[np.int64]:
    """Triangles between neighbouring rings; each ring has `columns` vertices, or one more if it is cut open."""
    width = columns if closed else columns + 1
    ring, k = (grid.reshape(-1) for grid in np.mgrid[: rings - 1, :columns])
    after = (k + 1) % width
    a, a_next, b, b_next = ring * width + k, ring * width + after, (ring + 1) * width + k, (ring + 1) * width + after
    return np.concatenate([np.column_stack([a_next, a, b]), np.column_stack([a_next, b, b_next])])


def _tube(rings: NDArray[np.float64], columns: int, power: float) -> NDArray[np.float64]:
    """Rings (rings, columns, 3) of superellipses from the top down, each from the back by the subject's right."""
    angle = np.arange(columns) * (2 * np.pi / columns) + np.pi
    x, z = (np.sign(v) * np.abs(v) ** (2 / power) for v in (np.sin(angle), np.cos(angle)))
    y, width, depth, middle = (column[:, None] for column in rings.T)
    return np.stack([width * x, np.broadcast_to(y, (len(rings), columns)), depth * z + middle], axis=-1)


def _tube_points(rings: int, columns: int, rows: tuple[float, float]) -> NDArray[np.float64]:
    x, y = np.meshgrid(np.linspace(0.01, 0.99, columns + 1), np.linspace(*rows, rings))
    return np.column_stack([x.reshape(-1), y.reshape(-1)])


def _on_skull_rows(s: NDArray[np.floating], t: NDArray[np.floating]) -> NDArray[np.float64]:
    first, last = SKULL_ROWS
    return np.column_stack([0.01 + 0.98 * s, first + (last - first) * t])


def _ellipsoid(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Radius (..., 1) of the skull along unit directions, cm."""
    radii = np.where(direction[..., 1:2] < 0, _SKULL_BELOW, _SKULL_RADII[1])
    parts = np.abs(direction) / np.concatenate(
        [np.full_like(radii, _SKULL_RADII[0]), radii, np.full_like(radii, _SKULL_RADII[2])], axis=-1
    )
    return np.asarray((parts**_SKULL_POWER).sum(axis=-1, keepdims=True) ** (-1 / _SKULL_POWER))


def _upper_size(edge: NDArray[np.float64], centre: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(edge[edge[:, 1] > centre[1]] - centre, axis=1).mean())


def _smoothstep(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _smoothed(loop: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    offsets = np.arange(-2 * reach, 2 * reach + 1)
    weights = np.exp(-0.5 * (offsets / reach) ** 2)
    indices = (np.arange(len(loop))[:, None] + offsets) % len(loop)
    return np.asarray(np.einsum("kwc,w->kc", loop[indices], weights / weights.sum()))
