"""Pictures to scenes of one size: a window of a photo at any scale, or a mosaic of many; what is known follows exactly.

Where full scenes are few, mosaics show a detector small faces, many faces, and faces beside each other.
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
from tddfa.train.detector.data import Piece, Source, box_of_landmarks
from tddfa.train.detector.matching import NOBODY, THRESHOLD, Flags, Targets, corners, match, targets, taught
from tddfa.train.detector.teacher import Teacher

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]

# A face under this size, px (square root of the box's area), is too small to be asked for.
_MIN_FACE = 10.0
# A face that a teacher misses is insisted on from this size on, px: of drawn boxes, and of those made from landmarks,
# which belong to turned and blurred faces too.
_SMALL_DRAWN, _SMALL_MADE = 20.0, 64.0
# A face of which less than this share is in the picture may be found or not.
_MIN_VISIBLE = 0.5
# A prior box that overlaps a known face less than this is away from it.
_AWAY = 0.1
# What lies beyond a picture: black as at the edge of many a photo, a colour, a made-up room, or its own last pixels.
_BEYOND = ("black", "colour", "room", "edge")
_BEYOND_SHARES = (0.35, 0.1, 0.35, 0.2)
_MAX_ENLARGED = 6.0
# Side of a window that is cut anywhere, in the shorter side of its picture.
_ANYWHERE = (0.2, 1.3)


@dataclass(frozen=True)
class Layout:
    """How scenes are made.

    Attributes
    ----------
    size : int
        Side of a scene, px.
    mosaic_fraction : float
        Share of scenes that are mosaics.
    max_cells : int
        Pictures a side of a mosaic, at most; two at least.
    face_size : tuple of float
        Least and largest size of the face that a window is cut around, in sides of the window, drawn evenly by its
        logarithm.
    random_window_fraction : float
        Share of windows that are cut anywhere, faces or not: what surrounds faces is most of what there is.
    roll_fraction, max_roll : float
        Share of pictures turned in their plane, where the faces' boxes are known then, and how far at most, degrees.
    flip : float
        Share of pictures mirrored.
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
                raise ValueError(f"{name}: expected a share of 0..1, got {getattr(self, name)}")
        if not 0 <= self.max_roll <= 180:
            raise ValueError(f"max_roll: expected 0..180 degrees, got {self.max_roll}")


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture to learn from.

    Attributes
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    xyxy : ndarray (n, 4) float64
        Boxes of the known faces, px.
    ignored : ndarray (n,) bool
        Those that may be found or not.
    exact : ndarray (n,) bool
        Those whose boxes were drawn as a detector should draw them.
    complete : ndarray (k, 4) float64
        Parts of the picture in which there are no other faces, x1, y1, x2, y2 in px.
    """

    image: Image
    xyxy: Floats
    ignored: Flags
    exact: Flags
    complete: Floats


def window(piece: Piece, size: int, layout: Layout, rng: np.random.Generator) -> Scene:
    """Cut a square window (size, size) out of a picture: around one of its faces, at any scale, turned and mirrored.

    One affine map samples the pixels.
    """
    height, width = piece.image.shape[:2]
    turn = (
        np.radians(layout.max_roll) * rng.uniform(-1, 1)
        if rng.random() < layout.roll_fraction and piece.may_turn
        else 0.0
    )
    mirror = -1.0 if rng.random() < layout.flip else 1.0
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag([mirror, 1.0])
    wanted = [i for i, unsure in enumerate(piece.ignored) if not unsure]
    if wanted and rng.random() >= layout.random_window_fraction:
        box = box_of(piece, piece.faces[wanted[int(rng.integers(len(wanted)))]] @ linear.T)
        own = max(float(np.sqrt(box_area(box))), 1.0)
        share = _log_uniform(rng, layout.face_size)
        scale = min(share * size / own, _MAX_ENLARGED)
        # the face's centre anywhere in the window, the face inside as far as it can be
        reach = max(size - scale * own, 0.3 * size) / 2
        centre = scale * (box[:2] + box[2:]) / 2 + rng.uniform(-reach, reach, 2)
    else:
        scale = size / (min(height, width) * _log_uniform(rng, _ANYWHERE))
        centre = scale * linear @ (rng.uniform(0.2, 0.8, 2) * (width, height))
    matrix = np.column_stack([scale * linear, (size - 1) / 2 - centre])
    beyond = str(rng.choice(_BEYOND, p=_BEYOND_SHARES))
    if beyond == "room":
        image = backdrop((size, size), int(rng.integers(2**31)))
    else:
        image = np.full((size, size, 3), rng.uniform(0, 255, 3) if beyond == "colour" else 0, dtype=np.uint8)
    cv2.warpAffine(
        _reduced(piece.image, scale), _for_reduced(matrix, scale), (size, size), dst=image, flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE if beyond == "edge" else cv2.BORDER_TRANSPARENT,
    )  # fmt: skip
    boxes = np.array([box_of(piece, face @ matrix[:, :2].T + matrix[:, 2]) for face in piece.faces]).reshape(-1, 4)
    whole = np.array([[0, 0, size, size]] if piece.complete else [], dtype=np.float64).reshape(-1, 4)
    return _seen(Scene(image, boxes, piece.ignored, np.full(len(boxes), piece.exact), whole), size)


def _log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(np.log(limits[0]), np.log(limits[1]))))


def _reduced(image: Image, scale: float) -> Image:
    """Halve a picture as often as it will be shrunk anyway, so that bilinear sampling reads every pixel."""
    for _ in range(_halvings(scale)):
        image = np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return image


def _for_reduced(matrix: Floats, scale: float) -> Floats:
    factor = 2.0 ** _halvings(scale)
    result = matrix.copy()
    # pixel centres: u of the reduced picture lies at factor * u + (factor - 1) / 2
    result[:, 2] += matrix[:, :2] @ np.full(2, (factor - 1) / 2)
    result[:, :2] *= factor
    return result


def _halvings(scale: float) -> int:
    return max(0, int(np.floor(-np.log2(scale) + 1e-9))) if scale < 1 else 0


def box_of(piece: Piece, points: Floats) -> Floats:
    """Box (4,) of a face of a picture, of its points wherever they are now."""
    if not piece.exact:
        return box_of_landmarks(points)
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def _seen(scene: Scene, size: int) -> Scene:
    """Leave out faces that lie outside; what is too small or mostly outside may be found or not."""
    boxes = scene.xyxy
    inside = np.clip(boxes, 0, size)
    visible, whole = (np.prod(np.maximum(b[:, 2:] - b[:, :2], 0), axis=1) for b in (inside, boxes))
    shown = visible > 0
    unsure = scene.ignored | (np.sqrt(whole) < _MIN_FACE) | (visible < _MIN_VISIBLE * whole)
    return Scene(scene.image, boxes[shown], unsure[shown], scene.exact[shown], scene.complete)


def mosaic(scenes: Sequence[Scene], cells: int, size: int) -> Scene:
    """Put square scenes side by side, `cells` a row; what is left over at the right and below is black."""
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
    """Scenes and what the network should say of them.

    Attributes
    ----------
    images : ndarray (b, h, w, 3) uint8
        BGR.
    scores : ndarray (b, n) float32
    offsets : ndarray (b, n, 4) float32
    counts, placed : ndarray (b, n) bool
        See `tddfa.train.detector.matching.Targets`.
    """

    images: Image
    scores: NDArray[np.float32]
    offsets: NDArray[np.float32]
    counts: Flags
    placed: Flags


@dataclass(frozen=True, eq=False)
class Scenes:
    """Batches of scenes by number; the same number always gives the same batch.

    Attributes
    ----------
    sources : sequence of (Source, float)
        With how often each is drawn, next to the others.
    batch_size : int
        Scenes a batch.
    layout : Layout
        How they are made.
    augment : Augment
        How their pixels change; where they lie is `layout`'s.
    seed : int
        Of all that is drawn.
    teacher : Teacher or None
        What says of every prior box of a scene whether it sees a face.
    """

    sources: Sequence[tuple[Source, float]]
    batch_size: int
    layout: Layout
    augment: Augment
    seed: int = 0
    teacher: Teacher | None = None
    _shares: Floats = field(init=False)

    def __post_init__(self) -> None:
        """Check the sources."""
        weights = np.array([weight for source, weight in self.sources if len(source)], dtype=np.float64)
        if len(weights) != len(self.sources) or not len(weights) or not (weights > 0).all():
            raise ValueError("sources: expected some, each with pictures and with a weight over 0")
        if self.augment.noise or self.batch_size < 1:
            raise ValueError("augment.noise: expected 0 for scenes; batch_size: expected 1 or more")
        object.__setattr__(self, "_shares", weights / weights.sum())

    def scene(self, rng: np.random.Generator) -> Scene:
        """Make a scene."""
        layout = self.layout
        if rng.random() >= layout.mosaic_fraction:
            made = window(self._piece(rng), layout.size, layout, rng)
        else:
            # as many mosaics of few pictures as of many: evenly by the logarithm
            cells = int(_log_uniform(rng, (2, layout.max_cells + 0.999)))
            near = replace(layout, face_size=(min(0.35, layout.face_size[1]), layout.face_size[1]))
            cell = layout.size // cells
            made = mosaic([window(self._piece(rng), cell, near, rng) for _ in range(cells * cells)], cells, layout.size)
        texture = backdrop((64, 64), int(rng.integers(2**31)))
        image = change_pixels(np.ascontiguousarray(made.image), self.augment, rng, texture)
        return Scene(image, made.xyxy, made.ignored, made.exact, made.complete)

    def _piece(self, rng: np.random.Generator) -> Piece:
        source = self.sources[int(rng.choice(len(self.sources), p=self._shares))][0]
        return source[int(rng.integers(len(source)))]

    def batch(self, number: int) -> Batch:
        """Make a batch by its number."""
        made: list[tuple[Scene, Targets]] = []
        for i in range(self.batch_size):
            scene = self.scene(np.random.default_rng((self.seed, 3, number, i)))
            made.append((scene, wanted(scene, self.teacher)))
        names = ("scores", "offsets", "counts", "placed")
        return Batch(
            np.stack([scene.image for scene, _ in made]),
            *(np.stack([getattr(each, name) for _, each in made]) for name in names),
        )


def wanted(scene: Scene, teacher: Teacher | None) -> Targets:
    """What the network should say of a scene. Without a teacher, what is not known to be empty does not count."""
    prior = priors(*scene.image.shape[:2])
    known = targets(prior, scene.xyxy, scene.ignored)
    owner = match(prior, scene.xyxy, THRESHOLD)
    exact = (owner != NOBODY) & np.append(scene.exact, False)[owner]
    area = scene.complete[None]
    centre = prior[:, None, :2]
    within: Flags = np.all((centre >= area[..., :2]) & (centre < area[..., 2:]), axis=2)
    covered = within.any(axis=1)
    if teacher is None:
        return Targets(known.scores, known.offsets, known.counts & (covered | known.placed), known.placed)
    apart = box_iou(corners(prior), scene.xyxy).max(axis=1, initial=0.0) < _AWAY
    side = np.sqrt(box_area(scene.xyxy))
    small = np.append(side < np.where(scene.exact, _SMALL_DRAWN, _SMALL_MADE), False)[owner]
    return taught(known, owner, *teacher(scene.image), exact, covered & apart, small)
