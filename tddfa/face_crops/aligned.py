"""Faces to the upright, centred crops that recognition networks were trained on.

Five points of a face, the middles of the eyes, the tip of the nose and the corners of the mouth, are laid upon a
template by the similarity (turn, scale, shift; never a reflection) that fits best.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared.arrays import checked, checked_image
from tddfa.landmarks68 import LEFT_EYE_CORNERS, MOUTH_CORNERS, NOSE_TIP, RIGHT_EYE_CORNERS
from tddfa.types import Face

Template = Literal["arcface", "auto"]
Order = Literal["position", "confidence", "size"]

TEMPLATES: tuple[Template, ...] = ("arcface", "auto")
ORDERS: tuple[Order, ...] = ("position", "confidence", "size")
SMALLEST_CROP, LARGEST_CROP = 32, 1024
"""Sides of a crop, px."""

MAX_SHRINKING = 64
"""The largest whole factor by which pictures are shrunk beforehand: past any face in a picture that can be read."""

_TEMPLATE_SIZE = 112
# Five points in a crop of 112 px: the subject's right eye (the left one of the picture), left eye, tip of the nose,
# right and left corner of the mouth. ArcFace (Deng et al., CVPR 2019), as InsightFace publishes it:
_ARCFACE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
# InsightFace's older set for faces that turn: straight ahead, then a half and a whole profile that look to the left of
# the picture; img2pose (Albiero et al., CVPR 2021) aligns with it.
_AHEAD = np.array([(39.730, 51.138), (72.270, 51.138), (56.000, 68.493), (42.463, 87.010), (69.537, 87.010)])
_HALF_PROFILE = np.array([(45.031, 50.118), (65.568, 50.872), (39.677, 68.111), (45.177, 86.190), (64.246, 86.758)])
_PROFILE = np.array([(51.642, 50.115), (57.617, 49.990), (35.740, 69.007), (51.157, 89.050), (57.025, 89.702)])
# Those that look to the right are their mirror images; the set is symmetric about this line, px.
_MIRROR_AT = 56.2065
# What a point becomes in a mirror.
_MIRRORED = [1, 0, 2, 4, 3]


# A crop is drawn so many times larger at most, and averaged; what has to shrink more is shrunk before.
_MAX_SAMPLES = 4


def five_points(face: Face) -> NDArray[np.float64]:
    """Middles of the eyes, tip of the nose and corners of the mouth.

    Returns
    -------
    ndarray (5, 2) float64
        Image px; the subject's right eye, left eye, nose, right and left corner of the mouth. A point on the far side
        of a turned head is where it would be seen through it.
    """
    points = face.landmarks[:, :2].astype(np.float64)
    # the centre of an eye's corners stays where it is when the eye closes; InsightFace takes it too
    eyes = [points[list(corners)].mean(axis=0) for corners in (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS)]
    return np.array([*eyes, points[NOSE_TIP], *points[list(MOUTH_CORNERS)]])


def similarity(source: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """Turn, scale and shift that lay points upon others with the least squares (Umeyama, PAMI 1991).

    A reflection would need a determinant under 0; there is none here, whatever the points. In the plane, with points
    as complex numbers, Umeyama's singular value decomposition comes down to one division.

    Parameters
    ----------
    source, target : array_like (n, 2)
        The points, and where they should come to lie.

    Returns
    -------
    ndarray (2, 3) float64
        ``target = matrix[:, :2] @ source + matrix[:, 2]``, nearly.

    Raises
    ------
    ValueError
        If the points do not correspond in number, or if all of `source` lie in one place.
    """
    source = checked("source", source, (None, 2), np.float64)
    target = checked("target", target, (len(source), 2), np.float64)
    if not len(source):
        raise ValueError("source: expected two points at least, got none")
    middle, goal = source.mean(axis=0), target.mean(axis=0)
    p, q = ((points - mean) @ (1, 1j) for points, mean in ((source, middle), (target, goal)))
    spread = float(np.vdot(p, p).real)
    if spread <= 1e-18 * float(np.abs(source).max()) ** 2:
        raise ValueError(f"source: expected points that lie apart, got {len(source)} in one place")
    turn = complex(np.vdot(p, q)) / spread
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([linear, goal - linear @ middle])


def template_points(face: Face, size: int = 112, template: Template = "arcface") -> NDArray[np.float64]:
    """Where the five points of a face belong in its crop.

    Parameters
    ----------
    face : Face
        Which of the templates of ``auto`` fits depends on it.
    size : int
        Side of the crop, px, `SMALLEST_CROP` .. `LARGEST_CROP`. The template's coordinates are multiplied by
        ``size / 112``, as InsightFace and img2pose do it.
    template : {"arcface", "auto"}
        ArcFace's, which today's networks are trained with; or, of img2pose's five for faces that look to the left,
        half to the left, ahead, half to the right and to the right, that which the face fits best, by the sum of the
        distances.

    Returns
    -------
    ndarray (5, 2) float64
        Crop px.
    """
    size = _checked_size(size)
    if template not in TEMPLATES:
        raise ValueError(f"template: expected {' or '.join(TEMPLATES)}, got {template!r}")
    if template == "arcface":
        return _ARCFACE * (size / _TEMPLATE_SIZE)
    points = five_points(face)

    def misfit(view: NDArray[np.float64]) -> float:
        matrix = similarity(points, view)
        return float(np.linalg.norm(points @ matrix[:, :2].T + matrix[:, 2] - view, axis=1).sum())

    return min(_views(), key=misfit) * (size / _TEMPLATE_SIZE)


def alignment(face: Face, size: int = 112, template: Template = "arcface") -> NDArray[np.float64]:
    """Matrix (2, 3) from image px to px of the face's crop; arguments as of `template_points`."""
    return similarity(five_points(face), template_points(face, size, template))


def align_face(
    image: NDArray[np.uint8], face: Face, size: int = 112, template: Template = "arcface"
) -> NDArray[np.uint8]:
    """Cut a face out for a recognition network: upright, of one size, its five points on the template's.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    face : Face
        What was found in it, at any roll; it may reach over the border.
    size : int
        Side of the crop, px, `SMALLEST_CROP` .. `LARGEST_CROP`.
    template : {"arcface", "auto"}
        See `template_points`.

    Returns
    -------
    ndarray (size, size, 3) uint8
        BGR; black where the picture ends.

    Raises
    ------
    TypeError, ValueError
        If an argument is something else, or if the face's points lie in one place.
    """
    return warp(image, alignment(face, size, template), size)


def warp(image: NDArray[np.uint8], matrix: ArrayLike, size: int) -> NDArray[np.uint8]:
    """Map a picture into a square.

    Cubic where it is enlarged; where it shrinks, the pixels under each of the square's are averaged, so that nothing
    finer than those aliases.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    matrix : array_like (2, 3)
        A similarity, from px of the picture to px of the square.
    size : int
        Side of the square, px, `SMALLEST_CROP` .. `LARGEST_CROP`.

    Returns
    -------
    ndarray (size, size, 3) uint8
        Black where the picture ends.
    """
    checked_image("image", image)
    size = _checked_size(size)
    matrix = checked("matrix", matrix, (2, 3), np.float64)
    scale = float(np.sqrt(max(np.linalg.det(matrix[:, :2]), 0.0)))
    if scale < 1e-12:
        raise ValueError(f"matrix: expected a similarity that enlarges or shrinks, got a scale of {scale:g}")
    linear = np.linalg.inv(matrix[:, :2])
    shift = -linear @ matrix[:, 2]

    corners = np.array([(x, y) for x in (-1, size) for y in (-1, size)]) @ linear.T + shift
    factor = int(np.clip(1 / (2 * scale) + 1e-6, 1, MAX_SHRINKING))
    part, corner = cropped_part(image, corners.min(axis=0), corners.max(axis=0), factor)
    if not part.size:
        return np.zeros((size, size, 3), dtype=np.uint8)
    linear, shift = linear / factor, (shift - corner) / factor
    left_to_shrink = 1 / (scale * factor)
    samples = int(np.clip(round(left_to_shrink), 1, _MAX_SAMPLES))
    # the middle of a pixel is the middle of its samples
    linear, shift = linear / samples, shift - linear @ np.full(2, (samples - 1) / (2 * samples))
    method = cv2.INTER_CUBIC if left_to_shrink < 1 else cv2.INTER_LINEAR
    square = cv2.warpAffine(
        part, np.column_stack([linear, shift]), (size * samples, size * samples),
        flags=method | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_CONSTANT,
    )  # fmt: skip
    if samples > 1:
        square = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(square, dtype=np.uint8)


def ordered(faces: Sequence[Face], order: Order, image_size: tuple[int, int]) -> list[Face]:
    """Sort faces, the one that matters most first.

    Parameters
    ----------
    faces : sequence of Face
        Of one picture.
    order : {"position", "confidence", "size"}
        Least distance from the middle of the picture, measured in head sizes, as in img2pose: of two faces equally
        far off, the larger one. Or highest score; or largest head.
    image_size : (int, int)
        Height and width of the picture, px.

    Returns
    -------
    list of Face
        Faces that are equal in this keep their order.
    """
    middle = (np.array(image_size[::-1], dtype=np.float64) - 1) / 2

    def distance(face: Face) -> float:
        offset = five_points(face).mean(axis=0) - middle
        return float(np.linalg.norm(offset)) / max(face.camera.scale, 1e-9)

    if order == "position":
        return sorted(faces, key=distance)
    if order == "confidence":
        return sorted(faces, key=lambda face: -face.score)
    if order == "size":
        return sorted(faces, key=lambda face: -face.camera.scale)
    raise ValueError(f"order: expected {', '.join(ORDERS)}, got {order!r}")


def cropped_part(
    image: NDArray[np.uint8], low: ArrayLike, high: ArrayLike, factor: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Cut out the part of a picture that is to be mapped, and shrink it by a whole factor.

    OpenCV maps no picture with a side over 32767 px, and looks at four pixels for each that it makes.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        The picture.
    low, high : array_like (2,)
        Corners of the part, px; they may leave the picture.
    factor : int
        1 leaves it as it is; larger ones average blocks of `factor` x `factor` px, beyond the picture with black.

    Returns
    -------
    part : ndarray (h', w', 3) uint8
        Without pixels if it lies outside of the picture.
    corner : ndarray (2,) float32
        ``part = (image - corner) / factor`` in px.
    """
    size = np.array(image.shape[1::-1])
    first = np.clip(np.floor(low) - 2, 0, size).astype(np.int64)
    last = np.clip(np.ceil(high) + 3, 0, size).astype(np.int64)
    part = image[first[1] : last[1], first[0] : last[0]]
    if factor > 1 and part.size:
        height, width = part.shape[:2]
        below, beside = -height % factor, -width % factor
        if below or beside:
            part = np.asarray(cv2.copyMakeBorder(part, 0, below, 0, beside, cv2.BORDER_CONSTANT))
        shrunk = (width + beside) // factor, (height + below) // factor
        part = np.asarray(cv2.resize(part, shrunk, interpolation=cv2.INTER_AREA))
    return part, (first + (factor - 1) / 2).astype(np.float32)


def _views() -> list[NDArray[np.float64]]:
    """The templates of ``auto``, from those that look to the left to those that look to the right."""
    left = [_PROFILE, _HALF_PROFILE]
    right = [np.array([2 * _MIRROR_AT, 0]) + view[_MIRRORED] * (-1, 1) for view in reversed(left)]
    return [*left, _AHEAD, *right]


def _checked_size(size: Any) -> int:
    try:
        number = operator.index(size)
    except TypeError:
        number = 0
    if not SMALLEST_CROP <= number <= LARGEST_CROP:
        raise ValueError(f"size: expected a whole number from {SMALLEST_CROP} to {LARGEST_CROP} px, got {size!r}")
    return number
