"""`Faces`: the faces of an image as ellipses with five points, which stay exact when the image is rotated."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa.crop import roll_of_points
from tddfa.detector.poses import boxes_of_ellipses, ellipses_of_landmarks, points_of_landmarks

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

POINTS = 5
"""Points of a face: its eye at the viewer's left and right, tip of the nose, corner of the mouth at left and right."""

# Order of the points after a horizontal flip.
_FLIPPED = np.array([1, 0, 2, 4, 3])
# Width over height of a face without its upright box, and the roll, radians, from which a box does not tell them.
_ASPECT, _MAX_BOX_ROLL = 0.9, 0.45


@dataclass(frozen=True, eq=False)
class Faces:
    """Faces of an image.

    Attributes
    ----------
    ellipses : ndarray (n, 5) float64
        Centre x and y, width and height in the frame of the face, px; roll in radians, clockwise in the image.
    points : ndarray (n, 5, 2) float64
        See `POINTS`, px; NaN where unknown.
    ignored : ndarray (n,) bool
        Faces that may be detected or missed.
    rotations : ndarray (n, 3, 3) float64 or None
        Of the heads, see `FaceBoxes.Detections.rotations`; NaN where unknown. None stands for NaN.

    Examples
    --------
    >>> faces = Faces([[50, 60, 30, 40, 0]], np.full((1, 5, 2), np.nan), [False])
    >>> faces.xyxy.tolist()
    [[35.0, 40.0, 65.0, 80.0]]
    """

    ellipses: Floats
    points: Floats
    ignored: Flags
    rotations: Floats | None = None

    def __post_init__(self) -> None:
        """Check the arrays against each other."""
        # made by the hundred for each batch: the checks are few
        ellipses = np.asarray(self.ellipses, dtype=np.float64).reshape(-1, 5)
        points = np.asarray(self.points, dtype=np.float64).reshape(-1, POINTS, 2)
        ignored = np.asarray(self.ignored, dtype=np.bool_).reshape(-1)
        if not len(ellipses) == len(points) == len(ignored):
            got = f"{len(ellipses)}, {len(points)} and {len(ignored)}"
            raise ValueError(f"Faces: expected equal numbers of ellipses, points and ignored, got {got}")
        rotations = np.full((len(ellipses), 3, 3), np.nan) if self.rotations is None else self.rotations
        if rotations.shape != (len(ellipses), 3, 3):
            raise ValueError(f"Faces.rotations: expected shape ({len(ellipses)}, 3, 3), got {rotations.shape}")
        for name, value in (
            ("ellipses", ellipses), ("points", points), ("ignored", ignored), ("rotations", rotations),
        ):  # fmt: skip
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.ellipses)

    @property
    def known_rotations(self) -> Floats:
        """`rotations`, which are an array once the faces are made."""
        assert self.rotations is not None
        return self.rotations

    @property
    def xyxy(self) -> Floats:
        """Boxes (n, 4) around the ellipses: x1, y1, x2, y2 in px."""
        return boxes_of_ellipses(self.ellipses)

    @property
    def size(self) -> Floats:
        """Square root of width times height (n,), px."""
        size: Floats = np.sqrt(self.ellipses[:, 2] * self.ellipses[:, 3])
        return size

    def take(self, rows: NDArray[np.intp] | Flags) -> Faces:
        """Some of the faces, by number or by mask."""
        return Faces(self.ellipses[rows], self.points[rows], self.ignored[rows], self.known_rotations[rows])

    def ignoring(self, ignored: ArrayLike) -> Faces:
        """The same faces, more of them ignored."""
        return replace(self, ignored=self.ignored | np.asarray(ignored, dtype=np.bool_))

    def shifted(self, x: float, y: float) -> Faces:
        """Move the faces by whole px or parts of them."""
        return replace(self, ellipses=self.ellipses + np.array([x, y, 0, 0, 0]), points=self.points + np.array([x, y]))

    def moved(self, matrix: Floats) -> Faces:
        """Move the faces with their image.

        Parameters
        ----------
        matrix : ndarray (2, 3)
            A similarity, with or without a horizontal flip.
        """
        linear, offset = matrix[:, :2], matrix[:, 2]
        (a, b), (c, d) = linear.tolist()
        determinant = a * d - b * c
        scale = abs(determinant) ** 0.5
        roll = self.ellipses[:, 4]
        down = np.stack([-np.sin(roll), np.cos(roll)], axis=1) @ linear.T
        ellipses = np.concatenate(
            [
                self.ellipses[:, :2] @ linear.T + offset,
                scale * self.ellipses[:, 2:4],
                np.arctan2(-down[:, 0], down[:, 1])[:, None],
            ],
            axis=1,
        )
        points = self.points @ linear.T + offset
        # the view has y up; a flipped head is the mirror image of its own
        turn = np.diag([1.0, -1.0]) @ linear @ np.diag([1.0, -1.0]) / scale
        rotations = self.known_rotations.copy()
        rotations[:, :2] = turn @ rotations[:, :2]
        if determinant < 0:
            points = points[:, _FLIPPED]
            rotations[:, :, 0] *= -1
        return Faces(ellipses, points, self.ignored, rotations)

    @staticmethod
    def none() -> Faces:
        """No faces."""
        return Faces(np.empty((0, 5)), np.empty((0, POINTS, 2)), np.empty(0, np.bool_))

    @staticmethod
    def joined(*parts: Faces) -> Faces:
        """The faces of several parts, one after the other."""
        return Faces(
            np.concatenate([part.ellipses for part in parts]),
            np.concatenate([part.points for part in parts]),
            np.concatenate([part.ignored for part in parts]),
            np.concatenate([part.known_rotations for part in parts]),
        )

    @staticmethod
    def of_boxes(xyxy: ArrayLike, points: ArrayLike | None = None, ignored: ArrayLike | None = None) -> Faces:
        """Faces of upright boxes (n, 4) px, and of their points (n, 5, 2) px where they are known."""
        boxes = np.reshape(np.asarray(xyxy, dtype=np.float64), (-1, 4))
        n = len(boxes)
        known = np.full((n, POINTS, 2), np.nan) if points is None else np.reshape(points, (-1, POINTS, 2))
        roll = np.nan_to_num(roll_of_points(known))
        size = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
        area = np.sqrt(size.prod(axis=1))
        shape = np.stack([area * np.sqrt(_ASPECT), area / np.sqrt(_ASPECT)], axis=1)
        size = np.where((np.abs(roll) > _MAX_BOX_ROLL)[:, None], shape, size)
        ellipses = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, size, roll[:, None]], axis=1)
        return Faces(ellipses, known, np.zeros(n, np.bool_) if ignored is None else np.asarray(ignored))

    @staticmethod
    def of_landmarks(landmarks: ArrayLike) -> Faces:
        """Faces of 68 landmarks (n, 68, 2), px: ellipses around them and the lower forehead, at their roll."""
        points = np.asarray(landmarks, dtype=np.float64)
        return Faces(ellipses_of_landmarks(points), points_of_landmarks(points), np.zeros(len(points), np.bool_))
