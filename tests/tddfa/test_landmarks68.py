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


class TestContours:
    POINTS = np.arange(136, dtype=np.float32).reshape(68, 2)

    def numbers(self, *names):
        return {part: (line[:, 0] / 2).tolist() for part, line in landmarks68.contours(self.POINTS, *names).items()}

    def test_groups_are_the_parts(self):
        assert [part for parts in landmarks68.GROUPS.values() for part in parts] == [
            "jaw", "right_brow", "left_brow", "nose_bridge", "nose_tip", "right_eye", "left_eye", "outer_lips",
            "inner_lips",
        ]  # fmt: skip
        assert list(self.numbers()) == list(landmarks68.PARTS)

    def test_eyes_and_lips_are_closed(self):
        assert self.numbers("eyes") == {"right_eye": [*range(36, 42), 36], "left_eye": [*range(42, 48), 42]}
        assert self.numbers("lips") == {"outer_lips": [*range(48, 60), 48], "inner_lips": [*range(60, 68), 60]}

    def test_others_are_open(self):
        assert self.numbers("nose", "left_brow", "jaw") == {
            "nose_bridge": [27, 28, 29, 30], "nose_tip": [31, 32, 33, 34, 35], "left_brow": [22, 23, 24, 25, 26],
            "jaw": list(range(17)),
        }  # fmt: skip

    def test_a_part_of_two_groups_is_there_once(self):
        assert list(self.numbers("left_eye", "eyes")) == ["left_eye", "right_eye"]

    def test_they_are_those_of_the_face(self, aligner, astronaut):
        (face,) = aligner(astronaut)
        lines = face.contours("eyes", "jaw")
        assert list(lines) == ["right_eye", "left_eye", "jaw"]
        np.testing.assert_array_equal(lines["left_eye"], face.landmarks[[42, 43, 44, 45, 46, 47, 42]])
        assert lines["jaw"].dtype == np.float32

    def test_bad_arguments_are_named(self):
        with pytest.raises(ValueError, match=r"names: expected one or more of jaw, brows, .*inner_lips, got 'mouth'"):
            landmarks68.contours(self.POINTS, "mouth")
        with pytest.raises(ValueError, match=r"points: expected shape \(68, k\), got \(5, 2\)"):
            landmarks68.contours(self.POINTS[:5])
