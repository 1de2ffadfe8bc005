import numpy as np
import pytest

from tddfa.scan.prior import LandmarkPrior


@pytest.fixture(scope="module")
def prior(aligner):
    return LandmarkPrior.of(aligner.face_model)


def test_unknown_landmarks_are_completed(prior, rng):
    z = rng.normal(0, 0.6, len(prior.basis)) * (np.arange(len(prior.basis)) < 40)
    face = prior.mean + np.tensordot(z, prior.basis, axes=1)
    seen = 0.1 * face + [3.0, 2, 1]
    hidden = np.zeros(68, bool)
    hidden[[3, 4, 5, 36, 37, 41, 48, 59]] = True
    given = np.where(hidden[:, None], seen + 5, seen)
    similarity, fitted = prior.completed(given, (~hidden).astype(float))
    error = np.linalg.norm(fitted - seen, axis=1)[hidden] / 0.1
    by_mean = np.linalg.norm(similarity(prior.mean) - seen, axis=1)[hidden] / 0.1
    assert error.mean() < 2.0 < by_mean.mean() + 1
    assert error.mean() < 0.6 * by_mean.mean()
    assert similarity.scale == pytest.approx(0.1, rel=0.06)
