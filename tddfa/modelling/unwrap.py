"""The UV map of the face model: a portrait that can be painted, with little distortion.

The skin is one island, flat and symmetric, with the eyes open and the lips closed. The eyeballs are islands within the
eye openings. The inside of the mouth, the sockets behind the lids and the pieces that close the ears are islands below
the face. The vertices on the edges of mouth and sockets are copies of those of lips and lids.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from Sim3DR import vertex_normals
from tddfa.model.face_model import FACE, INNER_MOUTH, LEFT_EYE, RIGHT_EYE
from tddfa.modelling.closing import Sphere
from tddfa.modelling.draft import Draft, boundary_loops
from tddfa.modelling.flattening import Flattening, Pull, harmonic, laid_flat, signed_areas
from tddfa.modelling.symmetry import MirrorImages
from tddfa.surface.visibility import DepthTest
from tddfa.types import Mesh

Floats = NDArray[np.float64]
Indices = NDArray[Any]
Report = Callable[[str], None]

SOCKETS = {LEFT_EYE: "region_left_socket", RIGHT_EYE: "region_right_socket"}
"""Names of the arrays of the vertices behind the lids, by the part of their eyeball."""
EARS = ("region_left_ear", "region_right_ear")

# Texture coordinates are multiples of this, so that tests of them can be exact: 1/256 texel of 1024.
_GRID = 2.0**-18
TEXEL = 1 / 1024
# Between islands, and around the map.
_MARGIN = 4.5 * TEXEL
MIRROR = np.array([-1.0, 1.0])

# Size on the map of what is never or seldom visible, and of the ears, and of the lids; all relative to the face.
_HIDDEN_SCALE, _EAR_SCALE, _EYE_SCALE = 0.7, 0.65, 1.4
# Weights of their distortion.
_HIDDEN_WEIGHT, _EAR_WEIGHT, _EYE_WEIGHT = 0.2, 0.3, 2.0
# cm: how far from the lids their scale reaches.
_EYE_REACH = 1.2
# Fractions of the views that could show a vertex in which it is hidden and open.
_HIDDEN, _OPEN = 0.1, 0.8
# Views, degrees, in which the mesh is so many px large; a vertex this far behind the surface (fraction) is hidden.
_YAWS, _PITCHES, _VIEW_PX, _BEHIND = np.arange(-90.0, 91.0, 22.5), (-35.0, 0.0, 35.0), 480, 0.008
# How often scale and weight are averaged over neighbours.
_SMOOTHING = 6
# The pull on the lips to the line where they meet grows; so does that to the mirror image, per cm2 of surface.
_LIP_PULLS, _MIRROR_PULLS = (10.0, 1e3), (10.0, 1e3, 1e4, 1e4)
# cm: vertices whose mirror image is farther from the surface are not pulled.
NO_MIRROR_IMAGE = 0.1

# Of the way from the middle of the eye opening to the lids: what is visible of the eyeball at rest ends here, or here
# relative to the whole eyeball, which ends at the margin.
_VISIBLE, _VISIBLE_OF_ALL = 0.85, 0.88
# Up to this fraction of the visible part its scale is constant, so that the iris is round.
_ROUND = 0.6
# The hidden part is the more compressed the farther from the lids it is.
_COMPRESSION = 2.0
_DIRECTIONS = 256
# The pull on the vertices of the eyeballs to their places grows.
_EYE_PULLS = (1.0, 100.0, 1e4)

# Half axes of the ellipses of the inner mouth, the sockets and the ear plugs, and their distances from the middle.
_MOUTH_AXES, _SOCKET_AXES, _PLUG_AXES = (0.17, 0.085), (0.07, 0.05), (0.035, 0.05)
_SOCKET_U, _PLUG_U = 0.26, 0.39


@dataclass(frozen=True)
class Islands:
    """Triangles of each island: rows of `Draft.triangles`."""

    skin: Indices
    eyeballs: dict[int, Indices]
    sockets: dict[int, Indices]
    plugs: dict[int, Indices]
    mouth: Indices

    @classmethod
    def of(cls, draft: Draft) -> Islands:
        """Tell the islands apart by `Draft.part` and the regions of sockets and ear plugs; one per side of the face."""
        t = draft.triangles
        left = draft.mean[t, 0].mean(axis=1) > 0
        mouth = (draft.part[t] == INNER_MOUTH).any(axis=1)
        socket, plug = (
            np.isin(t, draft.extra.get(name, np.zeros(0, dtype=np.int32))).any(axis=1)
            for name in ("region_socket", "region_ear_plugs")
        )
        eyeballs: dict[int, Indices] = {part: np.flatnonzero((draft.part[t] == part).all(axis=1)) for part in SOCKETS}
        skin = (draft.part[t] == FACE).all(axis=1) & ~socket & ~plug

        def by_side(rows: NDArray[Any]) -> dict[int, Indices]:
            return {LEFT_EYE: np.flatnonzero(rows & left), RIGHT_EYE: np.flatnonzero(rows & ~left)}

        return cls(
            np.flatnonzero(skin),
            eyeballs,
            by_side(np.asarray(socket)),
            by_side(np.asarray(plug)),
            np.flatnonzero(mouth),
        )

    def all(self) -> list[Indices]:
        """All islands that have triangles, the skin first."""
        rows = [self.skin, *self.eyeballs.values(), self.mouth, *self.sockets.values(), *self.plugs.values()]
        return [island for island in rows if len(island)]


def unwrapped(draft: Draft, *, report: Report | None = None) -> Draft:
    """Give a face model a new UV map.

    Parameters
    ----------
    draft : Draft
        With sockets and an inner mouth (`tddfa.modelling.closing`), which share the edges of the lids and lips with the
        skin.
    report : callable, optional
        Gets a line of text per step of the optimisation.

    Returns
    -------
    Draft
        With copies of the vertices at the edges of lids and lips, which sockets and inner mouth use; with new `uv`, and
        with the vertices of each socket in ``extra["region_left_socket"]`` and ``extra["region_right_socket"]``.

    Raises
    ------
    ValueError
        If the skin has other openings than eyes and mouth, or no map without flipped triangles is found.
    """
    draft = _with_own_edges(draft)
    islands = Islands.of(draft)
    skin = _Skin(draft, islands)
    skin.flatten(report)
    low, high = skin.points.min(axis=0), skin.points.max(axis=0)
    scale = (1 - 2 * _MARGIN) / (2 * max(-low[0], high[0]))
    uv = np.zeros((len(draft.mean), 2))

    def placed(points: Floats) -> Floats:
        return (points - (0, high[1])) * scale + (0.5, 1 - _MARGIN)

    uv[skin.vertices] = placed(skin.points)
    if float(uv[skin.vertices, 1].min()) < 2 * _MOUTH_AXES[1] + 2 * _MARGIN:
        raise ValueError("draft: expected room for the inner mouth below the face, got a face that fills the UV map")
    middles = {part: placed(point[None])[0] for part, point in skin.eye_middles().items()}
    for part, points in _eyeballs(draft, islands, skin.lids, middles, uv).items():
        uv[np.unique(draft.triangles[islands.eyeballs[part]])] = points
    right = np.array([1.0, 0, 0])
    discs = [(islands.mouth, 0.0, _MOUTH_AXES, right)]
    for part, side in ((LEFT_EYE, 1), (RIGHT_EYE, -1)):
        discs.append((islands.sockets[part], side * _SOCKET_U, _SOCKET_AXES, right))
        # the inside of the left ear, as seen from the middle of the head, has its front on the right
        discs.append((islands.plugs[part], side * _PLUG_U, _PLUG_AXES, np.array([0, 0, side])))
    for rows, u, axes, across in discs:
        if len(rows):
            vertices, points = _disc(draft, rows, across)
            uv[vertices] = points * axes + (0.5 + u, _MARGIN + axes[1])
    uv = np.rint(uv / _GRID) * _GRID
    if (signed_areas(uv, draft.triangles) <= 0).any():
        raise ValueError("draft: expected a mesh that can be unwrapped, got flipped triangles")
    regions = {SOCKETS[part]: np.unique(draft.triangles[rows]) for part, rows in islands.sockets.items()}
    for name, rows in regions.items():
        draft = draft.marked(name, rows)
    return replace(draft, uv=_with_unused(draft, uv).astype(np.float32))


def _with_own_edges(draft: Draft) -> Draft:
    """Give sockets and inner mouth copies of the vertices that they share with the skin."""
    islands = Islands.of(draft)
    if not len(islands.mouth) or not all(len(rows) for rows in islands.sockets.values()):
        raise ValueError("draft: expected sockets and an inner mouth, got none")
    skin = np.unique(draft.triangles[islands.skin])
    for rows, part in (
        (islands.sockets[LEFT_EYE], FACE),
        (islands.sockets[RIGHT_EYE], FACE),
        (islands.mouth, INNER_MOUTH),
    ):
        shared = np.intersect1d(skin, draft.triangles[rows])
        first = len(draft.mean)
        number = np.arange(first)
        number[shared] = first + np.arange(len(shared))
        draft = draft.with_blended_vertices(shared[:, None], np.ones((len(shared), 1)), np.full(len(shared), part))
        triangles = draft.triangles.copy()
        triangles[rows] = number[triangles[rows]]
        draft = replace(draft, triangles=triangles)
        if part == FACE:
            draft = draft.marked("region_socket", number[shared])
    return draft


class _Skin:
    """The skin in the plane, in cm: the line where the lips meet is v = 0, the middle of the face u = 0.

    Two more vertices are in the middles of the eye openings, which triangles from there to the lids fill. They keep the
    openings as large as they are on the face, and star-shaped.
    """

    def __init__(self, draft: Draft, islands: Islands) -> None:
        triangles = draft.triangles[islands.skin]
        self.vertices = np.unique(triangles)
        number = np.full(len(draft.mean), -1)
        number[self.vertices] = np.arange(len(self.vertices))
        self.count = len(self.vertices)
        self._own = number[triangles]
        self._surface = draft.mean[self.vertices].astype(np.float64)
        self._loops = _openings(draft, islands)
        self.lids = {part: self._loops[part] for part in SOCKETS}
        outer, lips = number[self._loops[FACE]], number[self._loops[INNER_MOUTH]]
        eyes = [number[self.lids[part]] for part in SOCKETS]
        self._lips = lips
        self._triangles = np.concatenate([self._own, *(_fan(loop, self.count + k) for k, loop in enumerate(eyes))])
        middles = np.stack([self._surface[loop].mean(axis=0) for loop in eyes])
        surface = np.concatenate([self._surface, middles])
        self._images = MirrorImages.of(self._surface, self._own)

        scale, weight = self._importance(draft, np.concatenate(eyes))
        in_eyes = np.arange(len(self._triangles)) >= len(self._own)
        shape_scale = np.where(in_eyes, _EYE_SCALE, scale[self._triangles].mean(axis=1))
        self._shapes = laid_flat(surface, self._triangles) * shape_scale[:, None, None]
        self._weights = np.where(in_eyes, _EYE_WEIGHT, weight[self._triangles].mean(axis=1))
        # a third of the area of the triangles around each vertex
        area = np.linalg.norm(
            np.cross(
                surface[self._triangles[:, 1]] - surface[self._triangles[:, 0]],
                surface[self._triangles[:, 2]] - surface[self._triangles[:, 0]],
            ),
            axis=1,
        )
        self._area = np.bincount(self._triangles.ravel(), weights=np.repeat(area / 6, 3))

        filled = np.concatenate([self._triangles, _fan(lips, len(surface))])
        start = harmonic(filled, outer, _on_circle(self._surface[outer]))
        # of the size of the face, around the middle of the lips
        start = start[:-1] - start[-1]
        self.points = start * np.sqrt(float(area.sum()) / 2 / np.pi)

    def _importance(self, draft: Draft, lids: Indices) -> tuple[Floats, Floats]:
        """Scale on the map and weight of each vertex, the middles of the eyes included."""
        seen = np.clip((_openness(draft)[self.vertices] - _HIDDEN) / (_OPEN - _HIDDEN), 0, 1)
        ears = np.isin(self.vertices, np.concatenate([draft.extra[name] for name in EARS])).astype(np.float64)
        values = np.column_stack([seen, ears])
        values = (values + self._images(values)) / 2
        one, other = self._own[:, [0, 1, 2, 1, 2, 0]].ravel(), self._own[:, [1, 2, 0, 0, 1, 2]].ravel()
        adjacent = csr_array((np.ones(len(one)), (one, other)), shape=(self.count, self.count))
        degree = np.asarray(adjacent.sum(axis=1)).reshape(-1, 1)
        for _ in range(_SMOOTHING):
            values = (values + adjacent @ values / degree) / 2
        seen, ears = values.T
        to_lids, _ = cKDTree(self._surface[lids]).query(self._surface)
        eyes = np.exp(-np.square(to_lids / _EYE_REACH))
        scale = (
            (_HIDDEN_SCALE + (1 - _HIDDEN_SCALE) * seen) * (1 + (_EAR_SCALE - 1) * ears) * (1 + (_EYE_SCALE - 1) * eyes)
        )
        weight = (_HIDDEN_WEIGHT + (1 - _HIDDEN_WEIGHT) * seen) * (1 + (_EAR_WEIGHT - 1) * ears)
        return np.append(scale, [1, 1]), np.append(weight, [1, 1])

    def flatten(self, report: Report | None = None) -> None:
        """Minimise the distortion with the lips closed and both sides alike."""
        free = Flattening(self._triangles, self._shapes, self._weights, self.points)
        pull = np.zeros_like(self.points)
        for strength in _LIP_PULLS:
            pull[self._lips, 1] = strength
            free.improve(60, pull=Pull(pull, np.zeros_like(pull)), tolerance=1e-4, report=report)
        closed = free.points.copy()
        closed[self._lips, 1] = 0
        if free.move_towards(closed) < 1:
            raise ValueError("draft: expected lips that can be closed on the UV map, got lips that fold")
        fixed = np.zeros(self.points.shape, dtype=bool)
        fixed[self._lips, 1] = True
        alike = Flattening(self._triangles, self._shapes, self._weights, free.points, fixed=fixed)
        pulled = self._area * np.append(self._images.distance < NO_MIRROR_IMAGE, [True, True])
        for strength in _MIRROR_PULLS:
            target = (alike.points + self._mirrored(alike.points)) / 2
            target[self._lips, 1] = 0
            weight = np.repeat(strength * pulled[:, None], 2, axis=1)
            alike.improve(20, pull=Pull(weight, target), tolerance=1e-6, report=report)
        self._all_points = alike.points
        self.points = alike.points[: self.count]

    def _mirrored(self, points: Floats) -> Floats:
        """Mirror image of the map: at each vertex, that of the place of its mirror image."""
        return np.concatenate([self._images(points[: self.count]), points[: self.count - 1 : -1]]) * MIRROR

    def eye_middles(self) -> dict[int, Floats]:
        """A point from which all of an eye's lids are visible; one is the mirror image of the other."""
        left, right = self._all_points[self.count :]
        middle = (left + right * MIRROR) / 2
        return {LEFT_EYE: middle, RIGHT_EYE: middle * MIRROR}


def _openings(draft: Draft, islands: Islands) -> dict[int, Indices]:
    """Loops of the skin's edge by what is within: an eye, `INNER_MOUTH`; the outer edge is at `FACE`."""
    # the copies of their vertices are at the same places
    within = {part: draft.mean[draft.triangles[rows]] for part, rows in islands.sockets.items()}
    within[INNER_MOUTH] = draft.mean[draft.triangles[islands.mouth]]
    trees = {part: cKDTree(points.reshape(-1, 3)) for part, points in within.items()}
    loops: dict[int, Indices] = {}
    for loop in boundary_loops(draft.triangles[islands.skin]):
        around = [part for part, tree in trees.items() if not tree.query(draft.mean[loop])[0].any()] or [FACE]
        if around[0] in loops:
            raise ValueError(f"draft: expected no openings but eyes and mouth, got one of {len(loop)} vertices")
        loops[around[0]] = loop
    return loops


def _fan(loop: Indices, middle: int) -> Indices:
    """Triangles that fill an opening whose edge is a loop in the direction of the triangles around it."""
    return np.column_stack([np.roll(loop, -1), loop, np.full(len(loop), middle)])


def _on_circle(points: Floats) -> Floats:
    """Points of the unit circle for a loop (n, 3), by the length along it; top and bottom of its middle stay."""
    length = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1)
    along = np.concatenate([[0], np.cumsum(length)[:-1]])
    near = np.abs(points[:, 0]) < 0.1 * np.abs(points[:, 0]).max()
    top, bottom = (int(np.where(near, sign * points[:, 1], -np.inf).argmax()) for sign in (1, -1))
    along = (along - along[top]) % length.sum() / length.sum()
    half = along[bottom]
    angle = np.pi * np.where(along <= half, along / half, 1 + (along - half) / (1 - half))
    # the outer edge of the skin has the face on its left: counter-clockwise from outside
    return np.column_stack([-np.sin(angle), np.cos(angle)])


def _openness(draft: Draft) -> Floats:
    """In which part of the views from the front and the sides that it faces each vertex is visible, 0..1."""
    vertices = draft.mean.astype(np.float32)
    normals = -vertex_normals(vertices, draft.triangles)  # its y is down
    visible, facing = np.zeros(len(vertices)), np.full(len(vertices), 0.25)
    for yaw in np.radians(_YAWS):
        for pitch in np.radians(_PITCHES):
            turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
            nod = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
            rotation = (nod @ turn).astype(np.float32)
            seen = np.ascontiguousarray(vertices @ rotation.T * np.array([1, -1, 1], dtype=np.float32))
            test = DepthTest(Mesh(seen, draft.triangles), _VIEW_PX, cull="none")
            weight = np.clip(normals @ rotation[2], 0, 1)
            visible += weight * (test.vertices_behind() < _BEHIND * _VIEW_PX)
            facing += weight
    return np.asarray(visible / facing)


def _eyeballs(
    draft: Draft, islands: Islands, lids: dict[int, Indices], middles: dict[int, Floats], uv: Floats
) -> dict[int, Floats]:
    """Places of the vertices of each eyeball within the eye openings of the map.

    An eyeball is first laid out around its front: the polar angle becomes the distance (azimuthal equidistant). There
    and on the map, the lids are a star-shaped curve. What is inside of the curve becomes the visible part.
    """
    vertices = {part: np.unique(draft.triangles[rows]) for part, rows in islands.eyeballs.items()}
    signs = {LEFT_EYE: np.array([1.0, 1]), RIGHT_EYE: MIRROR}
    centres = {part: Sphere.fit(draft.mean[rows]).centre for part, rows in vertices.items()}
    flat = {part: _equidistant(draft.mean[rows] - centres[part]) * signs[part] for part, rows in vertices.items()}
    flat_lids = {part: _equidistant(draft.mean[rows] - centres[part]) * signs[part] for part, rows in lids.items()}
    # as if both were left eyes: the mean of both is the same curve for both
    middle = middles[LEFT_EYE]
    origin = np.mean([points.mean(axis=0) for points in flat_lids.values()], axis=0)
    curves = [_curve(flat_lids[part] - origin, (uv[rows] - middles[part]) * signs[part]) for part, rows in lids.items()]
    radius, edge = (np.mean([curve[k] for curve in curves], axis=0) for k in range(2))
    whole = _inset(edge, _MARGIN)
    ends = max(float(np.linalg.norm(points, axis=1).max()) for points in flat.values()) * (1 + 1e-6)
    out = {}
    for part, points in flat.items():
        offset = points - origin
        angle = np.arctan2(offset[:, 1], offset[:, 0])
        distance = np.linalg.norm(offset, axis=1)
        lid, all_of_it = _periodic(angle, radius), _periodic(angle, whole)
        visible = np.minimum(_VISIBLE, _VISIBLE_OF_ALL * all_of_it)
        # how far away the end of the eyeball is in this direction
        unit = np.column_stack([np.cos(angle), np.sin(angle)])
        ahead = unit @ origin
        end = -ahead + np.sqrt(ahead * ahead + ends * ends - origin @ origin)
        hidden = np.clip((distance - lid) / (end - lid), 0, 1)
        hidden = hidden * (1 + _COMPRESSION) / (1 + _COMPRESSION * hidden)
        t = distance / lid
        inner = np.where(
            t < _ROUND, t * _VISIBLE, _ROUND * _VISIBLE + (t - _ROUND) * (visible - _ROUND * _VISIBLE) / (1 - _ROUND)
        )
        fraction = np.where(t < 1, inner, visible + hidden * (all_of_it - visible))
        towards = np.column_stack([_periodic(angle, edge[:, k]) for k in range(2)])
        wanted = (middle + fraction[:, None] * towards - (0.5, 0)) * signs[part] + (0.5, 0)
        number = np.full(len(draft.mean), -1)
        number[vertices[part]] = np.arange(len(points))
        out[part] = _without_flips(
            draft.mean[vertices[part]].astype(np.float64), number[draft.triangles[islands.eyeballs[part]]], wanted
        )
    return out


def _without_flips(surface: Floats, triangles: Indices, wanted: Floats) -> Floats:
    """Places as near as possible to those wanted (n, 2) where no triangle of a disc (n, 3) is flipped."""
    (loop,) = boundary_loops(triangles)
    angle = 2 * np.pi * np.arange(len(loop)) / len(loop)
    start = harmonic(triangles, loop, np.column_stack([np.cos(angle), np.sin(angle)]))
    scale = np.sqrt(np.abs(signed_areas(wanted, triangles)).sum() / np.pi)
    shapes = laid_flat(surface, triangles)
    shapes *= scale * np.sqrt(2 * np.pi / (shapes[:, 1, 0] * shapes[:, 2, 1]).sum())
    middle = wanted.mean(axis=0)
    # turned so that it begins as near as it can
    z, w = (values[:, 0] + 1j * values[:, 1] for values in (start, wanted - middle))
    turn = (np.conj(z) * w).sum()
    z = z * turn / abs(turn) * scale
    flat = Flattening(triangles, shapes, np.ones(len(triangles)), np.column_stack([z.real, z.imag]) + middle)
    for strength in _EYE_PULLS:
        flat.improve(40, pull=Pull(np.full(wanted.shape, strength), wanted), tolerance=1e-6)
    return flat.points


def _equidistant(offsets: Floats) -> Floats:
    """Polar angle from +z, in the direction of x and y: (n, 2), radians."""
    offsets = offsets.astype(np.float64)
    across = np.hypot(offsets[:, 0], offsets[:, 1])
    angle = np.arctan2(across, offsets[:, 2])
    return np.asarray(offsets[:, :2] * (angle / np.maximum(across, 1e-12))[:, None])


def _curve(loop: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Distance (k,) of a star-shaped loop (n, 2) from 0 in k directions, and the values (n, 2) there."""
    angle = np.arctan2(loop[:, 1], loop[:, 0])
    turned = np.diff(np.unwrap(np.append(angle, angle[0])))
    if not ((turned > 0).all() or (turned < 0).all()):
        raise ValueError("draft: expected lids that are visible from the middle of the eye opening, got a fold")
    order = np.argsort(angle, kind="stable")
    loop, values, angle = loop[order], values[order], angle[order]
    wanted = _directions()
    after = np.searchsorted(angle, wanted) % len(angle)
    a, b = loop[after - 1], loop[after]
    unit = np.column_stack([np.cos(wanted), np.sin(wanted)])
    # a + s (b - a) = r unit
    s = np.clip(_cross(a, unit) / _cross(a - b, unit), 0, 1)[:, None]
    return np.linalg.norm(a + s * (b - a), axis=1), values[after - 1] + s * (values[after] - values[after - 1])


def _cross(one: Floats, other: Floats) -> Floats:
    return np.asarray(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0])


def _directions() -> Floats:
    return (np.arange(_DIRECTIONS) + 0.5) / _DIRECTIONS * 2 * np.pi - np.pi


def _periodic(angle: Floats, values: Floats) -> Floats:
    return np.interp(angle, _directions(), values, period=2 * np.pi)


def _inset(curve: Floats, margin: float) -> Floats:
    """The largest fraction of each point (k, 2) of a star-shaped curve that is a margin away from the curve."""
    start, along = curve, np.roll(curve, -1, axis=0) - curve
    length = np.square(along).sum(axis=1)
    out = np.ones(len(curve))
    going = np.ones(len(curve), dtype=bool)
    for fraction in np.arange(0.05, 1.0, 0.01):
        to = fraction * curve[:, None] - start[None]
        s = np.clip((to * along).sum(axis=2) / length, 0, 1)
        distance = np.linalg.norm(to - s[..., None] * along, axis=2).min(axis=1)
        going &= distance >= margin
        out = np.where(going, fraction, np.minimum(out, fraction - 0.01))
    return out


def _disc(draft: Draft, rows: Indices, across: Floats) -> tuple[Indices, Floats]:
    """Lay a disc of triangles out in the unit circle: its vertices, and their places.

    `across` is a direction of the face that becomes u. Both of its ends stay; the upper half of the loop between them
    becomes the upper half of the circle.
    """
    vertices = np.unique(draft.triangles[rows])
    number = np.full(len(draft.mean), -1)
    number[vertices] = np.arange(len(vertices))
    triangles = number[draft.triangles[rows]]
    (loop,) = boundary_loops(triangles)
    points = draft.mean[vertices[loop]].astype(np.float64)
    loop = np.roll(loop, -int((points @ across).argmax()))
    points = draft.mean[vertices[loop]].astype(np.float64)
    length = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1)
    along = np.concatenate([[0], np.cumsum(length)[:-1]])
    end = along[int((points @ across).argmin())]
    angle = np.pi * np.where(along <= end, along / end, 1 + (along - end) / (length.sum() - end))
    return vertices, harmonic(triangles, loop, np.column_stack([np.cos(angle), np.sin(angle)]))


def _with_unused(draft: Draft, uv: Floats) -> Floats:
    """Give vertices that no triangle uses the place of the nearest used one."""
    used = np.unique(draft.triangles)
    unused = np.setdiff1d(np.arange(len(uv)), used)
    if len(unused):
        uv = uv.copy()
        uv[unused] = uv[used[cKDTree(draft.mean[used]).query(draft.mean[unused])[1]]]
    return uv
