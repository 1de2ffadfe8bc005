"""Heads in varied light with what they wear, rendered into one depth buffer: for training, one head at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from Sim3DR import interpolate, rasterize, vertex_normals
from tddfa.geometry.camera import Camera
from tddfa.synthetic.head import Head
from tddfa.synthetic.surfaces import atlas_level, surfaces
from tddfa.synthetic.wear import Piece

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Everything is rendered this many times larger, and averaged.
_FACTOR = 2
# Side of the map of cast shadows, px; a surface this far behind it, px, is in shadow.
_SHADOW_SIDE, _SHADOW_GAP = 128, 2.5


@dataclass(frozen=True)
class Lamp:
    """A distant lamp.

    Attributes
    ----------
    direction : tuple of float
        Unit vector towards it: x right, y down, z towards the viewer.
    color : tuple of float
        Its brightness, BGR.
    shadows : bool
        Whether the head casts shadows on itself.
    """

    direction: tuple[float, float, float]
    color: tuple[float, float, float]
    shadows: bool = False


@dataclass(frozen=True)
class Light:
    """Scattered light and lamps.

    Attributes
    ----------
    ambient : tuple of float
        Brightness of the scattered light, BGR.
    lamps : tuple of Lamp
    specular, exponent : float
        Strength of the highlights of skin, and how small they are.
    """

    ambient: tuple[float, float, float]
    lamps: tuple[Lamp, ...]
    specular: float = 0.05
    exponent: float = 12.0


def any_lighting(skin: tuple[float, float, float], rng: np.random.Generator) -> Light:
    """Draw light: soft or hard, from any side in front, coloured or not, with one to three lamps.

    Parameters
    ----------
    skin : tuple of float
        BGR of the face, on which photographers base the exposure, in part.
    rng : numpy.random.Generator
    """
    total = float(np.exp(rng.normal(0.06, 0.22))) * (150 / max(float(np.mean(skin)), 20.0)) ** 0.4
    share = rng.uniform(0.25, 0.85)
    warm = rng.normal(0, 0.06)
    ambient = total * share * np.exp(rng.normal(0, 0.04, 3) + warm * np.array([-1, 0, 1]))
    lamps = []
    for index in range(int(rng.choice([1, 2, 3], p=(0.6, 0.3, 0.1)))):
        direction = np.array([rng.normal(0, 0.9), rng.normal(-0.45, 0.5), rng.uniform(0.15, 1.0)])
        if index:
            direction[2] = rng.uniform(-0.6, 1)
        strength = total * (1 - share) * rng.uniform(0.7, 1.7) / (1 + 0.7 * index)
        vivid = 0.3 if rng.random() < 0.1 else 0.05
        color = strength * np.exp(rng.normal(0, vivid, 3) + rng.normal(0, 0.06) * np.array([-1, 0, 1]))
        direction /= np.linalg.norm(direction)
        lamps.append(Lamp(tuple(direction.tolist()), tuple(color.tolist()), bool(index == 0 and rng.random() < 0.6)))
    specular = float(rng.choice([rng.uniform(0, 0.08), rng.uniform(0.05, 0.3)], p=(0.7, 0.3)))
    return Light(tuple(ambient.tolist()), tuple(lamps), specular, float(rng.uniform(4, 30)))


def photograph(
    head: Head,
    yaw: float,
    roll: float,
    camera: Camera,
    face: Floats,
    wear: Sequence[Piece],
    light: Light,
    background: Image,
) -> Image:
    """Render a head in front of a background.

    Parameters
    ----------
    head : Head
    yaw, roll : float
        Its angles, degrees.
    camera : Camera
        Face model to image px, at these angles.
    face : ndarray (n, 3) float32
        Vertices of the face, in the face model's unit.
    wear : sequence of Piece
        What it wears.
    light : Light
    background : ndarray (h, w, 3) uint8
        BGR.

    Returns
    -------
    ndarray (h, w, 3) uint8
        BGR.
    """
    height, width = background.shape[:2]
    window = (0, 0, width, height)
    color = cv2.resize(background, (_FACTOR * width, _FACTOR * height), interpolation=cv2.INTER_LINEAR)
    depth = np.full(color.shape[:2], -np.inf, dtype=np.float32)
    upper, lower = surfaces(head, yaw, roll, camera, face)
    level = atlas_level(head, _FACTOR * camera.scale)
    texels = level.shape[1]
    for surface in (lower, upper):
        raster = rasterize(surface.vertices, surface.triangles, window, cull="back", factor=_FACTOR)
        gain = _gain(surface.vertices, surface.triangles, light, light.specular, cast=surface is upper)
        maps = interpolate(raster, surface.on_atlas, surface.atlas_points * np.float32(texels) - np.float32(0.5))
        paint = cv2.remap(level, maps, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        lit = cv2.multiply(paint, interpolate(raster, surface.triangles, gain), dtype=cv2.CV_8U)
        nearer = raster.depth > depth
        cv2.copyTo(lit, nearer.view(np.uint8), color)
        np.copyto(depth, raster.depth, where=nearer)
    # the triangles of the face come first
    faces = np.zeros(len(upper.triangles) + 1, dtype=bool)
    faces[: len(head.model.triangles)] = head.model.part[head.model.triangles[:, 0]] == 3
    mouth = faces[raster.triangle_id] & nearer
    # opaque pieces hide others; transparent ones come last
    for piece in sorted(wear, key=lambda piece: (not piece.in_mouth, int(piece.texture[..., 3].min()) < 255)):
        _add(color, depth, mouth, piece, camera, light, window)
    return np.asarray(cv2.resize(color, (width, height), interpolation=cv2.INTER_AREA))


def _add(
    color: Image,
    depth: Floats,
    mouth: NDArray[np.bool_],
    piece: Piece,
    camera: Camera,
    light: Light,
    window: tuple[int, int, int, int],
) -> None:
    vertices = camera.project(piece.vertices)
    raster = rasterize(vertices, piece.triangles, window, factor=_FACTOR)
    nearer = raster.mask & mouth if piece.in_mouth else raster.depth > depth
    if not nearer.any():
        return
    rows, columns = np.flatnonzero(nearer.any(axis=1)), np.flatnonzero(nearer.any(axis=0))
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    side = np.array(piece.texture.shape[1::-1], np.float32)
    maps = interpolate(raster, piece.triangles, piece.points * (side - 1))[part]
    gain = interpolate(raster, piece.triangles, _gain(vertices, piece.triangles, light, piece.gloss))[part]
    paint = cv2.remap(
        piece.texture, np.ascontiguousarray(maps), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    lit = cv2.multiply(np.ascontiguousarray(paint[..., :3]), gain, dtype=cv2.CV_8U)
    alpha = paint[..., 3].astype(np.float32) * np.float32(1 / 255) * nearer[part]
    color[part] = cv2.blendLinear(lit, np.ascontiguousarray(color[part]), alpha, 1 - alpha)
    solid = alpha > 0.5
    if not piece.in_mouth:
        np.copyto(depth[part], raster.depth[part], where=solid)


def _gain(
    vertices: Floats, triangles: NDArray[np.int32], light: Light, specular: float, *, cast: bool = False
) -> Floats:
    """Brightness of each vertex (n, 3); surfaces that turn away from the viewer are lit as their other side."""
    normals = vertex_normals(vertices, triangles)
    if not cast:
        normals = normals * np.where(normals[:, 2:] < 0, -1, 1).astype(np.float32)
    gain = np.tile(np.array(light.ambient, np.float32), (len(normals), 1))
    for lamp in light.lamps:
        direction = np.array(lamp.direction, np.float32)
        facing = normals @ direction
        mirrored = np.clip(2 * facing * normals[:, 2] - direction[2], 0, 1)
        strength = np.maximum(facing, 0) + np.where(facing > 0, np.float32(specular) * mirrored**light.exponent, 0)
        if cast and lamp.shadows:
            strength *= _reached(vertices, triangles, direction)
        gain += strength[:, None] * np.array(lamp.color, np.float32)
    return gain


def _reached(vertices: Floats, triangles: NDArray[np.int32], direction: Floats) -> Floats:
    """Fraction of the light that reaches each vertex (n,): less than 1 in cast shadows."""
    side = np.cross(direction, [0.0, 1.0, 0.0])
    side = side / max(float(np.linalg.norm(side)), 1e-6)
    frame = np.stack([-side, np.cross(direction, -side), direction]).astype(np.float32)
    seen = vertices @ frame.T
    # an image with the same handedness as that of the vertices
    if np.linalg.det(frame) < 0:
        seen[:, 1] *= -1
    low, high = seen.min(axis=0), seen.max(axis=0)
    scale = np.float32((_SHADOW_SIDE - 3) / float((high - low)[:2].max()))
    seen = (seen - low) * scale + 1
    raster = rasterize(seen, triangles, (0, 0, _SHADOW_SIDE, _SHADOW_SIDE))
    out = np.zeros(len(seen), dtype=np.float32)
    for dx, dy in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
        column, row = (
            np.clip(np.rint(seen[:, k] + d), 0, _SHADOW_SIDE - 1).astype(np.intp) for k, d in ((0, dx), (1, dy))
        )
        out += raster.depth[row, column] < seen[:, 2] + _SHADOW_GAP
    return np.asarray(out / 5, np.float32)
