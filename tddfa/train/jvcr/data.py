"""Points of labelled crops, in the crops (`tddfa.jvcr.grid`), and batches of points alone for the coordinate stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tddfa.jvcr.grid import with_centres
from tddfa.landmarks68 import COUNT, MIRRORED
from tddfa.model.face_model import FaceModel
from tddfa.train.data.augment import Augment, place
from tddfa.train.data.batches import Batch, draw
from tddfa.train.data.crops import Crops
from tddfa.train.data.samples import STORED_SIZE
from tddfa.train.data.shards import Labels

Floats = NDArray[np.float32]


class PointBatch(NamedTuple):
    """Ground truth of the coordinate stage.

    Attributes
    ----------
    points : ndarray (n, 71, 3) float32
        px of the crop; all are known.
    """

    points: Floats


def points_of(batch: Batch, model: FaceModel) -> Floats:
    """Compute the points (n, 71, 3) of a batch; see `tddfa.jvcr.grid`.

    Where camera and coefficients are known, all coordinates are those of the face model. Elsewhere they are those of
    the labelled landmarks and their depth; z is NaN where it is not known for all, and a row without a face is NaN.
    """
    surface = model.landmarks(batch.shape, batch.expression)
    fitted = surface @ batch.camera[:, :, :3].transpose(0, 2, 1) + batch.camera[:, None, :, 3]
    points = np.full((len(batch), COUNT, 3), np.nan, dtype=np.float32)
    marked = batch.has_landmarks & batch.face
    points[marked, :, :2] = batch.landmarks[marked]
    points[marked, :, 2] = batch.depth[marked]
    posed = batch.has_params & batch.face
    points[posed] = fitted[posed]
    points[..., 2] -= points[..., 2].mean(axis=1, keepdims=True)
    return with_centres(points)


def stored_points(labels: Labels, model: FaceModel) -> Floats:
    """Compute the landmarks (n, 68, 3) of labels in px of the stored crops; NaN where a coordinate is not known.

    They are those of camera and coefficients, or else the labelled landmarks and their depth.
    """
    surface = model.landmarks(labels.shape, labels.expression)
    fitted = surface @ labels.camera[:, :, :3].transpose(0, 2, 1) + labels.camera[:, None, :, 3]
    labelled = np.concatenate([labels.landmarks, labels.depth[..., None]], axis=2)
    return np.where((labels.has_params & labels.face)[:, None, None], fitted, labelled)


@dataclass(frozen=True, eq=False)
class PointMaker:
    """Makes batches of points: those of labelled faces, turned at random, in crops that are placed at random.

    Attributes
    ----------
    points : ndarray (n, 68, 3)
        Landmarks of the labelled faces, px of stored crops.
    weights : ndarray (n,)
        How often each is drawn.
    count : int
        Faces per batch.
    size : int
        Side of the network's crop, px.
    augment : Augment
        How far the crops may be off.
    max_turn : float
        Maximum angle of a random turn about any axis, degrees.
    seed : int
        Batch k of a seed is always the same.
    """

    points: Floats
    weights: NDArray[np.float64]
    count: int
    size: int
    augment: Augment
    max_turn: float
    seed: int

    @classmethod
    def of(
        cls, crops: Crops, model: FaceModel, count: int, size: int, augment: Augment, *, balance: float,
        max_turn: float, seed: int,
    ) -> PointMaker:  # fmt: skip
        """Take the crops whose landmarks are known in 3D.

        Raises
        ------
        ValueError
            If there are none.
        """
        points = stored_points(crops.labels, model)
        known: NDArray[np.bool_] = np.asarray(np.isfinite(points).all(axis=(1, 2)) & crops.labels.face)
        if not known.any():
            raise ValueError("data: expected crops with landmarks in 3D, got none")
        return cls(points[known], crops.take(known).weights(balance), count, size, augment, max_turn, seed)

    def batch(self, number: int) -> PointBatch:
        """Make the batch of a number."""
        rows = draw(self.weights, number * self.count, self.count, self.seed)
        rng = np.random.default_rng((self.seed, 4, number))
        points = self.points[rows].astype(np.float64)
        flipped = rng.random(self.count) < self.augment.flip
        points[flipped] = points[flipped][:, MIRRORED] * [-1, 1, 1]
        points -= points.mean(axis=1, keepdims=True)
        points = points @ _turns(rng, self.count, self.max_turn).transpose(0, 2, 1)
        out = np.empty((self.count, COUNT, 3), dtype=np.float32)
        for i, own in enumerate(points):
            placement = place(own[:, :2].astype(np.float32), STORED_SIZE, self.augment, rng, False, self.size)
            out[i, :, :2] = placement.points(own[:, :2].astype(np.float32))
            out[i, :, 2] = placement.scale * own[:, 2]
        return PointBatch(with_centres(out))


def _turns(rng: np.random.Generator, count: int, max_turn: float) -> NDArray[np.float64]:
    """Rotations (n, 3, 3) by uniform angles up to `max_turn` degrees about random axes in the image plane."""
    angle = np.radians(max_turn) * rng.random(count)
    direction = rng.uniform(0, 2 * np.pi, count)
    axis = np.stack([np.cos(direction), np.sin(direction), np.zeros(count)], axis=1)
    cross = np.zeros((count, 3, 3))
    for i, (j, k) in enumerate(((1, 2), (2, 0), (0, 1))):
        cross[:, j, k], cross[:, k, j] = -axis[:, i], axis[:, i]
    sine, cosine = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return np.asarray(np.eye(3) + sine * cross + (1 - cosine) * (cross @ cross))
