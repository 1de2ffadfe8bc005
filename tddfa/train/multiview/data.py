"""Views of heads from known cameras to fine-tune on: rendered ones, and stored ones in EG3D's layout.

Views are stored like the regressor's crops (`tddfa.train.data.samples`): squares of 1.75 times the longer side of the
landmarks' box. Cameras map the head to px of these crops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import checked
from tddfa.datasets.views import LAYOUT, ViewedHead, stored_heads
from tddfa.geometry.camera import Camera
from tddfa.geometry.triangulation import matrices
from tddfa.model.face_model import FaceModel
from tddfa.synthetic import Head, State, backdrop, degrade, render
from tddfa.synthetic.surfaces import mean_size
from tddfa.train.data.augment import CROP_SIZE, STORED_SCALE, Augment, change_pixels, place
from tddfa.train.data.batches import draw
from tddfa.train.data.crops import Crops
from tddfa.train.data.samples import STORED_SIZE, Sample, centred, crop_square, encode_jpeg
from tddfa.train.data.sources import usable_rows
from tddfa.train.synthesis import synthetic_crops as made
from tddfa.train.synthesis.edits import another_expression

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]

# Maximum yaw and pitch of rendered views, and standard deviation of their roll, degrees.
_YAW, _PITCH, _ROLL = 70.0, 25.0, 5.0
_TEXTURE_SIZE = 256
# Procedural heads: number of expressions at once, and their maximum weight.
_EXPRESSIONS, _MAX_EXPRESSION = 4, 0.6
# Maximum yaw, pitch and roll, degrees, of a face whose texture is used.
_MAX_POSE = (30.0, 25.0, 40.0)


@dataclass(frozen=True, eq=False)
class HeadViews:
    """Views of one head.

    Attributes
    ----------
    name : str
        Name of the head.
    jpegs : tuple of bytes
        Crops of 160 px as JPEG files.
    cameras : ndarray (v, 3, 4) float64
        From the head's space to px of each crop (`tddfa.geometry.triangulation`).
    landmarks : ndarray (v, 68, 2) float64
        Labels, px of each crop.
    """

    name: str
    jpegs: tuple[bytes, ...]
    cameras: Floats
    landmarks: Floats

    def __post_init__(self) -> None:
        """Check the arrays against each other."""
        n = len(self.jpegs)
        object.__setattr__(self, "cameras", checked("cameras", self.cameras, (n, 3, 4), np.float64))
        object.__setattr__(self, "landmarks", checked("landmarks", self.landmarks, (n, 68, 2), np.float64))

    def __len__(self) -> int:
        return len(self.jpegs)

    def crop(self, view: int) -> Image:
        """Decode the crop of a view (160, 160, 3), BGR."""
        return np.asarray(cv2.imdecode(np.frombuffer(self.jpegs[view], np.uint8), cv2.IMREAD_COLOR))


class Heads(Sequence[HeadViews]):
    """Heads that are rendered or read at first access and kept in memory, about 6 kB per view."""

    def __init__(self, makers: Iterable[Callable[[], HeadViews]]) -> None:
        self._makers = list(makers)
        self._made: dict[int, HeadViews] = {}

    def __len__(self) -> int:
        return len(self._makers)

    def __getitem__(self, index: int) -> HeadViews:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(f"head: expected 0..{len(self) - 1}, got {index}")
        if index not in self._made:
            self._made[index] = self._makers[index]()
        return self._made[index]


@dataclass(frozen=True, eq=False)
class ViewBatch:
    """Views of one head as input of the network. The unit of a view is the side of its stored crop.

    Attributes
    ----------
    crops : ndarray (v, size, size, 3) uint8
        BGR.
    to_view : ndarray (v, 2, 3) float64
        From px of each crop to fractions of its view.
    cameras : ndarray (v, 3, 4) float64
        From the head's space to fractions of each view.
    landmarks : ndarray (v, 68, 2) float64
        Labels, in fractions of each view.
    """

    crops: Image
    to_view: Floats
    cameras: Floats
    landmarks: Floats

    def __len__(self) -> int:
        return len(self.crops)


def rendered_heads(model: FaceModel, heads: int, views: int, seed: int, crops: Crops | None = None) -> Heads:
    """Render views of heads with ground truth.

    Views are uniformly distributed up to 70 degrees of yaw and 25 of pitch. A head has one expression and one light in
    all views; the background differs.

    Parameters
    ----------
    model : FaceModel
        With `uv`; with `crops`, also with ARKit's expression names.
    heads, views : int
        Number of heads, and of views of each.
    seed : int
        The same seed gives the same views.
    crops : Crops, optional
        Heads get the shape, the texture and the expression, which may be edited, of faces of these crops; crops marked
        for validation are not used. Without crops, heads are procedural.

    Raises
    ------
    ValueError
        If a number is less than 1, or if no crop is suitable.
    """
    for name, value in (("heads", heads), ("views", views)):
        if value < 1:
            raise ValueError(f"{name}: expected 1 or more, got {value}")
    rows = [None] * heads if crops is None else list(islice(usable_rows(crops, model, _MAX_POSE, seed), heads))
    return Heads(_Rendered(model, index, (seed, index), views, crops, row) for index, row in enumerate(rows))


def procedural_samples(model: FaceModel, heads: int, views: int, seed: int) -> Iterator[Sample]:
    """Render views of procedural heads as labelled crops, head by head; `Sample.source` is the name of the head."""
    for index in range(heads):
        yield from _Rendered(model, index, (seed, index), views, None, None).samples()


@dataclass(frozen=True, eq=False)
class _Rendered:
    model: FaceModel
    number: int
    seed: tuple[int, int]
    views: int
    crops: Crops | None
    row: int | None

    def __call__(self) -> HeadViews:
        jpegs, cameras, landmarks = [], [], []
        for sample in self.samples():
            assert sample.camera is not None and sample.shape is not None and sample.expression is not None
            jpegs.append(encode_jpeg(sample.crop))
            cameras.append(matrices(sample.camera[None, :2])[0])
            points = Camera(sample.camera).project(self.model.landmarks(sample.shape, sample.expression))
            landmarks.append(points[:, :2])
        return HeadViews(self._name(), tuple(jpegs), np.array(cameras), np.array(landmarks))

    def _name(self) -> str:
        return f"rendered-{self.number}"

    def samples(self) -> Iterator[Sample]:
        rng = np.random.default_rng(self.seed)
        head, expression = self._head(rng)
        weights = dict(zip(self.model.expression_names, expression.tolist(), strict=True))
        light = made.any_light(rng)
        for _ in range(self.views):
            radius, angle = np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
            yaw, pitch = float(_YAW * radius * np.cos(angle)), float(_PITCH * radius * np.sin(angle))
            roll = float(rng.normal(0, _ROLL))
            matrix = centred(Camera.from_pose(yaw, pitch, roll), self.model, head.shape, expression)
            size = Camera(matrix).scale * mean_size(self.model)
            state = State(yaw, pitch, roll, size, float(matrix[0, 3]), float(matrix[1, 3]), weights)
            image, (target,) = render((STORED_SIZE, STORED_SIZE), [(head, state)], self._background(rng), light=light)
            assert target is not None
            image = degrade(image, rng, noise=float(rng.uniform(0, 4)), blur=float(rng.uniform(0, 0.7)))
            yield Sample(image, self._name(), target.camera.matrix, target.shape, target.expression)

    def _head(self, rng: np.random.Generator) -> tuple[Head, NDArray[np.float32]]:
        if self.crops is None or self.row is None:
            expression = np.zeros(self.model.expression_count, dtype=np.float32)
            some = rng.permutation(self.model.expression_count)[:_EXPRESSIONS]
            expression[some] = rng.uniform(0, _MAX_EXPRESSION, len(some))
            return Head.procedural(self.model, int(rng.integers(2**31)), size=_TEXTURE_SIZE), expression
        expression = self.crops.labels.expression[self.row].clip(0, 1)
        if rng.random() < 0.5:
            expression = another_expression(expression, self.model.expression_names, rng)
        head = made.textured_head(self.crops, self.row, self.model)
        # crops show little of the clothes
        clothes = (rng.uniform(10, 235) + rng.normal(0, 25, 3)).clip(0, 255)
        return replace(head, clothes=tuple(clothes.tolist())), expression

    def _background(self, rng: np.random.Generator) -> Image:
        if self.crops is None:
            return backdrop((STORED_SIZE, STORED_SIZE), int(rng.integers(2**31)))
        return made.any_background(self.crops, int(rng.integers(len(self.crops))), rng)


def read_heads(folder: Path, views: int, skip: Callable[[int], bool] = lambda _: False) -> Heads:
    """Open stored views of heads.

    Parameters
    ----------
    folder : Path
        See `tddfa.datasets.views.LAYOUT`.
    views : int
        Number of views of each head, evenly spread over all.
    skip : callable
        Takes the number of a head in order of name; returns whether it is left out.

    Raises
    ------
    ValueError
        If there are no heads. At access to a head, if a file is not valid.
    """
    heads = [head for number, head in enumerate(stored_heads(folder)) if not skip(number)]
    if not heads:
        raise ValueError(f"{folder / 'multiview'}: expected folders of views, got none; the layout is {LAYOUT}")
    return Heads(_Stored(head, views) for head in heads)


@dataclass(frozen=True, eq=False)
class _Stored:
    head: ViewedHead
    views: int

    def __call__(self) -> HeadViews:
        jpegs, cameras, landmarks = [], [], []
        for view in self.head.views(self.views):
            low, high = view.landmarks.min(axis=0), view.landmarks.max(axis=0)
            side = max(STORED_SCALE * float((high - low).max()), 1.0)
            crop, matrix = crop_square(view.image, (low + high) / 2, side)
            jpegs.append(encode_jpeg(crop))
            cameras.append(_moved(view.camera, matrix))
            landmarks.append(view.landmarks @ matrix[:, :2].T + matrix[:, 2])
        return HeadViews(self.head.name, tuple(jpegs), np.array(cameras), np.array(landmarks))


def _moved(camera: Floats, matrix: Floats) -> Floats:
    """Compose a camera (3, 4) with an affine map (2, 3) of its image."""
    return np.asarray(np.vstack([matrix, [0, 0, 1]]) @ camera)


def view_batch(
    head: HeadViews, views: Sequence[int], augment: Augment, rng: np.random.Generator, crop_size: int = CROP_SIZE
) -> ViewBatch:
    """Augment views of a head. They are not flipped (`Augment.flip`): a flipped head is a different head.

    Parameters
    ----------
    head : HeadViews
        The head.
    views : sequence of int
        Indices of the views.
    augment : Augment
        Amount of augmentation.
    rng : numpy.random.Generator
        Source of random numbers.
    crop_size : int
        Side of the network's crops, px.
    """
    crops = np.empty((len(views), crop_size, crop_size, 3), dtype=np.uint8)
    to_view = np.empty((len(views), 2, 3))
    for i, view in enumerate(views):
        crop = head.crop(int(view))
        placement = place(head.landmarks[view].astype(np.float32), len(crop), augment, rng, False, crop_size)
        crops[i] = change_pixels(placement.crop(crop), augment, rng)
        inverse = np.linalg.inv(placement.matrix[:, :2])
        to_view[i] = np.column_stack([inverse, 0.5 - inverse @ placement.matrix[:, 2]]) / STORED_SIZE
    to_fractions = np.array([[1, 0, 0.5], [0, 1, 0.5]]) / STORED_SIZE
    cameras = np.array([_moved(head.cameras[view], to_fractions) for view in views])
    return ViewBatch(crops, to_view, cameras, (head.landmarks[list(views)] + 0.5) / STORED_SIZE)


def view_batches(
    heads: Heads, views: int, augment: Augment, *, seed: int = 0, start: int = 0, crop_size: int = CROP_SIZE
) -> Iterator[ViewBatch]:
    """Generate batches of views of one random head each, endlessly. Batch k of a seed is always the same.

    Parameters
    ----------
    heads : Heads
        All heads are drawn equally often.
    views : int
        Views per batch; the first ones are triangulated from (`tddfa.train.multiview.losses`).
    augment : Augment
        Amount of augmentation.
    seed : int
        Seed of all random numbers.
    start : int
        Number of the first batch.
    crop_size : int
        Side of the network's crops, px.

    Raises
    ------
    ValueError
        If a head has fewer views.
    """
    for number in count(start):
        (index,) = draw(np.ones(len(heads)), number, 1, seed)
        head = heads[int(index)]
        if len(head) < views:
            raise ValueError(f"{head.name}: expected {views} views or more, got {len(head)}")
        rng = np.random.default_rng((seed, 3, number))
        yield view_batch(head, rng.permutation(len(head))[:views].tolist(), augment, rng, crop_size)


def validation_views(head: HeadViews, views: int, crop_size: int = CROP_SIZE) -> ViewBatch:
    """Select views of a head, evenly spread and not augmented; all of them if there are fewer."""
    taken = min(views, len(head))
    chosen = [i * len(head) // taken for i in range(taken)]
    return view_batch(head, chosen, Augment.none(), np.random.default_rng(0), crop_size)
