# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Decoding of a network's outputs in rows of its prior boxes; the arrays are checked in decoding.py."""

from libc.math cimport expf, isfinite, sqrt


cdef inline double dot(const double *a, const double *b) noexcept nogil:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


cdef inline double length(const double *a, double shortest) noexcept nogil:
    return max(sqrt(dot(a, a)), shortest)


cdef void rotation(const float *numbers, double shortest, float *matrix) noexcept nogil:
    """The first two columns of a matrix, made orthonormal, and the third."""
    cdef double x[3]
    cdef double y[3]
    cdef double along, scale
    cdef int i, j, k
    for i in range(3):
        x[i], y[i] = numbers[i], numbers[3 + i]
    scale = length(x, shortest)
    for i in range(3):
        x[i] /= scale
    along = dot(x, y)
    for i in range(3):
        y[i] -= along * x[i]
    scale = length(y, shortest)
    for i in range(3):
        y[i] /= scale
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        matrix[3 * i] = <float>x[i]
        matrix[3 * i + 1] = <float>y[i]
        matrix[3 * i + 2] = <float>(x[j] * y[k] - x[k] * y[j])


cdef inline bint all_finite(const float *values, int count) noexcept nogil:
    cdef int i
    for i in range(count):
        if not isfinite(values[i]):
            return False
    return True


def decode(
    const float[:, ::1] priors,
    const float[::1] scores,
    const float[:, ::1] offsets,
    const float[:, ::1] points,
    const float[:, ::1] rotations,
    const float min_score,
    const float centre_variance,
    const float size_variance,
    const double shortest,
    float[:, ::1] out_xyxy,
    float[::1] out_scores,
    float[:, ::1] out_points,
    float[:, ::1] out_rotations,
):
    """Decode the priors with a score over the minimum, in their order, and return how many there are.

    `points` and `rotations` may be None, and so may their results. The results have room for all priors with such a
    score. One with a number that is NaN or infinite is left out.
    """
    cdef Py_ssize_t row, n = scores.shape[0], count = 0
    cdef int i
    cdef bint has_points = points is not None, has_rotations = rotations is not None
    cdef float x, y, side, unit, centre_x, centre_y, half_w, half_h
    with nogil:
        for row in range(n):
            if not (scores[row] > min_score):
                continue
            x, y, side = priors[row, 0], priors[row, 1], priors[row, 2]
            unit = centre_variance * side
            centre_x, centre_y = x + offsets[row, 0] * unit, y + offsets[row, 1] * unit
            half_w = <float>0.5 * side * expf(size_variance * offsets[row, 2])
            half_h = <float>0.5 * side * expf(size_variance * offsets[row, 3])
            out_xyxy[count, 0], out_xyxy[count, 1] = centre_x - half_w, centre_y - half_h
            out_xyxy[count, 2], out_xyxy[count, 3] = centre_x + half_w, centre_y + half_h
            out_scores[count] = scores[row]
            if not (isfinite(scores[row]) and all_finite(&out_xyxy[count, 0], 4)):
                continue
            if has_points:
                for i in range(5):
                    out_points[count, 2 * i] = x + points[row, 2 * i] * unit
                    out_points[count, 2 * i + 1] = y + points[row, 2 * i + 1] * unit
                if not all_finite(&out_points[count, 0], 10):
                    continue
            if has_rotations:
                rotation(&rotations[row, 0], shortest, &out_rotations[count, 0])
                if not all_finite(&out_rotations[count, 0], 9):
                    continue
            count += 1
    return count
