"""Functions of 3DDFA_V2's ``utils.pose`` that scripts import: angles of a camera."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Sine of the yaw beyond which 3DDFA_V2 takes 90 degrees.
_GIMBAL = 0.998


def P2sRt(P: ArrayLike) -> tuple[float, Floats, Floats]:
    """``utils.pose.P2sRt``: scale, rotation (3, 3) and offset (3,) of a camera matrix (3, 4).

    The first two rows are normalised, and the third is their cross product. It is no rotation if they are not
    orthogonal.

    Examples
    --------
    >>> scale, rotation, offset = P2sRt([[2, 0, 0, 5], [0, 2, 0, 6], [0, 0, 2, 7]])
    >>> scale, rotation.tolist(), offset.tolist()
    (2.0, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [5.0, 6.0, 7.0])
    """
    matrix = np.asarray(P, dtype=np.float64).reshape(3, 4)
    lengths = np.linalg.norm(matrix[:2, :3], axis=1)
    rotation = np.empty((3, 3))
    rotation[:2] = matrix[:2, :3] / lengths[:, None]
    rotation[2] = np.cross(rotation[0], rotation[1])
    return float(lengths.mean()), rotation, matrix[:, 3]


def matrix2angle(R: ArrayLike) -> tuple[float, float, float]:
    """``utils.pose.matrix2angle``: yaw, pitch and roll of a rotation (3, 3), radians.

    Beyond 86.4 degrees, yaw is 90 degrees and roll 0.

    Examples
    --------
    >>> matrix2angle([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    (0.0, 0.0, 0.0)
    """
    rows = np.asarray(R, dtype=np.float64)
    sine = rows[2, 0]
    if abs(sine) > _GIMBAL:
        side = np.sign(sine)
        return float(side * np.pi / 2), float(np.arctan2(-side * rows[0, 1], -side * rows[0, 2])), 0.0
    yaw = np.arcsin(sine)
    cosine = np.cos(yaw)
    pitch = np.arctan2(rows[2, 1] / cosine, rows[2, 2] / cosine)
    roll = np.arctan2(rows[1, 0] / cosine, rows[0, 0] / cosine)
    return float(yaw), float(pitch), float(roll)


def calc_pose(param: ArrayLike) -> tuple[Floats, list[float]]:
    """Head pose as 3DDFA_V2 prints it. `tddfa.geometry` has a more stable one.

    The first two rows of the camera are normalised and the third is their cross product; it is no rotation if they are
    not orthogonal. Beyond 86.4 degrees, yaw is 90 degrees and roll 0.

    Parameters
    ----------
    param : array_like (62,)
        Or its first 12 numbers.

    Returns
    -------
    camera : ndarray (3, 4)
        The normalised rows, and the offset.
    pose : list of float
        Yaw, pitch, roll in degrees.

    Examples
    --------
    >>> _, (yaw, pitch, roll) = calc_pose([0.5, 0, 0, 60, 0, 0.5, 0, 60, 0, 0, 0.5, 0])
    >>> float(yaw), float(pitch), float(roll)
    (0.0, 0.0, 0.0)
    """
    _, rotation, offset = P2sRt(np.asarray(param, dtype=np.float64).reshape(-1)[:12])
    return np.column_stack([rotation, offset]), [float(angle) for angle in np.degrees(matrix2angle(rotation))]
