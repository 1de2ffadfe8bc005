import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tddfa.geometry.rotation import (
    euler_from_rotation,
    quaternion_from_rotation,
    rotation_from_euler,
    rotation_from_vector,
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
