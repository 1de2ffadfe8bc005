from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from builders import make_face_model
from tddfa.modelling import mediapipe, teacher
from tddfa.modelling.teacher import Detections, Labels, Positions

UPPER_LID, LOWER_LID = [384, 385, 386, 387, 388], [381, 380, 374, 373, 390]
UPPER_LIP, LOWER_LIP = [81, 82, 13, 312, 311], [178, 87, 14, 317, 402]


@pytest.fixture(scope="module")
def model(aligner):
    return aligner.face_model


@pytest.fixture(scope="module")
def stored():
    arrays = teacher.stored_arrays()
    assert str(arrays["points_mediapipe_licence"]) == teacher.LICENCE
    return Positions(arrays["points_mediapipe_triangles"], arrays["points_mediapipe_weights"])


@pytest.fixture(scope="module")
def places(model, stored):
    """The points on the mean face."""
    return stored.on(model.mean)


@pytest.fixture(scope="module")
def mirrored(places):
    distance = np.linalg.norm((places * [-1, 1, 1])[:, None] - places[None], axis=2)
    return linear_sum_assignment(distance)[1]


def expressed(model, stored, name):
    weights = np.zeros(model.expression_count, np.float32)
    weights[model.expression_names.index(name)] = 1
    return stored.on(model.vertices(np.zeros(model.shape_count, np.float32), weights))


def test_the_stored_positions_have_the_documented_layout(stored):
    assert stored.triangles.shape == stored.weights.shape == (mediapipe.COUNT, 3)
    assert stored.triangles.dtype == np.int32 and stored.weights.dtype == np.float32
    assert teacher.STORED.stat().st_size < 16_000


def test_the_licence_is_named():
    assert "Apache-2.0" in teacher.LICENCE and "Google" in teacher.LICENCE


def test_weights_are_barycentric(stored):
    assert stored.weights.min() >= 0
    np.testing.assert_allclose(stored.weights.sum(axis=1), 1, atol=1e-6)


def test_triangles_are_those_of_the_first_edition(first_model, stored):
    # the second edition splits some at the rim, and keeps their vertices
    present = {frozenset(triangle) for triangle in first_model.triangles.tolist()}
    assert all(frozenset(triangle) in present for triangle in stored.triangles.tolist())


def test_irises_are_on_the_eyeballs_and_the_rest_is_on_the_face(model, stored):
    part = model.part[stored.triangles]
    assert not part[: mediapipe.SURFACE_COUNT].any()
    assert (part[468:473] == 2).all() and (part[473:478] == 1).all()


def test_positions_are_symmetric(places, mirrored):
    np.testing.assert_array_equal(mirrored[mirrored], np.arange(mediapipe.COUNT))
    assert [mirrored[point] for point in (33, 61, 468, 469, 470, 471, 472)] == [263, 291, 473, 476, 475, 474, 477]
    # what remains is the difference of the triangles of both sides
    distance = np.linalg.norm(places[mirrored] * [-1, 1, 1] - places, axis=1)
    assert distance.max() < 0.03 and np.median(distance) < 0.005


def test_irises_are_circles_of_a_human_size(places):
    for centre in (468, 473):
        radius = np.linalg.norm(places[centre + 1 : centre + 5, :2] - places[centre, :2], axis=1)
        np.testing.assert_allclose(radius, radius[0], atol=1e-3)
        assert 0.5 < radius[0] < 0.62  # cm
    np.testing.assert_array_equal(np.argmax(places[474:478, :2], axis=0), [0, 1])


def test_irises_are_in_front_of_the_crease_of_the_eyeballs(first_model, places):
    model = first_model
    for part, first in mediapipe.IRISES.items():
        ball = model.triangles[model.part[model.triangles[:, 0]] == part]
        centre, radius = mediapipe.iris_circle(model, ball)
        np.testing.assert_allclose(places[first, :2], centre, atol=0.01)
        np.testing.assert_allclose(np.linalg.norm(places[first + 1, :2] - centre), radius, atol=0.01)


def test_lids_close(model, stored, places):
    gap = places[UPPER_LID, 1] - places[LOWER_LID, 1]
    blinking = expressed(model, stored, "eyeBlinkLeft")
    assert (gap > 0.4).all()
    assert np.abs(blinking[UPPER_LID, 1] - blinking[LOWER_LID, 1]).max() < 0.4 * gap.max()


def test_lids_touch_the_eyeballs(model, places):
    ball = model.mean[model.part == 1]
    lids, around = places[UPPER_LID + LOWER_LID], places[[257, 258, 259, 253, 252, 254]]
    assert distance_to(ball, lids).max() < 0.3 < distance_to(ball, around).min()


def distance_to(vertices, points):
    return np.linalg.norm(points[:, None] - vertices[None], axis=2).min(axis=1)


def test_lips_touch_and_open(model, stored, places):
    opened = expressed(model, stored, "jawOpen")
    assert (places[UPPER_LIP, 1] - places[LOWER_LIP, 1]).max() < 0.35
    assert (opened[UPPER_LIP, 1] - opened[LOWER_LIP, 1]).min() > 1
    upper, lower = (np.linalg.norm((opened - places)[lip], axis=1) for lip in (UPPER_LIP, LOWER_LIP))
    assert (upper < 0.25 * lower).all()


def test_simplex_minimum_agrees_with_a_fine_grid(rng):
    corners = rng.normal(size=(40, 3, 3)) + rng.normal(size=(40, 1, 3))
    quadratic = corners @ corners.transpose(0, 2, 1)
    weights, minimum = mediapipe.simplex_minimum(quadratic)
    steps = np.linspace(0, 1, 101)
    grid = np.array([(a, b, 1 - a - b) for a in steps for b in steps if a + b <= 1 + 1e-9])
    tried = np.einsum("gi,tij,gj->tg", grid, quadratic, grid).min(axis=1)
    assert (minimum <= tried + 1e-12).all() and (minimum > tried - 0.02).all()
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_simplex_minimum_of_degenerate_triangles():
    weights, minimum = mediapipe.simplex_minimum(np.stack([np.zeros((3, 3)), np.ones((3, 3))]))
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(minimum, [0, 1])


def test_closest_position_of_a_point_beside_a_triangle():
    corners = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[5, 0, 0], [6, 0, 0], [5, 1, 0]]], dtype=float)
    assert mediapipe.closest_position(np.array([0.5, -2, 1]), corners)[0] == 0
    np.testing.assert_allclose(mediapipe.closest_position(np.array([0.5, -2, 1]), corners)[1], [0.5, 0.5, 0])


def grid_model():
    """A symmetric curved sheet of 41 by 41 vertices with one shape and one expression."""
    x, y = np.meshgrid(np.linspace(-7, 7, 41), np.linspace(-7, 7, 41))
    mean = np.stack([x, y, 12 - 0.08 * (x * x + y * y)], axis=2).reshape(-1, 3).astype(np.float32)
    corner = (np.arange(40)[:, None] * 41 + np.arange(40)).reshape(-1)
    triangles = np.concatenate(
        [np.stack([corner, corner + 1, corner + 42], 1), np.stack([corner, corner + 42, corner + 41], 1)]
    )
    basis = np.zeros((2, len(mean), 3), np.float32)
    basis[0, :, 2] = np.cos(mean[:, 0]) * np.sin(mean[:, 1])
    basis[1, :, 1] = 0.3 * np.sin(mean[:, 1])
    return make_face_model(
        mean=mean,
        basis=basis,
        shape_count=1,
        triangles=triangles.astype(np.int32),
        part=np.zeros(len(mean), np.uint8),
        landmark_triangles=np.zeros((68, 3), np.int32),
        expression_names=("a",),
    )


def made_up_positions(model, rng):
    """Twelve positions, of which two times six are mirror images, and the detections of them in 200 crops."""
    places = rng.uniform(0.5, 5, (6, 2)) * [1, 1]
    places[:, 1] = np.linspace(-5, 5, 6)
    both = np.concatenate([places, places * [-1, 1]])
    corners = model.mean[model.triangles].astype(float)[..., :2]
    chosen = [mediapipe.closest_position(place, corners) for place in both]
    wanted = Positions(
        model.triangles[[triangle for triangle, _ in chosen]], np.array([w for _, w in chosen], dtype=np.float32)
    )
    angle, roll = np.radians(rng.uniform(-30, 30, 200)), np.radians(rng.uniform(-15, 15, 200))
    camera = np.zeros((200, 3, 4))
    for row, (yaw, tilt) in enumerate(zip(angle, roll, strict=True)):
        turned = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, -1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        rolled = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
        camera[row, :, :3] = 6 * rolled @ turned
        camera[row, :2, 3] = 80
    labels = Labels(camera, rng.uniform(-0.3, 0.3, (200, 2)))
    mirrored = np.roll(np.arange(12), 6)
    points = wanted.project(model, labels)
    source = np.where(np.arange(200) % 2, "one", "two")
    return wanted, Detections(points, mirrored, np.zeros((200, 12)), labels, source)


def test_the_derivation_recovers_positions(rng):
    model = grid_model()
    wanted, detections = made_up_positions(model, rng)
    points = detections.points + rng.normal(0, 0.3, detections.points.shape)
    points[::10] += rng.uniform(-40, 40, points[::10].shape)  # outliers
    # labels half a pixel and one pixel off
    moved = Detections(
        points, detections.mirrored, detections.disagreement, detections.labels, detections.source
    ).with_offsets({"one": -0.5, "two": -1.0})
    positions, offsets = mediapipe.surface_positions(model, moved)
    assert offsets == {"one": pytest.approx(0.5, abs=0.15), "two": pytest.approx(1.0, abs=0.15)}
    distance = np.linalg.norm(positions.on(model.mean) - wanted.on(model.mean), axis=1)
    assert distance.max() < 0.1 and distance.mean() < 0.05  # 0.6 and 0.3 px


def test_mirror_order_of_points(rng):
    points = rng.uniform(0, 100, (5, 8, 2))
    order = np.array([1, 0, 2, 4, 3, 5, 7, 6])
    flipped = points[:, order] + rng.normal(0, 1, points.shape)
    np.testing.assert_array_equal(teacher.mirror_order(points, flipped), order)


def test_both_passes_are_united(rng):
    points = rng.uniform(20, 140, (9, 6, 2)).astype(np.float32)
    flipped = (points * [-1, 1] + [159, 0]).astype(np.float32)
    labels = Labels(np.zeros((9, 3, 4)), np.zeros((9, 1)))
    # a teacher that puts all points a quarter of a pixel too far to the right and down
    united = Detections.of(points + 0.25, flipped + 0.25, 160, labels, np.full(9, "one"))
    np.testing.assert_allclose(united.points, points, atol=1e-4)
    np.testing.assert_allclose(united.disagreement, 0.5, atol=1e-4)


def test_a_model_without_irises_is_refused():
    model = grid_model()
    with pytest.raises(ValueError, match="crease of an iris"):
        mediapipe.iris_circle(model, model.triangles)


@pytest.mark.evaluation
def test_evaluation_reports_each_region(root, model, stored):
    """The positions in the crops of the training part, against landmarks of the same labels."""
    labels = root.parent / "shared/train/labels.npz"
    if not labels.is_file():
        pytest.skip("../shared/train is missing: labelled crops")
    with np.load(labels) as arrays:
        rows = np.flatnonzero(~arrays["validation"])[:50]
        coefficients = np.concatenate([arrays["shape"][rows], arrays["expression"][rows]], axis=1, dtype=np.float32)
        some = Labels(arrays["camera"][rows], coefficients)
    points = stored.project(model, some)
    detections = Detections(points + np.float32([3, 4]), np.arange(478), np.ones((50, 478)), some, np.full(50, "web"))
    report = mediapipe.evaluate(model, stored, detections)
    assert set(report) == {*mediapipe.REGIONS, "rest", "all"}
    assert 3 < report["all"][0] < 8  # 5 px of faces of about 90 px
    assert report["lids"][1] == pytest.approx(report["lids"][0], rel=0.2)
