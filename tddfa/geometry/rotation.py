"""Rotations as matrices, angles, quaternions and vectors. Frames and signs are in `tddfa.geometry.camera`."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

VIEW_TO_IMAGE = np.diag([1.0, -1.0, 1.0])
"""View frame (x right, y up, z to the viewer) to the image frame (y down). It is a reflection, not a rotation."""

VIEW_TO_CAMERA = np.diag([1.0, -1.0, -1.0])
"""View frame to OpenCV's camera frame (x right, y down, z away from the camera)."""

for _matrix in (VIEW_TO_IMAGE, VIEW_TO_CAMERA):
    _matrix.setflags(write=False)

# Below this cos(pitch), yaw and roll are one angle: float32 matrices cannot separate them.
_GIMBAL = 1e-5


class Euler(NamedTuple):
    """Head pose in degrees; the signs are in `tddfa.geometry.camera`.

    Examples
    --------
    >>> from tddfa import Euler
    >>> Euler(yaw=20, pitch=0, roll=-5).yaw
    20
    """

    yaw: float
    pitch: float
    roll: float


def rotation_from_euler(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Rotation (3, 3) from the model frame to the view frame, from angles in degrees.

    ``Ry(yaw) @ Rx(-pitch) @ Rz(-roll)``.

    Examples
    --------
    >>> from tddfa.geometry.rotation import rotation_from_euler
    >>> forward = rotation_from_euler(90, 0, 0) @ [0, 0, 1]  # a left profile looks to the right of the image
    >>> forward.round(6).tolist()
    [1.0, 0.0, 0.0]
    """
    (cy, cp, cr), (sy, sp, sr) = (
        np.cos(np.radians([yaw, pitch, roll])),
        np.sin(np.radians([yaw, pitch, roll])),
    )
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return np.asarray(about_y @ about_x @ about_z)


def euler_from_rotation(rotation: ArrayLike) -> Euler:
    """Angles in degrees of a rotation (3, 3) from the model frame to the view frame.

    Yaw and roll are in -180..180, pitch in -90..90. It is the inverse of `rotation_from_euler`.

    Examples
    --------
    >>> from tddfa.geometry.rotation import euler_from_rotation, rotation_from_euler
    >>> euler = euler_from_rotation(rotation_from_euler(20, 5, -10))
    >>> [round(angle, 6) for angle in euler]
    [20.0, 5.0, -10.0]
    """
    # as numbers of Python: NumPy's functions of single numbers take five times as long
    first, second, third = np.asarray(rotation, dtype=np.float64).tolist()
    level = math.hypot(second[0], second[1])
    pitch = math.atan2(second[2], level)
    if level < _GIMBAL:
        yaw, roll = math.atan2(-third[0], first[0]), 0.0
    else:
        yaw, roll = math.atan2(first[2], third[2]), math.atan2(-second[0], second[1])
    return Euler(math.degrees(yaw), math.degrees(pitch), math.degrees(roll))


def vector_from_rotation(rotation: ArrayLike) -> NDArray[np.float64]:
    """Rotation vector (3,), axis times angle in rad, of a rotation (3, 3).

    Examples
    --------
    >>> import numpy as np
    >>> from tddfa.geometry.rotation import vector_from_rotation
    >>> vector_from_rotation([[0, -1, 0], [1, 0, 0], [0, 0, 1]]).round(4).tolist()
    [0.0, 0.0, 1.5708]
    """
    return np.asarray(cv2.Rodrigues(np.asarray(rotation, dtype=np.float64))[0], dtype=np.float64).reshape(3)


def rotation_from_vector(vector: ArrayLike) -> NDArray[np.float64]:
    """Rotation (3, 3) of a rotation vector (3,), axis times angle in rad.

    Examples
    --------
    >>> import numpy as np
    >>> from tddfa.geometry.rotation import rotation_from_vector
    >>> (rotation_from_vector([0, 0, np.pi / 2]) @ [1, 0, 0]).round(6).tolist()
    [0.0, 1.0, 0.0]
    """
    return np.asarray(cv2.Rodrigues(np.asarray(vector, dtype=np.float64))[0], dtype=np.float64)


def quaternion_from_rotation(rotation: ArrayLike) -> NDArray[np.float64]:
    """Unit quaternion (4,) w, x, y, z with w >= 0 of a rotation (3, 3).

    Examples
    --------
    >>> import numpy as np
    >>> from tddfa.geometry.rotation import quaternion_from_rotation
    >>> quaternion_from_rotation(np.eye(3)).tolist()
    [1.0, 0.0, 0.0, 0.0]
    """
    vector = vector_from_rotation(rotation)
    angle = float(np.linalg.norm(vector))
    # sin(a / 2) / a is 1/2 where the angle vanishes
    return np.concatenate([[max(np.cos(angle / 2), 0.0)], np.sinc(angle / 2 / np.pi) / 2 * vector])


def rotations_to_rays(rays: ArrayLike) -> NDArray[np.float64]:
    """Return the smallest rotations that take the camera's axis z to rays, by Rodrigues' formula.

    Parameters
    ----------
    rays : array_like (n, 3)
        Directions before the camera (z > 0), of any length.

    Returns
    -------
    ndarray (n, 3, 3) float64
        Rotation matrices.

    Examples
    --------
    >>> import numpy as np
    >>> (rotations_to_rays([[3.0, 0, 4]]) @ [0, 0, 1]).round(6).tolist()
    [[0.6, 0.0, 0.8]]
    """
    directions = np.asarray(rays, dtype=np.float64)
    x, y, z = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).T
    zero = np.zeros_like(x)
    cross = np.stack([zero, zero, x, zero, zero, y, -x, -y, zero], axis=1).reshape(-1, 3, 3)
    return np.asarray(np.eye(3) + cross + cross @ cross / (1 + z)[:, None, None])
