"""Six degrees of freedom: rotation and translation of a head in the frame of a perspective camera."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared.arrays import checked
from tddfa.geometry.intrinsics import Intrinsics
from tddfa.geometry.rotation import (
    VIEW_TO_CAMERA,
    VIEW_TO_IMAGE,
    Euler,
    euler_from_rotation,
    quaternion_from_rotation,
    rotation_from_vector,
    rotations_to_rays,
    vector_from_rotation,
)

UNITS_PER_CM = {"um": 1e4, "mm": 10.0, "cm": 1.0, "m": 0.01}
"""Units of a face model per centimetre, for units that are lengths."""

# Derivatives are computed from so many points, for they need not be exact; the equations count all points.
_SLOPE_POINTS = 256
_ROUNDS = 50
# rad, and fractions of the distance
_CONVERGED = 1e-6
# Points whose second extent is less than this fraction of their longest one are on a line.
_THINNEST = 1e-3
# Squares of squares of larger numbers overflow.
_LARGEST = 1e30
_NO_POSE = "points: no pose in front of the camera fits them"


@dataclass(frozen=True, eq=False)
class SixDof:
    """Pose of a head in the frame of a perspective camera.

    The frame is OpenCV's: x right, y down, z away from the camera, with the origin in the lens:
    ``camera_point = rotation @ model_point + translation``.

    Attributes
    ----------
    rotation : ndarray (3, 3) float64
        From the model frame to the camera frame; a head that looks into the camera has ``diag(1, -1, -1)``.
    translation : ndarray (3,) float64
        Position of the face model's origin, the middle of the head, in the model's unit (cm for the open model).
    intrinsics : Intrinsics
        The camera.
    error : float
        Reprojection error, px: root mean square distance of the observed points from the projected ones.

    Examples
    --------
    >>> pose = aligner.decoder.six_dof(face)
    >>> pose.rotation.shape, pose.translation.shape, pose.quaternion.shape
    ((3, 3), (3,), (4,))
    """

    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    intrinsics: Intrinsics
    error: float

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The pose (4, 4) as one matrix, for homogeneous points of the face model: rotation, then translation.

        Examples
        --------
        >>> pose = face.six_dof()
        >>> x, y, z, one = pose.matrix @ [0, 0, 0, 1]
        >>> bool((pose.translation == [x, y, z]).all())
        True
        """
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = self.rotation, self.translation
        return matrix

    @property
    def rotation_vector(self) -> NDArray[np.float64]:
        """The rotation (3,) as axis times angle, rad, as OpenCV's ``projectPoints`` takes it for points of the model.

        A head that looks into the camera is rotated by pi about x: the model's y is up, the camera's down.
        """
        return vector_from_rotation(self.rotation)

    @property
    def img2pose_vector(self) -> NDArray[np.float64]:
        """The rotation vector (3,) of img2pose, rx, ry, rz in rad: zero for a head that looks into the camera.

        The 68 points of img2pose have x to the subject's left, y down and z into the face: ours rotated by pi about x.
        Its camera frame is OpenCV's, as ours. rz > 0 tilts the head clockwise in the image.
        """
        return vector_from_rotation(self.rotation @ VIEW_TO_CAMERA)

    @property
    def quaternion(self) -> NDArray[np.float64]:
        """The rotation (4,) as unit quaternion w, x, y, z with w >= 0."""
        return quaternion_from_rotation(self.rotation)

    @property
    def distance(self) -> float:
        """Distance of the face model's origin from the lens, in the model's unit."""
        return float(np.linalg.norm(self.translation))

    def euler_degrees(self) -> Euler:
        """Yaw, pitch, roll about the axes of the camera, with the signs and the order of `tddfa.geometry.camera`.

        `Camera.euler_degrees` gives them about the line of sight instead: a head at the edge of the image that looks
        parallel to the camera's axis has yaw 0 here, but not there.
        """
        return euler_from_rotation(VIEW_TO_CAMERA @ self.rotation)

    def project(self, points: ArrayLike) -> NDArray[np.float32]:
        """Map points (n, 3) of the face model to px (n, 2) of the image; NaN for points behind the camera."""
        columns = checked("points", points, (None, 3), np.float64).T
        if not columns.size:
            return np.zeros((0, 2), dtype=np.float32)
        projected = _projected(columns, self.rotation, self.translation, self.intrinsics)
        return np.ascontiguousarray(projected.T, dtype=np.float32)


def from_image_points(points: ArrayLike, image_points: ArrayLike, intrinsics: Intrinsics) -> SixDof:
    """Pose of a head from points that were detected in an image of a perspective camera.

    Parameters
    ----------
    points : array_like (n, 3)
        In the model's frame and unit; six at least.
    image_points : array_like (n, 2)
        The same points in the image, px, with the distortion of the lens.
    intrinsics : Intrinsics
        The camera.

    Raises
    ------
    ValueError
        If there are fewer than six points, if a number is over 1e30, or if no pose in front of the camera fits them.

    Examples
    --------
    >>> from tddfa import Intrinsics
    >>> from tddfa.geometry.six_dof import from_image_points
    >>> camera = Intrinsics.assumed(face.image_size)
    >>> 100 < from_image_points(face.model_landmarks, face.landmarks[:, :2], camera).distance < 300  # cm
    True
    """
    model = _checked("points", points, (None, 3))
    seen = _checked("image_points", image_points, (len(model), 2))
    if len(model) < 6:
        raise ValueError(f"points: expected 6 or more, got {len(model)}")
    try:
        done, vector, translation = cv2.solvePnP(
            model, seen, intrinsics.matrix, intrinsics.distortion, flags=cv2.SOLVEPNP_SQPNP
        )
        if done:
            vector, translation = cv2.solvePnPRefineLM(
                model, seen, intrinsics.matrix, intrinsics.distortion, vector, translation
            )
    except cv2.error as error:
        # points on a line, or all equal
        raise ValueError(_NO_POSE) from error
    if not done:
        raise ValueError(_NO_POSE)
    return _solved(model.T, seen.T, intrinsics, rotation_from_vector(vector), translation.reshape(3))


def from_weak_perspective(matrix: ArrayLike, points: ArrayLike, intrinsics: Intrinsics) -> SixDof:
    """Pose in the frame of a perspective camera from a weak-perspective camera.

    A regressor predicts the weak-perspective view that is nearest to the perspective image. Near the lens, or away from
    the middle of the image, rotation and scale of this view differ from those of the head. So the function finds the
    pose whose nearest weak-perspective view is the given one. At arm's length, PnP on the points of the view would have
    errors of degrees in rotation and of per cents in distance.

    Nearest means least squares over the points. So the residual between the perspective image and the view is
    orthogonal to all changes of the view by rotation, scale and translation: six equations for six unknowns, solved by
    Newton's method.

    Parameters
    ----------
    matrix : array_like (3, 4)
        Face model to image px (`Camera.matrix`).
    points : array_like (n, 3)
        The head's surface in the model's frame and unit; six points at least, not all on a line.
    intrinsics : Intrinsics
        The camera.

    Returns
    -------
    SixDof
        `SixDof.error` is relative to the points of the weak-perspective view: near the lens it cannot be 0.

    Raises
    ------
    ValueError
        If there are fewer than six points, if they are on a line, if a number is over 1e30, or if no pose in front of
        the camera fits.

    Examples
    --------
    >>> from tddfa import Intrinsics
    >>> from tddfa.geometry.six_dof import from_weak_perspective
    >>> camera = Intrinsics.from_field_of_view(60, face.image_size)
    >>> pose = from_weak_perspective(face.camera.matrix, face.model_landmarks, camera)
    >>> bool(pose.translation[2] > 0)
    True
    """
    m = _checked("matrix", matrix, (3, 4))
    model = _checked("points", points, (None, 3))
    if len(model) < 6:
        raise ValueError(f"points: expected 6 or more, got {len(model)}")
    # one column per point: NumPy's means over the first axis are ten times slower
    p = np.ascontiguousarray(model.T)
    count, middle = p.shape[1], p.mean(axis=1)
    p -= middle[:, None]
    spread = p @ p.T / count
    thickness = np.linalg.eigvalsh(spread)
    if not thickness[1] > _THINNEST**2 * thickness[2]:
        raise ValueError("points: expected points that span a surface, got points on a line")

    seen = m[:2, :3] @ p + (m[:2, :3] @ middle + m[:2, 3])[:, None]
    # the distortion of the lens is removed first; from here on y is up
    straight = _undistorted(seen, intrinsics) * ((1,), (-1,))
    if not np.isfinite(straight).all():
        raise ValueError(_NO_POSE)
    around = straight.mean(axis=1)
    view = _nearest_view(straight @ p.T / count, spread, VIEW_TO_IMAGE @ m[:, :3])
    if not view.scale > 0:
        raise ValueError(_NO_POSE)
    focal = np.diag(intrinsics.matrix)[:2] * (1, -1)
    center = intrinsics.matrix[:2, 2] * (1, -1)
    # the scale is that at the depth of the surface's middle, and the view is along the ray to it
    ray = np.append((around - center) / focal, 1.0)
    rotation = rotations_to_rays(ray[None])[0] @ VIEW_TO_CAMERA @ view.rotation
    place = ray * (intrinsics.focal / view.scale)

    changes = view.changes()
    unchanged = np.append(np.einsum("kab,ab->k", changes, view.linear @ spread), around)
    few = p[:, :: -(-count // _SLOPE_POINTS)]
    weights = changes @ few / few.shape[1]
    for _ in range(_ROUNDS):
        drawn = _drawn(p, rotation, place, focal, center)
        if drawn is None:
            break
        missing = unchanged - np.append(np.einsum("kab,ab->k", changes, drawn @ p.T / count), drawn.mean(axis=1))
        slopes = _slopes(few, rotation, place, focal)
        system = np.vstack([np.tensordot(weights, slopes, axes=((1, 2), (0, 2))), slopes.mean(axis=2)])
        step = np.linalg.lstsq(system, missing, rcond=None)[0]
        # a longer step leaves the region where the derivatives hold
        fraction = min(1.0, 0.5 / max(float(np.abs(step[:3]).max()), float(np.linalg.norm(step[3:]) / place[2]), 1e-12))
        rotation = rotation_from_vector(fraction * step[:3]) @ rotation
        place = place + fraction * step[3:]
        if max(float(np.abs(step[:3]).max()), float(np.abs(step[3:]).max()) / abs(place[2])) < _CONVERGED:
            return _solved(p + middle[:, None], seen, intrinsics, rotation, place - rotation @ middle)
    raise ValueError(_NO_POSE)


@dataclass(frozen=True, eq=False)
class _View:
    """A weak-perspective view, y up: ``image = scale * (rotation @ point)[:2] + offset``."""

    rotation: NDArray[np.float64]
    scale: float

    @property
    def linear(self) -> NDArray[np.float64]:
        return self.scale * self.rotation[:2]

    def changes(self) -> NDArray[np.float64]:
        """Derivatives (4, 2, 3) of `linear` by rotations about the axes of the view, and by the scale."""
        x, y, z = self.scale * self.rotation
        zero = np.zeros(3)
        return np.array([[zero, -z], [z, zero], [-y, x], self.rotation[:2]])


def _nearest_view(product: NDArray[np.float64], spread: NDArray[np.float64], start: NDArray[np.float64]) -> _View:
    """The view nearest to observed points, in least squares, by Gauss-Newton from the rotation nearest to `start`.

    It depends on centred points p, observed at q, only by the means of ``q p^T`` (2, 3) and of ``p p^T`` (3, 3).
    """
    u, _, vt = np.linalg.svd(start)
    rotation = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    for _ in range(_ROUNDS):
        plain = rotation[:2] @ spread
        scale = float((rotation[:2] * product).sum() / (rotation[:2] * plain).sum())
        changes = _View(rotation, scale).changes()
        normal = np.einsum("jab,bc,kac->jk", changes, spread, changes)
        step = np.linalg.lstsq(normal, np.einsum("jab,ab->j", changes, product - scale * plain), rcond=None)[0]
        rotation = rotation_from_vector(step[:3]) @ rotation
        if np.abs(step[:3]).max() < _CONVERGED:
            break
    return _View(rotation, float((rotation[:2] * product).sum() / (rotation[:2] @ spread * rotation[:2]).sum()))


def _drawn(
    p: NDArray[np.float64],
    rotation: NDArray[np.float64],
    place: NDArray[np.float64],
    focal: NDArray[np.float64],
    center: NDArray[np.float64],
) -> NDArray[np.float64] | None:
    """Projection (2, n) of points (3, n) by a lens without distortion; None if one is not before the camera."""
    x, y, z = rotation @ p + place[:, None]
    if not z.min() > 0:
        return None
    return np.stack([focal[0] * x / z + center[0], focal[1] * y / z + center[1]])


def _slopes(
    p: NDArray[np.float64], rotation: NDArray[np.float64], place: NDArray[np.float64], focal: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Derivatives (2, 6, n) of projected points by rotations about the camera's axes, and translations along them."""
    a, b, c = turned = rotation @ p
    x, y, z = turned + place[:, None]
    zero = np.zeros_like(z)
    slopes = []
    for u, v, w in (
        (focal[0] / z, zero, -focal[0] * x / z**2),
        (zero, focal[1] / z, -focal[1] * y / z**2),
    ):
        # a rotation moves a point by its cross product with it
        slopes.append([b * w - c * v, c * u - a * w, a * v - b * u, u, v, w])
    return np.array(slopes)


def _undistorted(seen: NDArray[np.float64], intrinsics: Intrinsics) -> NDArray[np.float64]:
    if not intrinsics.distortion.any():
        return seen
    points = np.ascontiguousarray(seen.T)[:, None]
    straight = cv2.undistortPoints(points, intrinsics.matrix, intrinsics.distortion, P=intrinsics.matrix)
    return np.asarray(straight, dtype=np.float64).reshape(-1, 2).T


def _projected(
    points: NDArray[np.float64], rotation: NDArray[np.float64], translation: NDArray[np.float64], intrinsics: Intrinsics
) -> NDArray[np.float64]:
    """Projection (2, n) in px of points (3, n), with distortion; NaN for points that are not before the camera."""
    x, y, z = rotation @ points + translation[:, None]
    z = np.where(z > 0, z, np.nan)
    x, y = x / z, y / z
    if intrinsics.distortion.any():
        flat = np.stack([x, y, np.ones_like(x)], axis=1)
        unturned = np.zeros(3)
        bent, _ = cv2.projectPoints(flat, unturned, unturned, np.eye(3), intrinsics.distortion)
        x, y = bent.reshape(-1, 2).T
    k = intrinsics.matrix
    return np.stack([k[0, 0] * x + k[0, 2], k[1, 1] * y + k[1, 2]])


def _solved(
    points: NDArray[np.float64],
    seen: NDArray[np.float64],
    intrinsics: Intrinsics,
    rotation: NDArray[np.float64],
    translation: NDArray[np.float64],
) -> SixDof:
    """The pose, with its error at points (3, n) observed at px (2, n); all must be before the camera."""
    away = _projected(points, rotation, translation, intrinsics) - seen
    error = float(np.sqrt((away * away).sum() / points.shape[1]))
    if not np.isfinite(error):
        raise ValueError(_NO_POSE)
    return SixDof(rotation, translation, intrinsics, error)


def _checked(name: str, value: ArrayLike, shape: tuple[int | None, ...]) -> NDArray[np.float64]:
    array = checked(name, value, shape, np.float64)
    largest = np.abs(array).max(initial=0)
    if largest > _LARGEST:
        raise ValueError(f"{name}: expected numbers of at most {_LARGEST:g}, got {largest:g}")
    return array
