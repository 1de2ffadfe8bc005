"""The box of a face that follows from its six degrees of freedom, as img2pose makes it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa.geometry.six_dof import SixDof

# |rz|, rad, from which a head lies on its side, or stands on it.
_ON_ITS_SIDE, _UPSIDE_DOWN = 1.0, 2.5


def projected_box(
    pose: SixDof,
    points: ArrayLike,
    image_size: tuple[int, int],
    *,
    bbox_x_factor: float = 1.1,
    bbox_y_factor: float = 1.1,
    expand_forehead: float = 0.3,
) -> NDArray[np.float32]:
    """Box around a face's landmarks, made larger, and once more where the forehead is.

    The 68 landmarks end at the brows. So the box grows by a share of its height or width on one side: the top, or
    another one where the head is tilted far, by the third number of the rotation vector (Albiero et al., img2pose,
    CVPR 2021, and its code).

    That number, rz, is of img2pose's frames: the camera's is OpenCV's, as ours is; the head's has y down and z into the
    face, so a head that looks into the camera has the rotation vector 0. `SixDof.img2pose_vector` gives it, and rz > 0
    tilts clockwise in the picture, so that the forehead comes to lie on the right.

    Parameters
    ----------
    pose : SixDof
        Where the head is.
    points : array_like (68, 3)
        Its landmarks in the face model's frame and unit (`Face.model_landmarks`).
    image_size : tuple of int
        Height and width of the picture, px: the box is cut there.
    bbox_x_factor, bbox_y_factor : float
        How many times wider and higher than the landmarks' box it is.
    expand_forehead : float
        How much it grows towards the forehead, a share of the landmarks' height, or of their width.

    Returns
    -------
    ndarray (4,) float32
        x1, y1, x2, y2, px, between 0 and width, 0 and height; img2pose cuts them to whole numbers.

    Raises
    ------
    ValueError
        If no point lies before the camera.
    """
    drawn = pose.project(points)
    drawn = drawn[np.isfinite(drawn).all(axis=1)].astype(np.float64)
    if not len(drawn):
        raise ValueError("points: expected some before the camera, got none")
    low, high = drawn.min(axis=0), drawn.max(axis=0)
    extent, middle = high - low, (low + high) / 2
    half = extent * (bbox_x_factor, bbox_y_factor) / 2
    (left, top), (right, bottom) = middle - half, middle + half
    width, height = extent * expand_forehead
    tilt = float(pose.img2pose_vector[2])
    if abs(tilt) > _UPSIDE_DOWN:
        bottom += height
    elif tilt > _ON_ITS_SIDE:
        right += width
    elif tilt < -_ON_ITS_SIDE:
        left -= width
    else:
        top -= height
    rows, columns = image_size
    return np.clip([left, top, right, bottom], 0, [columns, rows, columns, rows]).astype(np.float32)
