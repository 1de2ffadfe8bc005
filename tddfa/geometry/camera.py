"""All frames of reference on one page: crop, image, view and model; rotations and angles.

Frames
------
**Image** (px): x right, y down, pixel centres at whole numbers, so the image covers -0.5 .. width - 0.5.
z is in px too, larger is nearer to the viewer. One view does not define the depth z = 0, and no face is shifted.

**Crop** (px): the same frame, in the square crop that the regressor sees. `Roi` relates it to the image: pixel u of a
crop of n pixels is at ``left + (u + 0.5) * side / n`` in the image, where `left` is the left *edge* of the Roi. A Roi
with an angle is rotated about its centre, clockwise in the image, so that a head with this roll is upright in the crop.

**Model** (the face model's unit, cm for the open model): x to the subject's left, y up, z out of the face.

**View**: x right, y up, z towards the viewer. It is the image frame with y inverted, so it is right-handed as the model
frame is. A head that looks straight into the camera has the identity as its rotation.

**OpenCV's camera** (the face model's unit): x right, y down, z away from a perspective camera, with the origin in the
lens. Only `tddfa.geometry.six_dof` uses it.

A `Camera` maps model to image by a 3x4 matrix: ``image = matrix[:, :3] @ model + matrix[:, 3]`` (weak perspective).
The inverted y makes the determinant of its left part negative: ``matrix[:, :3] = scale * diag(1, -1, 1) @ rotation``.

Angles
------
In degrees. Yaw and pitch are the direction in which the face looks; roll is the tilt about that direction:

- yaw > 0: the head turns to the subject's left, which is the right of the image;
- pitch > 0: it looks up;
- roll > 0: it tilts to the subject's left shoulder, clockwise in the image.

``rotation = Ry(yaw) @ Rx(-pitch) @ Rz(-roll)`` with right-handed elementary rotations of the view frame. Yaw and roll
are unique except where the face looks straight up or down (pitch = +-90); a profile (yaw = +-90) is an ordinary pose.
At pitch = +-90 only a sum of yaw and roll is defined: roll is then 0, and yaw is the sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import inf
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared.arrays import checked
from tddfa.geometry.rotation import VIEW_TO_IMAGE, Euler, euler_from_rotation, rotation_from_euler


@dataclass(frozen=True, eq=False)
class Camera:
    """Weak-perspective camera: model to image px.

    Attributes
    ----------
    matrix : ndarray (3, 4) float32
        ``image = matrix[:, :3] @ model + matrix[:, 3]``, in px.

    Examples
    --------
    >>> from tddfa import Camera
    >>> camera = Camera.from_pose(yaw=20, pitch=0, roll=0, scale=10, translation=(320, 240, 0))
    >>> round(camera.euler_degrees().yaw, 3), round(camera.scale, 3)
    (20.0, 10.0)
    """

    matrix: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check the array."""
        object.__setattr__(self, "matrix", checked("Camera.matrix", self.matrix, (3, 4)))

    @classmethod
    def from_pose(
        cls,
        yaw: float,
        pitch: float,
        roll: float,
        scale: float = 1.0,
        translation: ArrayLike = (0.0, 0.0, 0.0),
    ) -> Camera:
        """Camera that shows a head at these angles.

        Parameters
        ----------
        yaw, pitch, roll : float
            Degrees.
        scale : float
            px per model unit, more than 0.
        translation : array_like (3,)
            Position of the model's origin in the image, px.

        Raises
        ------
        TypeError, ValueError
            If `scale` is not a number over 0, or if a number is not finite.
        """
        if not isinstance(scale, Real):
            raise TypeError(f"scale: expected a number, got {scale!r}")
        if not 0 < scale < inf:
            raise ValueError(f"scale: expected a number over 0, got {scale}")
        linear = scale * VIEW_TO_IMAGE @ rotation_from_euler(yaw, pitch, roll)
        return cls(np.column_stack([linear, np.asarray(translation, dtype=np.float64)]))

    @cached_property
    def _polar(self) -> tuple[NDArray[np.float64], float]:
        (rotation,), (scale,) = nearest_rotations(self.matrix[None, :, :3].astype(np.float64))
        rotation.setflags(write=False)  # it is kept
        return rotation, float(scale)

    @property
    def rotation(self) -> NDArray[np.float64]:
        """The rotation (3, 3) nearest to the matrix, model to view; determinant +1."""
        return self._polar[0]

    @property
    def scale(self) -> float:
        """Size of a model unit in the image, px."""
        return self._polar[1]

    def euler_degrees(self) -> Euler:
        """Yaw, pitch, roll in degrees; signs and order are in the docstring of `tddfa.geometry.camera`."""
        return euler_from_rotation(self.rotation)

    def project(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map points (..., 3) from the model frame to image px.

        Examples
        --------
        >>> import numpy as np
        >>> from tddfa import Camera
        >>> camera = Camera.from_pose(0, 0, 0, scale=2, translation=(50, 60, 0))
        >>> camera.project(np.array([1, 1, 0], np.float32)).tolist()
        [52.0, 58.0, 0.0]
        """
        projected: NDArray[np.float32] = points @ self.matrix[:, :3].T
        projected += self.matrix[:, 3]
        return projected

    def unproject(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map points (..., 3) from image px back to the model frame: the inverse of `project`, in float64.

        Raises
        ------
        ValueError
            If the matrix cannot be inverted.

        Examples
        --------
        >>> from tddfa import Camera
        >>> Camera.from_pose(0, 0, 0, scale=2, translation=(50, 60, 0)).unproject([52, 58, 0]).round(6).tolist()
        [1.0, 1.0, 0.0]
        """
        matrix = self.matrix.astype(np.float64)
        shifted = np.asarray(points, dtype=np.float64) - matrix[:, 3]
        try:
            return np.asarray(shifted @ np.linalg.inv(matrix[:, :3]).T)
        except np.linalg.LinAlgError as error:
            raise ValueError("Camera.matrix: expected a matrix that can be inverted, got a singular one") from error


def nearest_rotations(linear: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotations (n, 3, 3) model to view and scales (n,) nearest to the left parts (n, 3, 3) of cameras' matrices.

    Nearest by least squares: the regressor's matrix is near a similarity, not one.
    """
    u, singular, vt = np.linalg.svd(VIEW_TO_IMAGE @ linear)
    mirrored = np.flatnonzero(np.linalg.det(u @ vt) < 0)
    u[mirrored, :, 2] *= -1
    singular[mirrored, 2] *= -1
    return u @ vt, singular.mean(axis=1)
