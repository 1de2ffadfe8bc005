"""One face seen in many ways: where the crop lies, and what light, camera and world do to its pixels.

Where a crop lies is one affine map from the stored crop straight to the network's, so pixels are sampled once and the
labels follow it exactly. What changes pixels alone leaves labels as they are.
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
"""Side of the crop, in longer sides of the landmarks' box: the crop rule of ``configs/open_mb05.yml``."""
STORED_SCALE = 1.75
"""The same of the stored crops."""

# A picture that goes on is cut by the stored crop's border: black as at a photo's edge, or continued.
BORDERS = (cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT_101)
_BORDER_SHARES = (0.4, 0.3, 0.3)
# Noise is drawn once, at these standard deviations (grey levels), on a field this large, and cut at random.
_NOISE_LEVELS = (2.0, 4.0, 6.0, 9.0, 13.0, 18.0)
_NOISE_FIELD = 192

# Fields of `Augment` that are probabilities.
_PROBABILITIES = (
    "flip",
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
    """How much is changed; shares are probabilities, 0 leaves a change out.

    Attributes
    ----------
    flip : float
        Share of faces mirrored.
    shift : float
        How far the crop's centre is off at most, in sides of the crop.
    scale : tuple of float
        Least and largest factor of the crop's side.
    roll_fraction, max_roll : float
        Share of faces turned in the picture's plane, and how far at most, degrees.
    color, grayscale : float
        Shares with other brightness, contrast, gamma and tint; and without colour.
    lighting : float
        Share with light that falls off across the picture.
    occlusion : float
        Share with a thing before the face.
    blur, low_resolution, noise, jpeg : float
        Shares of what cameras and their files do.
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
                raise ValueError(f"Augment.{name}: expected a share of 0..1, got {getattr(self, name)}")
        if not 0 <= self.shift <= 1:
            raise ValueError(f"Augment.shift: expected 0..1, got {self.shift}")
        if not 0 <= self.max_roll <= 180:
            raise ValueError(f"Augment.max_roll: expected 0..180 degrees, got {self.max_roll}")
        object.__setattr__(self, "scale", tuple(self.scale))
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] < np.inf:
            raise ValueError(f"Augment.scale: expected least and largest factor, over 0, got {self.scale}")

    @classmethod
    def none(cls) -> Augment:
        """Change nothing: the crop lies where its rule says."""
        nothing: dict[str, Any] = dict.fromkeys(_PROBABILITIES, 0.0)
        return cls(shift=0.0, scale=(1.0, 1.0), **nothing)


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a crop lies: from px of the stored crop to px of the network's.

    Attributes
    ----------
    matrix : ndarray (2, 3) float64
        A similarity, applied after the flip.
    flipped : bool
        Whether the stored crop is turned over left to right first.
    scale : float
        Network's px a stored px; z grows by it too.
    border : int
        What lies beyond the stored crop, one of OpenCV's ``BORDER_``.
    """

    matrix: NDArray[np.float64]
    flipped: bool
    scale: float
    border: int

    def camera(self, camera: Floats) -> Floats:
        """Camera (3, 4) to px of the network's crop, from one to px of the (turned over) stored crop."""
        placed = np.empty((3, 4), dtype=np.float32)
        placed[:2] = self.matrix[:, :2] @ camera[:2]
        placed[:2, 3] += self.matrix[:, 2]
        placed[2] = self.scale * camera[2]
        return placed

    def points(self, points: Floats) -> Floats:
        """Points (n, 2) in px of the network's crop; NaN stays NaN."""
        return np.asarray(points @ self.matrix[:, :2].T + self.matrix[:, 2], dtype=np.float32)

    def cut(self, crop: Image) -> Image:
        """Cut the network's crop (120, 120, 3) out of the stored one."""
        matrix = self.matrix
        if self.flipped:
            matrix = matrix.copy()
            matrix[:, 2] += (crop.shape[1] - 1) * matrix[:, 0]
            matrix[:, 0] *= -1
        return np.asarray(
            cv2.warpAffine(crop, matrix, (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR, borderMode=self.border)
        )


def place(landmarks: Floats, width: int, augment: Augment, rng: np.random.Generator, flipped: bool) -> Placement:
    """Choose where the network's crop lies.

    Parameters
    ----------
    landmarks : ndarray (68, 2)
        In px of the stored crop, turned over if `flipped`; NaN where unknown. If all are unknown, as where there is no
        face, the crop lies as if a face filled the stored crop as its rule says.
    width : int
        Side of the stored crop, px.
    augment : Augment
        How far it may be off.
    rng : numpy.random.Generator
        Draws the same numbers however little `augment` changes.
    flipped : bool
        Whether the crop is turned over.
    """
    turned, angle, factor, right, down = rng.random(5)
    roll = np.radians(augment.max_roll) * (2 * angle - 1) if turned < augment.roll_fraction else 0.0
    rotation = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    known = landmarks[np.isfinite(landmarks).all(axis=1)] @ rotation.T
    if len(known):
        low, high = known.min(axis=0), known.max(axis=0)
        side = max(LANDMARK_SCALE * float((high - low).max()), 1.0)
        centre = (low + high) / 2
    else:
        side = LANDMARK_SCALE / STORED_SCALE * width
        centre = rotation @ np.full(2, (width - 1) / 2)
    least, largest = np.log(augment.scale)
    side *= float(np.exp(least + (largest - least) * factor))
    centre = centre + side * augment.shift * np.array([2 * right - 1, 2 * down - 1])
    scale = CROP_SIZE / side
    matrix = np.column_stack([scale * rotation, (CROP_SIZE - 1) / 2 - scale * centre])
    border = cv2.BORDER_CONSTANT
    if augment.shift or augment.roll_fraction:
        border = int(rng.choice(BORDERS, p=_BORDER_SHARES))
    return Placement(matrix, flipped, scale, border)


def change_pixels(crop: Image, augment: Augment, rng: np.random.Generator, texture: Image | None = None) -> Image:
    """Change a crop as the world before it, the light, the camera and its files do, in this order.

    Parameters
    ----------
    crop : ndarray (h, w, 3) uint8
        BGR; may be written to.
    augment : Augment
        What may change.
    rng : numpy.random.Generator
        What does change.
    texture : ndarray (h, w, 3) uint8, optional
        Another picture, from which things before the face take their pixels.
    """
    chance = rng.random(8)
    if chance[0] < augment.occlusion:
        crop = occlude(crop, rng, texture)
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


def occlude(crop: Image, rng: np.random.Generator, texture: Image | None = None) -> Image:
    """Put a thing before a part of the picture: a plain or shaded polygon, an ellipse, or a piece of `texture`."""
    height, width = crop.shape[:2]
    mask = np.zeros((height, width), dtype=np.uint8)
    extent = np.array([width, height])
    if rng.random() < 0.5:
        centre = rng.uniform(0.1, 0.9, 2) * extent
        axes = rng.uniform(0.06, 0.24, 2) * extent
        cv2.ellipse(mask, (centre.tolist(), (2 * axes).tolist(), float(rng.uniform(0, 180))), 255, -1)
    else:
        # from a border inwards, as hands, hair, collars and other people come
        angle = rng.uniform(0, 2 * np.pi)
        outward = np.array([np.cos(angle), np.sin(angle)])
        along = np.array([-outward[1], outward[0]])
        tip = extent / 2 + outward * rng.uniform(0.12, 0.4) * width + along * rng.normal(0, 0.2) * width
        near, far = rng.uniform(0.04, 0.25) * width, rng.uniform(0.1, 0.5) * width
        corners = [tip - along * near, tip + along * near, tip + outward * width + along * far]
        corners.append(tip + outward * width - along * far)
        cv2.fillConvexPoly(mask, np.rint(corners).astype(np.int32), 255)
    if texture is not None and rng.random() < 0.6:
        thing = np.roll(texture[:height, :width], rng.integers(0, height, 2), axis=(0, 1))
        if thing.shape != crop.shape:
            thing = cv2.resize(texture, (width, height))
    else:
        shades = rng.uniform(0, 255, 3) + rng.normal(0, 25, (3, 3, 3)) * (rng.random() < 0.7)
        thing = cv2.resize(np.clip(shades, 0, 255).astype(np.uint8), (width, height))
    if rng.random() < 0.7:
        mask = cv2.GaussianBlur(mask, (5, 5), 0)
        share = mask.astype(np.float32) * np.float32(1 / 255)
        return np.asarray(cv2.blendLinear(np.ascontiguousarray(thing), crop, share, 1 - share))
    cv2.copyTo(np.ascontiguousarray(thing), mask, crop)
    return crop


def light(crop: Image, rng: np.random.Generator) -> Image:
    """Let light fall off to a side, a little coloured."""
    height, width = crop.shape[:2]
    corners = np.exp(rng.normal(0, 0.35, (2, 2, 1)) + rng.normal(0, 0.04, (2, 2, 3))).astype(np.float32)
    field = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.multiply(crop, field, dtype=cv2.CV_8U))


def color(crop: Image, rng: np.random.Generator, *, grey: bool = False) -> Image:
    """Change saturation and hue, then brightness, contrast, gamma and white balance; `grey` takes all colour."""
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
    """Out of focus, or moved while the shutter was open."""
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
    """A face of few pixels, enlarged."""
    height, width = crop.shape[:2]
    share = float(np.exp(rng.uniform(np.log(0.18), np.log(0.7))))
    size = max(round(width * share), 2), max(round(height * share), 2)
    small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def noise(crop: Image, rng: np.random.Generator) -> Image:
    """A sensor's noise, of the pixels or of grey."""
    height, width = crop.shape[:2]
    level, grey, *corner = (int(v) for v in rng.integers((len(_NOISE_LEVELS), 2, 2**16, 2**16)))
    field = _noise_fields()[level]
    top, left = corner[0] % (_NOISE_FIELD - height + 1), corner[1] % (_NOISE_FIELD - width + 1)
    part = field[top : top + height, left : left + width]
    if grey:
        part = cv2.merge([part[..., 0]] * 3)
    return np.asarray(cv2.add(crop, part, dtype=cv2.CV_8U))


@lru_cache(maxsize=1)
def _noise_fields() -> list[NDArray[np.int16]]:
    field = np.random.default_rng(0).standard_normal((_NOISE_FIELD, _NOISE_FIELD, 3))
    return [np.rint(level * field).astype(np.int16) for level in _NOISE_LEVELS]


def jpeg(crop: Image, quality: int) -> Image:
    """Save as a JPEG of a quality of 1..100, and read again."""
    done, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
