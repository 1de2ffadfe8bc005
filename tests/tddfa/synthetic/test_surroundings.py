import numpy as np

from tddfa.synthetic.surroundings import any_wall, hold


def test_walls_are_of_one_seed_and_differ():
    walls = [any_wall(60, np.random.default_rng(seed)) for seed in range(25)]
    assert (any_wall(60, np.random.default_rng(7)) == walls[7]).all()
    assert all(wall.shape == (60, 60, 3) and wall.dtype == np.uint8 for wall in walls)
    assert len({wall.tobytes() for wall in walls}) == 25
    contrast = [wall.std() for wall in walls]
    assert min(contrast) < 20 < max(contrast)


def test_a_hand_changes_a_part_of_the_image():
    changed = []
    for seed in range(20):
        image = np.full((80, 80, 3), 90, np.uint8)
        hold(image, (120.0, 140.0, 190.0), np.random.default_rng(seed))
        changed.append((image != 90).any(axis=2).mean())
    assert 0.01 < np.median(changed) < 0.5
