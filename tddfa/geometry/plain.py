"""Rotations and poses as plain numbers: parts of the record of a face (`tddfa.Face.to_dict`)."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa.geometry.projected_box import projected_box
from tddfa.geometry.rotation import quaternion_from_rotation
from tddfa.geometry.six_dof import UNITS_PER_CM, SixDof

_EULER_ORDER = "Ry(yaw) @ Rx(-pitch) @ Rz(-roll), degrees"
# Written beside the numbers, so that a file explains itself.
VIEW_ORDER = f"rotation = {_EULER_ORDER}"
CAMERA_ORDER = f"rotation = diag(1, -1, -1) @ {_EULER_ORDER}"


def rounded(array: ArrayLike, decimals: int) -> Any:
    """Numbers as nested lists."""
    return np.round(np.asarray(array, dtype=np.float64), decimals).tolist()


class _Angles(Protocol):
    def _asdict(self) -> dict[str, float]: ...


def angles(named: _Angles) -> dict[str, float]:
    """Angles by name, such as yaw, pitch and roll, degrees."""
    return {name: round(angle, 3) for name, angle in named._asdict().items()}


def quaternion(rotation: NDArray[np.float64]) -> dict[str, Any]:
    """Unit quaternion of a rotation (3, 3), with its order."""
    return {"order": "wxyz", "values": rounded(quaternion_from_rotation(rotation), 6)}


def six_dof(
    pose: SixDof, landmarks: ArrayLike, image_size: tuple[int, int] | None, *, unit: str, assumed: bool
) -> dict[str, Any]:
    """Pose of a head, with lengths in cm.

    Parameters
    ----------
    pose : SixDof
        The pose.
    landmarks : array_like (68, 3)
        In the face model's frame and unit, for the projected box.
    image_size : tuple of int or None
        Height and width, px; without it there is no projected box.
    unit : str
        Of the face model. If it is not a length, lengths keep it.
    assumed : bool
        The camera is an assumption, not the caller's.
    """
    units_per_cm = UNITS_PER_CM.get(unit)
    scale = 1.0 if units_per_cm is None else 1 / units_per_cm
    return {
        "rotation": rounded(pose.rotation, 6),
        "rotation_vector": rounded(pose.rotation_vector, 6),
        "img2pose_vector": rounded(pose.img2pose_vector, 6),
        "quaternion": quaternion(pose.rotation),
        "euler": {**angles(pose.euler_degrees()), "order": CAMERA_ORDER},
        "translation": rounded(pose.translation * scale, 4),
        "distance": round(pose.distance * scale, 4),
        "unit": unit if units_per_cm is None else "cm",
        "box": None if image_size is None else rounded(projected_box(pose, landmarks, image_size), 2),
        "intrinsics": {
            "matrix": rounded(pose.intrinsics.matrix, 4),
            "distortion": pose.intrinsics.distortion.tolist(),
            "assumed": assumed,
        },
        "reprojection_error_px": round(pose.error, 4),
    }
