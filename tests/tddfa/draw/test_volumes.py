import numpy as np
import pytest

from tddfa import draw


def test_a_voxel_is_drawn_where_it_is():
    crop = np.full((128, 128, 3), 128, np.uint8)
    points = np.random.default_rng(0).uniform(20, 100, (68, 3))
    empty = np.zeros((32, 32, 32), np.float32)
    full = empty.copy()
    full[30, 8, 24] = 1  # near, in the upper right
    plain, changed = (draw.volumes(crop, [volume], points) for volume in (empty, full))
    rows, columns = np.nonzero(np.abs(plain.astype(int) - changed).sum(axis=2) > 60)
    # the tile of the whole volume is the second of the first row, that of the nearest slices the last of the third
    assert (columns < 2 * 416).any() and (columns > 1216 - 300).any()
    first = rows < 420
    assert np.ptp(rows[first]) < 60 and np.ptp(columns[first]) < 60
    assert 16 + 34 + 384 * 0.2 < rows[first].mean() < 16 + 34 + 384 * 0.35
    assert 416 + 384 * 0.7 < columns[first].mean() < 416 + 384 * 0.8


@pytest.mark.parametrize(
    ("volumes", "message"),
    [([], "volumes: expected at least one"), ([np.zeros((3, 3))], r"volumes\[0\]: expected shape")],
)
def test_bad_volumes_are_named(volumes, message):
    with pytest.raises(ValueError, match=message):
        draw.volumes(np.zeros((64, 64, 3), np.uint8), volumes, np.zeros((68, 3)))
