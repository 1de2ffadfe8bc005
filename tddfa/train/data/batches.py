"""Labelled crops to batches: how often each crop is drawn, and how it is augmented.

Batch k of a seed is always the same, in this process or in others, from the start or after a resume.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tddfa.landmarks68 import MIRRORED
from tddfa.model.face_model import FaceModel
from tddfa.model.mirror import Mirror, mirrored_camera, mirrored_landmarks
from tddfa.train.data.augment import CROP_SIZE, Augment, change_pixels, place
from tddfa.train.data.crops import Crops
from tddfa.train.engine.workers import stream

__all__ = ["Batch", "Crops", "batches", "draw", "in_order", "make_batch", "paired"]

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Batch:
    """Crops as the network sees them, and their ground truth.

    Attributes
    ----------
    crops : ndarray (n, size, size, 3) uint8
        BGR; the side is 120 px for the regressor.
    camera : ndarray (n, 3, 4) float32
        Face model's unit to px of the crop (frames: `tddfa.geometry.camera`); 0 where `has_params` is False.
    shape : ndarray (n, s) float32
        Shape coefficients; 0 where `has_params` is False.
    expression : ndarray (n, e) float32
        Expression weights; 0 where `has_params` is False.
    landmarks : ndarray (n, 68, 2) float32
        px of the crop: labelled landmarks if there are some, else those of camera, shape and expression. An unknown
        landmark is NaN in a row that has others, and all are 0 where `has_landmarks` is False.
    has_params : ndarray (n,) bool
        Whether camera, shape and expression are known.
    has_landmarks : ndarray (n,) bool
        Whether any landmark is known.
    face : ndarray (n,) bool
        Whether there is a face.
    rows : ndarray (n,) int
        Rows of the `Crops`.
    depth : ndarray (n, 68) float32
        Labelled z of the landmarks, px of the crop; NaN where unknown.
    person : ndarray (n,) int
        Number of the person within the batch; -1 where unknown.
    covered : ndarray (n, 68) bool
        Landmarks behind an object of the augmentation, or outside the crop.
    """

    crops: Image
    camera: Floats
    shape: Floats
    expression: Floats
    landmarks: Floats
    has_params: Flags
    has_landmarks: Flags
    face: Flags
    rows: Rows
    depth: Floats
    person: Rows
    covered: Flags

    def __len__(self) -> int:
        return len(self.crops)


def draw(weights: NDArray[np.float64], first: int, count: int, seed: int) -> Rows:
    """Draw `count` rows of an endless series, from draw `first` on.

    In each round of n draws (n = ``len(weights)``), row i occurs floor or ceil of ``n * weight / sum`` times, in random
    order. So equal weights give permutations.
    """
    n = len(weights)
    edges = np.cumsum(weights) * (n / np.sum(weights))
    drawn = []
    for round_number in range(first // n, (first + count - 1) // n + 1):
        rng = np.random.default_rng((seed, 1, round_number))
        rows = np.searchsorted(edges, np.arange(n) + rng.random(), side="right").clip(0, n - 1)
        drawn.append(rng.permutation(rows)[max(first - round_number * n, 0) : first + count - round_number * n])
    return np.concatenate(drawn)


def make_batch(
    crops: Crops,
    rows: Rows,
    augment: Augment,
    model: FaceModel,
    mirror: Mirror,
    rng: np.random.Generator,
    crop_size: int = CROP_SIZE,
) -> Batch:
    """Make a batch of augmented crops.

    Parameters
    ----------
    crops : Crops
    rows : ndarray (n,) int
        Rows of `crops`.
    augment : Augment
        Strength of the augmentation.
    model : FaceModel
        The face model of the labels.
    mirror : Mirror
        Of that face model.
    rng : numpy.random.Generator
        Source of the random numbers.
    crop_size : int
        Side of the network's crops, px.
    """
    n = len(rows)
    labels = crops.labels.take(rows)
    flips = rng.random(n) < augment.flip
    has_params = labels.has_params & labels.face
    shape, expression = labels.shape * has_params[:, None], labels.expression * has_params[:, None]
    flipped = flips & has_params
    shape[flipped], expression[flipped] = mirror.coefficients(shape[flipped], expression[flipped])
    points = model.landmarks(shape, expression)
    labelled: Flags = np.asarray(np.isfinite(labels.landmarks).all(axis=2))
    has_labelled: Flags = np.asarray(labelled.any(axis=1)) & labels.face
    known = has_params | has_labelled

    pixels = np.empty((n, crop_size, crop_size, 3), dtype=np.uint8)
    camera = np.zeros((n, 3, 4), dtype=np.float32)
    landmarks = np.zeros((n, 68, 2), dtype=np.float32)
    depth = np.where(flips[:, None], labels.depth[:, MIRRORED], labels.depth)
    hidden = np.zeros((n, 68), dtype=bool)
    before: Image | None = None
    for i in range(n):
        crop = crops.image(int(rows[i]))
        width = crop.shape[1]
        own = mirrored_camera(labels.camera[i], width) if flips[i] else labels.camera[i]
        target = fitted = np.full((68, 2), np.nan, dtype=np.float32)
        if has_params[i]:
            target = fitted = points[i] @ own[:2, :3].T + own[:2, 3]
        if has_labelled[i]:
            target = np.where(labelled[i][:, None], labels.landmarks[i], np.nan)
            target = mirrored_landmarks(target, width) if flips[i] else target
        # the crop rule needs the box of all 68 landmarks; where some are unknown, the stored crop, which was made by
        # the rule, places the crop
        whole = np.where(np.isnan(target), fitted, target)
        whole = whole if np.isfinite(whole).all() else np.full_like(whole, np.nan)
        placement = place(whole, width, augment, rng, bool(flips[i]), crop_size)
        objects = np.zeros((crop_size, crop_size), dtype=bool)
        pixels[i] = change_pixels(placement.crop(crop), augment, rng, before, objects)
        before = crop
        depth[i] *= placement.scale
        hidden[i] = _hidden(placement.points(whole), objects)
        if has_params[i]:
            camera[i] = placement.camera(own)
        if known[i]:
            landmarks[i] = placement.points(target)
    person = _numbers(labels.person)
    rows = np.asarray(rows)
    flags = has_params, known, labels.face
    return Batch(pixels, camera, shape, expression, landmarks, *flags, rows, depth, person, hidden)


def _hidden(landmarks: Floats, objects: Flags) -> Flags:
    """Landmarks (68,) on objects (size, size), or outside the crop; unknown ones are not hidden."""
    known: Flags = np.asarray(np.isfinite(landmarks).all(axis=1))
    x, y = np.rint(np.where(known[:, None], landmarks, 0)).astype(np.intp).T
    inside = (x >= 0) & (y >= 0) & (x < objects.shape[1]) & (y < objects.shape[0])
    return np.asarray(known & (~inside | objects[np.where(inside, y, 0), np.where(inside, x, 0)]))


def _numbers(person: NDArray[np.str_]) -> Rows:
    """Number of each person (n,), -1 where the name is empty."""
    _, numbers = np.unique(person, return_inverse=True)
    return np.where(person == "", -1, numbers).astype(np.intp)


def paired(rows: Rows, person: NDArray[np.str_], rng: np.random.Generator) -> Rows:
    """Exchange rows so that photos of a person come in pairs.

    Of the rows whose person is known, every second is replaced by another photo of the person in the row before it.

    Parameters
    ----------
    rows : ndarray (n,) int
        Drawn rows.
    person : ndarray (m,) str
        Of all rows; empty where unknown.
    rng : numpy.random.Generator

    Examples
    --------
    >>> person = np.array(["", "a", "a", "b", "b"])
    >>> paired(np.array([1, 0, 3]), person, np.random.default_rng(0)).tolist()
    [1, 0, 2]
    """
    changed = rows.copy()
    known = np.flatnonzero(person[rows] != "")
    for first, second in zip(known[::2].tolist(), known[1::2].tolist(), strict=False):
        others = np.flatnonzero(person == person[rows[first]])
        others = others[others != rows[first]]
        if len(others):
            changed[second] = rng.choice(others)
    return changed


def batches(
    crops: Crops,
    size: int,
    augment: Augment,
    model: FaceModel,
    *,
    seed: int = 0,
    start: int = 0,
    count: int | None = None,
    balance: float = 0.0,
    workers: int = 0,
    crop_size: int = CROP_SIZE,
) -> Iterator[Batch]:
    """Batches to train on, without end.

    Parameters
    ----------
    crops : Crops
        Crops to draw from.
    size : int
        Crops per batch.
    augment : Augment
        Strength of the augmentation.
    model : FaceModel
        The face model of the labels.
    seed : int
        Batch k of a seed is always the same.
    start : int
        Number of the first batch: where a training is resumed.
    count : int, optional
        Number of batches; None makes batches without end.
    balance : float
        See `Crops.weights`.
    workers : int
        Processes that make batches (`tddfa.train.engine.workers.stream`); 0 makes them here.
    crop_size : int
        Side of the network's crops, px.

    Raises
    ------
    ValueError
        If there are no crops, or if the labels are not of this face model; at the call.
    RuntimeError
        If a worker process ended without an exception.
    """
    if size < 1:
        raise ValueError(f"size: expected 1 or more, got {size}")
    if not len(crops):
        raise ValueError("crops: expected at least one, got none")
    _check_model(crops, model)
    stop = None if count is None else start + count
    maker = _Maker(crops, size, augment, model, Mirror.of(model), crops.weights(balance), seed, crop_size)
    return stream(maker, start, stop, workers)


def in_order(crops: Crops, size: int, model: FaceModel, crop_size: int = CROP_SIZE) -> Iterator[Batch]:
    """All crops once, in order, without augmentation, for validation. The last batch may be smaller."""
    _check_model(crops, model)
    mirror = Mirror.of(model)
    for first in range(0, len(crops), size):
        rows = np.arange(first, min(first + size, len(crops)))
        yield make_batch(crops, rows, Augment.none(), model, mirror, np.random.default_rng(0), crop_size)


@dataclass(frozen=True, eq=False)
class _Maker:
    """Makes the batch of a number."""

    crops: Crops
    size: int
    augment: Augment
    model: FaceModel
    mirror: Mirror
    weights: NDArray[np.float64]
    seed: int
    crop_size: int

    def batch(self, number: int) -> Batch:
        """Batch of a number."""
        rows = draw(self.weights, number * self.size, self.size, self.seed)
        rng = np.random.default_rng((self.seed, 2, number))
        if (self.crops.labels.person != "").any():
            rows = paired(rows, self.crops.labels.person, np.random.default_rng((self.seed, 3, number)))
        return make_batch(self.crops, rows, self.augment, self.model, self.mirror, rng, self.crop_size)


def _check_model(crops: Crops, model: FaceModel) -> None:
    for name, got, want in (
        ("shape", crops.labels.shape.shape[1], model.shape_count),
        ("expression", crops.labels.expression.shape[1], model.expression_count),
    ):
        if got != want:
            raise ValueError(f"crops: {name}: expected {want} coefficients, as the face model has, got {got}")
