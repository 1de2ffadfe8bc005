import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tddfa.jvcr.grid import peak, voxel_map  # noqa: E402
from tddfa.train.jvcr.targets import volumes  # noqa: E402


def by_loops(points, size, side, depth):
    """The volume of points (k, 3), voxel by voxel."""
    factor, offset = voxel_map(size, side, depth)
    volume = np.zeros((depth, side, side))
    for point in points:
        u, v, w = point * factor + offset
        if not np.isfinite([u, v, 0 if depth == 1 else w]).all():
            continue
        for k in range(depth):
            for j in range(side):
                for i in range(side):
                    away = np.array([i - u, j - v, 0 if depth == 1 else k - w])
                    if (np.abs(away) <= 3).all():
                        volume[k, j, i] = max(volume[k, j, i], np.exp(-(away**2).sum() / 2))
    return volume


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_volumes_are_those_of_a_loop(depth):
    rng = np.random.default_rng(depth)
    points = np.column_stack([rng.uniform(-6, 38, (6, 2)), rng.uniform(-14, 14, 6)])
    points[4] = np.nan
    points[5, 2] = np.nan
    made = volumes(torch.tensor(points[None], dtype=torch.float32), size=32, side=8, depth=depth)[0].numpy()
    expected = by_loops(points, 32, 8, depth)
    assert expected.max() > 0.5
    assert np.abs(made - expected).max() < 1e-5


def test_the_largest_voxel_gives_the_point_back_to_half_a_voxel():
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(4, 123, (20, 2)), rng.uniform(-60, 60, 20)]).astype(np.float32)
    made = volumes(torch.from_numpy(points[:, None]), size=128, side=32, depth=32)
    for own, volume in zip(points, made.numpy(), strict=True):
        assert np.abs(peak(volume, 128) - own).max() <= 0.5 * 128 / 32 + 1e-3


def test_the_nearest_slice_is_the_last():
    made = volumes(torch.tensor([[[64.0, 64.0, 50.0]]]), size=128, side=32, depth=32)[0]
    assert int(made.amax(dim=(1, 2)).argmax()) > 25
