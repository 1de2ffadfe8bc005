# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Products of coefficients and a basis. NumPy's would wait for BLAS's threads, which is slow where cores are shared."""

from libc.stdint cimport int64_t


cdef extern from "basis.h" namespace "tddfa" nogil:
    cdef struct Basis:
        const float *mean
        const float *vectors
        int64_t count
        int64_t length

    void c_combine "tddfa::combine"(const Basis &basis, const float *coefficients, int64_t faces, float *out)
    void c_project "tddfa::project"(const float *matrix, float *points, int64_t count)


def combine(
    const float[:, ::1] mean,
    const float[:, :, ::1] basis,
    const float[:, ::1] coefficients,
    float[:, :, ::1] out,
    const float[:, :, ::1] matrices=None,
):
    """`out` is the mean plus the combination of the basis, for each row of coefficients.

    With camera matrices (faces, 3, 4), or one of them for all faces (1, 3, 4), the points are projected too.
    """
    cdef int64_t points = mean.shape[0], faces = coefficients.shape[0], k
    cdef Basis arguments
    cdef const float *factors = NULL
    if mean.shape[1] != 3 or basis.shape[1] != points or basis.shape[2] != 3:
        raise ValueError(
            f"mean, basis: expected shapes (n, 3) and (k, n, 3), got ({points}, {mean.shape[1]}) and "
            f"({basis.shape[0]}, {basis.shape[1]}, {basis.shape[2]})")
    if coefficients.shape[1] != basis.shape[0]:
        raise ValueError(
            f"coefficients: expected {basis.shape[0]}, one for each vector of the basis, got {coefficients.shape[1]}")
    if out.shape[0] != faces or out.shape[1] != points or out.shape[2] != 3:
        raise ValueError(
            f"out: expected shape ({faces}, {points}, 3), got ({out.shape[0]}, {out.shape[1]}, {out.shape[2]})")
    if matrices is not None and (
            matrices.shape[0] not in (1, faces) or matrices.shape[1] != 3 or matrices.shape[2] != 4):
        raise ValueError(
            f"matrices: expected shape (1, 3, 4) or ({faces}, 3, 4), got "
            f"({matrices.shape[0]}, {matrices.shape[1]}, {matrices.shape[2]})")
    if faces == 0 or points == 0:
        return
    arguments = Basis(&mean[0, 0], NULL, basis.shape[0], 3 * points)
    if arguments.count > 0:
        arguments.vectors = &basis[0, 0, 0]
        factors = &coefficients[0, 0]
    with nogil:
        c_combine(arguments, factors, faces, &out[0, 0, 0])
        if matrices is not None:
            for k in range(faces):
                c_project(&matrices[k if matrices.shape[0] > 1 else 0, 0, 0], &out[k, 0, 0], points)
