"""Detections of MediaPipe's Face Landmarker in labelled crops, and positions of its points on a face model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from tddfa._shared.npz import read_npz
from tddfa.model.face_model import FaceModel

Floats = NDArray[Any]
Indices = NDArray[Any]

LICENCE = "Apache-2.0. Positions of the 478 points of MediaPipe Face Landmarker, (c) Google LLC."
"""Terms of use of the positions."""

STORED = Path(__file__).with_name("mediapipe_points.npz")
"""The derived positions: the teacher's points are not in the repository, so no build can derive them again."""

# Crops from which the order of mirrored points is told.
_ORDER_FACES = 300
# Px: the two passes of the teacher (image and flipped image) agree on faces that it detects well.
_MAX_DISAGREEMENT = 2.0
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class Labels:
    """Fitted parameters of n crops.

    Attributes
    ----------
    camera : ndarray (n, 3, 4)
        Face model to crop px.
    coefficients : ndarray (n, s + e)
        Of shape and expression.
    """

    camera: Floats
    coefficients: Floats

    @property
    def scale(self) -> Floats:
        """Px per unit of the face model (n,)."""
        return np.linalg.norm(self.camera[:, :2, :3], axis=(1, 2)) / np.sqrt(2)

    def __getitem__(self, rows: Any) -> Labels:
        """Labels of some of the crops."""
        return Labels(self.camera[rows], self.coefficients[rows])

    def project(self, model: FaceModel, vertices: Indices) -> NDArray[np.float64]:
        """Project some vertices (k,) to px of each crop (n, k, 2).

        In double precision: the order of sums, which depends on the number of threads, does not matter then.
        """
        basis = model.basis[:, vertices].reshape(len(model.basis), -1).astype(np.float64)
        points = (self.coefficients.astype(np.float64) @ basis).reshape(len(self.camera), -1, 3)
        turned = (points + model.mean[vertices]) @ self.camera[:, :2, :3].transpose(0, 2, 1).astype(np.float64)
        return np.asarray(turned + self.camera[:, None, :2, 3])


@dataclass(frozen=True, eq=False)
class Positions:
    """Positions on the surface of a face model.

    Attributes
    ----------
    triangles : ndarray (p, 3) int32
        Vertices around each point.
    weights : ndarray (p, 3) float32
        Barycentric weights.
    """

    triangles: NDArray[np.int32]
    weights: NDArray[np.float32]

    def on(self, vertices: Floats) -> Floats:
        """Points (..., p, c) on a surface with the vertices (..., n, c)."""
        corners = vertices[..., self.triangles, :]
        return np.asarray((corners * self.weights[..., None]).sum(axis=-2))

    def project(self, model: FaceModel, labels: Labels) -> NDArray[np.float64]:
        """Points in px of each crop (n, p, 2)."""
        vertices, local = np.unique(self.triangles, return_inverse=True)
        return Positions(local.reshape(-1, 3).astype(np.int32), self.weights).on(labels.project(model, vertices))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays of a file: ``points_mediapipe_triangles``, ``..._weights`` and ``..._licence``."""
        return {
            "points_mediapipe_triangles": self.triangles,
            "points_mediapipe_weights": self.weights,
            "points_mediapipe_licence": np.array(LICENCE),
        }


@dataclass(frozen=True, eq=False)
class Detections:
    """Detections of the teacher in n labelled crops.

    Attributes
    ----------
    points : ndarray (n, p, 2)
        Mean of both passes, in px of the crop.
    mirrored : ndarray (p,)
        For each point its mirror image.
    disagreement : ndarray (n, p)
        Distance between the passes in px.
    labels : Labels
    source : ndarray (n,) of str
        Where each crop is from.
    """

    points: Floats
    mirrored: Indices
    disagreement: Floats
    labels: Labels
    source: NDArray[np.str_]

    @classmethod
    def load(cls, points: Path, crops: Path) -> Detections:
        """Read the teacher's points and the labels of their crops."""
        with np.load(points) as arrays:
            rows, plain, flipped = arrays["rows"], arrays["points"][..., :2], arrays["flipped"][..., :2]
        with np.load(crops / "labels.npz") as arrays:
            if arrays["validation"][rows].any():
                raise ValueError(f"{points}: rows: expected none of the validation part")
            coefficients = np.concatenate([arrays["shape"][rows], arrays["expression"][rows]], axis=1, dtype=np.float32)
            labels, source = Labels(arrays["camera"][rows], coefficients), arrays["source"][rows]
            width = int(arrays["crop_size"])
        return cls.of(plain, flipped, width, labels, source)

    @classmethod
    def of(cls, plain: Floats, flipped: Floats, width: int, labels: Labels, source: NDArray[np.str_]) -> Detections:
        """Unite the points (n, p, 2) in images of `width` px and in the same images flipped horizontally."""
        back = flipped.copy()
        back[..., 0] = width - 1 - back[..., 0]
        step = max(1, len(plain) // _ORDER_FACES)
        mirrored = mirror_order(plain[::step], back[::step])
        back = back[:, mirrored]
        # an offset of the teacher cancels in x, and is the same in y
        offset = np.median(plain[..., 0] - back[..., 0]) / 2
        disagreement = np.linalg.norm(plain - back, axis=2)
        return cls((plain + back) / 2 - np.array([0, offset], dtype=np.float32), mirrored, disagreement, labels, source)

    def __getitem__(self, rows: Any) -> Detections:
        """Some of the crops."""
        return Detections(
            self.points[rows], self.mirrored, self.disagreement[rows], self.labels[rows], self.source[rows]
        )

    def first_points(self, count: int) -> Detections:
        """The first points alone; with each of them its mirror image."""
        return Detections(
            self.points[:, :count], self.mirrored[:count], self.disagreement[:, :count], self.labels, self.source
        )

    def well_detected(self) -> Detections:
        """Those crops in which both passes agree."""
        return self[self.disagreement.mean(axis=1) < _MAX_DISAGREEMENT]

    def with_offsets(self, offsets: dict[str, float]) -> Detections:
        """The crops with labels moved up and to the left by px of each source."""
        camera = self.labels.camera.copy()
        camera[:, :2, 3] -= np.array([offsets[name] for name in self.source])[:, None]
        labels = Labels(camera, self.labels.coefficients)
        return Detections(self.points, self.mirrored, self.disagreement, labels, self.source)


def stored_arrays() -> dict[str, NDArray[Any]]:
    """Read the stored positions: the arrays ``points_mediapipe_*`` of a face model, see `Positions.arrays`.

    Examples
    --------
    >>> stored_arrays()["points_mediapipe_triangles"].shape
    (478, 3)
    """
    return read_npz(STORED, _MAX_BYTES)


def mirror_order(points: Floats, flipped: Floats) -> Indices:
    """For each point the one that is its mirror image.

    Parameters
    ----------
    points, flipped : ndarray (n, p, 2)
        Points in n images, and in the same images flipped horizontally; x of `flipped` is flipped back.

    Returns
    -------
    ndarray (p,)
        The assignment with the least sum of distances.
    """
    distance = sum(
        np.linalg.norm(one[:, None] - other[None], axis=2) for one, other in zip(points, flipped, strict=True)
    )
    return np.asarray(linear_sum_assignment(np.asarray(distance) + np.asarray(distance).T)[1])
