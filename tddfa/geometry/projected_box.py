"""Box of a face from its six degrees of freedom, as in img2pose."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa.geometry.six_dof import SixDof

# |rz|, rad, above which a head is on its side, or upside down.
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
    """Box around the landmarks of a face, enlarged, and extended over the forehead.

    The 68 landmarks end at the brows. So the box grows by a fraction of its height or width on one side: at the top, or
    for a tilted head at another side, which rz selects (Albiero et al., img2pose, CVPR 2021, and its code).

    rz is the third number of `SixDof.img2pose_vector`. rz > 0 tilts clockwise in the image, so that the forehead is on
    the right.

    Parameters
    ----------
    pose : SixDof
        Pose of the head.
    points : array_like (68, 3)
        Landmarks in the face model's frame and unit (`Face.model_landmarks`).
    image_size : tuple of int
        Height and width of the image, px: the box is clipped to it.
    bbox_x_factor, bbox_y_factor : float
        Factors of width and height, relative to the landmarks' box.
    expand_forehead : float
        Growth towards the forehead, a fraction of the landmarks' height or width.

    Returns
    -------
    ndarray (4,) float32
        x1, y1, x2, y2, px, between 0 and width, 0 and height; img2pose truncates them to whole numbers.

    Raises
    ------
    ValueError
        If no point is in front of the camera.

    Examples
    --------
    >>> from tddfa.geometry.projected_box import projected_box
    >>> projected_box(face.six_dof(), face.model_landmarks, face.image_size).shape
    (4,)
    """
    drawn = pose.project(points)
    drawn = drawn[np.isfinite(drawn).all(axis=1)].astype(np.float64)
    if not len(drawn):
        raise ValueError("points: expected at least one in front of the camera, got none")
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
