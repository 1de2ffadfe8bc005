import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tddfa.model._basis import combine, combine_halves, reads_halves


def arrays(rng, count, points, faces):
    shapes = (points, 3), (count, points, 3), (faces, count)
    return tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes)


def combined(mean, basis, coefficients, matrices=None):
    out = np.full((len(coefficients), *mean.shape), np.nan, dtype=np.float32)
    combine(mean, basis, coefficients, out, matrices)
    return out


def oracle(mean, basis, coefficients, matrices=None):
    points = mean + np.tensordot(coefficients.astype(np.float64), basis.astype(np.float64), 1)
    if matrices is None:
        return points
    return np.einsum("fij,fpj->fpi", np.broadcast_to(matrices[:, :, :3], (len(points), 3, 3)), points) + np.swapaxes(
        matrices[:, :, 3:], 1, 2
    )


# groups of twelve, of four and of one vector; lengths around the width of vector registers and the size of a block
@pytest.mark.parametrize("count", [0, 1, 3, 4, 11, 12, 13, 31, 95])
@pytest.mark.parametrize(("points", "faces"), [(1, 1), (2, 3), (5, 1), (68, 1), (1365, 2), (1366, 2), (4001, 3)])
def test_points_equal_numpys_in_double(rng, count, points, faces):
    given = arrays(rng, count, points, faces)
    np.testing.assert_allclose(combined(*given), oracle(*given), rtol=1e-5, atol=1e-5)


needs_halves = pytest.mark.skipif(not reads_halves(), reason="a processor that reads numbers of 16 bits")


# lengths around the eight numbers that are read at a time; sizes of numbers down to the smallest (2**-24)
@needs_halves
@pytest.mark.parametrize("count", [0, 1, 3, 4, 11, 12, 13, 31, 95])
@pytest.mark.parametrize(("points", "faces"), [(1, 1), (2, 3), (3, 1), (68, 1), (1366, 2), (4001, 3)])
def test_numbers_of_16_bits_give_the_same_points(rng, count, points, faces):
    mean, basis, coefficients = arrays(rng, count, points, faces)
    basis = (basis * 10.0 ** rng.integers(-8, 3, basis.shape)).astype(np.float16)
    matrices = rng.normal(size=(faces, 3, 4)).astype(np.float32)
    for given in (None, matrices):
        out = np.full((faces, points, 3), np.nan, dtype=np.float32)
        combine_halves(mean, basis.view(np.uint16), coefficients, out, given)
        np.testing.assert_array_equal(out, combined(mean, basis.astype(np.float32), coefficients, given))


@needs_halves
def test_shapes_of_numbers_of_16_bits_are_checked(rng):
    mean, basis, coefficients = arrays(rng, 4, 6, 2)
    with pytest.raises(ValueError, match=r"coefficients: expected 3, one for each vector of the basis, got 4"):
        combine_halves(
            mean, basis[:3].astype(np.float16).view(np.uint16), coefficients, np.empty((2, 6, 3), np.float32)
        )


def test_a_large_mean_is_rounded_once(rng):
    mean, basis, coefficients = arrays(rng, 95, 500, 1)
    mean += np.float32(1000)
    error = np.abs(combined(mean, basis / 100, coefficients) - oracle(mean, basis / 100, coefficients))
    assert error.max() <= 1.05 * np.spacing(np.float32(1000)) / 2


@pytest.mark.parametrize(("points", "faces", "matrices"), [(1, 1, 1), (7, 1, 1), (300, 4, 1), (300, 4, 4)])
def test_matrices_project_the_points(rng, points, faces, matrices):
    """One of them for all faces, or one for each."""
    given = *arrays(rng, 17, points, faces), rng.normal(size=(matrices, 3, 4)).astype(np.float32)
    np.testing.assert_allclose(combined(*given), oracle(*given), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("faces", [0, 1, 2, 9])
def test_a_face_does_not_depend_on_the_others(rng, faces):
    mean, basis, coefficients = arrays(rng, 95, 3000, faces)
    together = combined(mean, basis, coefficients)
    assert together.shape == (faces, 3000, 3)
    for k in range(faces):
        np.testing.assert_array_equal(together[k], combined(mean, basis, coefficients[k : k + 1])[0])


def test_no_points_are_no_points(rng):
    assert combined(*arrays(rng, 5, 0, 2)).shape == (2, 0, 3)


def test_threads_share_a_basis(rng):
    mean, basis, coefficients = arrays(rng, 30, 5000, 16)
    expected = combined(mean, basis, coefficients)
    with ThreadPoolExecutor(4) as pool:
        faces = list(pool.map(lambda row: combined(mean, basis, row[None])[0], coefficients))
    np.testing.assert_array_equal(faces, expected)


def test_other_threads_run_meanwhile(rng):
    mean, basis, coefficients = arrays(rng, 95, 2000, 100)
    out = np.empty((len(coefficients), *mean.shape), np.float32)
    interval = sys.getswitchinterval()
    # a thread that holds the interpreter's lock keeps it, so that this one would wait until all is done
    sys.setswitchinterval(1000)
    try:
        ran_meanwhile = False
        for _ in range(20):
            started, ended = threading.Event(), threading.Event()

            def work(started=started, ended=ended):
                started.set()
                combine(mean, basis, coefficients, out)
                ended.set()

            thread = threading.Thread(target=work)
            thread.start()
            started.wait()
            ran_meanwhile |= not ended.is_set()
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert ran_meanwhile


@pytest.mark.parametrize("position", range(4))
def test_arrays_that_are_not_contiguous_are_refused(rng, position):
    given = [*arrays(rng, 4, 6, 2), np.empty((2, 6, 3), np.float32)]
    given[position] = np.repeat(given[position], 2, axis=-1)[..., ::2]
    with pytest.raises(ValueError, match="contiguous"):
        combine(*given)


@pytest.mark.parametrize("position", range(4))
def test_other_dtypes_are_refused(rng, position):
    given = [*arrays(rng, 4, 6, 2), np.empty((2, 6, 3), np.float32)]
    given[position] = given[position].astype(np.float64)
    with pytest.raises(ValueError, match="Buffer dtype mismatch"):
        combine(*given)


@pytest.mark.parametrize(
    ("position", "shape", "message"),
    [
        (0, (6, 2), r"mean, basis: expected shapes \(n, 3\) and \(k, n, 3\), got \(6, 2\)"),
        (1, (4, 5, 3), r"mean, basis: .* got \(6, 3\) and \(4, 5, 3\)"),
        (1, (4, 6, 2), r"mean, basis: .* got \(6, 3\) and \(4, 6, 2\)"),
        (2, (2, 5), "coefficients: expected 4, one for each vector of the basis, got 5"),
        (3, (1, 6, 3), r"out: expected shape \(2, 6, 3\), got \(1, 6, 3\)"),
        (3, (2, 6, 2), r"out: expected shape \(2, 6, 3\), got \(2, 6, 2\)"),
        (4, (1, 3, 3), r"matrices: expected shape \(1, 3, 4\) or \(2, 3, 4\), got \(1, 3, 3\)"),
        (4, (3, 3, 4), r"matrices: expected shape \(1, 3, 4\) or \(2, 3, 4\), got \(3, 3, 4\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(rng, position, shape, message):
    given = [*arrays(rng, 4, 6, 2), np.empty((2, 6, 3), np.float32), np.eye(3, 4, dtype=np.float32)[None]]
    given[position] = np.zeros(shape, np.float32)
    with pytest.raises(ValueError, match=message):
        combine(*given)


def test_a_read_only_result_is_refused(rng):
    out = np.empty((2, 6, 3), np.float32)
    out.setflags(write=False)
    with pytest.raises(ValueError, match="read-only"):
        combine(*arrays(rng, 4, 6, 2), out)
