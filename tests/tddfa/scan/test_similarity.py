import numpy as np
from scipy.spatial.transform import Rotation

from tddfa.scan.similarity import Similarity, fit_similarity, robust_similarity


def known(seed=3):
    return Similarity(Rotation.random(random_state=seed).as_matrix(), 0.1, np.array([5.0, -2, 30]))


def test_the_inverse_undoes_it(rng):
    points = rng.normal(size=(9, 3))
    np.testing.assert_allclose(known().inverse(known()(points)), points, atol=1e-9)


def test_fit_finds_the_similarity(rng):
    points = rng.normal(size=(20, 3)) * 40
    fitted = fit_similarity(points, known()(points))
    np.testing.assert_allclose(fitted.rotation, known().rotation, atol=1e-9)
    np.testing.assert_allclose([fitted.scale, *fitted.shift], [known().scale, *known().shift], atol=1e-9)


def test_fit_never_reflects(rng):
    points = rng.normal(size=(20, 3)) * 40
    assert np.linalg.det(fit_similarity(points, points * [-1, 1, 1]).rotation) > 0.999


def test_a_third_of_wrong_points_does_not_matter(rng):
    points = rng.normal(size=(68, 3)) * 40
    target = known()(points + rng.normal(0, 1, points.shape))
    wrong = rng.permutation(68)[:22]
    target[wrong] = known()(rng.normal(size=(22, 3)) * 60)
    found, agreement = robust_similarity(points, target, np.ones(68), 15.0, rng)
    assert np.degrees(Rotation.from_matrix(found.rotation @ known().rotation.T).magnitude()) < 2
    assert abs(found.scale / 0.1 - 1) < 0.03
    assert np.delete(agreement, wrong).min() > 0.9


def test_weights_of_few_digits_do_not_move_points_far_from_the_origin(rng):
    source = rng.normal(size=(68, 3)) * 50
    target = source + np.array([4.5e6, 7e5, 0])
    found = fit_similarity(source, target, rng.random(68, dtype=np.float32))
    np.testing.assert_allclose(found(source), target, rtol=0, atol=1e-6)
