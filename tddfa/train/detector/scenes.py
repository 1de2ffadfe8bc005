"""Scenes of one size to train the detector on: a window of an image at any scale, or a mosaic of several windows.

Labels follow the pixels exactly. Mosaics add small faces, many faces and adjacent faces where such images are rare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from FaceBoxes.anchors import Anchors
from tddfa.synthetic import backdrop
from tddfa.train.data.augment import Augment, change_pixels
from tddfa.train.detector.data import LabelledImage, Source
from tddfa.train.detector.faces import Faces
from tddfa.train.detector.matching import NO_FACE, Flags, match

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]

# A face under this size, px (square root of its area), may be missed.
_MIN_FACE = 7.0
# A face may be missed if less than this fraction of it is inside the scene.
_MIN_VISIBLE = 0.45
# Padding outside the image, with probabilities: a photo without faces, black, a plain colour, a rendered room, or the
# border pixels repeated.
_PADDINGS = ("photo", "black", "colour", "room", "edge")
_PADDING_PROBABILITIES = (0.55, 0.12, 0.05, 0.08, 0.2)
_MAX_ENLARGEMENT = 6.0
# Range of the side of a random window, relative to the shorter side of its image.
_RANDOM_WINDOW_SIDE = (0.2, 1.3)


@dataclass(frozen=True)
class Layout:
    """Layout of scenes: windows and mosaics of images, rotation and flip.

    Attributes
    ----------
    size : int
        Side of a scene, px.
    large_fraction : float
        Fraction of the batches whose scenes have twice the side; such a batch has a quarter as many scenes.
    mosaic_fraction : float
        Fraction of the scenes that are mosaics.
    max_cells : int
        Maximum number of images along a side of a mosaic; 2 or more.
    face_size : tuple of float
        Range of the size of the face that a window is cropped around, relative to the window's side; drawn uniformly
        in the logarithm.
    random_window_fraction : float
        Fraction of the windows that are cropped anywhere, with a face or not, so that there is enough background.
    roll_fraction : float
        Fraction of the images rotated in their plane, by at most `max_roll`; the others are rotated by a few degrees.
    max_roll : float
        Maximum rotation, degrees.
    mask_fraction : float
        Fraction of the faces whose mouth is covered.
    flip : float
        Fraction of the images that are horizontally flipped.
    """

    RENAMED: ClassVar[dict[str, str]] = {
        "mosaic": "mosaic_fraction",
        "most_cells": "max_cells",
        "face": "face_size",
        "anywhere": "random_window_fraction",
        "roll_share": "roll_fraction",
        "roll": "max_roll",
    }

    size: int = 320
    large_fraction: float = 0.0
    mosaic_fraction: float = 0.5
    max_cells: int = 11
    face_size: tuple[float, float] = (0.03, 1.2)
    random_window_fraction: float = 0.2
    roll_fraction: float = 0.4
    max_roll: float = 180.0
    mask_fraction: float = 0.1
    flip: float = 0.5

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.size < 32:
            raise ValueError(f"size: expected 32 px or more, got {self.size}")
        if self.max_cells < 2:
            raise ValueError(f"max_cells: expected 2 or more, got {self.max_cells}")
        if len(self.face_size) != 2 or not 0 < self.face_size[0] <= self.face_size[1] <= 4:
            raise ValueError(f"face_size: expected minimum and maximum, over 0 and up to 4, got {self.face_size}")
        for name in (
            "large_fraction", "mosaic_fraction", "random_window_fraction", "roll_fraction", "mask_fraction", "flip",
        ):  # fmt: skip
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected 0..1, got {getattr(self, name)}")
        if not 0 <= self.max_roll <= 180:
            raise ValueError(f"max_roll: expected 0..180 degrees, got {self.max_roll}")


@dataclass(frozen=True, eq=False)
class Scene:
    """An image (h, w, 3) uint8, BGR, to train on, and its faces."""

    image: Image
    faces: Faces


def window(
    labelled: LabelledImage, size: int, layout: Layout, rng: np.random.Generator, background: Image | None = None
) -> Scene:
    """Crop a square window (size, size) of an image around one of its faces, scaled, rotated and flipped at random.

    The pixels are sampled once, by one affine map. `background` is a photo without faces, part of which surrounds the
    image where it does not fill the window.
    """
    height, width = labelled.image.shape[:2]
    rolled = rng.random() < layout.roll_fraction
    # degrees; most heads in photos are a little rolled already
    turn = np.radians(
        layout.max_roll * rng.uniform(-1, 1) if rolled else min(10.0, layout.max_roll) * rng.normal(0, 0.5)
    )
    mirror = -1.0 if rng.random() < layout.flip else 1.0
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag([mirror, 1.0])
    faces = labelled.faces
    candidates = np.flatnonzero(~faces.ignored)
    if len(candidates) and rng.random() >= layout.random_window_fraction:
        chosen = int(rng.choice(candidates))
        own = max(float(faces.size[chosen]), 1.0)
        scale = min(_log_uniform(rng, layout.face_size) * size / own, _MAX_ENLARGEMENT)
        # the face's centre is anywhere in the window, and the face inside the window if it fits
        reach = max(size - scale * own, 0.25 * size) / 2
        centre = scale * linear @ faces.ellipses[chosen, :2] + rng.uniform(-reach, reach, 2)
    else:
        scale = size / (min(height, width) * _log_uniform(rng, _RANDOM_WINDOW_SIDE))
        centre = scale * linear @ (rng.uniform(0.2, 0.8, 2) * (width, height))
    matrix = np.column_stack([scale * linear, (size - 1) / 2 - centre])
    padding = str(rng.choice(_PADDINGS, p=_PADDING_PROBABILITIES))
    if padding == "photo" and background is not None:
        image = _part_of(background, size, rng)
    elif padding == "room":
        image = backdrop((size, size), int(rng.integers(2**31)))
    else:
        image = np.full((size, size, 3), rng.uniform(0, 255, 3) if padding == "colour" else 0, dtype=np.uint8)
    cv2.warpAffine(
        _reduced(labelled.image, scale),
        _for_reduced(matrix, scale),
        (size, size),
        dst=image,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE if padding == "edge" else cv2.BORDER_TRANSPARENT,
    )
    moved = _visible(faces.moved(matrix), size)
    for points in moved.points[~moved.ignored]:
        if rng.random() < layout.mask_fraction and np.isfinite(points).all():
            cover_mouth(image, points, rng)
    return Scene(image, moved)


def _part_of(photo: Image, size: int, rng: np.random.Generator) -> Image:
    """A square part of a photo, a quarter of it or more, as `size` px."""
    side = int(min(photo.shape[:2]) * rng.uniform(0.5, 1))
    top, left = (int(rng.integers(length - side + 1)) for length in photo.shape[:2])
    part = photo[top : top + side, left : left + side]
    return np.array(cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_LINEAR))


def cover_mouth(image: Image, points: Floats, rng: np.random.Generator) -> None:
    """Cover the mouth of a face by a plain mask or a scarf, in place.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
    points : ndarray (5, 2)
        The five points of the face, px.
    rng : numpy.random.Generator
    """
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    down = mouth - eyes
    across = np.array([down[1], -down[0]])
    top, bottom = rng.uniform(0.45, 0.75), rng.uniform(1.4, 1.9)
    shape = [(-0.85, top), (0.85, top), (0.9, 1.1), (0.5, bottom), (-0.5, bottom), (-0.9, 1.1)]
    width = rng.uniform(0.7, 1.1)
    outline = np.array([eyes + width * x * across + y * down for x, y in shape])
    colour = rng.uniform(0, 255, 3) if rng.random() < 0.5 else np.full(3, rng.uniform(120, 255))
    cv2.fillConvexPoly(image, np.rint(16 * outline).astype(np.int32), colour.tolist(), cv2.LINE_AA, 4)


def _log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(np.log(limits[0]), np.log(limits[1]))))


def _reduced(image: Image, scale: float) -> Image:
    """Halve an image as often as the scale allows, so that bilinear sampling reads every pixel."""
    for _ in range(_halvings(scale)):
        image = np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return image


def _for_reduced(matrix: Floats, scale: float) -> Floats:
    factor = 2.0 ** _halvings(scale)
    result = matrix.copy()
    # pixel centres: u of the reduced image is at factor * u + (factor - 1) / 2
    result[:, 2] += matrix[:, :2] @ np.full(2, (factor - 1) / 2)
    result[:, :2] *= factor
    return result


def _halvings(scale: float) -> int:
    return max(0, int(np.floor(-np.log2(scale) + 1e-9))) if scale < 1 else 0


def _visible(faces: Faces, size: int) -> Faces:
    """Leave out faces outside the scene; faces that are too small or mostly outside are ignored."""
    boxes = faces.xyxy
    inside = np.clip(boxes, 0, size)
    visible, whole = (np.prod(np.maximum(b[:, 2:] - b[:, :2], 0), axis=1) for b in (inside, boxes))
    return faces.ignoring((faces.size < _MIN_FACE) | (visible < _MIN_VISIBLE * whole)).take(visible > 0)


def mosaic(scenes: Sequence[Scene], cells: int, size: int) -> Scene:
    """Arrange square scenes in a grid of `cells` by `cells`; remaining pixels at the right and bottom are black."""
    cell = size // cells
    image = np.zeros((size, size, 3), dtype=np.uint8)
    parts: list[Faces] = []
    for i, scene in enumerate(scenes[: cells * cells]):
        if scene.image.shape != (cell, cell, 3):
            raise ValueError(f"scenes[{i}]: expected {cell} x {cell} px, got {scene.image.shape}")
        x, y = (i % cells) * cell, (i // cells) * cell
        image[y : y + cell, x : x + cell] = scene.image
        parts.append(scene.faces.shifted(x, y))
    return Scene(image, Faces.joined(*parts))


@dataclass(frozen=True, eq=False)
class Batch:
    """Scenes and the targets of the network.

    Attributes
    ----------
    images : ndarray (b, h, w, 3) uint8
        BGR.
    face, ignored : ndarray (b, n) bool
        Prior boxes matched with a face, and those that do not count.
    boxes : ndarray (p, 4) float32
        Box of the face of each prior box in `face`, in row-major order, px.
    points : ndarray (p, 10) float32
        Its five points, px; NaN where unknown.
    rotations : ndarray (p, 3, 3) float32
        Rotation of its head; NaN where unknown.
    """

    images: Image
    face: Flags
    ignored: Flags
    boxes: NDArray[np.float32]
    points: NDArray[np.float32]
    rotations: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scenes:
    """Batches of scenes by number. The same number always gives the same batch.

    Attributes
    ----------
    sources : sequence of (Source, float)
        Sources, and how often each is drawn relative to the others.
    batch_size : int
        Scenes per batch.
    layout : Layout
        Layout of the scenes.
    augment : Augment
        Augmentation of their pixels.
    anchors : Anchors
        Prior boxes of the network.
    seed : int
        Seed of all random numbers.
    backgrounds : Source or None
        Photos without faces that surround small images.
    """

    sources: Sequence[tuple[Source, float]]
    batch_size: int
    layout: Layout
    augment: Augment
    anchors: Anchors
    seed: int = 0
    backgrounds: Source | None = None
    _probabilities: Floats = field(init=False)

    def __post_init__(self) -> None:
        """Check the sources."""
        weights = np.array([weight for source, weight in self.sources if len(source)], dtype=np.float64)
        if len(weights) != len(self.sources) or not len(weights) or not (weights > 0).all():
            raise ValueError("sources: expected at least one, each with images and a weight over 0")
        if self.augment.noise:
            raise ValueError(f"augment.noise: expected 0 for scenes, got {self.augment.noise}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size: expected 1 or more, got {self.batch_size}")
        object.__setattr__(self, "_probabilities", weights / weights.sum())

    def scene(self, rng: np.random.Generator, size: int | None = None) -> Scene:
        """Make a scene of the layout's size, or of another one, px."""
        layout = self.layout
        size = size or layout.size
        if rng.random() >= layout.mosaic_fraction:
            made = self._window(rng, size, layout)
        else:
            # uniform in the logarithm: as many mosaics of few images as of many
            cells = int(_log_uniform(rng, (2, layout.max_cells + 0.999)))
            near = replace(layout, face_size=(min(0.3, layout.face_size[1]), min(0.9, layout.face_size[1])))
            cell = size // cells
            made = mosaic([self._window(rng, cell, near) for _ in range(cells * cells)], cells, size)
        return Scene(change_pixels(np.ascontiguousarray(made.image), self.augment, rng), made.faces)

    def _window(self, rng: np.random.Generator, size: int, layout: Layout) -> Scene:
        behind = self.backgrounds
        background = None if behind is None else behind[int(rng.integers(len(behind)))].image
        return window(self._draw(rng), size, layout, rng, background)

    def _draw(self, rng: np.random.Generator) -> LabelledImage:
        source = self.sources[int(rng.choice(len(self.sources), p=self._probabilities))][0]
        return source[int(rng.integers(len(source)))]

    def batch(self, number: int) -> Batch:
        """Make a batch by its number."""
        large = np.random.default_rng((self.seed, 5, number)).random() < self.layout.large_fraction
        count, size = (
            (max(self.batch_size // 4, 1), 2 * self.layout.size) if large else (self.batch_size, self.layout.size)
        )
        scenes = [self.scene(np.random.default_rng((self.seed, 3, number, i)), size) for i in range(count)]
        parts = [scene_targets(scene, self.anchors) for scene in scenes]
        face, ignored, boxes, points, rotations = zip(*parts, strict=True)
        return Batch(
            np.stack([scene.image for scene in scenes]),
            np.stack(face),
            np.stack(ignored),
            np.concatenate(boxes),
            np.concatenate(points),
            np.concatenate(rotations),
        )


def scene_targets(
    scene: Scene, anchors: Anchors
) -> tuple[Flags, Flags, NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Match the prior boxes of a scene with its faces: the fields of a `Batch`, without the image."""
    prior = anchors.priors(*scene.image.shape[:2])
    faces = scene.faces
    owner = match(prior, faces.xyxy)
    matched = owner != NO_FACE
    ignored = matched & np.append(faces.ignored, False)[owner]
    face = matched & ~ignored
    mine = owner[face]
    boxes, points, rotations = faces.xyxy[mine], faces.points[mine].reshape(-1, 10), faces.known_rotations[mine]
    return face, ignored, boxes.astype(np.float32), points.astype(np.float32), rotations.astype(np.float32)
