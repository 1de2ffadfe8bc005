from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from tddfa.fitting.landmarks import Fit, Prior, VertexMap, fit, unsure_jaw
from tddfa.fitting.least_squares import bounded_least_squares
from tddfa.geometry.camera import Camera
from tddfa.train.synthesis.edits import another_expression

LIDS = ([37, 38, 43, 44], [41, 40, 47, 46])


@pytest.fixture(scope="module")
def people(face_model):
    """Shapes, expressions, cameras and their landmarks (n, 68, 3)."""
    rng = np.random.default_rng(3)
    shape = rng.normal(0, 0.8, (12, 40)).astype(np.float32)
    none = np.zeros(55, np.float32)
    expression = np.stack([another_expression(none, face_model.expression_names, rng) for _ in range(12)])
    camera = np.stack(
        [
            Camera.from_pose(yaw, rng.normal(0, 12), rng.normal(0, 25), rng.uniform(3, 30), (80, 300, 5)).matrix
            for yaw in np.linspace(-80, 80, 12)
        ]
    )
    return shape, expression, camera, projected(Fit(camera, shape, expression, np.zeros(12, np.float32)), face_model)


def projected(fits, model, where=None):
    points = (
        model.landmarks(fits.shape, fits.expression)
        if where is None
        else where.on(model.vertices(fits.shape, fits.expression))
    )
    return points @ fits.camera[:, :, :3].transpose(0, 2, 1) + fits.camera[:, None, :, 3]


def turned_by(first, second):
    """Angle between the rotations of cameras, degrees."""
    cosine = [(np.trace(Camera(a).rotation @ Camera(b).rotation.T) - 1) / 2 for a, b in zip(first, second, strict=True)]
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


@pytest.mark.parametrize("axes", [2, 3])
def test_landmarks_poses_and_lid_gaps_are_recovered(people, face_model, axes):
    _, _, camera, points = people
    fits = fit(points[..., :axes], face_model)
    size = 15.5 * np.array([Camera(matrix).scale for matrix in camera])
    again = projected(fits, face_model)
    distance = np.linalg.norm((again - points)[..., :2], axis=2) / size[:, None]
    assert distance.mean(axis=1).max() < 0.012
    weights = np.where(unsure_jaw(fits.camera, face_model), Prior().jaw, 1.0) if axes == 2 else np.ones_like(distance)
    assert fits.error == pytest.approx(100 * np.average(distance, axis=1, weights=weights), rel=0.3)
    assert np.median(turned_by(fits.camera, camera)) < (1.0 if axes == 2 else 0.4)
    assert turned_by(fits.camera, camera).max() < 3
    gaps = [np.linalg.norm((p[:, LIDS[0]] - p[:, LIDS[1]])[..., :2], axis=2) for p in (again, points)]
    assert (np.abs(gaps[0] - gaps[1]) / size[:, None]).mean() < 0.0015
    assert fits.expression.min() >= 0
    assert fits.expression.max() <= 1
    assert all(np.ptp(np.linalg.norm(matrix[:, :3], axis=1)) < 1e-3 for matrix in fits.camera)


def test_pairs_close_the_eyes(face_model):
    names = face_model.expression_names
    shape = np.random.default_rng(1).normal(0, 1, (4, 40)).astype(np.float32)
    expression = np.zeros((4, 55), np.float32)
    expression[:, names.index("eyeBlinkLeft")] = expression[:, names.index("eyeBlinkRight")] = 1
    camera = np.stack([Camera.from_pose(yaw, 5, 0, 6, (80, 80, 0)).matrix for yaw in (-30, -5, 10, 40)])
    truth = Fit(camera, shape, expression, np.zeros(4, np.float32))
    noise = np.repeat(np.random.default_rng(2).normal(0, 0.6, (4, 17, 2)), 4, axis=1)
    points = projected(truth, face_model)[..., :2]
    noisy = points.copy()
    noisy[:, :17] += noise[:, :17]

    def gap_error(prior):
        again = projected(fit(noisy, face_model, prior=prior), face_model)[..., :2]
        gaps = [np.linalg.norm(p[:, LIDS[0]] - p[:, LIDS[1]], axis=2) for p in (again, points)]
        return np.abs(gaps[0] - gaps[1]).mean()

    assert gap_error(Prior()) < 0.1  # px, of eyes 15 px wide
    assert gap_error(Prior()) < 0.7 * gap_error(Prior(pairs=0))


def test_many_fits_equal_single_fits(people, face_model):
    points = people[3][..., :2]
    together = fit(points, face_model)
    for i in (0, 5, 11):
        alone = fit(points[i : i + 1], face_model)
        assert alone.camera[0] == pytest.approx(together.camera[i], abs=0.02)
        assert alone.expression[0] == pytest.approx(together.expression[i], abs=0.01)


def test_unknown_landmarks_do_not_count(people, face_model):
    points = people[3][..., :2].copy()
    points[0, 3:17] = np.nan
    points[1] = np.nan
    points[2, 5:] = np.nan
    fits = fit(points, face_model)
    assert np.isfinite(fits.error[[0, *range(3, 12)]]).all()
    assert fits.error[0] < 1.3
    assert np.isnan(fits.error[1:3]).all()
    assert not fits.camera[1:3].any()
    assert not fits.shape[1:3].any()
    wrong = people[3][..., :2].copy()
    wrong[0, 30] += 500
    weights = np.ones((12, 68))
    weights[0, 30] = 0
    assert fit(wrong, face_model, weights=weights).expression[0] == pytest.approx(
        fit(np.where(weights[..., None] > 0, wrong, np.nan), face_model).expression[0], abs=1e-4
    )


def test_any_vertices_of_any_model(people, face_model):
    """Other landmarks, coefficients of another scale, and no bounds."""
    shape, expression, camera, _ = people
    where = VertexMap.of_vertices(np.flatnonzero(face_model.part == 0)[::60])
    basis = face_model.basis.copy()
    basis[:40] *= 1e-4
    other = replace(face_model, basis=basis, expression_range=None)
    truth = Fit(camera, shape * 1e4, expression, np.zeros(12, np.float32))
    points = projected(truth, other, where)
    fits = fit(points, other, where, Prior(shape=None, expression=None))
    assert fits.error.max() < 0.6
    assert np.abs(fits.shape).max() > 1e3
    assert np.median(turned_by(fits.camera, camera)) < 1


def test_no_faces_are_an_empty_fit(face_model):
    fits = fit(np.zeros((0, 68, 2)), face_model)
    assert fits.camera.shape == (0, 3, 4)
    assert fits.expression.shape == (0, 55)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: fit(np.zeros((1, 67, 2)), m), "landmarks: expected shape"),
        (lambda m: fit(np.zeros((68, 2)), m), "landmarks: expected shape"),
        (lambda m: fit(np.zeros((1, 68, 2)), m, weights=-np.ones((1, 68))), "weights: expected 0 or more"),
        (lambda m: fit(np.zeros((1, 68, 2)), m, weights=np.ones((2, 68))), "weights: expected shape"),
        (lambda m: Prior(noise=0), "Prior.noise"),
        (lambda m: Prior(pairs=-1), "Prior.pairs"),
    ],
)
def test_errors_name_the_argument(face_model, call, message):
    with pytest.raises(ValueError, match=message):
        call(face_model)


def test_bounded_least_squares_against_scipy():
    rng = np.random.default_rng(0)
    jacobian = rng.normal(0, 1, (20, 30, 12)) * np.geomspace(1, 0.05, 12)
    target = rng.normal(0, 2, (20, 30))
    low, high = np.where(np.arange(12) < 3, -np.inf, 0.0), np.where(np.arange(12) < 3, np.inf, 1.0)
    normal = jacobian.transpose(0, 2, 1) @ jacobian
    solution = bounded_least_squares(normal, np.einsum("nrm,nr->nm", jacobian, target), low, high)
    assert (solution >= low).all()
    assert (solution <= high).all()
    for i in range(20):
        exact = lsq_linear(jacobian[i], target[i], (low, high), tol=1e-14)
        assert solution[i] == pytest.approx(exact.x, abs=1e-4)


def test_the_jaw_of_a_turned_face_is_unsure(face_model):
    cameras = np.stack([Camera.from_pose(yaw, 0, 0, 10, (0, 0, 0)).matrix for yaw in (0, 8, 25, -25, 80)])
    front, little, left, right, profile = unsure_jaw(cameras, face_model)
    assert not front.any()
    assert not little.any()
    assert left[[0, 1, 2, 3, 13, 14, 15, 16]].all()
    assert not left[7:10].any(), "the chin stays where it is"
    assert (left == right).all()
    assert profile[:17].sum() > left.sum()
    assert not profile[8]
    assert not profile[17:].any()
    assert unsure_jaw(cameras[:0], face_model).shape == (0, 68)


def test_an_outline_does_not_turn_the_face(face_model):
    none = np.zeros((1, 40), np.float32), np.zeros((1, 55), np.float32)
    camera = Camera.from_pose(35, 0, 0, 10, (100, 100, 0)).matrix[None]
    points = projected(Fit(camera, *none, np.zeros(1, np.float32)), face_model)[..., :2]
    outline = points.copy()
    outline[:, unsure_jaw(camera, face_model)[0], 0] += 10  # px, of a face of about 150
    wary, trusting = fit(outline, face_model), fit(outline, face_model, prior=Prior(jaw=1))
    turned = [turned_by(fits.camera, camera)[0] for fits in (wary, trusting)]
    assert turned[0] < 0.5 * turned[1]


class TestPersons:
    @pytest.fixture
    def noisy(self, people):
        points = people[3][..., :2]
        return (
            points + np.random.default_rng(5).normal(0, 0.01, points.shape) * np.ptp(points, axis=(1, 2))[:, None, None]
        )

    def test_one_face_of_each_person_is_fitted_as_without_persons(self, face_model, noisy):
        """Also where expressions end at a bound."""
        alone, named = fit(noisy, face_model), fit(noisy, face_model, persons=np.arange(len(noisy)))
        assert ((alone.expression == 0) | (alone.expression == 1)).mean() > 0.2
        np.testing.assert_allclose(named.shape, alone.shape, atol=0.02 * np.abs(alone.shape).max())
        np.testing.assert_allclose(named.error, alone.error, rtol=5e-3)

    def test_faces_without_landmarks_say_nothing_about_their_person(self, face_model, noisy):
        (expected,) = fit(noisy[:1], face_model, persons=[0]).shape
        for count in (1, 9):
            points = np.concatenate([noisy[:1], np.full((count, 68, 2), np.nan)])
            shape = fit(points, face_model, persons=[0] * (count + 1)).shape[0]
            np.testing.assert_allclose(shape, expected, atol=1e-3)


def test_coordinates_that_overflow(face_model):
    with pytest.raises(ValueError, match=r"landmarks: expected coordinates within 1e\+09 of 0"):
        fit(np.full((1, 68, 2), 1e300), face_model)
