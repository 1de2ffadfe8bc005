"""Views of heads from known cameras, to fine-tune on: rendered ones, and stored ones in EG3D's layout.

A head's views are kept as the regressor's stored crops are (`tddfa.train.data.samples`): squares of 1.75 times the longer
side of the landmarks' box. Their cameras see the head in px of those.
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
from tddfa.train.data.augment import CROP_SIZE, STORED_SCALE, Augment, change_pixels, place
from tddfa.train.data.batches import draw
from tddfa.train.data.crops import Crops
from tddfa.train.data.samples import STORED_SIZE, Sample, centred, crop_square, encode_jpeg
from tddfa.train.data.sources import usable_rows
from tddfa.train.synthesis import synthetic_crops as made
from tddfa.train.synthesis.edits import another_expression

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]

# How far rendered views go to both sides, up and down, degrees; how far they are tilted (standard deviation).
_YAW, _PITCH, _ROLL = 70.0, 25.0, 5.0
_TEXTURE_SIZE = 256
# Made-up heads: so many expressions at once, each up to this weight.
_EXPRESSIONS, _MAX_EXPRESSION = 4, 0.6
# A texture of a photo is taken from faces turned no farther than this: yaw, pitch, roll, degrees.
_MAX_TURNED = (30.0, 25.0, 40.0)


@dataclass(frozen=True, eq=False)
class HeadViews:
    """Views of one head.

    Attributes
    ----------
    name : str
        Which head.
    pictures : tuple of bytes
        Crops, 160 px, as JPEGs.
    cameras : ndarray (v, 3, 4) float64
        From the head's space to px of each crop (`tddfa.geometry.triangulation`).
    landmarks : ndarray (v, 68, 2) float64
        Where landmarks are said to be, px of each crop.
    """

    name: str
    pictures: tuple[bytes, ...]
    cameras: Floats
    landmarks: Floats

    def __post_init__(self) -> None:
        """Check the arrays against each other."""
        n = len(self.pictures)
        object.__setattr__(self, "cameras", checked("cameras", self.cameras, (n, 3, 4), np.float64))
        object.__setattr__(self, "landmarks", checked("landmarks", self.landmarks, (n, 68, 2), np.float64))

    def __len__(self) -> int:
        return len(self.pictures)

    def crop(self, view: int) -> Image:
        """One view's crop (160, 160, 3), BGR."""
        return np.asarray(cv2.imdecode(np.frombuffer(self.pictures[view], np.uint8), cv2.IMREAD_COLOR))


class Heads(Sequence[HeadViews]):
    """Heads that are rendered or read when they are first asked for, and kept: about 6 kB a view."""

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
    """Views of one head as the network sees them; a share of a view is one of its stored crop's side.

    Attributes
    ----------
    crops : ndarray (v, 120, 120, 3) uint8
        BGR.
    to_view : ndarray (v, 2, 3) float64
        From px of each crop to shares of its view.
    cameras : ndarray (v, 3, 4) float64
        From the head's space to shares of each view.
    landmarks : ndarray (v, 68, 2) float64
        Shares of each view.
    """

    crops: Image
    to_view: Floats
    cameras: Floats
    landmarks: Floats

    def __len__(self) -> int:
        return len(self.crops)


def rendered_heads(model: FaceModel, heads: int, views: int, seed: int, crops: Crops | None = None) -> Heads:
    """Made views of heads, whose truth is known.

    They are seen from up to 70 degrees to the side and 25 up and down, evenly at random; a head keeps expression and
    light, what is behind it changes from view to view.

    Parameters
    ----------
    model : FaceModel
        With `uv`; with `crops`, with ARKit's expression names too.
    heads, views : int
        How many heads, and views of each.
    seed : int
        The same seed gives the same ones.
    crops : Crops, optional
        Heads have the shape, the texture and, some of them changed, the expression of faces of these; those for
        validation are left alone. Without, they are made up.

    Raises
    ------
    ValueError
        If a number is less than 1, or if no crop is fit.
    """
    for name, value in (("heads", heads), ("views", views)):
        if value < 1:
            raise ValueError(f"{name}: expected 1 or more, got {value}")
    rows = [None] * heads if crops is None else list(islice(usable_rows(crops, model, _MAX_TURNED, seed), heads))
    return Heads(_Rendered(model, index, (seed, index), views, crops, row) for index, row in enumerate(rows))


def made_up_samples(model: FaceModel, heads: int, views: int, seed: int) -> Iterator[Sample]:
    """The views of made-up heads as labelled crops, head by head; `Sample.source` tells which head it is."""
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
        pictures, cameras, landmarks = [], [], []
        for sample in self.samples():
            assert sample.camera is not None and sample.shape is not None and sample.expression is not None
            pictures.append(encode_jpeg(sample.crop))
            cameras.append(matrices(sample.camera[None, :2])[0])
            points = Camera(sample.camera).project(self.model.landmarks(sample.shape, sample.expression))
            landmarks.append(points[:, :2])
        return HeadViews(self._name(), tuple(pictures), np.array(cameras), np.array(landmarks))

    def _name(self) -> str:
        return f"rendered-{self.number}"

    def samples(self) -> Iterator[Sample]:
        rng = np.random.default_rng(self.seed)
        head, expression = self._who(rng)
        weights = dict(zip(self.model.expression_names, expression.tolist(), strict=True))
        light = made.any_light(rng)
        for _ in range(self.views):
            radius, angle = np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
            yaw, pitch = float(_YAW * radius * np.cos(angle)), float(_PITCH * radius * np.sin(angle))
            roll = float(rng.normal(0, _ROLL))
            matrix = centred(Camera.from_pose(yaw, pitch, roll), self.model, head.shape, expression)
            size = Camera(matrix).scale * made.mean_size(self.model)
            state = State(yaw, pitch, roll, size, float(matrix[0, 3]), float(matrix[1, 3]), weights)
            image, (truth,) = render((STORED_SIZE, STORED_SIZE), [(head, state)], self._behind(rng), light=light)
            assert truth is not None
            image = degrade(image, rng, noise=float(rng.uniform(0, 4)), blur=float(rng.uniform(0, 0.7)))
            yield Sample(image, self._name(), truth.camera.matrix, truth.shape, truth.expression)

    def _who(self, rng: np.random.Generator) -> tuple[Head, NDArray[np.float32]]:
        if self.crops is None or self.row is None:
            expression = np.zeros(self.model.expression_count, dtype=np.float32)
            some = rng.permutation(self.model.expression_count)[:_EXPRESSIONS]
            expression[some] = rng.uniform(0, _MAX_EXPRESSION, len(some))
            return Head.procedural(self.model, int(rng.integers(2**31)), _TEXTURE_SIZE), expression
        expression = self.crops.labels.expression[self.row].clip(0, 1)
        if rng.random() < 0.5:
            expression = another_expression(expression, self.model.expression_names, rng)
        head = made.textured_head(self.crops, self.row, self.model)
        # a crop shows little of what is worn
        clothes = (rng.uniform(10, 235) + rng.normal(0, 25, 3)).clip(0, 255)
        return replace(head, clothes=tuple(clothes.tolist())), expression

    def _behind(self, rng: np.random.Generator) -> Image:
        if self.crops is None:
            return backdrop((STORED_SIZE, STORED_SIZE), int(rng.integers(2**31)))
        return made.any_background(self.crops, int(rng.integers(len(self.crops))), rng)


def read_heads(folder: Path, views: int, skip: Callable[[int], bool] = lambda _: False) -> Heads:
    """Stored views of heads; of each, so many are kept, evenly spread over all.

    Parameters
    ----------
    folder : Path
        See `tddfa.datasets.views.LAYOUT`.
    views : int
        How many of each head.
    skip : callable
        Number of a head, in the order of names, to whether it is left out.

    Raises
    ------
    ValueError
        If there are no heads; when a head is asked for, if a file is not what it should be.
    """
    found = [head for number, head in enumerate(stored_heads(folder)) if not skip(number)]
    if not found:
        raise ValueError(f"{folder / 'multiview'}: expected folders of views, got none; expected {LAYOUT}")
    return Heads(_Stored(head, views) for head in found)


@dataclass(frozen=True, eq=False)
class _Stored:
    head: ViewedHead
    views: int

    def __call__(self) -> HeadViews:
        pictures, cameras, landmarks = [], [], []
        for view in self.head.views(self.views):
            low, high = view.landmarks.min(axis=0), view.landmarks.max(axis=0)
            side = max(STORED_SCALE * float((high - low).max()), 1.0)
            crop, matrix = crop_square(view.image, (low + high) / 2, side)
            pictures.append(encode_jpeg(crop))
            cameras.append(_moved(view.camera, matrix))
            landmarks.append(view.landmarks @ matrix[:, :2].T + matrix[:, 2])
        return HeadViews(self.head.name, tuple(pictures), np.array(cameras), np.array(landmarks))


def _moved(camera: Floats, matrix: Floats) -> Floats:
    """Camera (3, 4) whose picture is moved by an affine map (2, 3)."""
    return np.asarray(np.vstack([matrix, [0, 0, 1]]) @ camera)


def view_batch(head: HeadViews, views: Sequence[int], augment: Augment, rng: np.random.Generator) -> ViewBatch:
    """Some views of a head, each changed at random, but for `Augment.flip`: a mirrored head is another one.

    Parameters
    ----------
    head : HeadViews
        Which head.
    views : sequence of int
        Which views.
    augment : Augment
        How much they change.
    rng : numpy.random.Generator
        How they change.
    """
    crops = np.empty((len(views), CROP_SIZE, CROP_SIZE, 3), dtype=np.uint8)
    to_view = np.empty((len(views), 2, 3))
    for i, view in enumerate(views):
        crop = head.crop(int(view))
        placement = place(head.landmarks[view].astype(np.float32), len(crop), augment, rng, False)
        crops[i] = change_pixels(placement.crop(crop), augment, rng)
        inverse = np.linalg.inv(placement.matrix[:, :2])
        to_view[i] = np.column_stack([inverse, 0.5 - inverse @ placement.matrix[:, 2]]) / STORED_SIZE
    shares = np.array([[1, 0, 0.5], [0, 1, 0.5]]) / STORED_SIZE
    cameras = np.array([_moved(head.cameras[view], shares) for view in views])
    return ViewBatch(crops, to_view, cameras, (head.landmarks[list(views)] + 0.5) / STORED_SIZE)


def view_batches(heads: Heads, views: int, augment: Augment, *, seed: int = 0, start: int = 0) -> Iterator[ViewBatch]:
    """Views to train on, without end: of one head each time, at random; batch k of a seed is always the same.

    Parameters
    ----------
    heads : Heads
        All of them come equally often.
    views : int
        How many views of a head at once; the first of them are triangulated from (`tddfa.train.multiview.losses`).
    augment : Augment
        How they change.
    seed : int
        Of all chance.
    start : int
        The first batch's number.

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
        yield view_batch(head, rng.permutation(len(head))[:views].tolist(), augment, rng)


def validation_views(head: HeadViews, views: int) -> ViewBatch:
    """So many views of a head, evenly spread, unchanged; all of them if there are fewer."""
    taken = min(views, len(head))
    chosen = [i * len(head) // taken for i in range(taken)]
    return view_batch(head, chosen, Augment.none(), np.random.default_rng(0))
