"""What people wear: glasses, hats, masks and hair, as meshes in the frame of the face model.

Everything is computed from the vertices of the head, so that it fits any shape and expression.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa.landmarks68 import PARTS
from tddfa.synthetic.bust import COLUMNS, RINGS
from tddfa.synthetic.head import Head

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

_TEXTURE = 64
_SHEENS = 24  # number of different strands of hair


@dataclass(frozen=True, eq=False)
class Piece:
    """A textured mesh, seen from both sides.

    Attributes
    ----------
    vertices : ndarray (n, 3) float32
        In the frame and unit of the face model.
    triangles : ndarray (m, 3) int32
    points : ndarray (n, 2) float32
        Place of each vertex on the texture: x right, y down, 0..1.
    texture : ndarray (h, w, 4) uint8
        BGR and opacity.
    gloss : float
        How strongly it reflects light, 0..1.
    in_mouth : bool
        Whether it is seen only where the inside of the mouth is.
    """

    vertices: Floats
    triangles: NDArray[np.int32]
    points: Floats
    texture: Image
    gloss: float = 0.0
    in_mouth: bool = False


def any_wear(head: Head, face: Floats, landmarks: Floats, rng: np.random.Generator) -> list[Piece]:
    """Draw what a person wears.

    Parameters
    ----------
    head : Head
        Its colours, and its parts around the face.
    face : ndarray (n, 3) float32
        Vertices of the face.
    landmarks : ndarray (68, 3) float32
        Its landmarks.
    rng : numpy.random.Generator
        Source of the random numbers.
    """
    pieces: list[Piece] = []
    hat = rng.random() < 0.12
    if rng.random() < 0.6 and not hat:
        pieces.append(hair_volume(head, face, rng))
    if rng.random() < 0.35:
        pieces.append(long_hair(head, rng))
    if hat:
        pieces += hat_of(head, rng)
    if rng.random() < 0.2:
        pieces += glasses(head, landmarks, rng)
    if rng.random() < 0.04:
        pieces.append(mask(head, landmarks, rng))
    return pieces


def hair_volume(head: Head, face: Floats, rng: np.random.Generator) -> Piece:
    """Hair around the skull, up to several centimetres thick."""
    skull = head.skull(face)
    return _around_skull(head, skull, _hair_thickness(rng), _strands(head.hair, rng), rng)


def long_hair(head: Head, rng: np.random.Generator) -> Piece:
    """Hair that hangs down beside and behind the face, to the chin or the shoulders."""
    bust = head.bust
    half = np.radians(rng.uniform(85, 128))
    rows, columns = 12, 40
    angle = np.linspace(-half, half, columns)
    end = float(rng.choice([rng.uniform(-9, -4), rng.uniform(-22, -9)]))
    y = np.linspace(6.5, end, rows)[:, None]
    width = 7.0 + rng.uniform(0.6, 2.5) + 0.5 * np.sin(rng.uniform(0, 6) + 0.35 * y)
    width = width * np.interp(y, [-22, -8, 0, 6.5], [rng.uniform(0.85, 1.3), rng.uniform(0.8, 1.15), 1, 0.72])
    depth = np.interp(y, [-22, -8, 3, 6.5], [6.5, 7.5, 10.0, 7.5])
    wave = 1 + 0.03 * rng.normal(0, 1, (rows, columns))
    x, z = width * np.sin(angle) * wave, -depth * np.cos(angle) * wave - 0.6
    points = bust.place(np.stack([x, np.broadcast_to(y, x.shape), z], axis=-1))
    texture = _strands(head.hair, rng)
    # frayed ends, and sides that are not straight
    ends = rng.uniform(0.75, 1.0, (1, texture.shape[1]))
    row = np.linspace(0, 1, _TEXTURE)[:, None]
    texture[..., 3] = np.where(row < cv2.GaussianBlur(ends, (0, 0), 1.0), 255, 0)
    cut = (rng.uniform(0, 5, (_TEXTURE, 2)) + 2).astype(int)
    column = np.arange(texture.shape[1])[None]
    texture[(column < cut[:, :1]) | (column >= texture.shape[1] - cut[:, 1:]), 3] = 0
    return _sheet(points, texture, 0.15)


def hat_of(head: Head, rng: np.random.Generator) -> list[Piece]:
    """A knitted cap, a cap with a peak or a hat with a brim."""
    bust = head.bust
    low, tilt = rng.uniform(4.8, 7.4), rng.uniform(-0.25, 0.25)
    rings, columns = 9, 48
    angle = np.linspace(0, 2 * np.pi, columns)
    t = np.linspace(0, 1, rings)[:, None]
    top = rng.uniform(12.5, 16.5)
    power = rng.uniform(2, 5)
    radius = (1 - t**power) ** (1 / power) * (1 + rng.uniform(0, 0.1) * t)
    wide, deep = 8.0 + rng.uniform(0.1, 0.9), 10.3 + rng.uniform(0.1, 0.9)
    x, z = wide * radius * np.sin(angle), deep * radius * np.cos(angle) + 0.1
    y = low + (top - low) * t + tilt * z * (1 - t)
    color = rng.uniform(5, 240) + rng.normal(0, 40, 3)
    texture = _cloth(color, rng)
    pieces = [_sheet(bust.place(np.stack([x, y, z], axis=-1)), texture, 0.05)]
    kind = rng.integers(3)
    if kind:
        reach = np.radians(75) if kind == 1 else np.pi
        around = np.linspace(-reach, reach, columns)
        out = np.array([0.95, 1.0, 1.0])[:, None]
        length = rng.uniform(3.5, 7) * (np.cos(around / reach * np.pi / 2) ** 0.5 if kind == 1 else np.ones(columns))
        further = np.array([0, 0.5, 1])[:, None] * length
        x, z = (wide * out + further) * np.sin(around), (deep * out + further) * np.cos(around)
        y = low + tilt * z - rng.uniform(-0.15, 0.45) * further + 0.2
        pieces.append(
            _sheet(bust.place(np.stack([x, y, z], axis=-1)), _cloth(color * rng.uniform(0.5, 1.1), rng), 0.05)
        )
    return pieces


def glasses(head: Head, landmarks: Floats, rng: np.random.Generator) -> list[Piece]:
    """Spectacles or sunglasses, on the bridge of the nose."""
    unit = head.bust.scale
    eyes = [landmarks[PARTS[name]].mean(axis=0) for name in ("right_eye", "left_eye")]
    middle = (eyes[0] + eyes[1]) / 2
    right = (eyes[1] - eyes[0]) / np.linalg.norm(eyes[1] - eyes[0])
    up, out = np.array([0, 1.0, 0]), np.array([0, 0, 1.0])
    apart = float(np.linalg.norm(eyes[1] - eyes[0])) / unit / 2
    half_width = min(rng.uniform(2.0, 3.0), apart - 0.35)
    half_height = rng.uniform(1.2, 2.5)
    power = rng.uniform(2, 4.5)
    drop = rng.uniform(-0.9, 0.2)
    front = (landmarks[27, 2] - middle[2]) / unit + rng.uniform(0.1, 0.7)
    thick = rng.uniform(0.08, 0.45)
    curve = rng.uniform(0.02, 0.06)

    def place(x: NDArray[np.floating], y: NDArray[np.floating], back: NDArray[np.floating] | float = 0.0) -> Floats:
        z = front - curve * x**2 - back
        points = x[..., None] * right + (y + drop)[..., None] * up + np.asarray(z)[..., None] * out
        return np.asarray(middle + unit * points, np.float32)

    angle = np.linspace(0, 2 * np.pi, 33)
    ex = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** (2 / power)
    ey = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2 / power)
    color = rng.choice([rng.uniform(5, 50), rng.uniform(50, 220)]) + rng.normal(0, 25, 3)
    frame = _plain(color, 255)
    dark = rng.random() < 0.35
    tint = rng.uniform(0, 60) + rng.normal(0, 15, 3) if dark else rng.uniform(120, 255, 3)
    lens = _plain(tint, int(rng.uniform(150, 255)) if dark else int(rng.uniform(0, 60)))
    pieces = []
    for side in (-1, 1):
        scale = np.array([0.0, 1.0])[:, None]
        centre = side * apart
        pieces.append(_sheet(place(centre + scale * half_width * ex, scale * half_height * ey, 0.1), lens, 0.5))
        rim = np.stack([half_width * ex, half_height * ey])
        wide = np.array([0.0, 1.0])[:, None, None] * thick + 1.0 * np.array([half_width, half_height]).mean()
        wide = wide / np.array([half_width, half_height]).mean()
        x, y = centre + wide[:, 0] * rim[0], wide[:, 0] * rim[1]
        pieces.append(_sheet(place(x, y), frame, 0.4))
        ear = landmarks[16 if side > 0 else 0]
        hinge = place(np.array(centre + side * half_width), np.array(half_height * rng.uniform(0.1, 0.7)))
        end = ear + unit * np.array([0.25 * side, 0.5, -1.0])
        bar = np.stack([hinge, (hinge + end) / 2 + unit * np.array([0.5 * side, 0, 0]), end])
        pieces.append(_sheet(np.stack([bar, bar - unit * up * max(thick, 0.2)]), frame, 0.4))
    gap = np.linspace(-(apart - half_width), apart - half_width, 5)
    level = rng.uniform(0.2, 0.8) * half_height
    bridge = level + 0.15 * np.cos(gap / gap[-1] * np.pi / 2)
    pieces.append(_sheet(np.stack([place(gap, bridge), place(gap, bridge - max(thick, 0.15))]), frame, 0.4))
    return pieces


def mask(head: Head, landmarks: Floats, rng: np.random.Generator) -> Piece:
    """A medical or cloth mask from the nose to the chin."""
    unit = head.bust.scale
    top = landmarks[int(rng.integers(28, 31))]
    chin = landmarks[8] - unit * np.array([0, rng.uniform(0, 0.8), 1.0])
    rows, columns = 9, 25
    s, t = np.meshgrid(np.linspace(-1, 1, columns), np.linspace(0, 1, rows))
    left, right = landmarks[14], landmarks[2]
    centre = top + t[..., None] * (chin - top)
    bulge = np.sin(np.pi * np.clip(t, 0, 1)) * rng.uniform(0.8, 1.8)
    # over the tip of the nose, wherever the upper edge is
    profile = landmarks[[27, 28, 29, 30, 33, 51, 57, 8]]
    order = np.argsort(profile[:, 1])
    centre[..., 2] = np.maximum(centre[..., 2], np.interp(centre[..., 1], profile[order, 1], profile[order, 2]))
    centre = centre + unit * np.stack([0 * t, 0 * t, 0.5 + 0.4 * bulge], axis=-1)
    ends = np.where(s[..., None] > 0, left, right)
    height = (1 - 2 * t) * rng.uniform(1.5, 3.5)
    ends = ends + unit * np.stack([0.5 * np.sign(s), height, 0 * t], axis=-1)
    way = np.abs(s)[..., None]
    depth = np.cos(way[..., 0] * np.pi / 2)
    points = centre * (1 - way) + ends * way
    points[..., 2] = ends[..., 2] + (centre[..., 2] - ends[..., 2]) * depth**0.8
    color = (np.array([215, 195, 150]), np.full(3, 235.0), np.full(3, 25.0), rng.uniform(0, 255, 3))[
        int(rng.integers(4))
    ]
    return _sheet(np.asarray(points, np.float32), _cloth(color, rng, pleats=True), 0.02)


def teeth(head: Head, neutral: Floats, landmarks: Floats, rng: np.random.Generator) -> list[Piece]:
    """Upper and lower teeth; the lower ones move with the chin.

    Parameters
    ----------
    head : Head
    neutral, landmarks : ndarray (68, 3) float32
        Landmarks without and with the expression.
    rng : numpy.random.Generator
    """
    unit = head.bust.scale
    between = (neutral[62] + neutral[66]) / 2
    half = 0.42 * float(neutral[54, 0] - neutral[48, 0])
    x = np.linspace(-1, 1, 25)
    back = 0.6 * unit + 0.8 * (neutral[62, 2] - (neutral[48, 2] + neutral[54, 2]) / 2) * x**2
    pieces = []
    for upper in (True, False):
        if rng.random() < (0.03 if upper else 0.3):
            continue
        length = unit * (rng.uniform(0.35, 0.85) if upper else rng.uniform(0.3, 0.6))
        root, tip = (0.75 * unit, -length) if upper else (-0.9 * unit, -length * 0.1)
        y = np.stack([np.full_like(x, root), tip + 0.12 * unit * x**2])
        z = between[2] - back - (0.0 if upper else 0.15 * unit)
        points = np.stack(
            [np.broadcast_to(between[0] + half * x, y.shape), between[1] + y, np.broadcast_to(z, y.shape)], axis=-1
        )
        if not upper:
            points += (landmarks[8] - neutral[8]) * np.array([1, 1, 1])
        texture = _plain(
            np.array([190, 214, 224]) * rng.uniform(0.75, 1.1) * np.array([rng.uniform(0.85, 1), 1, 1]), 255
        )
        gaps = np.abs(np.sin(np.linspace(0, 10 * np.pi, _TEXTURE) + np.pi / 2)) < 0.12
        texture[:, gaps, :3] = (texture[:, gaps, :3] * rng.uniform(0.6, 0.95)).astype(np.uint8)
        texture[: int(_TEXTURE * rng.uniform(0.1, 0.35)), :, :3] = (90, 85, 150)
        texture[..., :3] = texture[..., :3] * (1 - 0.5 * np.abs(np.linspace(-1, 1, _TEXTURE)) ** 2)[None, :, None]
        pieces.append(replace(_sheet(points, texture, 0.3), in_mouth=True))
    return pieces


def _hair_thickness(rng: np.random.Generator) -> Floats:
    """Thickness (rings, columns) of hair, cm; 0 at the edge of the face."""
    rows, columns = len(RINGS) + 1, COLUMNS
    t = np.concatenate([RINGS, [1.0]])[:, None]
    thick = rng.choice([rng.uniform(0, 1), rng.uniform(1, 3), rng.uniform(3, 6)], p=(0.55, 0.35, 0.1))
    lumps = cv2.resize(rng.normal(0, 0.35, (3, 8)), (columns, rows), interpolation=cv2.INTER_CUBIC)
    rise = np.clip(t / rng.uniform(0.04, 0.3), 0, 1)
    return np.asarray(np.maximum(thick * rise * (1 + lumps), 0), np.float32)


def _around_skull(
    head: Head, skull: NDArray[np.floating], thick: Floats, texture: Image, rng: np.random.Generator
) -> Piece:
    """A surface around the upper skull (rings, columns, 3), with a given thickness, cm."""
    bust = head.bust
    centre = bust.place(np.array([0, 3.0, -0.3]))
    arm = skull - centre
    height = (skull[..., 1] - bust.origin[1]) / bust.scale
    upper = np.clip((height - rng.uniform(-3, 2)) / 3, 0, 1) - 0.12 * (height < -4)
    direction = arm / np.linalg.norm(arm, axis=-1, keepdims=True)
    points = skull + direction * (thick * upper)[..., None] * bust.scale
    points = np.concatenate([points, points[:, :1]], axis=1)
    return _sheet(np.asarray(points, np.float32), texture, 0.15)


def _sheet(points: NDArray[np.floating], texture: Image, gloss: float) -> Piece:
    """A grid of points (rows, columns, 3) with a texture."""
    rows, columns = points.shape[:2]
    r, c = (grid.reshape(-1) for grid in np.mgrid[: rows - 1, : columns - 1])
    a, b, d, e = r * columns + c, r * columns + c + 1, (r + 1) * columns + c, (r + 1) * columns + c + 1
    triangles = np.concatenate([np.column_stack([a, d, b]), np.column_stack([b, d, e])]).astype(np.int32)
    y, x = np.mgrid[0:rows, 0:columns]
    at = np.column_stack([x.reshape(-1) / (columns - 1), y.reshape(-1) / (rows - 1)]).astype(np.float32)
    return Piece(points.reshape(-1, 3).astype(np.float32), triangles, at, texture, gloss)


def _plain(color: NDArray[np.floating], opacity: int) -> Image:
    out = np.empty((_TEXTURE, _TEXTURE, 4), dtype=np.uint8)
    out[..., :3], out[..., 3] = np.clip(color, 0, 255).astype(np.uint8), opacity
    return out


def _strands(color: tuple[float, float, float], rng: np.random.Generator) -> Image:
    """Hair that runs down the texture."""
    sheen = _sheens()[int(rng.integers(_SHEENS))]
    shown = np.array(color, np.float32) * (1 + np.float32(rng.uniform(0.08, 0.22)) * sheen)[..., None]
    return np.dstack([np.clip(shown, 0, 255).astype(np.uint8), np.full(sheen.shape, 255, np.uint8)])


@lru_cache(maxsize=1)
def _sheens() -> list[Floats]:
    """Brightness of strands, many times."""
    out, side = [], 4 * _TEXTURE
    for seed in range(_SHEENS):
        noise = np.random.default_rng(seed).standard_normal((side, side)).astype(np.float32)
        fine = cv2.GaussianBlur(noise, (0, 0), sigmaX=0.8, sigmaY=side / 8)
        coarse = cv2.GaussianBlur(noise, (0, 0), sigmaX=side / 30, sigmaY=side / 5)
        gloss = fine / fine.std() + 0.8 * coarse / coarse.std()
        out.append(cv2.resize(gloss, (2 * _TEXTURE, _TEXTURE), interpolation=cv2.INTER_AREA))
    return out


def _cloth(color: NDArray[np.floating], rng: np.random.Generator, *, pleats: bool = False) -> Image:
    out = _plain(color, 255)
    y, x = np.mgrid[0:_TEXTURE, 0:_TEXTURE]
    gain = 1 + 0.06 * rng.standard_normal((_TEXTURE, _TEXTURE))
    kind = 1 if pleats else rng.integers(4)
    if kind == 1:
        gain = gain * (1 + rng.uniform(0, 0.25) * np.sin(y * rng.uniform(0.2, 1.2)))
    elif kind == 2:
        gain = gain * (1 + rng.uniform(0, 0.4) * np.sign(np.sin(x * rng.uniform(0.2, 1.5))))
    out[..., :3] = np.clip(out[..., :3] * gain[..., None], 0, 255)
    if kind == 3:
        cv2.circle(
            out,
            (_TEXTURE // 2, int(rng.uniform(20, 50))),
            int(rng.uniform(4, 10)),
            (*rng.uniform(0, 255, 3).tolist(), 255),
            -1,
        )
    return out
