import numpy as np
import pytest

from tddfa.jvcr.grid import peak, voxel_map, with_centres


def test_centres_of_eyes_and_mouth():
    points = with_centres(np.arange(68 * 3).reshape(68, 3))
    assert points.shape == (71, 3)
    assert points[68, 0] == 3 * np.mean([37, 38, 40, 41])
    assert points[69, 0] == 3 * np.mean([43, 44, 46, 47])
    assert points[70, 0] == 3 * 64


def test_voxels_of_the_first_and_last_px():
    factor, offset = voxel_map(128, 32, 32)
    assert ([-0.5, -0.5, -64] * factor + offset).tolist() == [-0.5, -0.5, -0.5]
    assert ([127.5, 127.5, 64] * factor + offset).tolist() == [31.5, 31.5, 31.5]


def test_peak_refuses_a_volume_that_is_not_square():
    with pytest.raises(ValueError, match="side, side"):
        peak(np.zeros((4, 8, 9)), 32)
