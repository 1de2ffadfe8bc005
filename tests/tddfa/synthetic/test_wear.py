import numpy as np
import pytest

from tddfa.synthetic import Head
from tddfa.synthetic.wear import any_wear, glasses, hair_volume, hat_of, long_hair, mask, teeth


@pytest.fixture(scope="module")
def head(face_model):
    return Head.procedural(face_model, 3)


@pytest.fixture(scope="module")
def neutral(head):
    return np.zeros(head.model.expression_count, np.float32)


@pytest.fixture(scope="module")
def face(head, neutral):
    return head.model.vertices(head.shape, neutral)


@pytest.fixture(scope="module")
def landmarks(head, neutral):
    return head.model.landmarks(head.shape, neutral)


@pytest.mark.parametrize("seed", range(5))
def test_glasses_are_before_the_eyes_and_reach_the_ears(head, landmarks, seed):
    pieces = glasses(head, landmarks, np.random.default_rng(seed))
    points = np.concatenate([piece.vertices for piece in pieces])
    lenses = [piece.vertices for piece in pieces if len(np.unique(piece.texture.reshape(-1, 4), axis=0)) == 1][:1]
    assert lenses
    eyes = landmarks[36:48]
    assert points[:, 2].max() > eyes[:, 2].max()
    assert points[:, 2].min() < landmarks[[0, 16], 2].max()
    assert points[:, 0].min() < eyes[:, 0].min() and points[:, 0].max() > eyes[:, 0].max()
    assert points[:, 1].min() > landmarks[33, 1] - 3


@pytest.mark.parametrize("seed", range(5))
def test_a_mask_covers_the_lips(head, landmarks, seed):
    cloth = mask(head, landmarks, np.random.default_rng(seed)).vertices
    lips = landmarks[48:60]
    assert cloth[:, 2].max() > landmarks[30, 2]
    assert cloth[:, 1].max() > lips[:, 1].max() and cloth[:, 1].min() < lips[:, 1].min()


def test_hair_leaves_the_middle_of_the_face_free_and_hats_the_mouth(head, face, landmarks):
    low, high = landmarks[27:68].min(axis=0), landmarks[27:68].max(axis=0)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        for piece in (hair_volume(head, face, rng), long_hair(head, rng)):
            inside = (piece.vertices[:, :2] > low[:2]).all(axis=1) & (piece.vertices[:, :2] < high[:2]).all(axis=1)
            assert not (inside & (piece.vertices[:, 2] > low[2])).any()
        for piece in hat_of(head, rng):
            assert piece.vertices[piece.vertices[:, 2] > low[2], 1].min(initial=99) > landmarks[33, 1]


def test_lower_teeth_move_with_the_chin(head, neutral, landmarks):
    wide = neutral.copy()
    wide[head.model.expression_names.index("jawOpen")] = 1
    opened = head.model.landmarks(head.shape, wide)
    both = [
        (a, b)
        for seed in range(9)
        for a, b in [[teeth(head, landmarks, each, np.random.default_rng(seed)) for each in (landmarks, opened)]]
        if len(a) == 2
    ]
    assert both
    for rest, moved in both:
        assert (rest[0].vertices == moved[0].vertices).all(), "upper teeth"
        assert moved[1].vertices - rest[1].vertices == pytest.approx(
            np.broadcast_to(opened[8] - landmarks[8], rest[1].vertices.shape), abs=1e-4
        )
        assert rest[0].in_mouth and rest[1].in_mouth


def test_pieces_can_be_drawn(head, face, landmarks):
    for seed in range(30):
        for piece in any_wear(head, face, landmarks, np.random.default_rng(seed)):
            assert np.isfinite(piece.vertices).all() and piece.triangles.max() < len(piece.vertices)
            assert piece.points.min() >= 0 and piece.points.max() <= 1 and piece.texture.shape[2] == 4
