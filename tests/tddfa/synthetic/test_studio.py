import numpy as np
import pytest

from tddfa.geometry.camera import Camera
from tddfa.synthetic import Head, State, render
from tddfa.synthetic.studio import Lamp, Light, any_lighting, photograph
from tddfa.synthetic.surfaces import mean_size
from tddfa.synthetic.wear import Piece

SIDE = 120
EVEN = Light((1.0, 1.0, 1.0), ())


@pytest.fixture(scope="module")
def head(face_model):
    return Head.procedural(face_model, 3)


@pytest.fixture(scope="module")
def camera():
    return Camera.from_pose(0, 0, 0, 4.5, (60, 58, 0))


@pytest.fixture(scope="module")
def face(head):
    return head.model.vertices(head.shape, np.zeros(head.model.expression_count, np.float32))


def card(z, color, **more):
    """A card before or behind the face, cm."""
    corners = np.float32([[-3, 3, z], [3, 3, z], [-3, -8, z], [3, -8, z]])
    texture = np.full((4, 4, 4), (*color, 255), np.uint8)
    return Piece(
        corners, np.int32([[0, 2, 1], [1, 2, 3]]), np.float32([[0, 0], [1, 0], [0, 1], [1, 1]]), texture, **more
    )


def shot(head, camera, face, wear=(), light=EVEN):
    wall = np.full((SIDE, SIDE, 3), (0, 255, 0), np.uint8)
    return photograph(head, 0.0, 0.0, camera, face, wear, light, wall)


def test_it_draws_what_render_draws(head, camera, face):
    state = State(size=camera.scale * mean_size(head.model), x=60, y=58)
    light = {"ambient": 1.0, "directional": 0.0, "specular": 0.0}
    wall = np.full((SIDE, SIDE, 3), (0, 255, 0), np.uint8)
    other, _ = render((SIDE, SIDE), [(head, state)], wall, light=light)
    assert np.abs(shot(head, camera, face).astype(int) - other).mean() < 2


def test_nearer_pieces_hide_the_face_and_farther_ones_do_not(head, camera, face):
    bare = shot(head, camera, face)
    front, behind = (shot(head, camera, face, [card(z, (250, 0, 250))]) for z in (20.0, -30.0))
    assert (front[58, 60] == (250, 0, 250)).all()
    assert (behind == bare).all()


def test_opacity(head, camera, face):
    glass = card(20.0, (250, 0, 250))
    glass.texture[..., 3] = 128
    bare, seen = (shot(head, camera, face, wear)[58, 60].astype(float) for wear in ([], [glass]))
    assert seen == pytest.approx((bare + np.array([250, 0, 250])) / 2, abs=3)


def test_what_is_in_the_mouth_is_seen_through_the_lips_alone(head, camera):
    model = head.model
    expression = np.zeros(model.expression_count, np.float32)
    closed = shot(head, camera, model.vertices(head.shape, expression), [card(0.0, (250, 0, 250), in_mouth=True)])
    expression[model.expression_names.index("jawOpen")] = 0.8
    wide = shot(head, camera, model.vertices(head.shape, expression), [card(0.0, (250, 0, 250), in_mouth=True)])
    shown = (np.abs(wide.astype(int) - (250, 0, 250)).max(axis=2) < 9).nonzero()
    lips = camera.project(model.landmarks(head.shape, expression))[60:68, :2]
    assert len(shown[0]) > 10
    assert np.column_stack(shown[::-1]).min(axis=0) == pytest.approx(lips.min(axis=0), abs=6)
    assert not (np.abs(closed.astype(int) - (250, 0, 250)).max(axis=2) < 9).sum() > 3


def test_lamps_have_sides_colours_and_shadows(head, camera, face):
    right = Lamp((1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    lit = shot(head, camera, face, light=Light((0.2, 0.2, 0.2), (right,), specular=0.0)).astype(float)
    even = shot(head, camera, face, light=Light((0.2, 0.2, 0.2), (), specular=0.0)).astype(float)
    added = lit - even
    cheeks = camera.project(head.model.landmarks(head.shape, np.zeros(head.model.expression_count, np.float32)))[
        [3, 13]
    ]
    left_red, right_red = (added[int(y), int(x), 2] for x, y, _ in cheeks + np.array([[4, 0, 0], [-4, 0, 0]]))
    assert right_red > left_red + 20
    assert np.abs(added[..., :2]).max() <= 1
    above = Lamp((0.0, -0.9, 0.436), (1.0, 1.0, 1.0))
    plain, cast = (
        shot(head, camera, face, light=Light((0.2,) * 3, (Lamp(above.direction, above.color, shadows),), 0.0))
        for shadows in (False, True)
    )
    assert (cast.astype(int) - plain).max() <= 1
    under_nose = camera.project(head.model.landmarks(head.shape, np.zeros(head.model.expression_count, np.float32)))[51]
    x, y = under_nose[:2].astype(int)
    assert cast[y - 4 : y, x - 2 : x + 3].mean() < 0.9 * plain[y - 4 : y, x - 2 : x + 3].mean()


def test_lighting_is_unit_vectors_and_follows_the_skin():
    dark, pale = (
        np.mean([any_lighting(skin, np.random.default_rng(seed)).ambient for seed in range(40)])
        for skin in ((30.0, 40.0, 60.0), (160.0, 180.0, 210.0))
    )
    assert dark > 1.3 * pale
    light = any_lighting((100.0, 120.0, 150.0), np.random.default_rng(0))
    assert all(np.linalg.norm(lamp.direction) == pytest.approx(1) for lamp in light.lamps)
