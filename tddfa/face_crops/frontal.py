"""Faces turned to the front: what the photo shows of a head, as it would look from straight ahead.

The face's mesh says where in the photo each point of the frontal view lies. What the head hides of itself is taken from
its other side, mirrored (as face symmetry is used by Hassner et al., CVPR 2015), and the photo around the face comes
along, as if it hung on the outline (as in the profiling of Zhu et al., CVPR 2016).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from Sim3DR import Raster, interpolate, rasterize, vertex_normals
from tddfa._shared.arrays import bounds, checked_image
from tddfa.face_crops.aligned import MAX_SHRINKING, five_points, part_under, template_points
from tddfa.surface.texture import SameArray, without_holes
from tddfa.types import Face, Mesh

Floats = NDArray[np.float32]

# The view is worked out with about so many pixels a side, and averaged down to smaller crops.
_WORKING_PX = 256
# The UV sheet on which each vertex's mirror image is looked up.
_SHEET_PX = 1024
# What is continued smoothly needs no more pixels a side.
_SMOOTH_PX = 64
# Depth is tested on a rendering of the photo's view this large; what lies so far behind the nearest surface, as a share
# of the face's size, begins to count as hidden, and is. Lids and lips are shallower: they hide nothing here.
_DEPTH_TEST_PX = 128
_BEHIND, _HIDDEN = 0.03, 0.06
# How much of a surface's frontal area the photo must show: from the first share on it counts, from the second on fully.
_SQUEEZED, _OPEN = 0.1, 0.5
# Added to both areas before they are compared, so that the steep sides of nose and lids do not divide by nothing.
_AREA_FLOOR = 0.15
# An error in depth moves the far outline of a turned head by the sine of the turn, and lets the background in. So
# within a margin of so much of the face's size (at a whole profile) little is trusted, and that little is taken from
# farther inside. That begins at the first of these sines, and is so from the second on.
_MARGIN, _LITTLE = 0.05, 0.04
_DOUBTED = (0.05, 0.25)
_OUTLINE_ROWS = 64
# Up to the first sine of the whole turn the photo is as good as a view from the front; beyond the second all of the
# above holds.
_STRAIGHT = (0.15, 0.4)
# From the first sine on the half that is turned away is replaced by the other, from the second on all of it; in the
# face, which the model knows, later than around it.
_FACE_MIRRORED, _AROUND_MIRRORED = (0.4, 0.65), (0.2, 0.5)
# Width of the change from one half to the other, a share of the crop.
_SEAM = 0.06
# How much no difference in light counts beside one that is seen.
_RELIT_NEARBY = 0.05
# Weights that are less than this in sum say nothing: the colour is filled in from around.
_UNKNOWN = 0.02


class _Seen(NamedTuple):
    """Where the photo shows each vertex, px (n, 2), and how far that is to be trusted, 0..1 (n,)."""

    points: Floats
    trust: Floats


class _Source(NamedTuple):
    """Where the photo shows each pixel of the frontal view, px, and how far that is to be trusted, 0..1; all (h, w)."""

    x: Floats
    y: Floats
    trust: Floats


def frontalise(image: NDArray[np.uint8], face: Face, mesh: Mesh, size: int = 112) -> NDArray[np.uint8]:
    """Turn a face to the front, in the frame of `tddfa.face_crops.aligned.align_face`.

    The expression stays. The farther the head is turned, the more is mirrored, hair and background with it; beyond
    some 60 degrees of yaw much is a guess, and errors of the pose show along the middle of the face.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    face : Face
        What was found in it.
    mesh : Mesh
        The face's surface in px of the picture (`Aligner.mesh`), with `uv`; the sheet is taken to be symmetric about
        u = 0.5.
    size : int
        Side of the crop, px, 32..1024.

    Returns
    -------
    ndarray (size, size, 3) uint8
        BGR; its five points lie as near to those of ArcFace's template as scale and shift bring them. Black where
        the picture ends.

    Raises
    ------
    TypeError, ValueError
        If an argument is something else, or if the mesh has no triangles or no `uv`.
    """
    checked_image("image", image)
    template = template_points(face, size)
    if mesh.uv is None or not len(mesh.triangles):
        raise ValueError(f"mesh: expected one with triangles and uv, got {'no uv' if mesh.uv is None else 'none'}")
    samples = max(1, _WORKING_PX // size)
    working = size * samples
    rotation = face.camera.rotation
    vertices, scale = _from_the_front(face, mesh, (template + 0.5) * samples - 0.5)
    raster = rasterize(vertices, mesh.triangles, (0, 0, working, working), cull="back")
    silhouette = without_holes(raster.mask.view(np.uint8)) > 0

    seen = _seen(mesh, rotation, image.shape[:2])
    own = _source(raster, vertices, mesh, seen)
    other = _source(raster, vertices, mesh, _mirrored(seen, mesh))

    # 1 on the half of the crop that the head turns away from the camera, 0 on the other
    sine = _sideways(rotation)
    middle = (float(template[:, 0].mean()) + 0.5) * samples - 0.5
    across = (np.arange(working, dtype=np.float32) - np.float32(middle)) * np.float32(np.sign(sine) / working)
    far = np.broadcast_to(_step(across, -_SEAM / 2, _SEAM / 2), (working, working))
    own_share, other_share = _shares(own.trust, other.trust, far * _step(abs(sine), *_FACE_MIRRORED))
    far_around = far * _step(abs(sine), *_AROUND_MIRRORED)
    own_share = np.where(silhouette, own_share, 1 - far_around)
    other_share = np.where(silhouette, other_share, far_around)

    colors, opposite = _sampled(image, own, other, scale)
    opposite = _relit(opposite, colors, np.minimum(own_share, other.trust), far * silhouette)
    blended = cv2.blendLinear(colors, opposite, own_share, other_share)
    known = np.minimum((own_share + other_share) * np.float32(1 / _UNKNOWN), 1)
    if known.min() < 1:
        blended = cv2.blendLinear(blended, _push_pull(blended, known * silhouette), known, 1 - known)
    out = cv2.convertScaleAbs(np.maximum(blended, 0))
    if samples > 1:
        out = cv2.resize(out, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(out, dtype=np.uint8)


def _from_the_front(face: Face, mesh: Mesh, template: NDArray[np.float64]) -> tuple[Floats, float]:
    """Vertices with the head's rotation undone, in px of a crop with this template; and px of it a px of the photo.

    Turned back, the head stands upright: scale and shift are all that is left to fit, so a crooked smile stays crooked.
    """
    flip = np.diag([1.0, -1.0, 1.0])  # the image's y is down, the rotation's up
    back = (flip @ face.camera.rotation.T @ flip).astype(np.float32)
    turned = replace(face, landmarks=face.landmarks @ back.T)
    points = five_points(turned)
    middle, goal = points.mean(axis=0), template.mean(axis=0)
    spread = float(np.square(points - middle).sum())
    scale = float(((points - middle) * (template - goal)).sum()) / max(spread, 1e-12)
    if scale <= 0:
        raise ValueError("face: expected eyes, nose and mouth in their places, got them in one place or upside down")
    vertices = mesh.vertices @ (back.T * np.float32(scale))
    vertices[:, :2] += (goal - scale * middle).astype(np.float32)
    return vertices, scale


def _seen(mesh: Mesh, rotation: NDArray[np.float64], image_size: tuple[int, int]) -> _Seen:
    """Where the photo shows each vertex, and how well compared with a view from the front."""
    x, y = mesh.vertices[:, 0], mesh.vertices[:, 1]
    height, width = image_size
    in_photo = ((x > -0.5) & (y > -0.5) & (x < width - 0.5) & (y < height - 0.5)).astype(np.float32)
    ahead = (rotation[:, 2] * (1, -1, 1)).astype(np.float32)  # where the face looks, in the image's frame
    turn = float(np.hypot(ahead[0], ahead[1]))
    if turn <= _STRAIGHT[0]:
        return _Seen(mesh.vertices[:, :2], in_photo)

    normals = vertex_normals(mesh.vertices, mesh.triangles)
    shown = (normals[:, 2] + _AREA_FLOOR) / (np.maximum(normals @ ahead, 0) + _AREA_FLOOR)
    trust = _ramp(shown, _SQUEEZED, _OPEN)

    low, high = bounds(mesh.vertices)
    extent = max(float((high - low).max()), 1e-6)
    small = (mesh.vertices - low) * np.float32(_DEPTH_TEST_PX / extent)
    columns, rows = (int(side * _DEPTH_TEST_PX / extent) + 2 for side in (high - low)[:2].tolist())
    raster = rasterize(small, mesh.triangles, (0, 0, columns, rows), cull="back")
    nearest = raster.depth[np.rint(small[:, 1]).astype(np.intp), np.rint(small[:, 0]).astype(np.intp)]
    trust *= 1 - _ramp((nearest - small[:, 2]) / _DEPTH_TEST_PX, _BEHIND, _HIDDEN)

    sideways = abs(_sideways(rotation))
    direction = ahead[:2] / np.float32(turn)
    inside = _to_far_outline(mesh, direction) / np.float32(extent)
    margin = max(_MARGIN * sideways, 1e-6)
    trust *= 1 - (1 - _LITTLE) * float(_step(sideways, *_DOUBTED)) * (1 - _ramp(inside, 0.5 * margin, 1.5 * margin))
    inward = np.maximum(margin - 0.5 * inside, 0) * np.float32(extent)
    trust = np.maximum(trust, 1 - _step(turn, *_STRAIGHT))
    return _Seen(mesh.vertices[:, :2] - inward[:, None] * direction, trust * in_photo)


def _sideways(rotation: NDArray[np.float64]) -> float:
    """Sine of the angle by which the head is turned to its left, about its own axis, not the picture's."""
    return -float(rotation[2, 0])


def _to_far_outline(mesh: Mesh, direction: Floats) -> Floats:
    """How far each vertex lies inside the outline, px, along a direction of the image."""
    along = mesh.vertices[:, :2] @ direction
    across = mesh.vertices[:, :2] @ np.array([-direction[1], direction[0]])
    low, span = float(across.min()), max(float(np.ptp(across)), 1e-6)
    row = ((across - low) * np.float32((_OUTLINE_ROWS - 1) / span) + np.float32(0.5)).astype(np.intp)
    outline = np.full(_OUTLINE_ROWS, -np.inf, dtype=np.float32)
    np.maximum.at(outline, row, along)
    return np.asarray(outline[row] - along, dtype=np.float32)


def _mirrored(seen: _Seen, mesh: Mesh) -> _Seen:
    """The same of each vertex's mirror image in the face's plane of symmetry."""
    assert mesh.uv is not None
    around, weights = _mirror_images(SameArray(mesh.uv), SameArray(mesh.triangles))
    points = np.einsum("nkc,nk->nc", seen.points[around], weights)
    return _Seen(points, np.einsum("nk,nk->n", seen.trust[around], weights))


@lru_cache(maxsize=4)
def _mirror_images(uv: SameArray, triangles: SameArray) -> tuple[NDArray[np.int32], Floats]:
    """Each vertex's mirror image on the UV sheet: the vertices (n, 3) around it, and their weights."""
    corners, sheet = np.asarray(triangles.array, dtype=np.int32), np.asarray(uv.array, dtype=np.float32)
    flat = np.zeros((len(sheet), 3), dtype=np.float32)
    flat[:, 0], flat[:, 1] = sheet[:, 0] * _SHEET_PX - 0.5, (1 - sheet[:, 1]) * _SHEET_PX - 0.5
    raster = rasterize(flat, corners, (0, 0, _SHEET_PX, _SHEET_PX))
    # the mirror image of a point at the sheet's edge may lie beside it: the nearest texel of the sheet will do
    empty = (~raster.mask).view(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    texels = np.flatnonzero(raster.mask)
    nearest = np.zeros(int(labels.max()) + 1, dtype=np.intp)
    nearest[labels.reshape(-1)[texels]] = texels
    column = np.clip(np.rint(_SHEET_PX - 1 - flat[:, 0]), 0, _SHEET_PX - 1).astype(np.intp)
    row = np.clip(np.rint(flat[:, 1]), 0, _SHEET_PX - 1).astype(np.intp)
    texel = nearest[labels[row, column]]
    first_two = raster.barycentric.reshape(-1, 2)[texel]
    weights = np.column_stack([first_two, 1 - first_two.sum(axis=1)])
    return corners[raster.triangle_id.reshape(-1)[texel]], weights.astype(np.float32)


def _source(raster: Raster, vertices: Floats, mesh: Mesh, seen: _Seen) -> _Source:
    """What is known of the vertices, on the face, in its openings and around it.

    An affine map says where the surroundings lie; how the face departs from it goes on smoothly, and dies away.
    """
    pixels = np.column_stack([vertices[:, :2], np.ones(len(vertices), dtype=np.float32)])
    some = pixels[::8].astype(np.float64)
    affine = np.linalg.lstsq(some.T @ some, some.T @ seen.points[::8], rcond=None)[0].astype(np.float32)
    departure = np.column_stack([seen.points - pixels @ affine, seen.trust])
    on_face = interpolate(raster, mesh.triangles, departure)
    everywhere = _push_pull(on_face, raster.mask.astype(np.float32))
    cv2.copyTo(on_face, raster.mask.view(np.uint8), everywhere)
    x, y, trust = cv2.split(everywhere)
    column, row = (np.arange(side, dtype=np.float32) for side in trust.shape[::-1])
    for coordinate, (a, b, c) in ((x, affine[:, 0]), (y, affine[:, 1])):
        coordinate += (a * column + c)[None]
        coordinate += (b * row)[:, None]
    return _Source(x, y, trust)


def _shares(own: Floats, other: Floats, far: Floats) -> tuple[Floats, Floats]:
    """Shares of a surface's own colour and of its mirror image's, from the trust in both."""
    # of two that are both seen, the one that is seen better counts for more: it is the sharper one
    share = own * np.square(own / np.maximum(np.maximum(own, other), np.float32(1e-6)))
    # on the far half, a mirror image that is seen at all
    share *= 1 - far * np.minimum(4 * other, 1)
    return share, other * (1 - share)


def _sampled(image: NDArray[np.uint8], own: _Source, other: _Source, scale: float) -> tuple[Floats, Floats]:
    """Colours of the photo at both; `scale` is px of them a px of the photo."""
    low, high = (
        (min(own.x.min(), other.x.min()), min(own.y.min(), other.y.min())),
        (max(own.x.max(), other.x.max()), max(own.y.max(), other.y.max())),
    )
    factor = int(np.clip(1 / scale, 1, MAX_SHRINKING))
    part, corner = part_under(image, low, high, factor)
    if not part.size:
        return np.zeros((*own.x.shape, 3), dtype=np.float32), np.zeros((*own.x.shape, 3), dtype=np.float32)
    part = part.astype(np.float32)
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR
    share = np.float32(1 / factor)
    first, second = (
        cv2.remap(part, (at.x - corner[0]) * share, (at.y - corner[1]) * share, method, borderMode=cv2.BORDER_CONSTANT)
        for at in (own, other)
    )
    return first, second


def _relit(opposite: Floats, colors: Floats, both: Floats, where: Floats) -> Floats:
    """Give mirrored colours the light of the side that they come to lie on.

    Where a point and its mirror image are both seen, their difference is known; it goes on smoothly over the rest of
    that side. (On the other side it is the same with the other sign.)
    """
    # what the background has got into is not trusted much, and counts for next to nothing
    weight = both * both * where
    # and dies away far from there: light changes over a face
    evidence = weight + np.float32(_RELIT_NEARBY) * where
    difference = _push_pull(
        (colors - opposite) * (weight / np.maximum(evidence, np.float32(1e-6)))[..., None], evidence
    )
    return np.asarray(opposite + difference * where[..., None])


def _push_pull(values: Floats, weight: Floats) -> Floats:
    """Continue values (h, w, 3) smoothly where `weight` (0..1) is low (Gortler et al., SIGGRAPH 1996)."""
    weighted = cv2.merge([*cv2.split(cv2.multiply(values, cv2.merge([weight] * 3))), weight])
    side = min(_SMOOTH_PX, *weight.shape)
    levels = [cv2.resize(weighted, (side, side), interpolation=cv2.INTER_AREA)]
    while side > 1:
        side = side // 2
        levels.append(cv2.resize(levels[-1], (side, side), interpolation=cv2.INTER_AREA))
    coarsest = levels.pop().reshape(1, 1, 4)
    filled = coarsest[..., :3] / np.maximum(coarsest[..., 3:], np.float32(1e-6))
    for level in reversed(levels):
        filled = cv2.resize(filled, level.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        filled = level[..., :3] + (1 - level[..., 3:]) * filled
    return np.asarray(cv2.resize(filled, weight.shape[::-1], interpolation=cv2.INTER_LINEAR))


def _ramp(values: Floats, low: float, high: float) -> Floats:
    return np.clip((values - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)


def _step(values: ArrayLike, low: float, high: float) -> Floats:
    ramp = _ramp(np.asarray(values, dtype=np.float32), low, high)
    return np.asarray(ramp * ramp * (3 - 2 * ramp))
