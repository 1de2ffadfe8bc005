"""The result of a detector: boxes, scores and, where the detector has them, five points and a rotation per face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

POINTS = ("right_eye", "left_eye", "nose_tip", "right_mouth_corner", "left_mouth_corner")
"""Names of the five points in order. Right and left are the face's own: of an upright face that looks into the camera,
the first eye and the first mouth corner are at the left of the image."""

# Field that not every detector has -> its shape for one face.
_OPTIONAL: dict[str, tuple[int, ...]] = {"points": (5, 2), "rotations": (3, 3), "translations": (3,)}


@dataclass(frozen=True, eq=False)
class Detections:
    """The faces of an image, best first.

    Attributes
    ----------
    xyxy : ndarray (n, 4) float32
        x1, y1, x2, y2 in image px; a box may extend beyond the image.
    scores : ndarray (n,) float32
        Face probability, 0..1.
    points : ndarray (n, 5, 2) float32 or None
        x and y in image px of `POINTS`: the face's right eye, left eye, nose tip, right mouth corner and left mouth
        corner. Right and left are the face's own, so an upright face has its right eye at the left of the image. None
        if the detector predicts no points.
    rotations : ndarray (n, 3, 3) float32 or None
        Rotation of each head, from its own frame (x to the subject's left, y up, z out of the face) to the view (x
        right, y up, z towards the viewer). None if the detector predicts none.
    translations : ndarray (n, 3) float32 or None
        Position of each head in the frame of a perspective camera: x right, y down, z away from it. None if they were
        not requested.

    Raises
    ------
    ValueError
        If an array has the wrong shape.

    Examples
    --------
    >>> faces = Detections([[10, 20, 50, 70], [80, 20, 120, 70]], [0.9, 0.6])
    >>> len(faces), faces.points is None
    (2, True)
    >>> faces[faces.scores > 0.8].xyxy.tolist()
    [[10.0, 20.0, 50.0, 70.0]]
    """

    xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    points: NDArray[np.float32] | None = None
    rotations: NDArray[np.float32] | None = None
    translations: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Check the shapes of the arrays."""
        xyxy = np.ascontiguousarray(self.xyxy, dtype=np.float32)
        scores = np.ascontiguousarray(self.scores, dtype=np.float32)
        if xyxy.shape == (0,):  # [] is a list of no boxes
            xyxy = xyxy.reshape(0, 4)
        if xyxy.ndim != 2 or xyxy.shape[1] != 4:
            raise ValueError(f"Detections.xyxy: expected shape (n, 4), got {xyxy.shape}")
        if scores.shape != (len(xyxy),):
            raise ValueError(f"Detections.scores: expected shape ({len(xyxy)},), got {scores.shape}")
        object.__setattr__(self, "xyxy", xyxy)
        object.__setattr__(self, "scores", scores)
        for name, shape in _OPTIONAL.items():
            value = getattr(self, name)
            if value is not None:
                array = np.ascontiguousarray(value, dtype=np.float32)
                if array.shape == (0,):
                    array = array.reshape(0, *shape)
                if array.shape != (len(xyxy), *shape):
                    raise ValueError(f"Detections.{name}: expected shape {(len(xyxy), *shape)}, got {array.shape}")
                object.__setattr__(self, name, array)

    def __len__(self) -> int:
        """Return the number of faces."""
        return len(self.scores)

    def __getitem__(self, rows: ArrayLike | slice) -> Detections:
        """Select faces.

        Parameters
        ----------
        rows : array_like (k,) int, array_like (n,) bool or slice
            Indices in the wanted order, or a mask.

        Returns
        -------
        Detections
            k faces.

        Raises
        ------
        ValueError, IndexError
            If `rows` has the wrong shape, or an index is out of range.
        """
        if not isinstance(rows, slice):
            rows = np.atleast_1d(rows)
            rows = rows if rows.size else rows.astype(np.intp)  # [] is an array of floats
            if rows.ndim != 1:
                raise ValueError(f"rows: expected shape (k,), got {rows.shape}")
        elif rows.step not in (None, 1):
            rows = np.arange(len(self))[rows]  # so that the arrays are contiguous
        return _unchecked({name: None if value is None else value[rows] for name, value in vars(self).items()})

    def finite(self) -> Detections:
        """Leave out the faces with a number that is NaN or infinite.

        Examples
        --------
        >>> len(Detections([[10, 20, 50, 70], [0, 0, np.inf, 9]], [0.9, 0.8]).finite())
        1
        """
        good = np.isfinite(self.xyxy).all(axis=1) & np.isfinite(self.scores)
        for name in _OPTIONAL:
            value = getattr(self, name)
            if value is not None:
                good &= np.isfinite(value).all(axis=tuple(range(1, value.ndim)))
        return self if good.all() else self[good]

    @classmethod
    def concatenate(cls, parts: Sequence[Detections]) -> Detections:
        """Join the faces of several views of one image, in their order.

        Parameters
        ----------
        parts : sequence of Detections
            At least one. An optional array is kept only if all parts have it.

        Examples
        --------
        >>> one = Detections([[10, 20, 50, 70]], [0.9])
        >>> len(Detections.concatenate([one, one]))
        2
        """
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        joined = (None if any(value is None for value in values) else np.concatenate(values) for values in columns)
        return _unchecked(dict(zip(vars(parts[0]), joined, strict=True)))


def _unchecked(arrays: dict[str, Any]) -> Detections:
    """Detections of arrays that were checked: a detector makes a dozen of them for an image."""
    made = object.__new__(Detections)
    vars(made).update(arrays)
    return made
