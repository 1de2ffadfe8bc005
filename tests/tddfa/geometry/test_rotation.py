import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tddfa.geometry.rotation import (
    euler_from_rotation,
    quaternion_from_rotation,
    rotation_from_euler,
    rotation_from_vector,
    rotations_to_rays,
    vector_from_rotation,
)


@pytest.mark.parametrize("pitch", [-90, -89.999, -89.9, -89, 89, 89.9, 89.999, 90])
@pytest.mark.parametrize(("yaw", "roll"), [(0, 0), (40, 0), (-70, 25), (170, -100)])
def test_angles_near_the_gimbal_give_the_same_rotation(yaw, pitch, roll):
    rotation = rotation_from_euler(yaw, pitch, roll)
    angles = euler_from_rotation(rotation)
    assert angles.pitch == pytest.approx(pitch, abs=0.01)
    np.testing.assert_allclose(rotation_from_euler(*angles), rotation, atol=1e-4)
    if abs(pitch) == 90:
        assert angles.roll == 0


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, -10, 20), (-170, 60, 100), (180, 0, 0), (0, 0, 179.9)])
def test_equals_scipy(angles):
    rotation = rotation_from_euler(*angles)
    expected = Rotation.from_euler("YXZ", np.array(angles) * (1, -1, -1), degrees=True)
    np.testing.assert_allclose(rotation, expected.as_matrix(), atol=1e-12)
    w, x, y, z = quaternion_from_rotation(rotation)
    assert w >= 0
    np.testing.assert_allclose(Rotation.from_quat([x, y, z, w]).as_matrix(), rotation, atol=1e-9)
    vector = vector_from_rotation(rotation)
    np.testing.assert_allclose(Rotation.from_rotvec(vector).as_matrix(), rotation, atol=1e-9)
    np.testing.assert_allclose(rotation_from_vector(vector), rotation, atol=1e-9)


def test_the_smallest_rotations_to_rays():
    rays = np.random.default_rng(0).normal(size=(20, 3)) + np.array([0, 0, 3])
    rays = np.vstack([rays, np.array([[0, 0, 2]])])
    rotations = rotations_to_rays(rays)
    units = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    np.testing.assert_allclose(rotations @ [0, 0, 1], units, atol=1e-12)
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (21, 1, 1)), atol=1e-12)
    # the smallest of them turns by the angle between the axis and the ray
    np.testing.assert_allclose(np.trace(rotations, axis1=1, axis2=2), 1 + 2 * units[:, 2], atol=1e-12)
