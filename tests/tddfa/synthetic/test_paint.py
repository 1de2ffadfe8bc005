from dataclasses import replace

import numpy as np
import pytest

from tddfa.geometry.camera import Camera
from tddfa.synthetic.chart import chart_of
from tddfa.synthetic.paint import painted_head, painted_mouth
from tddfa.synthetic.studio import Light, photograph

SIZE = 128


@pytest.fixture(scope="module")
def heads(face_model):
    return [painted_head(face_model, seed, size=SIZE) for seed in range(6)]


def brightness(texture, points):
    x, y = np.rint(points).astype(int).T
    return texture[y, x].astype(float).mean(axis=1)


def test_a_seed_is_one_head_and_seeds_differ(face_model, heads):
    again = painted_head(face_model, 2, size=SIZE)
    assert (again.texture == heads[2].texture).all() and (again.shape == heads[2].shape).all()
    assert np.std([head.skin for head in heads], axis=0).min() > 5
    assert np.abs(heads[0].texture.astype(int) - heads[1].texture).mean() > 3


def test_spread_is_the_standard_deviation_of_the_shape(face_model):
    wide, narrow = (
        np.concatenate([painted_head(face_model, seed, size=32, spread=spread).shape for seed in range(8)])
        for spread in (1.0, 0.5)
    )
    assert wide.std() == pytest.approx(1, abs=0.12) and narrow.std() == pytest.approx(0.5, abs=0.06)


def test_paint_is_where_the_landmarks_are(face_model, heads):
    chart = chart_of(face_model, SIZE)
    eyes = chart.landmarks[[*range(36, 48)]].reshape(2, 6, 2)
    centres = eyes.mean(axis=1)
    cheeks = chart.landmarks[[1, 15]] * 0.5 + chart.landmarks[[31, 35]] * 0.5
    brows = chart.landmarks[[18, 19, 24, 25]] + (0, 2)
    for head in heads:
        skin = brightness(head.texture, cheeks).mean()
        assert brightness(head.texture, centres).mean() < skin, "pupil and iris"
        assert brightness(head.texture, brows).mean() < skin
        # white beside the iris
        outer = eyes[:, [0, 3]].mean(axis=0) * 0.25 + centres * 0.75
        assert (
            head.texture[tuple(np.rint(outer).astype(int).T[::-1])].max()
            > head.texture[tuple(np.rint(centres).astype(int).T[::-1])].mean()
        )


def test_teeth_are_as_bright_as_said():
    mouths = [painted_mouth(200, np.random.default_rng(seed)) for seed in range(8)]
    assert 130 < max(mouth.max() for mouth in mouths) <= 200
    grey = painted_mouth(200, np.random.default_rng(1), grey=True)
    assert np.ptp(grey.astype(int), axis=2).max() <= 1


def test_the_corners_of_the_mouth_are_dark_at_their_landmarks(face_model):
    """Darker than the skin around them, below above all: the mesh is hollow there."""
    chart = chart_of(face_model, 256)
    corners = 0.5 * (chart.landmarks[[48, 54]] + chart.landmarks[[60, 64]])
    outwards = np.array([[-1.0, 0.0], [1.0, 0.0]])
    for seed in range(6):
        texture = painted_head(face_model, seed, size=256).texture
        at = brightness(texture, corners)
        for away in ((0, 5), (0, -5), (0, 8)):
            assert (at < brightness(texture, corners + away)).all()
        assert (at < brightness(texture, chart.landmarks[[48, 54]] + 6 * outwards)).all()


def test_the_lips_end_at_their_landmarks(face_model):
    chart = chart_of(face_model, 1024)
    outline = chart.landmarks[48:60]
    outwards = outline - chart.landmarks[60:68].mean(axis=0)
    # straight up or down, but for the corners
    outwards[1:6] = outwards[7:12] = (0, 1)
    outwards[1:6] *= -1
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)

    def weights(points):
        x, y = np.rint(points).astype(int).T
        return chart.lips[y, x]

    assert (weights(outline + 4 * outwards) < 0.2).all()
    assert (weights(outline - 4 * outwards)[[*range(1, 6), *range(7, 12)]] > 0.8).all()


def test_the_line_between_the_lips_is_above_the_landmarks_of_the_inner_lips(face_model):
    """As on photos, where people mark closed lips at the lower edge of that line."""
    chart = chart_of(face_model, 384)
    inner, outer = chart.landmarks[[61, 62, 63]], chart.landmarks[[50, 51, 52]]
    below, bottom = chart.landmarks[[67, 66, 65]], chart.landmarks[[58, 57, 56]]
    ratios = []
    for seed in range(8):
        texture = painted_head(face_model, seed, size=384).texture
        line = min(brightness(texture, inner - (0, up)).mean() for up in (0.5, 1.0, 1.5))
        ratios.append(line / brightness(texture, (inner + outer) / 2).mean())
        lower_lip = (
            brightness(texture, below + np.array((0, 1.0))).mean() / brightness(texture, (below + bottom) / 2).mean()
        )
        assert lower_lip > ratios[-1] - 0.05
    assert min(ratios) < 0.7
    assert max(ratios) < 0.95


def test_nostrils_are_seen_on_a_face_that_looks_ahead(face_model):
    """Those of the mesh open downwards, and are hidden there."""
    camera = Camera.from_pose(0, -6, 0, 20, (200, 200, 0))
    calm = np.zeros(face_model.expression_count, np.float32)
    even = Light((1.0, 1.0, 1.0), ())
    ratios = []
    for seed in range(6):
        head = painted_head(face_model, seed, size=384, spread=0.5)
        face = face_model.vertices(head.shape, calm)
        wall = np.zeros((400, 400, 3), np.uint8)
        image = photograph(head, 0.0, 0.0, camera, face, [], even, wall).astype(float).mean(axis=2)
        landmarks = camera.project(face_model.landmarks(head.shape, calm))[:, :2]
        unit = np.linalg.norm(landmarks[45] - landmarks[36]) / 100
        for wing, inner in ((31, 32), (35, 34)):
            x, y = np.rint((landmarks[wing] + landmarks[inner]) / 2).astype(int)
            # from the landmarks to 4 % of the distance of the eyes above them
            nostril = image[y - int(4 * unit) : y + 1, x].mean()
            ratios.append(nostril / image[int(landmarks[30, 1]), int(landmarks[30, 0])])
    assert np.mean(ratios) < 0.6 and max(ratios) < 0.7, ratios


@pytest.mark.parametrize("expression", [{}, {"jawOpen": 0.7}])
def test_a_sharp_jaw_ends_at_its_landmarks(face_model, heads, expression):
    """Without the lift, what one sees as the edge of the chin is up to 1.5 cm below the landmark."""
    camera = Camera.from_pose(0, -6, 0, 10)
    weights = np.array([expression.get(name, 0) for name in face_model.expression_names], np.float32)
    edges = {0.0: [], 1.0: []}
    for head in heads:
        assert 0.85 <= head.jaw_lift <= 1.3
        face = face_model.vertices(head.shape, weights)
        landmarks = camera.project(face_model.landmarks(head.shape, weights))
        eyes = np.linalg.norm(landmarks[45] - landmarks[36])
        for jaw_lift, found in edges.items():
            lifted = replace(head, jaw_lift=jaw_lift).vertices(face)
            seen = camera.project(lifted)
            middle = np.abs(seen[:, 0] - landmarks[8, 0]) < 0.03 * eyes
            found.append((seen[middle, 1].max() - landmarks[8, 1]) / eyes)
        # the face above the jaw stays as it is
        above = face[:, 1] > face_model.landmarks(head.shape, weights)[[4, 12], 1].max()
        np.testing.assert_array_equal(lifted[: len(face)][above], face[above])
    assert np.max(edges[0.0]) > 0.1
    assert np.min(edges[1.0]) >= 0 and np.max(edges[1.0]) < 0.02
    assert len({head.jaw_lift for head in heads}) == len(heads)
