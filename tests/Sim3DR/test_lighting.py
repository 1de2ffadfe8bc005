"""Light on normals whose answer is known."""

import numpy as np
import pytest

from Sim3DR import shade


def test_a_normal_towards_light_and_viewer_gets_everything():
    light = shade([[0, 0, 1]], ambient=0.2, directional=0.5, specular=0.25)
    np.testing.assert_allclose(light.diffuse, [0.7], atol=1e-6)
    np.testing.assert_allclose(light.specular, [0.25], atol=1e-6)


def test_surfaces_that_face_away_or_have_no_normal_get_ambient_light_only():
    light = shade([[0, 0, -1], [1, 0, 0], [0, 0, 0]], ambient=0.2)
    np.testing.assert_allclose(light.diffuse, 0.2, atol=1e-6)
    np.testing.assert_array_equal(light.specular, 0)


@pytest.mark.parametrize("exponent", [1, 2, 2.5, 4, 5, 8, 16, 40])
def test_the_formula_of_phong(exponent):
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(500, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    to_light, to_view = np.array([1.0, -2.0, 3.0]), np.array([0.5, 0.5, 2.0])
    light = shade(
        normals,
        ambient=0.1,
        directional=0.7,
        specular=0.4,
        exponent=exponent,
        light_direction=to_light,
        view_direction=to_view,
    )
    to_light, to_view = to_light / np.linalg.norm(to_light), to_view / np.linalg.norm(to_view)
    for normal, diffuse, specular in zip(normals, light.diffuse, light.specular, strict=True):
        facing = normal @ to_light
        mirror = 2 * np.outer(normal, normal) - np.eye(3)  # half a turn about the normal
        highlight = max(0.0, (mirror @ to_light) @ to_view) ** exponent if facing > 0 else 0.0
        assert diffuse == pytest.approx(0.1 + 0.7 * max(0.0, facing), abs=1e-5)
        assert specular == pytest.approx(0.4 * highlight, abs=2e-5)


def test_the_highlight_depends_on_the_angle_alone():
    # a sum of fifth powers of the components would not
    turn = np.radians(40)
    directions = [[np.sin(turn), 0, np.cos(turn)], [0, np.sin(turn), np.cos(turn)]]
    directions.append([np.sin(turn) * np.sqrt(0.5), -np.sin(turn) * np.sqrt(0.5), np.cos(turn)])
    np.testing.assert_allclose(shade(directions).specular, 0.1 * np.cos(2 * turn) ** 5, atol=1e-6)


def test_light_from_above_falls_on_surfaces_that_face_up():
    up, down = [0, -1, 0], [0, 1, 0]
    diffuse = shade([up, down], light_direction=(0, -7, 0)).diffuse
    np.testing.assert_allclose(diffuse, [0.9, 0.3], atol=1e-6)


def test_shapes_types_and_the_input_stay():
    normals = np.random.default_rng(1).normal(size=(4, 5, 3))
    kept = normals.copy()
    light = shade(normals)
    assert light.diffuse.shape == light.specular.shape == (4, 5)
    assert light.diffuse.dtype == light.specular.dtype == np.float32
    np.testing.assert_array_equal(normals, kept)
    np.testing.assert_array_equal(light.diffuse[2], shade(normals[2]).diffuse)
    assert shade(np.zeros((0, 3))).diffuse.shape == (0,)
    single = shade([0, 0, 1])
    assert single.diffuse.shape == single.specular.shape == ()
    assert isinstance(single.diffuse, np.ndarray)
    assert isinstance(single.specular, np.ndarray)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"normals": [[0, 1]]}, ValueError, r"normals: expected shape \(1, 3\), got \(1, 2\)"),
        ({"normals": 1.0}, ValueError, r"normals: expected shape \(n, 3\), got \(\)"),
        ({"normals": [[np.nan, 0, 1]]}, ValueError, "normals: expected finite"),
        ({"normals": [["x", "y", "z"]]}, TypeError, "normals: expected numbers"),
        ({"ambient": -0.1}, ValueError, "ambient: expected a finite number, at least 0, got -0.1"),
        ({"directional": np.nan}, ValueError, "directional: expected a finite number"),
        ({"specular": np.inf}, ValueError, "specular: expected a finite number"),
        ({"specular": "much"}, TypeError, "specular: expected a number, got 'much'"),
        ({"exponent": [1, 2]}, TypeError, "exponent: expected a number"),
        ({"exponent": None}, TypeError, "exponent: expected a number, got None"),
        ({"exponent": 1j}, TypeError, "exponent: expected a number, got 1j"),
        ({"exponent": [[1], [2, 3]]}, TypeError, "exponent: expected a number"),
        ({"exponent": 10**400}, ValueError, "exponent: expected a finite number"),
        ({"exponent": 0}, ValueError, "exponent: expected a finite number, "),
        (
            {"light_direction": (0, 0, 0)},
            ValueError,
            "light_direction: expected a direction that is not zero",
        ),
        ({"light_direction": (0, 1)}, ValueError, r"light_direction: expected shape \(3\), got \(2,\)"),
        ({"view_direction": (0, np.inf, 1)}, ValueError, "view_direction: expected finite"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        shade(**{"normals": [[0, 0, 1]], **arguments})
