"""Surfaces that close the first edition: a straight rim, sockets, whole eyeballs, the inside of the mouth."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa.landmarks68 import PARTS
from tddfa.model.face_model import FACE, INNER_MOUTH, LEFT_EYE, RIGHT_EYE
from tddfa.modelling.draft import Draft, boundary_loops

Floats = NDArray[np.float64]

# Crossings nearer than this fraction of an edge to its end move the rim to that end: no slivers.
_SNAP = 0.08
# The cut behind the jaw, cm: height of the ear lobes, its z there, how far it leans forward, and over which height.
_LOBES_Y, _NECK_TOP_Z, _NECK_SLOPE, _NECK_LENGTH = -1.93, 1.0, 1.3, 4.8
# Where the lobes begin, from the inside, and over which width the cut comes down to them, cm.
_LOBES_X, _LOBES_EDGE = 6.8, 0.15
# How far towards the middle of the head the surface that closes an ear reaches, cm: it must not touch the concha.
_PLUG_DEPTH = 0.05
# Of each eyeball: polar angles of new rings from the front, degrees. The first edition ends at about 64.
_EYEBALL_RINGS = (76.0, 88.0, 100.0, 112.0)
# cm: how far the socket lies outside the eyeball.
_SOCKET_GAP = 0.04
# The mouth, from the lips inwards: depth behind the lips, cm; vertical opening, cm; width, a fraction of the lips'.
_MOUTH_RINGS = ((0.25, 0.05, 1.0), (0.8, 0.45, 0.98), (1.8, 0.9, 0.85), (2.8, 0.7, 0.6))


@dataclass(frozen=True)
class Sphere:
    """Least-squares sphere of points."""

    centre: Floats
    radius: float

    @classmethod
    def fit(cls, points: NDArray[Any]) -> Sphere:
        """Fit to points (n, 3): ``|p|^2 = 2 c p + r^2 - |c|^2`` is linear in the unknowns."""
        p = points.astype(np.float64)
        solution = np.linalg.lstsq(np.column_stack([2 * p, np.ones(len(p))]), (p**2).sum(axis=1), rcond=None)[0]
        return cls(solution[:3], float(np.sqrt(solution[3] + solution[:3] @ solution[:3])))


def clip(draft: Draft, height: Floats) -> Draft:
    """Cut the skin along the zero line of a function; what lies below goes.

    Triangles that cross the line are split; new vertices on their edges blend both ends, so that they move with every
    shape and expression. Vertices stay, used or not.

    Parameters
    ----------
    height : ndarray (n,)
        Value of the function at each vertex; only triangles of `FACE` are cut.
    """
    h = height.copy()
    skin = draft.part[draft.triangles[:, 0]] == FACE
    triangles = draft.triangles[skin]
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    edges = np.unique(edges, axis=0)
    crossing = edges[(h[edges[:, 0]] > 0) != (h[edges[:, 1]] > 0)]
    fraction = h[crossing[:, 0]] / (h[crossing[:, 0]] - h[crossing[:, 1]])
    # a vertex very near the line is put on it
    h[crossing[fraction < _SNAP, 0]] = 0
    h[crossing[fraction > 1 - _SNAP, 1]] = 0
    crossing = edges[h[edges[:, 0]] * h[edges[:, 1]] < 0]
    fraction = h[crossing[:, 0]] / (h[crossing[:, 0]] - h[crossing[:, 1]])
    first_new = len(draft.mean)
    made = {tuple(edge): first_new + k for k, edge in enumerate(crossing.tolist())}
    kept: list[tuple[int, ...]] = []
    for triangle in triangles.tolist():
        polygon: list[int] = []
        for a, b in zip(triangle, triangle[1:] + triangle[:1], strict=True):
            if h[a] >= 0:
                polygon.append(a)
            if h[a] * h[b] < 0:
                polygon.append(made[min(a, b), max(a, b)])
        if len(polygon) >= 3 and any(h[v] > 0 for v in polygon if v < first_new):
            kept += [(polygon[0], polygon[k], polygon[k + 1]) for k in range(1, len(polygon) - 1)]
    wider = draft.with_blended_vertices(
        crossing, np.column_stack([1 - fraction, fraction]), np.full(len(crossing), FACE)
    )
    return replace(wider, triangles=np.concatenate([np.array(kept, dtype=np.int32), draft.triangles[~skin]]))


def trimmed(draft: Draft) -> Draft:
    """Cut a straight rim: an even line over the forehead, and no flap behind the jaw."""
    x, y, z = draft.mean.astype(np.float64).T
    forehead = _forehead_height(draft)
    # Behind the jaw, from below the ear lobes down: a line in the side view, well behind the landmarks of the jaw.
    neck = z - (_NECK_TOP_Z + _NECK_SLOPE * np.clip((_LOBES_Y - y) / _NECK_LENGTH, 0, 1))
    lobes = _LOBES_Y + np.clip((_LOBES_X - np.abs(x)) / _LOBES_EDGE, 0, 1)  # the skin beside them goes farther up
    cut = clip(draft, np.minimum(forehead, np.maximum(neck, y - lobes)))
    # the first edition is open behind both ears
    ears_open = [loop for loop in boundary_loops(cut.triangles) if len(loop) < 20]
    for loop in ears_open:
        cut = _closed(cut, loop)
    for name in ("region_left_ear", "region_right_ear"):
        own = np.isin(cut.triangles, draft.extra[name]).all(axis=1)
        cut = _plugged(cut, boundary_loops(cut.triangles[own])[0])
    return cut


def _plugged(draft: Draft, loop: NDArray[np.intp]) -> Draft:
    """Close an ear where it joins the head, seen from the inside: a box of its own, so that the skin is a manifold."""
    first, count = len(draft.mean), len(loop)
    twice = np.concatenate([loop, loop])
    draft = draft.with_blended_vertices(twice[:, None], np.ones((2 * count, 1)), draft.part[twice])
    mean = draft.mean.copy()
    side = float(np.sign(mean[first, 0]))
    mean[first + count :, 0] = side * (np.abs(mean[loop, 0]).min() - _PLUG_DEPTH)
    edge, bottom = np.arange(first, first + count), np.arange(first + count, first + 2 * count)
    cap = _ear_clipped(mean[bottom][:, [2, 1]].astype(np.float64))
    new = np.concatenate([_strip(edge, bottom), bottom[cap][:, ::-1]])
    draft = replace(draft, mean=mean, triangles=np.concatenate([draft.triangles, new]).astype(np.int32))
    return draft.marked("region_ear_plugs", np.arange(first, len(mean)))


def _ear_clipped(polygon: Floats) -> NDArray[np.intp]:
    """Triangles (n - 2, 3) of a simple polygon (n, 2), in the direction in which it runs (Meisters, 1975)."""
    x, y = polygon.T
    order = list(range(len(polygon)))
    if (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() < 0:
        return _ear_clipped(polygon[::-1])[:, ::-1] * -1 + len(polygon) - 1

    def area(a: int, b: int, c: int | NDArray[np.intp]) -> Any:
        return (x[b] - x[a]) * (y[c] - y[a]) - (x[c] - x[a]) * (y[b] - y[a])

    triangles = []
    while len(order) > 3:
        for k in range(len(order)):
            a, b, c = order[k - 1], order[k], order[(k + 1) % len(order)]
            others = np.array([v for v in order if v not in (a, b, c)])
            inside = (area(a, b, others) >= 0) & (area(b, c, others) >= 0) & (area(c, a, others) >= 0)
            if area(a, b, c) > 0 and not inside.any():
                break
        else:
            raise ValueError("polygon: expected one whose edges do not cross")
        triangles.append((a, b, c))
        del order[k]
    return np.array([*triangles, tuple(order)], dtype=np.intp)


def _closed(draft: Draft, loop: NDArray[np.intp]) -> Draft:
    """Close a small hole by a fan around the mean of its edge."""
    wider = draft.with_blended_vertices(loop[None], np.full((1, len(loop)), 1 / len(loop)), draft.part[loop[:1]])
    fan = _fan(loop, len(draft.mean))
    return replace(wider, triangles=np.concatenate([draft.triangles, fan]).astype(np.int32))


def without_inverted(draft: Draft) -> Draft:
    """Flip an edge of each triangle whose normal points against those of its vertices: slivers of the first edition."""
    triangles = draft.triangles.copy()
    for row in _inverted(draft.mean, triangles):
        corners = draft.mean[triangles[row]].astype(np.float64)
        k = int(np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1).argmax())
        a, b, c = np.roll(triangles[row], -k)  # the longest edge is a, b
        (other,) = (i for i in np.flatnonzero((triangles == a).any(axis=1) & (triangles == b).any(axis=1)) if i != row)
        (d,) = set(triangles[other].tolist()) - {int(a), int(b)}
        triangles[row], triangles[other] = (a, d, c), (d, b, c)
    return replace(draft, triangles=triangles)


def _inverted(mean: NDArray[np.float32], triangles: NDArray[np.int32]) -> NDArray[np.intp]:
    a, b, c = (mean[triangles[:, k]].astype(np.float64) for k in range(3))
    normals = np.cross(b - a, c - a)
    vertices = np.zeros(mean.shape)
    for corner in range(3):
        np.add.at(vertices, triangles[:, corner], normals)
    return np.flatnonzero((normals * vertices[triangles].sum(axis=1)).sum(axis=1) <= 0)


def _forehead_height(draft: Draft) -> Floats:
    """Distance below the plane through the jagged edge of the forehead, cm, less what its teeth need."""
    (rim, *_) = boundary_loops(draft.triangles[draft.part[draft.triangles[:, 0]] == FACE])
    edge = draft.mean[rim].astype(np.float64)
    edge = edge[(edge[:, 1] > 4.5) & (edge[:, 2] > -2.2)]
    # symmetric: y + a z = b
    slope, level = np.linalg.lstsq(np.column_stack([-edge[:, 2], np.ones(len(edge))]), edge[:, 1], rcond=None)[0]
    values = draft.mean.astype(np.float64)
    height: Floats = level - slope * values[:, 2] - values[:, 1]
    teeth = float(np.percentile(height[rim][draft.mean[rim, 1] > 4.5], 97))
    return height - teeth


def with_sockets(draft: Draft) -> Draft:
    """Continue both eyeballs to beyond their equator, and join the lids to a socket around each."""
    for part in (LEFT_EYE, RIGHT_EYE):
        draft = _with_socket(draft, part)
    return draft


def front_of_eye(draft: Draft, part: int) -> NDArray[np.intp]:
    """The outer one of the two shells that the first edition has for an eye: it hides the other."""
    own = draft.triangles[draft.part[draft.triangles[:, 0]] == part]
    label = np.arange(len(draft.mean))
    while True:
        lowest = label[own].min(axis=1)
        before = label.copy()
        for corner in range(3):
            np.minimum.at(label, own[:, corner], lowest)
        if (label == before).all():
            break
    vertices = np.unique(own)
    front = vertices[draft.mean[vertices, 2].argmax()]
    return vertices[label[vertices] == label[front]]


def _with_socket(draft: Draft, part: int) -> Draft:
    front = front_of_eye(draft, part)
    sphere = Sphere.fit(draft.mean[front])
    own = draft.part[draft.triangles[:, 0]] == part
    shell = own & np.isin(draft.triangles[:, 0], front)
    draft = replace(draft, triangles=draft.triangles[~own | shell])
    ball = boundary_loops(draft.triangles[np.isin(draft.triangles[:, 0], front)])[0]
    skin = draft.triangles[draft.part[draft.triangles[:, 0]] == FACE]
    lids = min(
        (loop for loop in boundary_loops(skin) if len(loop) < 60),
        key=lambda loop: np.linalg.norm(draft.mean[loop].mean(axis=0) - sphere.centre),
    )
    # the eyeball, ring after ring; each vertex moves as the one of the loop before it
    rings = [ball]
    for degrees in _EYEBALL_RINGS:
        draft, ring = _with_ring(draft, rings[0], _on_sphere(draft.mean[rings[0]], sphere, degrees), part)
        rings.append(ring)
    new = [_strip(a, b) for a, b in itertools.pairwise(rings)]
    # the socket: from the lids back to the equator, then closed behind it
    away = draft.mean[lids].astype(np.float64) - sphere.centre
    away[:, 2] = 0
    away *= (sphere.radius + _SOCKET_GAP) / np.linalg.norm(away, axis=1, keepdims=True)
    near = _nearest(draft.mean[lids], draft.mean[ball])
    draft, socket = _with_ring(draft, ball[near], sphere.centre + away, FACE)
    draft, (behind,) = _with_ring(draft, ball[:1], (sphere.centre - (0, 0, 0.6 * sphere.radius))[None], FACE)
    new += [_strip(lids, socket), _fan(socket, int(behind))]
    draft = draft.marked("region_socket", np.append(socket, behind))
    return replace(draft, triangles=np.concatenate([draft.triangles, *new]).astype(np.int32))


def _on_sphere(points: NDArray[np.float32], sphere: Sphere, degrees: float) -> Floats:
    """Points at a polar angle from the front (+z), each in the direction of one given."""
    flat = points[:, :2].astype(np.float64) - sphere.centre[:2]
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    return sphere.centre + sphere.radius * np.column_stack([sine * flat, np.full(len(flat), cosine)])


def _with_ring(draft: Draft, models: NDArray[np.intp], positions: Floats, part: int) -> tuple[Draft, NDArray[np.intp]]:
    """Append vertices that move as `models` do, at other positions."""
    first = len(draft.mean)
    draft = draft.with_blended_vertices(models[:, None], np.ones((len(models), 1)), np.full(len(models), part))
    mean = draft.mean.copy()
    mean[first:] = positions
    return replace(draft, mean=mean), np.arange(first, len(mean))


def _nearest(points: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.intp]:
    return np.asarray(np.linalg.norm(points[:, None] - others[None], axis=2).argmin(axis=1))


def _strip(loop: NDArray[np.intp], ring: NDArray[np.intp]) -> NDArray[np.intp]:
    """Triangles between a boundary loop and a ring of as many vertices behind it, on the loop's side of the surface."""
    a, b = loop, np.roll(loop, -1)
    c, d = ring, np.roll(ring, -1)
    return np.concatenate([np.column_stack([b, a, c]), np.column_stack([b, c, d])])


def _fan(loop: NDArray[np.intp], centre: int) -> NDArray[np.intp]:
    a, b = loop, np.roll(loop, -1)
    return np.column_stack([b, a, np.full(len(loop), centre)])


def with_mouth(draft: Draft) -> Draft:
    """Add the inside of the mouth behind the lips: dark, and part `INNER_MOUTH`."""
    skin = draft.triangles[draft.part[draft.triangles[:, 0]] == FACE]
    inner = draft.mean[draft.extra["landmark_triangles"][PARTS["inner_lips"], 0]].mean(axis=0)
    lips = min(boundary_loops(skin), key=lambda loop: np.linalg.norm(draft.mean[loop].mean(axis=0) - inner))
    points = draft.mean[lips].astype(np.float64)
    middle = points.mean(axis=0)
    upper = _is_upper(points)
    sides = np.where(upper, 1.0, -1.0)
    # vertical opening fades to the corners of the mouth
    half_width = np.abs(points[:, 0]).max()
    fade = np.sqrt(np.clip(1 - (points[:, 0] / half_width) ** 2, 0, 1))
    rings = [lips]
    new: list[NDArray[np.intp]] = []
    for k, (depth, opening, width) in enumerate(_MOUTH_RINGS):
        positions = points.copy()
        positions[:, 0] *= width
        positions[:, 1] = middle[1] + (points[:, 1] - middle[1]) + sides * opening * fade
        positions[:, 2] = points[:, 2] + (points[:, 2].min() - points[:, 2]) * min(1.0, 0.4 * k) - depth
        sources, weights = _smooth_sources(lips, radius=(1, 4, 9, 13)[k])
        first = len(draft.mean)
        draft = draft.with_blended_vertices(sources, weights, np.full(len(lips), INNER_MOUTH))
        mean = draft.mean.copy()
        mean[first:] = positions
        draft = replace(draft, mean=mean)
        rings.append(np.arange(first, len(mean)))
        new.append(_strip(rings[-2], rings[-1]))
    back = draft.mean[rings[-1]].mean(axis=0).astype(np.float64)
    draft = draft.with_blended_vertices(
        rings[-1][None], np.full((1, len(lips)), 1 / len(lips)), np.array([INNER_MOUTH])
    )
    mean = draft.mean.copy()
    mean[-1] = back - (0, 0, 0.2)
    new.append(_fan(rings[-1], len(mean) - 1))
    return replace(draft, mean=mean, triangles=np.concatenate([draft.triangles, *new]).astype(np.int32))


def _is_upper(points: Floats) -> NDArray[np.bool_]:
    """Which vertices of the loop of the lips lie between its corners on the upper side."""
    left, right = int(points[:, 0].argmax()), int(points[:, 0].argmin())
    count = len(points)
    one = np.zeros(count, dtype=bool)
    one[np.arange(left, left + (right - left) % count + 1) % count] = True
    return one if points[one, 1].mean() > points[~one, 1].mean() else ~one


def _smooth_sources(loop: NDArray[np.intp], radius: int) -> tuple[NDArray[np.intp], Floats]:
    """Sources and weights of a ring that follows a loop with its motion averaged over neighbours of each vertex."""
    offsets = np.arange(-radius, radius + 1)
    index = (np.arange(len(loop))[:, None] + offsets) % len(loop)
    weights = np.cos(offsets / (radius + 1) * np.pi / 2) ** 2
    return loop[index], np.broadcast_to(weights / weights.sum(), index.shape).copy()
