"""Six degrees of freedom: where a head is, and how it is turned, before a real, perspective camera."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa.arrays import checked
from tddfa.camera import Euler, euler_from_rotation
from tddfa.intrinsics import Intrinsics

# View (x right, y up, z to the viewer) to the frame of OpenCV's camera (x right, y down, z away from the viewer).
_VIEW_TO_CAMERA = np.diag([1.0, -1.0, -1.0])
_FLIP = np.diag([1.0, -1.0, 1.0])
# Six numbers are solved for: more points add time, not certainty.
_MOST_POINTS = 1024
_ROUNDS, _STEPS = 30, 20
# px: corrections under this end the rounds
_CONVERGED = 1e-2


@dataclass(frozen=True, eq=False)
class SixDof:
    """Pose of a head before a perspective camera.

    The camera's frame is OpenCV's: x right, y down, z away from it, the origin in the lens:
    ``camera_point = rotation @ model_point + translation``.

    Attributes
    ----------
    rotation : ndarray (3, 3) float64
        From the face model's frame to the camera's; a head that looks into the camera has ``diag(1, -1, -1)``.
    translation : ndarray (3,) float64
        Where the face model's origin, the middle of the head, lies, in the model's unit (cm for the open model).
    intrinsics : Intrinsics
        The camera.
    error : float
        px: root mean square distance between the points seen and the model's points projected by this pose.
    """

    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    intrinsics: Intrinsics
    error: float

    @property
    def rotation_vector(self) -> NDArray[np.float64]:
        """The rotation (3,) as axis times angle, rad: OpenCV's and img2pose's rx, ry, rz."""
        return np.asarray(cv2.Rodrigues(self.rotation)[0], dtype=np.float64).reshape(3)

    @property
    def quaternion(self) -> NDArray[np.float64]:
        """The rotation (4,) as unit quaternion w, x, y, z with w >= 0."""
        vector = self.rotation_vector
        angle = float(np.linalg.norm(vector))
        # sin(a / 2) / a is 1/2 where the angle vanishes
        return np.concatenate([[np.cos(angle / 2)], np.sinc(angle / 2 / np.pi) / 2 * vector])

    @property
    def distance(self) -> float:
        """From the lens to the face model's origin, in the model's unit."""
        return float(np.linalg.norm(self.translation))

    def euler_degrees(self) -> Euler:
        """Yaw, pitch, roll by the axes of the camera, with the signs and the order of `tddfa.camera`.

        `Camera.euler_degrees` tells them by the line of sight instead: a head at the picture's edge that looks parallel
        to the camera's axis has yaw 0 here, and not there.
        """
        return euler_from_rotation(_VIEW_TO_CAMERA @ self.rotation)

    def project(self, points: ArrayLike) -> NDArray[np.float32]:
        """Map points (n, 3) of the face model to px (n, 2) of the picture; NaN for those behind the camera."""
        checked_points = checked("points", points, (None, 3), np.float64)
        if not len(checked_points):
            return np.zeros((0, 2), dtype=np.float32)
        projected = _project(checked_points, self.rotation, self.translation, self.intrinsics).astype(np.float32)
        projected[checked_points @ self.rotation[2] + self.translation[2] <= 0] = np.nan
        return projected


def from_image_points(points: ArrayLike, image_points: ArrayLike, intrinsics: Intrinsics) -> SixDof:
    """Pose of a head of which some points were found in a picture of a perspective camera.

    Parameters
    ----------
    points : array_like (n, 3)
        In the face model's frame and unit; six at least.
    image_points : array_like (n, 2)
        Where they are seen, px, with the lens's distortion.
    intrinsics : Intrinsics
        The camera.

    Raises
    ------
    ValueError
        If there are fewer than six points, or if no pose in front of the camera shows them so.
    """
    model = checked("points", points, (None, 3), np.float64)
    seen = checked("image_points", image_points, (len(model), 2), np.float64)
    if len(model) < 6:
        raise ValueError(f"points: expected 6 or more, got {len(model)}")
    done, vector, translation = cv2.solvePnP(
        model, seen, intrinsics.matrix, intrinsics.distortion, flags=cv2.SOLVEPNP_SQPNP
    )
    if not done:
        raise ValueError("image_points: no pose before the camera shows the points so")
    return _solved(model, seen, intrinsics, *_refined(model, seen, intrinsics, vector, translation))


def from_weak_perspective(matrix: ArrayLike, points: ArrayLike, intrinsics: Intrinsics) -> SixDof:
    """Pose before a perspective camera of a head that a weak-perspective camera describes.

    A regressor says how the head looks as if from far away: of all weak-perspective views, the one nearest to what the
    lens drew. Near the lens, or away from the picture's middle, such a view is turned and scaled otherwise than the
    head is. So the pose is sought whose own nearest weak-perspective view is the one given; PnP on the points alone would
    be off by degrees, and by per cents of the distance, at arm's length.

    Parameters
    ----------
    matrix : array_like (3, 4)
        Face model to image px (`Camera.matrix`).
    points : array_like (n, 3)
        The head's surface in the face model's frame and unit; six points at least, of which about a thousand are used.
    intrinsics : Intrinsics
        The camera.

    Returns
    -------
    SixDof
        `SixDof.error` is the distance to the points of the weak-perspective view: near the lens it cannot be 0.

    Raises
    ------
    ValueError
        If there are fewer than six points, if they lie in a point, or if no pose in front of the camera is found.
    """
    m = checked("matrix", matrix, (3, 4), np.float64)
    model = checked("points", points, (None, 3), np.float64)
    if len(model) < 6:
        raise ValueError(f"points: expected 6 or more, got {len(model)}")
    model = np.ascontiguousarray(model[:: -(-len(model) // _MOST_POINTS)])
    extent = float(np.ptp(model, axis=0).max())
    if extent <= 0:
        raise ValueError("points: expected points that span a surface, got one point many times")

    seen = model @ m[:2, :3].T + m[:2, 3]
    # what the lens bends is straightened first, so that distant points of view compare
    given = _ScaledOrthographic.fitted(model, _undistorted(seen, intrinsics), _FLIP @ m[:, :3])
    target = given.project(model)
    rotation = _VIEW_TO_CAMERA @ given.rotation
    focal = intrinsics.focal
    middle = np.linalg.solve(intrinsics.matrix, [*given.project(np.zeros((1, 3)))[0], 1.0])
    # the scale holds at the depth of the surface, not at the origin
    depth = focal / given.scale
    translation = middle * depth
    translation[2] = depth - float((model @ rotation[2]).mean())
    ideal = Intrinsics(intrinsics.matrix)
    vector, translation = cv2.Rodrigues(rotation)[0], translation.reshape(3, 1)
    for _ in range(_ROUNDS):
        drawn, jacobian = cv2.projectPoints(model, vector, translation, ideal.matrix, None)
        turned = _VIEW_TO_CAMERA @ cv2.Rodrigues(vector)[0]
        view = _ScaledOrthographic.fitted(model, drawn.reshape(-1, 2), turned)
        missing = (target - view.project(model)).ravel()
        if not np.isfinite(missing).all() or np.abs(missing).max() < _CONVERGED:
            break
        # a Newton step, as if the nearest view moved with the points themselves: nearly so
        slope = jacobian[:, :6]
        step = np.linalg.lstsq(slope.T @ slope, slope.T @ missing, rcond=None)[0].reshape(2, 3, 1)
        vector, translation = vector + step[0], translation + step[1]
    return _solved(model, seen, intrinsics, cv2.Rodrigues(vector)[0], translation.reshape(3))


@dataclass(frozen=True, eq=False)
class _ScaledOrthographic:
    """``image = scale * (diag(1, -1, 1) @ rotation @ point)[:2] + offset``."""

    rotation: NDArray[np.float64]
    scale: float
    offset: NDArray[np.float64]

    @classmethod
    def fitted(
        cls, points: NDArray[np.float64], seen: NDArray[np.float64], start: NDArray[np.float64]
    ) -> _ScaledOrthographic:
        """Least squares by Gauss-Newton from the rotation nearest to `start`."""
        middle, around = points.mean(axis=0), seen.mean(axis=0)
        p, q = points - middle, seen - around
        u, _, vt = np.linalg.svd(start)
        rotation = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
        scale = 1.0
        for _ in range(_STEPS):
            view = p @ rotation.T
            drawn = view[:, :2] * (1, -1)
            scale = float((drawn * q).sum() / (drawn * drawn).sum())
            x, y, z = view.T
            zero = np.zeros_like(x)
            # how scale * drawn changes with small turns about the view's axes, and with the scale
            columns = (
                np.stack([zero, scale * z], axis=1), np.stack([scale * z, zero], axis=1),
                np.stack([-scale * y, -scale * x], axis=1), drawn,
            )  # fmt: skip
            jacobian = np.stack([column.ravel() for column in columns], axis=1)
            step = np.linalg.lstsq(jacobian.T @ jacobian, jacobian.T @ (q - scale * drawn).ravel(), rcond=None)[0]
            rotation = cv2.Rodrigues(step[:3])[0] @ rotation
            if np.abs(step[:3]).max() < 1e-8:
                break
        drawn = (p @ rotation.T)[:, :2] * (1, -1)
        scale = float((drawn * q).sum() / (drawn * drawn).sum())
        return cls(rotation, scale, around - scale * (rotation @ middle)[:2] * (1, -1))

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(self.scale * (points @ self.rotation.T)[:, :2] * (1, -1) + self.offset)


def _project(
    points: NDArray[np.float64], rotation: NDArray[np.float64], translation: NDArray[np.float64], intrinsics: Intrinsics
) -> NDArray[np.float64]:
    projected, _ = cv2.projectPoints(
        points, cv2.Rodrigues(rotation)[0], translation.reshape(3, 1), intrinsics.matrix, intrinsics.distortion
    )
    return np.asarray(projected, dtype=np.float64).reshape(-1, 2)


def _undistorted(seen: NDArray[np.float64], intrinsics: Intrinsics) -> NDArray[np.float64]:
    if not intrinsics.distortion.any():
        return seen
    straight = cv2.undistortPoints(
        seen[:, None], intrinsics.matrix, intrinsics.distortion, P=intrinsics.matrix
    )
    return np.asarray(straight, dtype=np.float64).reshape(-1, 2)


def _refined(
    points: NDArray[np.float64],
    seen: NDArray[np.float64],
    intrinsics: Intrinsics,
    vector: NDArray[np.float64],
    translation: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    vector, translation = cv2.solvePnPRefineLM(
        points, seen, intrinsics.matrix, intrinsics.distortion, vector.copy(), translation.copy()
    )
    return np.asarray(cv2.Rodrigues(vector)[0], dtype=np.float64), np.asarray(translation, dtype=np.float64).reshape(3)


def _solved(
    points: NDArray[np.float64],
    seen: NDArray[np.float64],
    intrinsics: Intrinsics,
    rotation: NDArray[np.float64],
    translation: NDArray[np.float64],
) -> SixDof:
    if not (np.isfinite(rotation).all() and np.isfinite(translation).all()) or translation[2] <= 0:
        raise ValueError("points: no pose before the camera shows them so")
    error = np.linalg.norm(_project(points, rotation, translation, intrinsics) - seen, axis=1)
    return SixDof(rotation, translation, intrinsics, float(np.sqrt(np.mean(error**2))))
