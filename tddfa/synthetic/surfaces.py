"""The surfaces of a head in an image: face, skull, neck and shoulders as meshes in px, with their texture."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tddfa.geometry.camera import Camera
from tddfa.model.face_model import FaceModel
from tddfa.synthetic.head import Head

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Fractions of the head's yaw and roll by which the shoulders turn.
_BODY_YAW, _BODY_ROLL = 0.35, 0.15


class Surface(NamedTuple):
    """Part of a head in px of the image: its mesh, and the same triangles on the head's atlas."""

    vertices: Floats
    triangles: NDArray[np.int32]
    on_atlas: NDArray[np.int32]
    atlas_points: Floats


def surfaces(head: Head, yaw: float, roll: float, camera: Camera, face: Floats) -> tuple[Surface, Surface]:
    """Compute the surfaces of a head in px of the image: head with neck, and shoulders.

    Parameters
    ----------
    head : Head
    yaw, roll : float
        Of the head, degrees; the shoulders turn less.
    camera : Camera
        Face model to image px, at these angles.
    face : ndarray (n, 3) float32
        Vertices of the face, in the face model's unit.
    """
    bust = head.bust
    upper = camera.project(head.vertices(face))
    # the shoulders hang below the joint of the neck, and turn less than the head
    joint = bust.neck_joint.astype(np.float32)
    body_camera = Camera.from_pose(_BODY_YAW * yaw, 0.0, _BODY_ROLL * roll, camera.scale)
    shift = camera.project(joint) - body_camera.project(joint)
    follows = bust.neck_follows().astype(np.float32)[:, None, None]
    rings = bust.neck().astype(np.float32)
    neck = camera.project(rings) * (1 - follows) + (body_camera.project(rings) + shift) * follows
    vertices = np.concatenate([upper, neck.reshape(-1, 3)])
    body = body_camera.project(bust.body().astype(np.float32)) + shift
    part = bust.body_triangles
    return (
        Surface(vertices, bust.triangles, bust.atlas_triangles, bust.atlas_points),
        Surface(body, part, part, bust.body_atlas_points),
    )


def atlas_level(head: Head, pixels_per_unit: float) -> Image:
    """Return the level of a head's atlas with texels about as large as the pixels."""
    size = len(head.texture)
    texels_per_unit = size / (1.9 * mean_size(head.model))  # the UV map unrolls the face to about twice its width
    level = int(np.clip(np.log2(max(texels_per_unit / pixels_per_unit, 1e-6)) + 0.3, 0, len(head.atlas) - 1))
    return head.atlas[level]


@lru_cache(maxsize=4)
def mean_size(model: FaceModel) -> float:
    """Compute the longer side of the bounding box of the mean face's landmarks, model units."""
    points = (model.mean[model.landmark_triangles] * model.landmark_weights[..., None]).sum(axis=1)
    return float(np.ptp(points[:, :2], axis=0).max())
