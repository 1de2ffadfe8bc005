"""Batches of graphs from stored scans: rotated, scaled, mirrored, with noise and more holes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from tddfa.landmarks68 import JAW, MIRRORED
from tddfa.scan.graph import NEIGHBOURS, Graph, make_graph
from tddfa.scan.sampling import near_face, neighbours
from tddfa.train.data.batches import draw
from tddfa.train.scan.settings import ScanTrainingSettings
from tddfa.train.scan.shards import ScanPoints

Floats = NDArray[np.float64]

UNIT = 100.0
"""mm in a unit of the network."""

# Radii of the additional holes, mm.
_DISC_RADII = (5.0, 30.0)


@dataclass(frozen=True, eq=False)
class ScanBatch:
    """Graphs of b scans.

    Attributes
    ----------
    graphs : list of Graph
    heat : ndarray (b, n, 68) float32
    landmarks : ndarray (b, 68, 3)
        In the frame of the points.
    unit : ndarray (b,)
        mm in a unit of the points.
    """

    graphs: list[Graph]
    heat: NDArray[np.float32]
    landmarks: Floats
    unit: Floats


@dataclass(eq=False)
class ScanBatches:
    """Batch k is always the same, wherever it is made.

    Attributes
    ----------
    scans : ScanPoints
    settings : ScanTrainingSettings
    mean : ndarray (68, 3)
        Mean landmarks, mm, from their middle.
    augmented : bool
        Off for validation: rotation, shift and scale are those of training, nothing else is changed.
    """

    scans: ScanPoints
    settings: ScanTrainingSettings
    mean: Floats
    augmented: bool = True
    _drawn: dict[tuple[int, int], tuple[NDArray[np.uint16], NDArray[np.uint16]]] = field(default_factory=dict)

    def batch(self, number: int) -> ScanBatch:
        """Make batch `number`."""
        size, seed = self.settings.schedule.batch_size, self.settings.schedule.seed
        rows = draw(np.ones(len(self.scans)), number * size, size, seed)
        rng = np.random.default_rng((seed, 3, number))
        return self.of([(int(row), int(rng.integers(self.settings.variants))) for row in rows], rng)

    def of(self, chosen: list[tuple[int, int]], rng: np.random.Generator) -> ScanBatch:
        """Make a batch of some variants of some scans."""
        parts = [self._sample(row, variant, rng) for row, variant in chosen]
        graphs, landmarks, units = zip(*parts, strict=True)
        sigma = np.full(len(self.mean), self.settings.sigma)
        sigma[JAW] = self.settings.jaw_sigma
        heat = [heat_of(graph.features[:, :3] * unit, points * unit, sigma) for graph, points, unit in parts]
        return ScanBatch(list(graphs), np.stack(heat), np.stack(landmarks), np.array(units))

    def _points(self, row: int, variant: int) -> tuple[Floats, Floats, NDArray[np.int64]]:
        """Points, normals and neighbours of a variant, in the frame of the head, mm."""
        key = row, variant
        if key not in self._drawn:
            self._drawn[key] = self._draw(*key)
        chosen, near = self._drawn[key]
        return (
            self.scans.face[row, chosen].astype(np.float64),
            self.scans.face_normals[row, chosen].astype(np.float64) / 127,
            near.astype(np.int64),
        )

    def _draw(self, row: int, variant: int) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
        rng = np.random.default_rng((self.settings.schedule.seed, 2, row, variant))
        count = self.settings.points
        points = self.scans.face[row].astype(np.float64)
        kept = np.ones(len(points), dtype=bool)
        if self.augmented and rng.random() < 0.3:
            for _ in range(int(rng.integers(1, 5))):
                disc = np.linalg.norm(points - points[rng.integers(len(points))], axis=1) < rng.uniform(*_DISC_RADII)
                kept &= ~disc
        at = rng.permutation(np.flatnonzero(kept))
        # where the coarse pose is a little wrong, so are these regions
        moved = points[at] + rng.normal(0, self.settings.shift, 3)
        chosen = at[near_face(moved, self.mean, count, self.settings.radius, self.settings.inner, rng)]
        if len(chosen) < count:  # hardly any scan: some of its points count twice
            chosen = np.resize(chosen if len(chosen) else np.arange(len(points)), count)
        return chosen.astype(np.uint16), neighbours(points[chosen], NEIGHBOURS).astype(np.uint16)

    def _sample(self, row: int, variant: int, rng: np.random.Generator) -> tuple[Graph, Floats, float]:
        settings = self.settings
        points, normals, near = self._points(row, variant)
        landmarks = self.scans.landmarks[row].astype(np.float64)
        if self.augmented:
            points = points + rng.normal(0, rng.uniform(0, settings.noise) + 1e-9, points.shape)
            normals = normals + rng.normal(0, rng.uniform(0, 0.15), normals.shape)
            if rng.random() < 0.5:
                flip = np.array([-1.0, 1, 1])
                points, normals, landmarks = points * flip, normals * flip, landmarks[MIRRORED] * flip
            stretch = 1 + rng.normal(0, 0.03, 3)
            points, landmarks, normals = points * stretch, landmarks * stretch, normals / stretch
            normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
        axis = rng.normal(size=3)
        angle = np.radians(settings.rotation * (3 if rng.random() < 0.1 else 1)) * rng.normal()
        turn = Rotation.from_rotvec(axis / np.linalg.norm(axis) * angle).as_matrix()
        scale = np.exp(rng.normal(0, settings.scale)) / UNIT
        shift = rng.normal(0, settings.shift, 3) / UNIT
        points, landmarks = points @ turn.T * scale + shift, landmarks @ turn.T * scale + shift
        return make_graph(points, normals @ turn.T, near, self.mean / UNIT), landmarks, 1 / scale


def heat_of(points: NDArray[np.floating], landmarks: Floats, sigma: Floats) -> NDArray[np.float32]:
    """Heat (n, 68) of points (n, 3) around landmarks (68, 3) with standard deviations `sigma` (68,)."""
    squared = (
        np.square(points).sum(axis=1)[:, None] + np.square(landmarks).sum(axis=1) - 2 * points @ landmarks.T
    ).astype(np.float32)
    return np.asarray(np.exp(squared.clip(0) / (-2 * sigma**2).astype(np.float32)))
