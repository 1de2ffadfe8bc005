"""Frontalisation: the face of an image, rendered as seen from straight ahead.

The mesh of the face maps each point of the frontal view to a point of the image. The hidden part of the face is copied
from its other side, mirrored (face symmetry as in Hassner et al., CVPR 2015). The image around the face is warped along
with the outline (as in the profiling of Zhu et al., CVPR 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from Sim3DR import Raster, interpolate, rasterize, vertex_normals
from tddfa._shared.arrays import cached_by_arrays, checked_image
from tddfa.face_crops.aligned import MAX_SHRINK_FACTOR, cropped_part, five_points, template_points
from tddfa.surface.sampling import push_pull
from tddfa.surface.texture import FILLED, MIRRORED, SEEN, texel_positions
from tddfa.surface.visibility import DepthTest, inside_image, without_holes
from tddfa.types import Face, Mesh

Floats = NDArray[np.float32]

# The view is computed with about so many pixels a side, and averaged for smaller crops.
_WORKING_PX = 256
# Side of the UV map on which the mirror image of each vertex is looked up.
_UV_MAP_PX = 1024
# Side of the map on which smooth continuations are computed.
_SMOOTH_PX = 64
# The depth test renders the face this large. A vertex begins to count as hidden at the first distance behind the
# nearest surface, a fraction of the face's size, and is hidden from the second on. Lids and lips are shallower.
_DEPTH_TEST_PX = 128
_BEHIND, _HIDDEN = 0.03, 0.06
# The area that a surface has in the image, as a fraction of its area in the frontal view: it begins to count at the
# first value, and counts fully from the second on.
_SQUEEZED, _OPEN = 0.1, 0.5
# Added to both areas before they are compared: the steep sides of nose and lids have next to no frontal area.
_AREA_FLOOR = 0.15
# An error in depth moves the far outline of a turned head by the sine of the turn, and the background appears in the
# face. So within a margin of the outline (this fraction of the face's size at a full profile) the trust is low, and
# colours are taken from farther inside. This begins at the first of these sines, and is complete from the second on.
_MARGIN, _LITTLE = 0.05, 0.04
_DOUBTED = (0.05, 0.25)
_OUTLINE_ROWS = 64
# Up to the first sine of the whole turn the image is used as a frontal view; from the second on all of this applies.
_STRAIGHT = (0.15, 0.4)
# At the first sine the far half of the head begins to be replaced by the near half, from the second on all of it is.
# In the face, which the model describes, this happens later than around it.
_FACE_MIRRORED, _AROUND_MIRRORED = (0.4, 0.65), (0.2, 0.5)
# Width of the transition between the halves, a fraction of the crop.
_SEAM = 0.06
# Breadth of the rim in which the face passes into its surroundings, a fraction of the crop: where a mesh has no
# `Mesh.opacity`, and where it has, along outlines such as that of the jaw.
_RIM, _EDGE = 0.05, 0.015
# Weight of "no difference in light" compared with an observed difference.
_RELIT_NEARBY = 0.05
# Largest difference of light between both sides that is corrected, grey levels.
_MOST_RELIT = 100
# If the weights of both sides sum to less than this, the colour is filled from the surroundings.
_UNKNOWN = 0.02


class _Seen(NamedTuple):
    """Position of each vertex in the image, px (n, 2), and how far its colour there can be trusted, 0..1 (n,)."""

    points: Floats
    trust: Floats


class _Source(NamedTuple):
    """Position in the image of each pixel of the frontal view, px, and the trust in it, 0..1; all (h, w)."""

    x: Floats
    y: Floats
    trust: Floats


class FrontalView(NamedTuple):
    """A face as seen from the front.

    Attributes
    ----------
    image : ndarray (size, size, 3) uint8
        The crop, BGR.
    mask : ndarray (size, size) uint8
        Source of each pixel: `SEEN`, `MIRRORED` or `FILLED` (`tddfa.surface.texture`); 0 outside of the image.
    mirrored : float
        Fraction of the face, without its surroundings, that is mirrored or filled, 0..1.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    mirrored: float


def frontalise(image: NDArray[np.uint8], face: Face, mesh: Mesh, *, size: int = 112) -> NDArray[np.uint8]:
    """Crop a face as seen from the front, in the frame of `tddfa.face_crops.aligned.align_face`.

    The expression is kept. The more the head is turned, the more of the crop is mirrored, hair and background included.
    Beyond a yaw of about 60 degrees much of it is a guess, and errors of the pose are visible along the middle of the
    face. `frontal_view` also tells which pixels are mirrored.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    face : Face
        A face detected in the image.
    mesh : Mesh
        The face's surface in image px (`Decoder.mesh`), with `uv`. The UV map is assumed to be symmetric about u = 0.5.
    size : int
        Side of the crop, px, 32..1024.

    Returns
    -------
    ndarray (size, size, 3) uint8
        BGR. The five points match ArcFace's template as well as a scale and a shift allow. Areas outside of the image
        are black.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or dtype, or if the mesh has no triangles or no `uv`.

    Examples
    --------
    >>> frontalise(image, face, mesh).shape
    (112, 112, 3)
    """
    return frontal_view(image, face, mesh, size=size).image


def frontal_view(image: NDArray[np.uint8], face: Face, mesh: Mesh, *, size: int = 112) -> FrontalView:
    """Crop a face as `frontalise` does, and return the source of each pixel too.

    Examples
    --------
    >>> view = frontal_view(image, face, mesh)
    >>> view.mask.shape, view.mirrored < 0.2
    ((112, 112), True)
    """
    checked_image("image", image)
    template = template_points(face, size)
    if mesh.uv is None or not len(mesh.triangles):
        got = "no uv" if mesh.uv is None else "no triangles"
        raise ValueError(f"mesh: expected one with triangles and uv, got {got}")
    samples = max(1, _WORKING_PX // size)
    working = size * samples
    rotation = face.camera.rotation
    mesh = _without_inside(mesh)
    if not len(mesh.triangles):
        raise ValueError(
            "mesh: expected one with triangles outside of the mouth and the sockets (shade of 1), got none"
        )
    vertices, scale = _from_the_front(face, mesh, (template + 0.5) * samples - 0.5)
    raster = rasterize(vertices, mesh.triangles, (0, 0, working, working), cull="back")
    silhouette = without_holes(raster.mask.view(np.uint8)) > 0
    inside = _inside(raster, mesh, silhouette)

    seen = _seen(mesh, rotation, image.shape[:2])
    own = _source(raster, vertices, mesh, seen, inside)
    other = _source(raster, vertices, mesh, _mirrored(seen, mesh), inside)

    # 1 on the half of the crop with the far side of the head, 0 on the other
    sine = _sideways(rotation)
    middle = (float(template[:, 0].mean()) + 0.5) * samples - 0.5
    across = (np.arange(working, dtype=np.float32) - np.float32(middle)) * np.float32(np.sign(sine) / working)
    far = np.broadcast_to(_step(across, -_SEAM / 2, _SEAM / 2), (working, working))
    own_weight, other_weight = _weights(own.trust, other.trust, far * _step(abs(sine), *_FACE_MIRRORED))
    far_around = far * _step(abs(sine), *_AROUND_MIRRORED)
    own_weight = _between(1 - far_around, own_weight, inside)
    other_weight = _between(far_around, other_weight, inside)
    shown = [_in_image(source, image.shape[:2]) for source in (own, other)]
    # the surroundings are black outside of the image, the face is filled
    own_weight, other_weight = (
        np.where(silhouette, weight * within, weight)
        for weight, within in zip((own_weight, other_weight), shown, strict=True)
    )

    colors, opposite = _sampled(image, own, other, scale)
    opposite = _relit(opposite, colors, np.minimum(own_weight, other.trust), far * inside)
    blended = cv2.blendLinear(colors, opposite, own_weight, other_weight)
    known = np.minimum((own_weight + other_weight) * np.float32(1 / _UNKNOWN), 1)
    if known.min() < 1:
        blended = cv2.blendLinear(blended, _continued(blended, known * silhouette), known, 1 - known)
    out = cv2.convertScaleAbs(np.maximum(blended, 0))
    if samples > 1:
        out = cv2.resize(out, (size, size), interpolation=cv2.INTER_AREA)
    sources = [known * (own_weight >= other_weight), known * (own_weight < other_weight)]
    mask = _mask([part * within for part, within in zip(sources, shown, strict=True)], silhouette, size)
    own_part = known * own_weight / np.maximum(own_weight + other_weight, np.float32(1e-6))
    mirrored = 1 - float((own_part * silhouette).sum()) / max(int(silhouette.sum()), 1)
    return FrontalView(np.asarray(out, dtype=np.uint8), mask, mirrored)


def _between(around: Floats, face: Floats, inside: Floats) -> Floats:
    return np.asarray(around + inside * (face - around), dtype=np.float32)


def _inside(raster: Raster, mesh: Mesh, silhouette: NDArray[np.bool_]) -> Floats:
    """0 around the face, 1 inside of it (h, w). In between, what is shown of both sides passes into each other."""
    distance = cv2.distanceTransform(silhouette.view(np.uint8), cv2.DIST_L2, 3) * np.float32(1 / len(silhouette))
    if mesh.opacity is None:
        return _ramp(distance, 0, _RIM)
    opacity = interpolate(raster, mesh.triangles, mesh.opacity[:, None])[..., 0]
    return np.asarray(np.where(raster.mask, opacity, silhouette) * _ramp(distance, 0, _EDGE), dtype=np.float32)


def _in_image(source: _Source, image_size: tuple[int, int]) -> NDArray[np.bool_]:
    """Whether all of the image that makes up a pixel is there."""
    height, width = image_size
    return np.asarray((source.x >= 0) & (source.y >= 0) & (source.x <= width - 1) & (source.y <= height - 1))


def _mask(sources: Sequence[Floats], silhouette: NDArray[np.bool_], size: int) -> NDArray[np.uint8]:
    """`SEEN`, `MIRRORED` or `FILLED`, 0 outside of the image, from the seen and the mirrored part of each pixel."""
    seen, mirrored, face = (
        cv2.resize(np.asarray(part, dtype=np.float32), (size, size), interpolation=cv2.INTER_AREA)
        for part in (*sources, silhouette)
    )
    shown = np.where(seen >= mirrored, SEEN, MIRRORED)
    return np.where(seen + mirrored >= 0.5, shown, np.where(face >= 0.5, FILLED, 0)).astype(np.uint8)


def _without_inside(mesh: Mesh) -> Mesh:
    """The mesh without the inside of the mouth and the sockets: the photo continues there as it is, teeth included."""
    if mesh.shade is None:
        return mesh
    return replace(mesh, triangles=mesh.triangles[mesh.shade[mesh.triangles].max(axis=1) == 1])


def _from_the_front(face: Face, mesh: Mesh, template: NDArray[np.float64]) -> tuple[Floats, float]:
    """Vertices with the head's rotation undone, in px of a crop with this template; and crop px per image px.

    Without its rotation the head is upright. Only scale and shift are fitted, so a crooked smile stays crooked.
    """
    flip = np.diag([1.0, -1.0, 1.0])  # the image's y is down, the rotation's up
    back = (flip @ face.camera.rotation.T @ flip).astype(np.float32)
    turned = replace(face, landmarks=face.landmarks @ back.T)
    points = five_points(turned)
    middle, goal = points.mean(axis=0), template.mean(axis=0)
    spread = float(np.square(points - middle).sum())
    scale = float(((points - middle) * (template - goal)).sum()) / max(spread, 1e-12)
    if scale <= 0:
        raise ValueError("face: expected eyes, nose and mouth in order, got them in one place or upside down")
    vertices = mesh.vertices @ (back.T * np.float32(scale))
    vertices[:, :2] += (goal - scale * middle).astype(np.float32)
    return vertices, scale


def _seen(mesh: Mesh, rotation: NDArray[np.float64], image_size: tuple[int, int]) -> _Seen:
    """Position of each vertex in the image, and how well it is visible there compared with a frontal view."""
    inside = inside_image(mesh.vertices, image_size).astype(np.float32)
    ahead = (rotation[:, 2] * (1, -1, 1)).astype(np.float32)  # direction of view of the face, in the image's frame
    turn = float(np.hypot(ahead[0], ahead[1]))
    if turn <= _STRAIGHT[0]:
        return _Seen(mesh.vertices[:, :2], inside)

    normals = vertex_normals(mesh.vertices, mesh.triangles)
    shown = (normals[:, 2] + _AREA_FLOOR) / (np.maximum(normals @ ahead, 0) + _AREA_FLOOR)
    trust = _ramp(shown, _SQUEEZED, _OPEN)

    test = DepthTest(mesh, _DEPTH_TEST_PX)
    trust *= 1 - _ramp(test.vertices_behind() / np.float32(_DEPTH_TEST_PX), _BEHIND, _HIDDEN)

    sideways = abs(_sideways(rotation))
    direction = ahead[:2] / np.float32(turn)
    depth = _to_far_outline(mesh, direction) / np.float32(test.extent)
    margin = max(_MARGIN * sideways, 1e-6)
    trust *= 1 - (1 - _LITTLE) * float(_step(sideways, *_DOUBTED)) * (1 - _ramp(depth, 0.5 * margin, 1.5 * margin))
    inward = np.maximum(margin - 0.5 * depth, 0) * np.float32(test.extent)
    trust = np.maximum(trust, 1 - _step(turn, *_STRAIGHT))
    return _Seen(mesh.vertices[:, :2] - inward[:, None] * direction, trust * inside)


def _sideways(rotation: NDArray[np.float64]) -> float:
    """Sine of the angle by which the head is turned to its left, about its own axis, not that of the image."""
    return -float(rotation[2, 0])


def _to_far_outline(mesh: Mesh, direction: Floats) -> Floats:
    """Distance of each vertex to the outline, px, along a direction of the image."""
    along = mesh.vertices[:, :2] @ direction
    across = mesh.vertices[:, :2] @ np.array([-direction[1], direction[0]])
    low, span = float(across.min()), max(float(np.ptp(across)), 1e-6)
    row = ((across - low) * np.float32((_OUTLINE_ROWS - 1) / span) + np.float32(0.5)).astype(np.intp)
    outline = np.full(_OUTLINE_ROWS, -np.inf, dtype=np.float32)
    np.maximum.at(outline, row, along)
    return np.asarray(outline[row] - along, dtype=np.float32)


def _mirrored(seen: _Seen, mesh: Mesh) -> _Seen:
    """The same for the mirror image of each vertex in the face's plane of symmetry."""
    assert mesh.uv is not None
    around, weights = _mirror_images(mesh.uv, mesh.triangles)
    points = np.einsum("nkc,nk->nc", seen.points[around], weights)
    return _Seen(points, np.einsum("nk,nk->n", seen.trust[around], weights))


@cached_by_arrays(maxsize=4)
def _mirror_images(uv: NDArray[np.float32], triangles: NDArray[np.int32]) -> tuple[NDArray[np.int32], Floats]:
    """The mirror image of each vertex on the UV map: the vertices (n, 3) around it, and their weights."""
    flat = np.zeros((len(uv), 3), dtype=np.float32)
    flat[:, :2] = texel_positions(uv, _UV_MAP_PX)
    raster = rasterize(flat, triangles, (0, 0, _UV_MAP_PX, _UV_MAP_PX))
    # the mirror image of a point at the edge of the UV map may be outside of it: the nearest texel of the map is used
    empty = (~raster.mask).view(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    texels = np.flatnonzero(raster.mask)
    nearest = np.zeros(int(labels.max()) + 1, dtype=np.intp)
    nearest[labels.reshape(-1)[texels]] = texels
    column = np.clip(np.rint(_UV_MAP_PX - 1 - flat[:, 0]), 0, _UV_MAP_PX - 1).astype(np.intp)
    row = np.clip(np.rint(flat[:, 1]), 0, _UV_MAP_PX - 1).astype(np.intp)
    texel = nearest[labels[row, column]]
    first_two = raster.barycentric.reshape(-1, 2)[texel]
    weights = np.column_stack([first_two, 1 - first_two.sum(axis=1)])
    return triangles[raster.triangle_id.reshape(-1)[texel]], weights.astype(np.float32)


def _source(raster: Raster, vertices: Floats, mesh: Mesh, seen: _Seen, inside: Floats) -> _Source:
    """Extend the positions and trust of the vertices to all pixels: the face, its openings and the surroundings.

    An affine map positions the surroundings. The departure of the face from it is continued smoothly, and fades out.
    Towards the rim, that of the face passes into its continuation: there is no tear between them.
    """
    pixels = np.column_stack([vertices[:, :2], np.ones(len(vertices), dtype=np.float32)])
    some = pixels[::8].astype(np.float64)
    affine = np.linalg.lstsq(some.T @ some, some.T @ seen.points[::8], rcond=None)[0].astype(np.float32)
    departure = np.column_stack([seen.points - pixels @ affine, seen.trust])
    on_face = interpolate(raster, mesh.triangles, departure)
    everywhere = _continued(on_face, raster.mask.astype(np.float32))
    weight = inside * raster.mask
    everywhere = cv2.blendLinear(on_face, everywhere, weight, 1 - weight)
    x, y, trust = cv2.split(everywhere)
    column, row = (np.arange(side, dtype=np.float32) for side in trust.shape[::-1])
    for coordinate, (a, b, c) in ((x, affine[:, 0]), (y, affine[:, 1])):
        coordinate += (a * column + c)[None]
        coordinate += (b * row)[:, None]
    return _Source(x, y, trust)


def _weights(own: Floats, other: Floats, far: Floats) -> tuple[Floats, Floats]:
    """Weights of the colour of a surface and of that of its mirror image, from the trust in both."""
    # where both are visible, the one that is seen better counts for more: it is the sharper one
    weight = own * np.square(own / np.maximum(np.maximum(own, other), np.float32(1e-6)))
    # on the far half, the mirror image, if it is visible at all
    weight *= 1 - far * np.minimum(4 * other, 1)
    return weight, other * (1 - weight)


def _sampled(image: NDArray[np.uint8], own: _Source, other: _Source, scale: float) -> tuple[Floats, Floats]:
    """Colours of the image at both sources; `scale` is their px per image px."""
    low, high = (
        (min(own.x.min(), other.x.min()), min(own.y.min(), other.y.min())),
        (max(own.x.max(), other.x.max()), max(own.y.max(), other.y.max())),
    )
    factor = int(np.clip(1 / scale, 1, MAX_SHRINK_FACTOR))
    part, corner = cropped_part(image, low, high, factor)
    if not part.size:
        return np.zeros((*own.x.shape, 3), dtype=np.float32), np.zeros((*own.x.shape, 3), dtype=np.float32)
    part = part.astype(np.float32)
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR
    step = np.float32(1 / factor)
    first, second = (
        cv2.remap(part, (at.x - corner[0]) * step, (at.y - corner[1]) * step, method, borderMode=cv2.BORDER_CONSTANT)
        for at in (own, other)
    )
    return first, second


def _relit(opposite: Floats, colors: Floats, both: Floats, where: Floats) -> Floats:
    """Give mirrored colours the light of the side they are mirrored to.

    Where a point and its mirror image are both visible, their difference is known. It is continued smoothly over the
    rest of that side. (On the other side it is the same with the other sign.)
    """
    # colours that may be mixed with the background have little trust, and squared next to none
    weight = both * both * where
    # fades out with distance: light changes over a face
    evidence = weight + np.float32(_RELIT_NEARBY) * where
    difference = _continued(
        (colors - opposite) * (weight / np.maximum(evidence, np.float32(1e-6)))[..., None], evidence
    )
    # more is no difference of light, but hair on one side
    difference = np.clip(difference, -_MOST_RELIT, _MOST_RELIT)
    return np.asarray(opposite + difference * where[..., None])


def _continued(values: Floats, weight: Floats) -> Floats:
    """Continue values (h, w, 3) smoothly where `weight` (0..1) is low."""
    weighted = cv2.merge([*cv2.split(cv2.multiply(values, cv2.merge([weight] * 3))), weight])
    side = min(_SMOOTH_PX, *weight.shape)
    filled = push_pull(np.asarray(cv2.resize(weighted, (side, side), interpolation=cv2.INTER_AREA), dtype=np.float32))
    return np.asarray(cv2.resize(filled, weight.shape[::-1], interpolation=cv2.INTER_LINEAR))


def _ramp(values: Floats, low: float, high: float) -> Floats:
    return np.clip((values - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)


def _step(values: ArrayLike, low: float, high: float) -> Floats:
    ramp = _ramp(np.asarray(values, dtype=np.float32), low, high)
    return np.asarray(ramp * ramp * (3 - 2 * ramp))
