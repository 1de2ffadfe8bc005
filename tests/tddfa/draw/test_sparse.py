import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest

from builders import make_face
from tddfa import Camera, draw
from tddfa.landmarks68 import EYES, NOSE_TIP, PARTS

BLACK = np.zeros((480, 480, 3), np.uint8)


@pytest.fixture(scope="module")
def model(aligner):
    return aligner.face_model


def face_of(model, yaw=0.0, roll=0.0, scale=20.0):
    return make_face(model, Camera.from_pose(yaw, 0.0, roll, scale, (240.0, 240.0, 0.0)))


def brightness(image, point, reach=0):
    x, y = np.rint(point).astype(int)
    return image[y - reach : y + reach + 1, x - reach : x + reach + 1].max()


def apart(points, px=8):
    """Landmarks at least so far from all others; closed lips share their dots."""
    return (np.linalg.norm(points[:, None] - points, axis=-1) + 1e3 * np.eye(68) > px).all(axis=1)


def test_each_has_its_dot(model):
    face = face_of(model, yaw=15, roll=10)
    result = draw.landmarks(BLACK, [face])
    points = face.landmarks[:, :2]
    assert apart(points).sum() > 55
    for x, y in np.rint(points[apart(points)]).astype(int):
        assert result[y, x].min() > 200


def test_parts_are_connected_and_eyes_are_closed_lines(model):
    face = face_of(model)
    result = draw.landmarks(BLACK, [face])
    joined = [(i, i + 1) for part in (range(16), range(36, 41), range(48, 59)) for i in part]
    joined += [(41, 36), (47, 42), (59, 48), (67, 60)]
    for start, end in joined:
        assert brightness(result, face.landmarks[[start, end], :2].mean(axis=0), 1) > 100, (start, end)
    for start, end in ((16, 17), (21, 22), (26, 27)):  # between two parts
        assert not brightness(result, face.landmarks[[start, end], :2].mean(axis=0)), (start, end)


@pytest.mark.parametrize("field", ["visible", "confidence"])
def test_hidden_landmarks_are_rings_with_faded_lines(model, field):
    face = face_of(model, scale=30)
    seen = np.ones(68, bool)
    seen[[3, 4, 5, 42]] = False
    face = replace(face, **{field: seen if field == "visible" else np.where(seen, 0.9, 0.2).astype(np.float32)})
    result, full = draw.landmarks(BLACK, [face]), draw.landmarks(BLACK, [replace(face, visible=None, confidence=None)])
    points = face.landmarks[:, :2]
    for index in np.flatnonzero(apart(points, 12)):
        assert (brightness(result, points[index]) > 200) == seen[index], index
    for index in (3, 4, 5, 42):
        assert brightness(result, points[index], 6) > 90, "the ring"
    for start, end in ((3, 4), (4, 5)):
        middle = points[[start, end]].mean(axis=0)
        assert 0.25 * brightness(full, middle, 1) < brightness(result, middle, 1) < 0.6 * brightness(full, middle, 1)


def test_a_landmark_that_is_seen_but_unsure_is_hidden(model):
    face = replace(face_of(model, scale=30), visible=np.ones(68, bool))
    unsure = replace(face, confidence=np.where(np.arange(68) == 8, 0.29, 0.31).astype(np.float32))
    sure = replace(face, confidence=np.full(68, 0.31, np.float32))
    assert brightness(draw.landmarks(BLACK, [unsure]), face.landmarks[8, :2]) < 200
    np.testing.assert_array_equal(draw.landmarks(BLACK, [sure]), draw.landmarks(BLACK, [face]))


@pytest.mark.parametrize("yaw", [50, -60])
def test_the_far_side_of_the_jaw_does_not_cross_the_face(aligner, model, yaw):
    face = face_of(model, yaw=yaw)
    visible = aligner.decoder.visible(face)
    # without the lines of the other parts, which are all moved to the tip of the nose
    landmarks = face.landmarks.copy()
    landmarks[17:] = landmarks[NOSE_TIP]
    drawn, full = (
        draw.landmarks(BLACK, [replace(face, landmarks=landmarks, visible=seen)]) for seen in (visible, None)
    )
    points = landmarks[:, :2]
    hull = cv2.convexHull(points[visible].astype(np.float32))
    middles = [points[[i, i + 1]].mean(axis=0) for i in range(16) if not visible[[i, i + 1]].any()]
    crossing = [middle for middle in middles if cv2.pointPolygonTest(hull, middle.tolist(), True) > 3]
    assert len(crossing) >= 3
    for middle in crossing:
        assert not brightness(drawn, middle, 1)
        assert brightness(full, middle, 1) > 100


@pytest.mark.parametrize("px", [15, 30, 59, 90])
def test_eyes_of_small_faces_stay_visible(model, px):
    scale = px / np.ptp(face_of(model, scale=1).landmarks[:, 0])
    grey = np.full((480, 480, 3), 90, np.uint8)
    face = face_of(model, scale=scale)
    result = draw.landmarks(grey, [face]).astype(int)
    low, high = (np.rint(edge(face.landmarks[EYES, :2], axis=0)).astype(int) for edge in (np.min, np.max))
    eyes = np.abs(result[low[1] : high[1] + 1, low[0] : high[0] + 1] - 90).mean()
    assert 3 < eyes < 45


def test_a_small_face_changes_only_the_pixels_of_its_lines(model):
    noise = np.random.default_rng(2).integers(0, 256, (480, 480, 3), dtype=np.uint8)
    result = draw.landmarks(noise, [face_of(model, scale=5)])
    there = (result != noise).any(axis=-1)
    assert 100 < there.sum() < 2000


@pytest.mark.parametrize("px", [65, 90, 160, 250, 400])
def test_lines_can_be_read_on_light_skin(model, px):
    scale = px / np.ptp(face_of(model, scale=1).landmarks[:, 0])
    skin = np.full((480, 480, 3), (200, 216, 240), np.uint8)
    face = face_of(model, scale=scale)
    result = draw.landmarks(skin, [face]).astype(int)
    for part in ("jaw", "left_brow", "nose_bridge", "right_eye", "outer_lips"):
        for start, end in itertools.pairwise(face.landmarks[PARTS[part], :2]):
            x, y = np.rint((start + end) / 2).astype(int)
            assert result[y - 2 : y + 3, x - 2 : x + 3].mean(axis=-1).min() < skin.mean() - 40, part


@pytest.mark.parametrize("yaw", [50, -60])
def test_landmarks_behind_the_face_are_faint(aligner, model, yaw):
    face = face_of(model, yaw=yaw)
    visible = aligner.decoder.visible(face)
    drawn = draw.landmarks(BLACK, [replace(face, visible=visible)])
    points = face.landmarks[:, :2]
    hull = cv2.convexHull(points[visible].astype(np.float32))
    alone = apart(points, 11) & ~visible & (np.arange(68) < 17)
    behind = [p for p in points[alone] if cv2.pointPolygonTest(hull, p.tolist(), True) > 3]
    assert len(behind) >= 2
    for point in behind:
        assert 40 < brightness(drawn, point, 5) < 130
