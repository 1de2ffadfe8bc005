"""The eyeLook expressions rotate the eyeballs."""

import numpy as np
import pytest

from tddfa.model.face_model import LEFT_EYE, RIGHT_EYE
from tddfa.modelling.closing import front_of_eye
from tddfa.modelling.gaze import GAZE_DEGREES


@pytest.mark.parametrize(("part", "side", "index"), [(LEFT_EYE, "Left", 0), (RIGHT_EYE, "Right", 1)])
@pytest.mark.parametrize("direction", ["In", "Out", "Up", "Down"])
def test_an_eyeball_is_rotated_about_its_centre(second, part, side, index, direction):
    ball = np.intersect1d(np.flatnonzero(second.part == part), second.triangles)
    before = second.mean[ball] - second.extra["eye_centres"][index]
    row = second.expression_basis[second.expression(f"eyeLook{direction}{side}"), ball]
    after = before + row.astype(np.float32)
    np.testing.assert_allclose(np.linalg.norm(after, axis=1), np.linalg.norm(before, axis=1), atol=2e-3)
    front = front_of_eye(second, part)
    pupil = np.flatnonzero(np.isin(ball, front))[second.mean[front, 2].argmax()]
    moved = after[pupil] - before[pupil]
    to_left = {"In": -1, "Out": 1}.get(direction, 0) * (1 if side == "Left" else -1)
    if to_left:
        assert np.sign(moved[0]) == to_left
    else:
        assert np.sign(moved[1]) == {"Up": 1, "Down": -1}[direction]
    axis = np.array([0.0, 1, 0]) if to_left else np.array([1.0, 0, 0])
    a, b = (points[pupil] - (points[pupil] @ axis) * axis for points in (before, after))
    cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    assert np.degrees(np.arccos(cosine)) == pytest.approx(GAZE_DEGREES, abs=0.2)


def test_lids_move_as_in_the_first_edition_and_sockets_do_not_turn(second, first):
    row = second.expression("eyeLookDownLeft")
    skin = np.flatnonzero(first.part == 0)
    np.testing.assert_array_equal(second.expression_basis[row, skin], first.expression_basis[row, skin])
    socket = second.extra["region_socket"]
    behind = socket[second.mean[socket, 2] < 8.3]
    assert len(behind) > 60
    assert not second.expression_basis[row, behind].any()
