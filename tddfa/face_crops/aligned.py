"""Aligned face crops: the upright, centred crops that recognition networks are trained on.

Five points of a face (the centres of the eyes, the tip of the nose and the corners of the mouth) are fitted to a
template by a similarity transform: rotation, scale and translation, never a reflection.
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
MIN_CROP_SIZE, MAX_CROP_SIZE = 32, 1024
"""Limits for the side of a crop, px."""

MAX_SHRINK_FACTOR = 64
"""Largest whole factor by which an image is shrunk before it is mapped: more than any image that can be read needs."""

_TEMPLATE_SIZE = 112
# Five points in a crop of 112 px: the subject's right eye (the left one in the image), left eye, tip of the nose, right
# and left corner of the mouth. ArcFace (Deng et al., CVPR 2019), as published by InsightFace:
_ARCFACE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
# InsightFace's older templates for turned faces: frontal, half profile and full profile, both to the left of the image.
# img2pose (Albiero et al., CVPR 2021) aligns with them.
_AHEAD = np.array([(39.730, 51.138), (72.270, 51.138), (56.000, 68.493), (42.463, 87.010), (69.537, 87.010)])
_HALF_PROFILE = np.array([(45.031, 50.118), (65.568, 50.872), (39.677, 68.111), (45.177, 86.190), (64.246, 86.758)])
_PROFILE = np.array([(51.642, 50.115), (57.617, 49.990), (35.740, 69.007), (51.157, 89.050), (57.025, 89.702)])
# The templates for faces to the right are their mirror images about this vertical line, px.
_MIRROR_AT = 56.2065
# Index of each point's mirror image.
_MIRRORED = [1, 0, 2, 4, 3]

# A crop is sampled at most this many times larger, and averaged; beyond that, the image is shrunk first.
_MAX_SAMPLES = 4


def five_points(face: Face) -> NDArray[np.float64]:
    """Compute the centres of the eyes, the tip of the nose and the corners of the mouth.

    Parameters
    ----------
    face : Face
        Its landmarks are used. Those of 300-W and of 300W-LP (`Aligner.load(convention=)`) give points that differ by
        about 1 % of the face size.

    Returns
    -------
    ndarray (5, 2) float64
        Image px; the subject's right eye, left eye, nose, right and left corner of the mouth. Points on the far side
        of a turned head are included, at their projected positions.

    Examples
    --------
    >>> five_points(face).shape
    (5, 2)
    """
    points = face.landmarks[:, :2].astype(np.float64)
    # the midpoint of the corners does not move when the eye closes; InsightFace uses it too
    eyes = [points[list(corners)].mean(axis=0) for corners in (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS)]
    return np.array([*eyes, points[NOSE_TIP], *points[list(MOUTH_CORNERS)]])


def similarity(source: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """Fit the similarity transform between two sets of points by least squares (Umeyama, PAMI 1991).

    The result never contains a reflection. In the plane, with points as complex numbers, Umeyama's singular value
    decomposition reduces to one division.

    Parameters
    ----------
    source, target : array_like (n, 2)
        Corresponding points.

    Returns
    -------
    ndarray (2, 3) float64
        The matrix that minimises the distances between ``matrix[:, :2] @ source + matrix[:, 2]`` and `target`.

    Raises
    ------
    ValueError
        If the numbers of points differ, or if all points of `source` coincide.

    Examples
    --------
    >>> similarity([[0, 0], [1, 0]], [[5, 5], [5, 7]]).tolist()
    [[0.0, -2.0, 5.0], [2.0, 0.0, 5.0]]
    """
    source = checked("source", source, (None, 2), np.float64)
    target = checked("target", target, (len(source), 2), np.float64)
    if not len(source):
        raise ValueError("source: expected at least two points, got none")
    middle, goal = source.mean(axis=0), target.mean(axis=0)
    p, q = ((points - mean) @ (1, 1j) for points, mean in ((source, middle), (target, goal)))
    spread = float(np.vdot(p, p).real)
    if spread <= 1e-18 * float(np.abs(source).max()) ** 2:
        raise ValueError(f"source: expected points that lie apart, got {len(source)} in one place")
    turn = complex(np.vdot(p, q)) / spread
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([linear, goal - linear @ middle])


def template_points(face: Face, size: int = 112, template: Template = "arcface") -> NDArray[np.float64]:
    """Compute the target positions of the five points of a face in its crop.

    Parameters
    ----------
    face : Face
        Determines the choice of ``auto``.
    size : int
        Side of the crop, px, `MIN_CROP_SIZE` .. `MAX_CROP_SIZE`. The template's coordinates are multiplied by
        ``size / 112``, as in InsightFace and img2pose.
    template : {"arcface", "auto"}
        The template of ArcFace, with which current networks are trained; or the best of the five of img2pose, from
        the left profile to the right profile: that with the smallest sum of distances to the face's points.

    Returns
    -------
    ndarray (5, 2) float64
        Crop px.

    Examples
    --------
    >>> template_points(face)[2].round(1).tolist()
    [56.0, 71.7]
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
    """Compute the matrix (2, 3) from image px to px of the face's crop; arguments as in `template_points`.

    Examples
    --------
    >>> alignment(face).shape
    (2, 3)
    """
    return similarity(five_points(face), template_points(face, size, template))


def align_face(
    image: NDArray[np.uint8], face: Face, *, size: int = 112, template: Template = "arcface"
) -> NDArray[np.uint8]:
    """Crop a face for a recognition network: upright, of a fixed size, aligned to a template.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    face : Face
        A face detected in the image, at any roll; it may extend beyond the border.
    size : int
        Side of the crop, px, `MIN_CROP_SIZE` .. `MAX_CROP_SIZE`.
    template : {"arcface", "auto"}
        See `template_points`.

    Returns
    -------
    ndarray (size, size, 3) uint8
        BGR; black outside of the image.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or dtype, or if the five points coincide.

    Examples
    --------
    >>> align_face(image, face, size=224).shape
    (224, 224, 3)
    """
    return warp(image, alignment(face, size, template), size)


def warp(image: NDArray[np.uint8], matrix: ArrayLike, size: int) -> NDArray[np.uint8]:
    """Map an image into a square by a similarity transform.

    Enlarging is bicubic. When shrinking, all pixels under a pixel of the square are averaged, which avoids aliasing.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    matrix : array_like (2, 3)
        A similarity transform from image px to px of the square.
    size : int
        Side of the square, px, `MIN_CROP_SIZE` .. `MAX_CROP_SIZE`.

    Returns
    -------
    ndarray (size, size, 3) uint8
        Black outside of the image.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or dtype.

    Examples
    --------
    >>> warp(image, [[0.25, 0, 0], [0, 0.25, 0]], 64).shape
    (64, 64, 3)
    """
    checked_image("image", image)
    size = _checked_size(size)
    matrix = checked("matrix", matrix, (2, 3), np.float64)
    scale = float(np.sqrt(max(np.linalg.det(matrix[:, :2]), 0.0)))
    if scale < 1e-12:
        raise ValueError(f"matrix: expected a similarity with a scale over 0, got a scale of {scale:g}")
    linear = np.linalg.inv(matrix[:, :2])
    shift = -linear @ matrix[:, 2]

    corners = np.array([(x, y) for x in (-1, size) for y in (-1, size)]) @ linear.T + shift
    factor = int(np.clip(1 / (2 * scale) + 1e-6, 1, MAX_SHRINK_FACTOR))
    part, corner = cropped_part(image, corners.min(axis=0), corners.max(axis=0), factor)
    if not part.size:
        return np.zeros((size, size, 3), dtype=np.uint8)
    linear, shift = linear / factor, (shift - corner) / factor
    left_to_shrink = 1 / (scale * factor)
    samples = int(np.clip(round(left_to_shrink), 1, _MAX_SAMPLES))
    # the centre of a pixel is the centre of its samples
    linear, shift = linear / samples, shift - linear @ np.full(2, (samples - 1) / (2 * samples))
    method = cv2.INTER_CUBIC if left_to_shrink < 1 else cv2.INTER_LINEAR
    square = cv2.warpAffine(
        part,
        np.column_stack([linear, shift]),
        (size * samples, size * samples),
        flags=method | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
    )
    if samples > 1:
        square = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(square, dtype=np.uint8)


def ordered(faces: Sequence[Face], order: Order, image_size: tuple[int, int]) -> list[Face]:
    """Sort faces by importance, the most important first.

    Parameters
    ----------
    faces : sequence of Face
        The faces of one image.
    order : {"position", "confidence", "size"}
        ``position`` sorts by the distance to the centre of the image in units of the head's size, as in img2pose; of
        two faces at equal distance, the larger one is first. ``confidence`` puts the highest score first, ``size`` the
        largest head.
    image_size : (int, int)
        Height and width of the image, px.

    Returns
    -------
    list of Face
        Faces that compare equal keep their order.

    Examples
    --------
    >>> len(ordered([face], "size", image.shape[:2]))
    1
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
    raise ValueError(f"order: expected one of {', '.join(ORDERS)}, got {order!r}")


def cropped_part(
    image: NDArray[np.uint8], low: ArrayLike, high: ArrayLike, factor: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Crop the part of an image that is to be mapped, and shrink it by a whole factor.

    OpenCV cannot map images with a side over 32767 px, and reads four pixels for each pixel of the result.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        The image.
    low, high : array_like (2,)
        Corners of the part, px; they may be outside of the image.
    factor : int
        1 keeps the size; larger ones average blocks of `factor` x `factor` px, with black beyond the image.

    Returns
    -------
    part : ndarray (h', w', 3) uint8
        Without pixels if it is outside of the image.
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
    """The templates of ``auto``, from the left profile to the right profile."""
    left = [_PROFILE, _HALF_PROFILE]
    right = [np.array([2 * _MIRROR_AT, 0]) + view[_MIRRORED] * (-1, 1) for view in reversed(left)]
    return [*left, _AHEAD, *right]


def _checked_size(size: Any) -> int:
    try:
        number = operator.index(size)
    except TypeError:
        number = 0
    if not MIN_CROP_SIZE <= number <= MAX_CROP_SIZE:
        raise ValueError(f"size: expected a whole number from {MIN_CROP_SIZE} to {MAX_CROP_SIZE} px, got {size!r}")
    return number
