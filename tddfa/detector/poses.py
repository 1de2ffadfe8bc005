"""Poses of heads from a detector alone: the mean face, placed by the box and the rotation of each detected head.

img2pose (Albiero et al., CVPR 2021) has shown that heads can be posed without landmarks, down to the smallest faces of
a crowd. Here the detector predicts a rotation per box, and all else follows from the box: its size gives the scale, its
centre the position.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from FaceBoxes import Detections
from tddfa._shared.arrays import checked
from tddfa.crop import roll_of_points
from tddfa.geometry.intrinsics import Intrinsics
from tddfa.geometry.rotation import VIEW_TO_CAMERA, VIEW_TO_IMAGE, rotations_to_rays
from tddfa.landmarks68 import EYES, MOUTH_CORNERS, NOSE_TIP
from tddfa.model.face_model import FaceModel

Floats = NDArray[np.float64]

BOX_OF_LANDMARKS = (1.03, 1.15)
"""Width and height of a face's box relative to the box of its 68 landmarks: a little more than these, so that it begins
at the lower forehead. So are the labelled boxes of the face-mask photos (medians of 264 faces, first 35 % of the photos
by name; standard deviation 0.05 to 0.1), and the boxes of detectors that are trained here."""

# The 68 landmarks whose means are the five points.
_RIGHT_EYE, _LEFT_EYE = (range(EYES.start, EYES.start + 6), range(EYES.start + 6, EYES.stop))
_OF_LANDMARKS = (_RIGHT_EYE, _LEFT_EYE, (NOSE_TIP,), *((corner,) for corner in MOUTH_CORNERS))


def points_of_landmarks(landmarks: ArrayLike) -> Floats:
    """Compute the five points (..., 5, 2) of 68 landmarks (..., 68, 2), in the order of `FaceBoxes.detections.POINTS`.

    Examples
    --------
    >>> points_of_landmarks(face.landmarks[:, :2]).shape
    (5, 2)
    """
    points = np.asarray(landmarks, dtype=np.float64)
    return np.stack([points[..., list(rows), :].mean(axis=-2) for rows in _OF_LANDMARKS], axis=-2)


def ellipses_of_landmarks(landmarks: ArrayLike) -> Floats:
    """Compute an ellipse around each face from its landmarks. Its axes are those of the face.

    Parameters
    ----------
    landmarks : array_like (..., 68, 2)
        px.

    Returns
    -------
    ndarray (..., 5) float64
        Centre x and y, width and height in the frame of the face (`BOX_OF_LANDMARKS`), px; roll in radians, clockwise
        in the image.

    Examples
    --------
    >>> x, y, width, height, roll = ellipses_of_landmarks(face.landmarks[:, :2])
    >>> bool(abs(roll) < 0.1 and 0.8 < width / height < 1)
    True
    """
    points = np.asarray(landmarks, dtype=np.float64)
    roll = roll_of_points(points_of_landmarks(points))
    cosine, sine = np.cos(roll), np.sin(roll)
    turn = np.stack([np.stack([cosine, -sine], axis=-1), np.stack([sine, cosine], axis=-1)], axis=-2)
    upright = points @ turn
    low, high = upright.min(axis=-2), upright.max(axis=-2)
    centre = (turn @ ((low + high) / 2)[..., None])[..., 0]
    return np.concatenate([centre, BOX_OF_LANDMARKS * (high - low), roll[..., None]], axis=-1)


def boxes_of_ellipses(ellipses: Floats) -> Floats:
    """Boxes (..., 4) around ellipses (..., 5) of `ellipses_of_landmarks`: x1, y1, x2, y2 in px."""
    x, y, width, height, roll = np.moveaxis(ellipses, -1, 0)
    cosine, sine = np.cos(roll) / 2, np.sin(roll) / 2
    half = np.stack([np.hypot(width * cosine, height * sine), np.hypot(width * sine, height * cosine)], axis=-1)
    centre = np.stack([x, y], axis=-1)
    return np.concatenate([centre - half, centre + half], axis=-1)


@dataclass(frozen=True, eq=False)
class HeadPoses:
    """Computes the poses of all detected heads at once; the time hardly depends on their number.

    Parameters
    ----------
    landmarks : array_like (68, 3)
        Landmarks of the mean face, in the face model's frame and unit.

    Examples
    --------
    >>> from tddfa.detector import Detections
    >>> from tddfa.detector.poses import HeadPoses
    >>> poses = HeadPoses.of_model(aligner.face_model)
    >>> found = Detections([[100, 100, 200, 210]], [0.9], rotations=np.eye(3)[None])
    >>> poses.cameras(found).shape
    (1, 3, 4)
    """

    landmarks: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Check the landmarks."""
        object.__setattr__(self, "landmarks", checked("landmarks", self.landmarks, (68, 3), np.float64))

    @classmethod
    def of_model(cls, model: FaceModel) -> HeadPoses:
        """Poses for the mean face of a face model."""
        counts = model.shape_count, model.expression_count
        mean = model.landmarks(*(np.zeros(count, np.float32) for count in counts))
        return cls(mean.astype(np.float64))

    def cameras(self, found: Detections) -> Floats:
        """Compute the cameras (n, 3, 4) that place the mean face in the detected boxes; see `tddfa.Camera`.

        Raises
        ------
        ValueError
            If the detector predicts no rotations.
        """
        if found.rotations is None:
            raise ValueError("found: expected detections with rotations, got none: this detector predicts no poses")
        linear = VIEW_TO_IMAGE @ found.rotations.astype(np.float64)
        around = boxes_of_ellipses(ellipses_of_landmarks((self.landmarks @ linear.transpose(0, 2, 1))[..., :2]))
        boxes = found.xyxy.astype(np.float64)
        size, unit = boxes[:, 2:] - boxes[:, :2], around[:, 2:] - around[:, :2]
        scale = np.sqrt(size.clip(min=0).prod(axis=1) / unit.prod(axis=1))
        moved = (boxes[:, :2] + boxes[:, 2:]) / 2 - scale[:, None] * (around[:, :2] + around[:, 2:]) / 2
        offset = np.column_stack([moved, np.zeros(len(moved))])
        return np.concatenate([scale[:, None, None] * linear, offset[..., None]], axis=2)

    def translations(self, found: Detections, intrinsics: Intrinsics) -> Floats:
        """Positions (n, 3) of the heads in the frame of a perspective camera, in the face model's unit.

        The frame is that of `tddfa.SixDof`. The scale of the view is taken as that at the depth of the landmarks'
        centre. `tddfa.geometry.six_dof.from_weak_perspective`, which solves for the pose head by head, differs by less
        than the error of a detected box.

        Raises
        ------
        ValueError
            If the detector predicts no rotations.
        """
        cameras = self.cameras(found)
        if not len(cameras):
            return np.zeros((0, 3))
        middle = self.landmarks.mean(axis=0)
        seen = cameras[:, :2, :3] @ middle + cameras[:, :2, 3]
        straight = cv2.undistortPoints(seen[:, None], intrinsics.matrix, intrinsics.distortion)[:, 0]
        rays = np.column_stack([straight, np.ones(len(straight))])
        scale = np.linalg.norm(cameras[:, 0, :3], axis=1)
        place = rays * (intrinsics.focal / scale)[:, None]
        assert found.rotations is not None
        turned = rotations_to_rays(rays) @ VIEW_TO_CAMERA @ found.rotations.astype(np.float64)
        return place - turned @ middle
