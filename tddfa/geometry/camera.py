"""Every frame of reference in one place: crop, image, view and model; rotations and angles.

Frames
------
**Image** (px): x right, y down, pixel centres at whole numbers, so the picture covers -0.5 .. width - 0.5.
z is in px too, larger is nearer to the viewer; where z = 0 lies is not defined by one view, and no face is shifted.

**Crop** (px): the same, in the square picture that the regressor sees. `Roi` ties it to the image: pixel u of a
crop of n pixels lies at ``left + (u + 0.5) * side / n`` in the image, where `left` is the left *edge* of the Roi.

**Model** (the face model's own unit, cm for the open model): x to the subject's left, y up, z out of the face.

**View**: x right, y up, z towards the viewer. It is the image with y turned over, so it is right-handed as the model
is, and a head that looks straight into the camera has the identity as its rotation.

**OpenCV's camera** (the face model's unit): x right, y down, z away from a real, perspective camera, the origin in its
lens. Only `tddfa.geometry.six_dof` speaks of it: `Camera.six_dof`.

A `Camera` maps model to image by a 3x4 matrix: ``image = matrix[:, :3] @ model + matrix[:, 3]`` (weak perspective).
The turned y makes the determinant of its left part negative: ``matrix[:, :3] = scale * diag(1, -1, 1) @ rotation``.

Angles
------
Degrees. They say where the face looks, as azimuth and elevation, and how it is tilted about that direction:

- yaw > 0: the head turns to the subject's left, which is the right of the picture;
- pitch > 0: it looks up;
- roll > 0: it tilts to the subject's left shoulder, clockwise in the picture.

``rotation = Ry(yaw) @ Rx(-pitch) @ Rz(-roll)`` with right-handed elementary rotations of the view frame. Yaw and roll
are unique but where the face looks straight up or down (pitch = +-90); a profile (yaw = +-90) is an ordinary pose.
At pitch = +-90 only a sum of yaw and roll is defined; roll is then 0 and yaw takes it all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared.arrays import checked

if TYPE_CHECKING:
    from tddfa.geometry.intrinsics import Intrinsics
    from tddfa.geometry.six_dof import SixDof

_FLIP = np.diag([1.0, -1.0, 1.0])
# cos(pitch) under which yaw and roll are one angle: float32 matrices cannot tell them apart below it
_GIMBAL = 1e-5


class Euler(NamedTuple):
    """Head pose in degrees; the signs are in the docstring of `tddfa.geometry.camera`."""

    yaw: float
    pitch: float
    roll: float


def rotation_from_euler(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Rotation (3, 3) from the model's frame to the view's, of angles in degrees."""
    (cy, cp, cr), (sy, sp, sr) = (
        np.cos(np.radians([yaw, pitch, roll])),
        np.sin(np.radians([yaw, pitch, roll])),
    )
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return np.asarray(about_y @ about_x @ about_z)


def euler_from_rotation(rotation: ArrayLike) -> Euler:
    """Angles in degrees of a rotation (3, 3) from the model's frame to the view's.

    Yaw and roll are in -180..180, pitch in -90..90.
    """
    r = np.asarray(rotation, dtype=np.float64)
    pitch = np.arctan2(r[1, 2], np.hypot(r[1, 0], r[1, 1]))
    if np.hypot(r[1, 0], r[1, 1]) < _GIMBAL:
        yaw, roll = np.arctan2(-r[2, 0], r[0, 0]), 0.0
    else:
        yaw, roll = np.arctan2(r[0, 2], r[2, 2]), np.arctan2(-r[1, 0], r[1, 1])
    return Euler(*(float(angle) for angle in np.degrees([yaw, pitch, roll])))


@dataclass(frozen=True, eq=False)
class Camera:
    """Weak-perspective camera: model to image px.

    Attributes
    ----------
    matrix : ndarray (3, 4) float32
        ``image = matrix[:, :3] @ model + matrix[:, 3]``, in px.
    image_size : tuple of int or None
        Height and width of the picture, px, where they are known.
    points : ndarray (n, 3) float32 or None
        Points of the face before it, in the model's frame and unit, where they are known: the aligner gives the 68
        landmarks. `six_dof` needs some.
    """

    matrix: NDArray[np.float32]
    image_size: tuple[int, int] | None = None
    points: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Check the arrays."""
        object.__setattr__(self, "matrix", checked("Camera.matrix", self.matrix, (3, 4)))
        if self.points is not None:
            object.__setattr__(self, "points", checked("Camera.points", self.points, (None, 3)))

    @classmethod
    def from_pose(
        cls,
        yaw: float,
        pitch: float,
        roll: float,
        scale: float = 1.0,
        translation: ArrayLike = (0.0, 0.0, 0.0),
    ) -> Camera:
        """Camera that sees a head at these angles (degrees).

        Parameters
        ----------
        yaw, pitch, roll : float
            Degrees.
        scale : float
            px a model unit.
        translation : array_like (3,)
            Where the model's origin lies in the image, px.
        """
        linear = scale * _FLIP @ rotation_from_euler(yaw, pitch, roll)
        return cls(np.column_stack([linear, np.asarray(translation, dtype=np.float64)]))

    def _polar(self) -> tuple[NDArray[np.float64], float]:
        # The nearest rotation (least squares) and its scale: the regressor's matrix is near a similarity, not one.
        u, singular, vt = np.linalg.svd(_FLIP @ self.matrix[:, :3].astype(np.float64))
        if np.linalg.det(u @ vt) < 0:
            u[:, 2] = -u[:, 2]
            singular[2] = -singular[2]
        return u @ vt, float(singular.mean())

    @property
    def rotation(self) -> NDArray[np.float64]:
        """The rotation (3, 3) nearest to the matrix, model to view; determinant +1."""
        return self._polar()[0]

    @property
    def scale(self) -> float:
        """Size of a model unit in the image, px."""
        return self._polar()[1]

    def euler_degrees(self) -> Euler:
        """Yaw, pitch, roll in degrees; signs and order are in the docstring of `tddfa.geometry.camera`."""
        return euler_from_rotation(self.rotation)

    def project(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map points (..., 3) from the model's frame to image px."""
        projected: NDArray[np.float32] = points @ self.matrix[:, :3].T
        projected += self.matrix[:, 3]
        return projected

    def six_dof(self, intrinsics: Intrinsics | None = None, points: ArrayLike | None = None) -> SixDof:
        """Where the head is before a perspective camera, and how it is turned.

        Parameters
        ----------
        intrinsics : Intrinsics, optional
            The camera. None takes what img2pose does for a picture of `image_size`: f = width + height.
        points : array_like (n, 3), optional
            The head's surface in the model's frame and unit; the dense one tells most (`Aligner.six_dof` gives it).
            None takes the camera's own `points`.

        Returns
        -------
        SixDof
            Rotation, translation in the model's unit, reprojection error; how it is solved is in
            `tddfa.geometry.six_dof.from_weak_perspective`.

        Raises
        ------
        ValueError
            If nothing is said of the picture's size, or of the points, or if no pose in front of the camera fits.
        """
        from tddfa.geometry.intrinsics import Intrinsics
        from tddfa.geometry.six_dof import from_weak_perspective

        if intrinsics is None:
            if self.image_size is None:
                raise ValueError("intrinsics: expected some, for the size of this camera's picture is not known")
            intrinsics = Intrinsics.assumed(self.image_size)
        if points is None:
            points = self.points
        if points is None:
            raise ValueError("points: expected some, for this camera knows none")
        return from_weak_perspective(self.matrix, points, intrinsics)
