"""The names of the 68 landmarks, compared with the points of the face model."""

import numpy as np
import pytest

from tddfa import landmarks68


@pytest.fixture(scope="module")
def mean_face(aligner):
    model = aligner.face_model
    return model.landmarks(np.zeros(model.shape_count, np.float32), np.zeros(model.expression_count, np.float32))


def test_the_parts_cover_each_landmark_once():
    covered = np.concatenate([np.arange(68)[part] for part in landmarks68.PARTS.values()])
    assert covered.tolist() == list(range(landmarks68.COUNT))
    assert set(landmarks68.CLOSED_PARTS) <= set(landmarks68.PARTS)


def test_mirrored_is_its_own_inverse_and_mirrors_the_mean_face(mean_face):
    mirrored = landmarks68.MIRRORED
    assert mirrored[mirrored].tolist() == list(range(68))
    np.testing.assert_allclose(mean_face[mirrored] * (-1, 1, 1), mean_face, atol=0.35)


def test_mirrored_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        landmarks68.MIRRORED[0] = 0


def test_right_is_the_subject_s_right(mean_face):
    # x points to the subject's left
    for name in ("right_brow", "right_eye"):
        assert mean_face[landmarks68.PARTS[name], 0].max() < 0 < mean_face[landmarks68.PARTS["left_eye"], 0].min()
    right, left = mean_face[list(landmarks68.OUTER_EYE_CORNERS), 0]
    inner_right, inner_left = mean_face[[landmarks68.RIGHT_EYE_CORNERS[1], landmarks68.LEFT_EYE_CORNERS[0]], 0]
    assert right < inner_right < 0 < inner_left < left


def test_pairs_are_upper_and_lower(mean_face):
    for upper, lower in (*landmarks68.LID_PAIRS, *landmarks68.INNER_LIP_PAIRS):
        assert mean_face[upper, 1] > mean_face[lower, 1]
        assert abs(mean_face[upper, 0] - mean_face[lower, 0]) < 0.5


def test_single_points(mean_face):
    assert mean_face[:, 2].argmax() == landmarks68.NOSE_TIP
    assert mean_face[:, 1].argmin() == landmarks68.CHIN
    right, left = mean_face[list(landmarks68.MOUTH_CORNERS), 0]
    mouth = mean_face[landmarks68.MOUTH, 0]
    assert (right, left) == (mouth.min(), mouth.max())
