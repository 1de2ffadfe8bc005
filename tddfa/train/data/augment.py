"""Augmentation of crops: another placement of the crop, and changes of its pixels.

A placement is one affine map from the stored crop to the network's, so pixels are sampled once and labels follow
exactly. Changes of pixels (occlusion, light, colour, blur, noise, compression) leave the labels as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

CROP_SIZE = 120
"""Side of the network's crop, px."""
LANDMARK_SCALE = 1.25
"""Side of the network's crop over the longer side of the landmarks' box: the crop rule of ``configs/open_mb05.yml``."""
STORED_SCALE = 1.75
"""Side of a stored crop over the longer side of the landmarks' box."""

# What is beyond the border of the stored crop: black, as beyond a photo's edge, or continued.
BORDERS = (cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT_101)
_BORDER_PROBABILITIES = (0.4, 0.3, 0.3)
# Noise is drawn once, at these standard deviations (grey levels), on a field of this side; crops of it are random.
_NOISE_LEVELS = (2.0, 4.0, 6.0, 9.0, 13.0, 18.0)
_NOISE_FIELD = 192

# Fields of `Augment` that are probabilities.
_PROBABILITIES = (
    "flip",
    "wide_fraction",
    "roll_fraction",
    "color",
    "grayscale",
    "lighting",
    "occlusion",
    "blur",
    "low_resolution",
    "noise",
    "jpeg",
)


@dataclass(frozen=True)
class Augment:
    """Strength of the augmentation. Probabilities are 0..1; 0 leaves a change out.

    Attributes
    ----------
    flip : float
        Probability of a horizontal flip.
    shift : float
        Maximum shift of the crop's centre, as a fraction of the crop's side.
    scale : tuple of float
        Minimum and maximum factor of the crop's side.
    wide_fraction, wide_shift, wide_scale : float, float, tuple of float
        Probability that shift and scale have these limits instead: boxes of poor detectors.
    roll_fraction, max_roll : float
        Probability of a rotation in the image plane, and its maximum, degrees.
    color, grayscale : float
        Probabilities of other brightness, contrast, gamma and tint; and of no colour.
    lighting : float
        Probability of light that falls off across the image.
    occlusion : float
        Probability of an object in front of the face.
    blur, low_resolution, noise, jpeg : float
        Probabilities of these effects of cameras and files.
    """

    RENAMED: ClassVar[dict[str, str]] = {
        "roll_share": "roll_fraction",
        "roll": "max_roll",
        "grey": "grayscale",
        "light": "lighting",
        "occluder": "occlusion",
    }

    flip: float = 0.5
    shift: float = 0.10
    scale: tuple[float, float] = (0.84, 1.25)
    wide_fraction: float = 0.0
    wide_shift: float = 0.2
    wide_scale: tuple[float, float] = (0.75, 1.4)
    roll_fraction: float = 0.2
    max_roll: float = 70.0
    color: float = 0.8
    grayscale: float = 0.06
    lighting: float = 0.2
    occlusion: float = 0.2
    blur: float = 0.15
    low_resolution: float = 0.15
    noise: float = 0.2
    jpeg: float = 0.2

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in _PROBABILITIES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"Augment.{name}: expected a probability of 0..1, got {getattr(self, name)}")
        for name in ("shift", "wide_shift"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"Augment.{name}: expected 0..1, got {getattr(self, name)}")
        if not 0 <= self.max_roll <= 180:
            raise ValueError(f"Augment.max_roll: expected 0..180 degrees, got {self.max_roll}")
        for name in ("scale", "wide_scale"):
            limits = tuple(getattr(self, name))
            object.__setattr__(self, name, limits)
            if len(limits) != 2 or not 0 < limits[0] <= limits[1] < np.inf:
                raise ValueError(f"Augment.{name}: expected a minimum and maximum factor over 0, got {limits}")

    @classmethod
    def none(cls) -> Augment:
        """No augmentation: the crop is placed by the crop rule."""
        nothing: dict[str, Any] = dict.fromkeys(_PROBABILITIES, 0.0)
        return cls(shift=0.0, scale=(1.0, 1.0), **nothing)


@dataclass(frozen=True, eq=False)
class Placement:
    """Placement of the network's crop: the map from px of the stored crop.

    Attributes
    ----------
    matrix : ndarray (2, 3) float64
        A similarity, applied after the flip.
    flipped : bool
        Whether the stored crop is flipped horizontally first.
    scale : float
        px of the network's crop per px of the stored crop; z is scaled by it too.
    border : int
        What is beyond the stored crop, one of OpenCV's ``BORDER_``.
    size : int
        Side of the network's crop, px.
    """

    matrix: NDArray[np.float64]
    flipped: bool
    scale: float
    border: int
    size: int = CROP_SIZE

    def camera(self, camera: Floats) -> Floats:
        """Camera (3, 4) to px of the network's crop, from one to px of the (flipped) stored crop."""
        placed = np.empty((3, 4), dtype=np.float32)
        placed[:2] = self.matrix[:, :2] @ camera[:2]
        placed[:2, 3] += self.matrix[:, 2]
        placed[2] = self.scale * camera[2]
        return placed

    def points(self, points: Floats) -> Floats:
        """Points (n, 2) in px of the network's crop; NaN stays NaN."""
        return np.asarray(points @ self.matrix[:, :2].T + self.matrix[:, 2], dtype=np.float32)

    def crop(self, stored: Image) -> Image:
        """Sample the network's crop (size, size, 3) from the stored one."""
        matrix = self.matrix
        if self.flipped:
            matrix = matrix.copy()
            matrix[:, 2] += (stored.shape[1] - 1) * matrix[:, 0]
            matrix[:, 0] *= -1
        return np.asarray(
            cv2.warpAffine(stored, matrix, (self.size, self.size), flags=cv2.INTER_LINEAR, borderMode=self.border)
        )


def place(
    landmarks: Floats,
    width: int,
    augment: Augment,
    rng: np.random.Generator,
    flipped: bool,
    size: int = CROP_SIZE,
) -> Placement:
    """Choose a placement of the network's crop.

    Parameters
    ----------
    landmarks : ndarray (68, 2)
        In px of the stored crop, flipped if `flipped`; NaN where unknown. If all are unknown, as without a face,
        the crop is placed as for a face that the stored crop was made for.
    width : int
        Side of the stored crop, px.
    augment : Augment
        How far the placement may be off.
    rng : numpy.random.Generator
        Source of the random numbers.
    flipped : bool
        Whether the crop is flipped horizontally.
    size : int
        Side of the network's crop, px.
    """
    rolled, angle, factor, right, down = rng.random(5)
    shift, scales = augment.shift, augment.scale
    if augment.wide_fraction and rng.random() < augment.wide_fraction:
        shift, scales = augment.wide_shift, augment.wide_scale
    roll = np.radians(augment.max_roll) * (2 * angle - 1) if rolled < augment.roll_fraction else 0.0
    rotation = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    known = landmarks[np.isfinite(landmarks).all(axis=1)] @ rotation.T
    if len(known):
        low, high = known.min(axis=0), known.max(axis=0)
        side = max(LANDMARK_SCALE * float((high - low).max()), 1.0)
        centre = (low + high) / 2
    else:
        side = LANDMARK_SCALE / STORED_SCALE * width
        centre = rotation @ np.full(2, (width - 1) / 2)
    low_scale, high_scale = np.log(scales)
    side *= float(np.exp(low_scale + (high_scale - low_scale) * factor))
    centre = centre + side * shift * np.array([2 * right - 1, 2 * down - 1])
    scale = size / side
    matrix = np.column_stack([scale * rotation, (size - 1) / 2 - scale * centre])
    border = cv2.BORDER_CONSTANT
    if shift or augment.roll_fraction:
        border = int(rng.choice(BORDERS, p=_BORDER_PROBABILITIES))
    return Placement(matrix, flipped, scale, border, size)


def change_pixels(
    crop: Image,
    augment: Augment,
    rng: np.random.Generator,
    texture: Image | None = None,
    covered: NDArray[np.bool_] | None = None,
) -> Image:
    """Change the pixels of a crop: occlusion, light, colour, blur, resolution, noise and compression, in this order.

    Parameters
    ----------
    crop : ndarray (h, w, 3) uint8
        BGR; may be written to.
    augment : Augment
        Probability of each change.
    rng : numpy.random.Generator
        Source of the random numbers.
    texture : ndarray (h, w, 3) uint8, optional
        Another image, whose pixels occluding objects take.
    covered : ndarray (h, w) bool, optional
        Becomes True where an object hides the image.
    """
    chance = rng.random(8)
    if chance[0] < augment.occlusion:
        crop = occlude(crop, rng, texture, covered)
    if chance[1] < augment.lighting:
        crop = light(crop, rng)
    if chance[2] < augment.color or chance[3] < augment.grayscale:
        crop = color(crop, rng, grey=bool(chance[3] < augment.grayscale))
    if chance[4] < augment.blur:
        crop = blur(crop, rng)
    if chance[5] < augment.low_resolution:
        crop = low_resolution(crop, rng)
    if chance[6] < augment.noise:
        crop = noise(crop, rng)
    if chance[7] < augment.jpeg:
        crop = jpeg(crop, int(rng.integers(15, 80)))
    return crop


def occlude(
    crop: Image, rng: np.random.Generator, texture: Image | None = None, covered: NDArray[np.bool_] | None = None
) -> Image:
    """Occlude a part of the image by a polygon or an ellipse: plain, shaded, or a piece of `texture`.

    `covered` (h, w) becomes True there.
    """
    height, width = crop.shape[:2]
    mask = np.zeros((height, width), dtype=np.uint8)
    extent = np.array([width, height])
    if rng.random() < 0.5:
        centre = rng.uniform(0.1, 0.9, 2) * extent
        axes = rng.uniform(0.06, 0.24, 2) * extent
        cv2.ellipse(mask, (centre.tolist(), (2 * axes).tolist(), float(rng.uniform(0, 180))), 255, -1)
    else:
        # from a border inwards, as hands, hair and collars
        angle = rng.uniform(0, 2 * np.pi)
        outward = np.array([np.cos(angle), np.sin(angle)])
        along = np.array([-outward[1], outward[0]])
        tip = extent / 2 + outward * rng.uniform(0.12, 0.4) * width + along * rng.normal(0, 0.2) * width
        near, far = rng.uniform(0.04, 0.25) * width, rng.uniform(0.1, 0.5) * width
        corners = [tip - along * near, tip + along * near, tip + outward * width + along * far]
        corners.append(tip + outward * width - along * far)
        cv2.fillConvexPoly(mask, np.rint(corners).astype(np.int32), 255)
    if covered is not None:
        covered |= mask > 0
    if texture is not None and rng.random() < 0.6:
        pattern = np.roll(texture[:height, :width], rng.integers(0, height, 2), axis=(0, 1))
        if pattern.shape != crop.shape:
            pattern = cv2.resize(texture, (width, height))
    else:
        shades = rng.uniform(0, 255, 3) + rng.normal(0, 25, (3, 3, 3)) * (rng.random() < 0.7)
        pattern = cv2.resize(np.clip(shades, 0, 255).astype(np.uint8), (width, height))
    if rng.random() < 0.7:
        mask = cv2.GaussianBlur(mask, (5, 5), 0)
        alpha = mask.astype(np.float32) * np.float32(1 / 255)
        return np.asarray(cv2.blendLinear(np.ascontiguousarray(pattern), crop, alpha, 1 - alpha))
    cv2.copyTo(np.ascontiguousarray(pattern), mask, crop)
    return crop


def light(crop: Image, rng: np.random.Generator) -> Image:
    """Vary the light smoothly across the image, with a slight tint."""
    height, width = crop.shape[:2]
    corners = np.exp(rng.normal(0, 0.35, (2, 2, 1)) + rng.normal(0, 0.04, (2, 2, 3))).astype(np.float32)
    field = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.multiply(crop, field, dtype=cv2.CV_8U))


def color(crop: Image, rng: np.random.Generator, *, grey: bool = False) -> Image:
    """Change saturation and hue, then brightness, contrast, gamma and white balance; `grey` removes all colour."""
    saturation = 0.0 if grey else float(np.exp(rng.normal(0, 0.25)))
    luma = np.array([0.114, 0.587, 0.299])
    mix = saturation * np.eye(3) + (1 - saturation) * luma[None, :]
    if not grey:
        mix += rng.normal(0, 0.02, (3, 3)) * (1 - np.eye(3))
    crop = np.asarray(cv2.transform(crop, mix.astype(np.float32)))
    contrast, gamma = np.exp(rng.normal(0, 0.15)), np.exp(rng.normal(0, 0.22))
    gains = np.exp(rng.normal(0, 0.12) + (0 if grey else rng.normal(0, 0.045, 3))) * np.ones(3)
    shift = rng.normal(0, 14)
    levels = np.linspace(0, 1, 256)[:, None] ** gamma * gains * 255
    levels = np.clip((levels - 118) * contrast + 118 + shift, 0, 255)
    return np.asarray(cv2.LUT(crop, levels[:, None].astype(np.uint8)))


def blur(crop: Image, rng: np.random.Generator) -> Image:
    """Blur as out of focus, or by motion."""
    if rng.random() < 0.6:
        return np.asarray(cv2.GaussianBlur(crop, (0, 0), float(rng.uniform(0.5, 2.0))))
    length = int(rng.integers(3, 9))
    kernel = np.zeros((length, length), dtype=np.float32)
    angle = rng.uniform(0, np.pi)
    reach = 0.5 * (length - 1) * np.array([np.cos(angle), np.sin(angle)])
    first, last = (np.rint((length - 1) / 2 + sign * reach).astype(int).tolist() for sign in (-1, 1))
    cv2.line(kernel, first, last, 1.0)
    return np.asarray(cv2.filter2D(crop, -1, kernel / kernel.sum()))


def low_resolution(crop: Image, rng: np.random.Generator) -> Image:
    """Reduce the resolution, and enlarge again."""
    height, width = crop.shape[:2]
    factor = float(np.exp(rng.uniform(np.log(0.18), np.log(0.7))))
    size = max(round(width * factor), 2), max(round(height * factor), 2)
    small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def noise(crop: Image, rng: np.random.Generator) -> Image:
    """Add sensor noise, in colour or in grey."""
    height, width = crop.shape[:2]
    level, grey, *corner = (int(v) for v in rng.integers((len(_NOISE_LEVELS), 2, 2**16, 2**16)))
    field = _noise_fields()[level]
    if max(height, width) > _NOISE_FIELD:
        field = np.tile(field, (-(-height // _NOISE_FIELD), -(-width // _NOISE_FIELD), 1))[:height, :width]
    top, left = corner[0] % (field.shape[0] - height + 1), corner[1] % (field.shape[1] - width + 1)
    part = field[top : top + height, left : left + width]
    if grey:
        part = cv2.merge([part[..., 0]] * 3)
    return np.asarray(cv2.add(crop, part, dtype=cv2.CV_8U))


@lru_cache(maxsize=1)
def _noise_fields() -> list[NDArray[np.int16]]:
    field = np.random.default_rng(0).standard_normal((_NOISE_FIELD, _NOISE_FIELD, 3))
    return [np.rint(level * field).astype(np.int16) for level in _NOISE_LEVELS]


def jpeg(crop: Image, quality: int) -> Image:
    """Compress as JPEG at a quality of 1..100, and decode again."""
    done, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
