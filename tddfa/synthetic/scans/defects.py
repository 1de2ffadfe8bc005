"""Defects of synthetic scans: noise, holes, hair, glasses and cuts on the surface of a head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tddfa import landmarks68
from tddfa.geometry.camera import Camera
from tddfa.scan.mesh import Scan
from tddfa.surface.visibility import DepthTest
from tddfa.types import Mesh

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Size of a virtual camera's image, px, and how far behind the nearest surface a visible vertex may be, px.
_IMAGE_SIZE, _BEHIND = 360, 2.0
# A surface seen at a flatter angle than this (cosine) gives no points.
_GRAZING = 0.12
_HOLE_RADII = (4.0, 22.0)
_MAX_HOLES = 400


def without(scan: Scan, removed: Flags) -> Scan:
    """Remove triangles, and the vertices that no triangle has any more."""
    triangles = scan.triangles[~removed]
    used = np.zeros(len(scan.vertices), dtype=bool)
    used[triangles] = True
    number = np.cumsum(used) - 1
    return Scan(scan.vertices[used], number[triangles].astype(np.int32))


def joined(*scans: Scan) -> Scan:
    """Put meshes together."""
    starts = np.cumsum([0, *(len(scan.vertices) for scan in scans[:-1])])
    return Scan(
        np.concatenate([scan.vertices for scan in scans]),
        np.concatenate([scan.triangles + start for scan, start in zip(scans, starts, strict=True)]),
    )


def _smooth_noise(points: Floats, lengths: tuple[float, float], rng: np.random.Generator) -> Floats:
    """Random function (n,) of space with standard deviation 1: waves of some lengths, mm."""
    count = 6
    waves = rng.normal(size=(count, 3))
    waves *= 2 * np.pi / rng.uniform(*lengths, (count, 1)) / np.linalg.norm(waves, axis=1, keepdims=True)
    phases = (points @ waves.T + rng.uniform(0, 2 * np.pi, count)).astype(np.float32)
    return np.asarray(np.sin(phases).sum(axis=1) * np.sqrt(2 / count), dtype=np.float64)


def bumped(scan: Scan, where: Floats, thickness: float, rng: np.random.Generator) -> Scan:
    """Raise the surface like hair does, by about `thickness` mm where `where` (n,) is 1."""
    coarse = _smooth_noise(scan.vertices, (25.0, 90.0), rng)
    fine = _smooth_noise(scan.vertices, (6.0, 16.0), rng)
    height = thickness * np.maximum(0.7 + 0.35 * coarse + 0.2 * fine, 0) * where
    return Scan(scan.vertices + height[:, None] * scan.normals, scan.triangles)


def _tube(line: Floats, radius: float, closed: bool, sides: int = 6) -> Scan:
    """A bar along a line (k, 3)."""
    ahead = np.roll(line, -1, axis=0) - np.roll(line, 1, axis=0) if closed else np.gradient(line, axis=0)
    ahead /= np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-9)
    across = np.cross(ahead, [0.0, 0.0, 1.0] if np.abs(ahead[:, 2]).max() < 0.9 else [0.0, 1.0, 0.0])
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    other = np.cross(ahead, across)
    angle = np.arange(sides) * 2 * np.pi / sides
    ring = np.cos(angle)[:, None] * across[:, None] + np.sin(angle)[:, None] * other[:, None]
    vertices = line[:, None] + radius * ring
    k, s = (grid.reshape(-1) for grid in np.mgrid[: len(line) - (not closed), :sides])
    after, beside = (k + 1) % len(line), (s + 1) % sides
    a, b, c, d = k * sides + s, k * sides + beside, after * sides + s, after * sides + beside
    triangles = np.concatenate([np.column_stack([a, b, c]), np.column_stack([b, d, c])])
    return Scan(vertices.reshape(-1, 3), triangles.astype(np.int32))


def glasses(landmarks: Floats, rng: np.random.Generator) -> Scan:
    """Glasses-like bars: rims around the eyes, a bridge, temples, and now and then lenses."""
    right, left = (landmarks[landmarks68.PARTS[f"{side}_eye"]].mean(axis=0) for side in ("right", "left"))
    apart = float(np.linalg.norm(left - right))
    width, height = apart * rng.uniform(0.34, 0.42), apart * rng.uniform(0.24, 0.38)
    boxy, radius = rng.uniform(2, 5), rng.uniform(1.2, 4.0)
    forward, drop = rng.uniform(8, 16), rng.uniform(-4, 4)
    angle = np.arange(28) * 2 * np.pi / 28
    parts = []
    centres = []
    for eye, side in ((right, -1.0), (left, 1.0)):
        x, y = (np.sign(v) * np.abs(v) ** (2 / boxy) for v in (np.cos(angle), np.sin(angle)))
        centre = eye + np.array([side * 0.04 * apart, -drop, forward])
        # the rims follow the curve of the face
        rim = centre + np.column_stack([width * x, height * y, -0.12 * width * (1 + side * x)])
        centres.append((centre, rim))
        parts.append(_tube(rim, radius, closed=True))
        if rng.random() < 0.25:
            fan = np.column_stack([np.arange(28), (np.arange(28) + 1) % 28, np.full(28, 28)])
            parts.append(Scan(np.concatenate([rim, rim.mean(axis=0, keepdims=True)]), fan.astype(np.int32)))
        outer = rim[np.argmax(side * rim[:, 0])]
        back = outer + np.array([side * 0.15 * apart, rng.uniform(-6, 6), -rng.uniform(0.5, 1.6) * apart])
        parts.append(_tube(np.linspace(outer, back, 14), radius, closed=False))
    inner = [rim[np.argmin(sign * rim[:, 0])] for (_, rim), sign in zip(centres, (-1.0, 1.0), strict=True)]
    parts.append(_tube(np.linspace(inner[0], inner[1], 8), radius, closed=False))
    return joined(*parts)


def seen(scan: Scan, rng: np.random.Generator) -> Flags:
    """Vertices (n,) that one to three virtual cameras in front of the face see."""
    count = int(rng.integers(1, 4))
    yaws = {1: [rng.uniform(-35, 35)], 2: [rng.uniform(-50, -20), rng.uniform(20, 50)]}.get(
        count, [rng.uniform(-70, -35), rng.uniform(-15, 15), rng.uniform(35, 70)]
    )
    visible = np.zeros(len(scan.vertices), dtype=bool)
    for yaw in yaws:
        camera = Camera.from_pose(yaw, rng.uniform(-20, 25), rng.uniform(-10, 10), 1.0)
        mesh = Mesh(camera.project(scan.vertices.astype(np.float32)), scan.triangles)
        test = DepthTest(mesh, _IMAGE_SIZE)
        facing = scan.normals @ camera.rotation[2].astype(np.float32) > _GRAZING
        visible |= facing & (test.vertices_behind() < _BEHIND)
    return visible


def holes(scan: Scan, fraction: float, rng: np.random.Generator) -> Flags:
    """Triangles (m,) in random discs that cover a fraction of the area."""
    middles = scan.vertices[scan.triangles].mean(axis=1)
    wanted = fraction * scan.areas.sum()
    removed = np.zeros(len(middles), dtype=bool)
    tree = cKDTree(middles, balanced_tree=False, compact_nodes=False)
    for _ in range(_MAX_HOLES):
        if scan.areas[removed].sum() >= wanted:
            break
        # an oval: two discs, one beside the other
        centre = middles[rng.integers(len(middles))]
        radius = rng.uniform(*_HOLE_RADII)
        for at in (centre, centre + rng.normal(0, 0.5 * radius, 3)):
            removed[tree.query_ball_point(at, radius)] = True
    return removed


def remeshed(scan: Scan, edge: float, rng: np.random.Generator) -> Scan:
    """Make the triangles anew, with edges of about `edge` mm: vertices of a cell of a turned grid become one."""
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    cells = np.floor(scan.vertices @ turn / edge + rng.random(3)).astype(np.int64)
    cells -= cells.min(axis=0)
    sizes = cells.max(axis=0) + 1
    _, inverse = np.unique((cells[:, 0] * sizes[1] + cells[:, 1]) * sizes[2] + cells[:, 2], return_inverse=True)
    inverse = inverse.reshape(-1)
    count = np.bincount(inverse)
    vertices = np.column_stack([np.bincount(inverse, scan.vertices[:, k]) / count for k in range(3)])
    triangles = inverse[scan.triangles]
    a, b, c = triangles.T
    triangles = triangles[(a != b) & (b != c) & (a != c)]
    low, middle, high = np.sort(triangles, axis=1).T
    first = np.unique((low * len(count) + middle) * len(count) + high, return_index=True)[1]
    return without(Scan(vertices, triangles[first].astype(np.int32)), np.zeros(len(first), dtype=bool))


def noisy(scan: Scan, noise: float, rng: np.random.Generator) -> Scan:
    """Move vertices along their normals: by noise of a scanner, and by its wavy error."""
    wavy = 0.5 * noise * _smooth_noise(scan.vertices, (10.0, 60.0), rng)
    moves = rng.normal(0, noise, len(scan.vertices)) + wavy
    return Scan(scan.vertices + moves[:, None] * scan.normals, scan.triangles)
