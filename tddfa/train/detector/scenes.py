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

from FaceBoxes.anchors import priors
from tddfa.geometry.boxes import box_area, box_iou
from tddfa.synthetic import backdrop
from tddfa.train.data.augment import Augment, change_pixels
from tddfa.train.detector.data import LabelledImage, Source, box_of_landmarks
from tddfa.train.detector.matching import NO_FACE, THRESHOLD, Flags, Targets, corners, distilled_targets, match, targets
from tddfa.train.detector.teacher import Teacher

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]

# A face under this size, px (square root of the box's area), may be missed.
_MIN_FACE = 10.0
# A face smaller than this, px, may be missed if the teacher misses it: with an annotated box, and with a box derived
# from landmarks, which turned and blurred faces have too.
_SMALL_ANNOTATED, _SMALL_DERIVED = 20.0, 64.0
# A face may be missed if less than this fraction of it is inside the scene.
_MIN_VISIBLE = 0.5
# A prior box whose IoU with every labelled face is below this is background.
_MAX_BACKGROUND_IOU = 0.1
# Padding outside the image, with probabilities: black, a plain colour, a rendered room, or the border pixels repeated.
_PADDINGS = ("black", "colour", "room", "edge")
_PADDING_PROBABILITIES = (0.35, 0.1, 0.35, 0.2)
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
        Fraction of the images rotated in their plane, of those whose labels allow it (`LabelledImage.can_rotate`).
    max_roll : float
        Maximum rotation, degrees.
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
    mosaic_fraction: float = 0.5
    max_cells: int = 11
    face_size: tuple[float, float] = (0.06, 0.75)
    random_window_fraction: float = 0.2
    roll_fraction: float = 0.2
    max_roll: float = 90.0
    flip: float = 0.5

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.size < 32:
            raise ValueError(f"size: expected 32 px or more, got {self.size}")
        if self.max_cells < 2:
            raise ValueError(f"max_cells: expected 2 or more, got {self.max_cells}")
        if len(self.face_size) != 2 or not 0 < self.face_size[0] <= self.face_size[1] <= 4:
            raise ValueError(f"face_size: expected least and largest size, over 0 and up to 4, got {self.face_size}")
        for name in ("mosaic_fraction", "random_window_fraction", "roll_fraction", "flip"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected 0..1, got {getattr(self, name)}")
        if not 0 <= self.max_roll <= 180:
            raise ValueError(f"max_roll: expected 0..180 degrees, got {self.max_roll}")


@dataclass(frozen=True, eq=False)
class Scene:
    """An image to train on, with the labels of its faces.

    Attributes
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    xyxy : ndarray (n, 4) float64
        Boxes of the labelled faces, px.
    ignored : ndarray (n,) bool
        Faces that may be detected or missed.
    exact : ndarray (n,) bool
        Faces whose boxes are annotated, not derived from landmarks.
    complete : ndarray (k, 4) float64
        Parts of the image all of whose faces are labelled, x1, y1, x2, y2 in px.
    """

    image: Image
    xyxy: Floats
    ignored: Flags
    exact: Flags
    complete: Floats


def window(labelled: LabelledImage, size: int, layout: Layout, rng: np.random.Generator) -> Scene:
    """Crop a square window (size, size) of an image around one of its faces, scaled, rotated and flipped at random.

    The pixels are sampled once, by one affine map.
    """
    height, width = labelled.image.shape[:2]
    turn = (
        np.radians(layout.max_roll) * rng.uniform(-1, 1)
        if rng.random() < layout.roll_fraction and labelled.can_rotate
        else 0.0
    )
    mirror = -1.0 if rng.random() < layout.flip else 1.0
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag([mirror, 1.0])
    candidates = [i for i, ignored in enumerate(labelled.ignored) if not ignored]
    if candidates and rng.random() >= layout.random_window_fraction:
        box = box_of(labelled, labelled.faces[candidates[int(rng.integers(len(candidates)))]] @ linear.T)
        own = max(float(np.sqrt(box_area(box))), 1.0)
        scale = min(_log_uniform(rng, layout.face_size) * size / own, _MAX_ENLARGEMENT)
        # the face's centre is anywhere in the window, and the face inside the window if it fits
        reach = max(size - scale * own, 0.3 * size) / 2
        centre = scale * (box[:2] + box[2:]) / 2 + rng.uniform(-reach, reach, 2)
    else:
        scale = size / (min(height, width) * _log_uniform(rng, _RANDOM_WINDOW_SIDE))
        centre = scale * linear @ (rng.uniform(0.2, 0.8, 2) * (width, height))
    matrix = np.column_stack([scale * linear, (size - 1) / 2 - centre])
    padding = str(rng.choice(_PADDINGS, p=_PADDING_PROBABILITIES))
    if padding == "room":
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
    moved = [box_of(labelled, face @ matrix[:, :2].T + matrix[:, 2]) for face in labelled.faces]
    boxes = np.reshape(moved, (-1, 4)).astype(np.float64)
    whole = np.array([[0, 0, size, size]] if labelled.complete else [], dtype=np.float64).reshape(-1, 4)
    return _visible(Scene(image, boxes, labelled.ignored, np.full(len(boxes), labelled.exact), whole), size)


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


def box_of(labelled: LabelledImage, points: Floats) -> Floats:
    """Compute the box (4,) of a face from its points, which may have been moved."""
    if not labelled.exact:
        return box_of_landmarks(points)
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def _visible(scene: Scene, size: int) -> Scene:
    """Leave out faces outside the scene; faces that are too small or mostly outside are ignored."""
    boxes = scene.xyxy
    inside = np.clip(boxes, 0, size)
    visible, whole = (np.prod(np.maximum(b[:, 2:] - b[:, :2], 0), axis=1) for b in (inside, boxes))
    shown = visible > 0
    unsure = scene.ignored | (np.sqrt(whole) < _MIN_FACE) | (visible < _MIN_VISIBLE * whole)
    return Scene(scene.image, boxes[shown], unsure[shown], scene.exact[shown], scene.complete)


def mosaic(scenes: Sequence[Scene], cells: int, size: int) -> Scene:
    """Arrange square scenes in a grid of `cells` by `cells`; remaining pixels at the right and bottom are black."""
    cell = size // cells
    image = np.zeros((size, size, 3), dtype=np.uint8)
    parts: list[Scene] = []
    for i, scene in enumerate(scenes[: cells * cells]):
        if scene.image.shape != (cell, cell, 3):
            raise ValueError(f"scenes[{i}]: expected {cell} x {cell} px, got {scene.image.shape}")
        x, y = (i % cells) * cell, (i // cells) * cell
        image[y : y + cell, x : x + cell] = scene.image
        moved = np.array([x, y, x, y])
        parts.append(Scene(scene.image, scene.xyxy + moved, scene.ignored, scene.exact, scene.complete + moved))
    return Scene(
        image,
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("xyxy", "ignored", "exact", "complete")),
    )


@dataclass(frozen=True, eq=False)
class Batch:
    """Scenes and the targets of the network.

    Attributes
    ----------
    images : ndarray (b, h, w, 3) uint8
        BGR.
    scores : ndarray (b, n) float32
    offsets : ndarray (b, n, 4) float32
    score_known, box_known : ndarray (b, n) bool
        See `tddfa.train.detector.matching.Targets`.
    """

    images: Image
    scores: NDArray[np.float32]
    offsets: NDArray[np.float32]
    score_known: Flags
    box_known: Flags


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
    seed : int
        Seed of all random numbers.
    teacher : Teacher or None
        Detector whose scores are learnt.
    """

    sources: Sequence[tuple[Source, float]]
    batch_size: int
    layout: Layout
    augment: Augment
    seed: int = 0
    teacher: Teacher | None = None
    _probabilities: Floats = field(init=False)

    def __post_init__(self) -> None:
        """Check the sources."""
        weights = np.array([weight for source, weight in self.sources if len(source)], dtype=np.float64)
        if len(weights) != len(self.sources) or not len(weights) or not (weights > 0).all():
            raise ValueError("sources: expected at least one, each with images and a weight over 0")
        if self.augment.noise or self.batch_size < 1:
            raise ValueError("augment.noise: expected 0 for scenes; batch_size: expected 1 or more")
        object.__setattr__(self, "_probabilities", weights / weights.sum())

    def scene(self, rng: np.random.Generator) -> Scene:
        """Make a scene."""
        layout = self.layout
        if rng.random() >= layout.mosaic_fraction:
            made = window(self._draw(rng), layout.size, layout, rng)
        else:
            # uniform in the logarithm: as many mosaics of few images as of many
            cells = int(_log_uniform(rng, (2, layout.max_cells + 0.999)))
            near = replace(layout, face_size=(min(0.35, layout.face_size[1]), layout.face_size[1]))
            cell = layout.size // cells
            made = mosaic([window(self._draw(rng), cell, near, rng) for _ in range(cells * cells)], cells, layout.size)
        texture = backdrop((64, 64), int(rng.integers(2**31)))
        image = change_pixels(np.ascontiguousarray(made.image), self.augment, rng, texture)
        return Scene(image, made.xyxy, made.ignored, made.exact, made.complete)

    def _draw(self, rng: np.random.Generator) -> LabelledImage:
        source = self.sources[int(rng.choice(len(self.sources), p=self._probabilities))][0]
        return source[int(rng.integers(len(source)))]

    def batch(self, number: int) -> Batch:
        """Make a batch by its number."""
        made: list[tuple[Scene, Targets]] = []
        for i in range(self.batch_size):
            scene = self.scene(np.random.default_rng((self.seed, 3, number, i)))
            made.append((scene, scene_targets(scene, self.teacher)))
        names = ("scores", "offsets", "score_known", "box_known")
        return Batch(
            np.stack([scene.image for scene, _ in made]),
            *(np.stack([getattr(each, name) for _, each in made]) for name in names),
        )


def scene_targets(scene: Scene, teacher: Teacher | None) -> Targets:
    """Compute the targets of a scene. Without a teacher, prior boxes outside the complete parts do not count."""
    prior = priors(*scene.image.shape[:2])
    known = targets(prior, scene.xyxy, scene.ignored)
    owner = match(prior, scene.xyxy, THRESHOLD)
    exact = (owner != NO_FACE) & np.append(scene.exact, False)[owner]
    area = scene.complete[None]
    centre = prior[:, None, :2]
    within: Flags = np.all((centre >= area[..., :2]) & (centre < area[..., 2:]), axis=2)
    covered = within.any(axis=1)
    if teacher is None:
        return Targets(known.scores, known.offsets, known.score_known & (covered | known.box_known), known.box_known)
    background = box_iou(corners(prior), scene.xyxy).max(axis=1, initial=0.0) < _MAX_BACKGROUND_IOU
    side = np.sqrt(box_area(scene.xyxy))
    small = np.append(side < np.where(scene.exact, _SMALL_ANNOTATED, _SMALL_DERIVED), False)[owner]
    return distilled_targets(known, owner, *teacher(scene.image), exact, covered & background, small)
