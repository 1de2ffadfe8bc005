# cython: boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Loops over squares and cameras of a few faces: for so few numbers, calls of NumPy take longer than the work."""

from libc.math cimport M_PI, atan2, copysign, cos, fabs, fmax, fmin, sin
from libc.stdint cimport int64_t


ctypedef fused number:
    float
    double


cdef void _offset(const double *square, double size, double *x, double *y) noexcept nogil:
    """Image px of the centre of the first px of a crop."""
    cdef double scale = square[2] / size, half = (size - 1) / 2, c, s
    if square[3] == 0:
        x[0] = square[0] + 0.5 * scale
        y[0] = square[1] + 0.5 * scale
        return
    c, s = scale * cos(square[3] * (M_PI / 180)), scale * sin(square[3] * (M_PI / 180))
    x[0] = square[0] + square[2] / 2 - (c - s) * half
    y[0] = square[1] + square[2] / 2 - (s + c) * half


def offsets(const double[:, ::1] squares, int64_t size, double[:, ::1] out):
    cdef int64_t k
    for k in range(squares.shape[0]):
        _offset(&squares[k, 0], size, &out[k, 0], &out[k, 1])


def bounds(const double[:, ::1] squares, float[:, ::1] out):
    cdef int64_t k
    cdef double half, x, y
    for k in range(squares.shape[0]):
        half = squares[k, 2] / 2
        x, y = squares[k, 0] + half, squares[k, 1] + half
        if squares[k, 3] != 0:
            half *= fabs(cos(squares[k, 3] * (M_PI / 180))) + fabs(sin(squares[k, 3] * (M_PI / 180)))
        out[k, 0], out[k, 1] = <float>(x - half), <float>(y - half)
        out[k, 2], out[k, 3] = <float>(x + half), <float>(y + half)


def fold(const double[:, ::1] squares, const double[:, :, ::1] cameras, int64_t size, float[:, :, ::1] out):
    cdef int64_t k, i
    cdef double scale, c, s, x, y, a, b
    for k in range(squares.shape[0]):
        scale = squares[k, 2] / size
        c, s = cos(squares[k, 3] * (M_PI / 180)), sin(squares[k, 3] * (M_PI / 180))
        _offset(&squares[k, 0], size, &x, &y)
        for i in range(4):
            a, b = cameras[k, 0, i] * scale, cameras[k, 1, i] * scale
            if squares[k, 3] != 0:
                a, b = c * a - s * b, s * a + c * b
            out[k, 0, i] = <float>(a + x if i == 3 else a)
            out[k, 1, i] = <float>(b + y if i == 3 else b)
            out[k, 2, i] = <float>(cameras[k, 2, i] * scale)


def unfold(const double[:, ::1] squares, const float[:, :, ::1] cameras, int64_t size, float[:, :, ::1] out):
    cdef int64_t k, i
    cdef double scale, c, s, x, y, a, b
    for k in range(squares.shape[0]):
        scale = squares[k, 2] / size
        c, s = cos(squares[k, 3] * (M_PI / 180)), sin(squares[k, 3] * (M_PI / 180))
        _offset(&squares[k, 0], size, &x, &y)
        for i in range(4):
            a, b = <double>cameras[k, 0, i], <double>cameras[k, 1, i]
            if i == 3:
                a, b = a - x, b - y
            if squares[k, 3] != 0:
                a, b = c * a + s * b, c * b - s * a
            out[k, 0, i] = <float>(a / scale)
            out[k, 1, i] = <float>(b / scale)
            out[k, 2, i] = <float>(<double>cameras[k, 2, i] / scale)


def common_areas(const double[:, ::1] first, const double[:, ::1] second, double[::1] out):
    """Areas that pairs of upright squares have in common; returns whether all are upright."""
    cdef int64_t k
    cdef double width, height
    cdef bint upright = True
    for k in range(first.shape[0]):
        width = fmin(first[k, 0] + first[k, 2], second[k, 0] + second[k, 2]) - fmax(first[k, 0], second[k, 0])
        height = fmin(first[k, 1] + first[k, 2], second[k, 1] + second[k, 2]) - fmax(first[k, 1], second[k, 1])
        out[k] = fmax(width, 0) * fmax(height, 0)
        upright = upright and first[k, 3] == 0 and second[k, 3] == 0
    return upright


def around(
    const number[:, :, :] points, const double[::1] angles, double scale, double min_side, double[:, ::1] out
):
    cdef int64_t k, i
    cdef double c, s, x, y, u, v, side, left = 0, right = 0, top = 0, bottom = 0
    for k in range(points.shape[0]):
        c, s = (cos(angles[k] * (M_PI / 180)), sin(angles[k] * (M_PI / 180))) if angles[k] != 0 else (1.0, 0.0)
        for i in range(points.shape[1]):
            u, v = <double>points[k, i, 0], <double>points[k, i, 1]
            x, y = u * c + v * s, v * c - u * s
            if i == 0:
                left, right, top, bottom = x, x, y, y
            left, right, top, bottom = fmin(left, x), fmax(right, x), fmin(top, y), fmax(bottom, y)
        side = fmax(scale * fmax(right - left, bottom - top), min_side)
        u, v = (left + right) / 2, (top + bottom) / 2
        x, y = u * c - v * s, u * s + v * c
        out[k, 0], out[k, 1], out[k, 2], out[k, 3] = x - side / 2, y - side / 2, side, angles[k]


def rolls(const float[:, :, ::1] cameras, double[::1] roll, double[::1] seen):
    """Rolls, degrees, and how much of the faces is turned to the camera."""
    cdef int64_t k, i
    cdef const float *m
    cdef float squares[9]
    cdef double cosine, sine, total
    for k in range(cameras.shape[0]):
        m = &cameras[k, 0, 0]
        for i in range(9):
            squares[i] = m[i // 3 * 4 + i % 3] * m[i // 3 * 4 + i % 3]
        total = (((squares[0] + squares[1]) + (squares[2] + squares[3]))
                 + ((squares[4] + squares[5]) + (squares[6] + squares[7]))) + squares[8]
        # cosine and sine of the roll, times the scale and a factor that is 1 from the front and 1/2 from the side
        cosine, sine = (<double>m[0] - <double>m[5]) / 2, (<double>m[1] + <double>m[4]) / 2
        roll[k] = atan2(sine, cosine) * (180 / M_PI)
        seen[k] = 3 * (cosine * cosine + sine * sine) / fmax(total, 1e-12)


def crop_angles(const double[::1] roll, const double[::1] seen, double low, double high, double[::1] out):
    cdef int64_t k
    cdef double first, full, excess
    for k in range(roll.shape[0]):
        first, full = low / fmax(seen[k], 1e-3), high / fmax(seen[k], 1e-3)
        excess = fabs(roll[k]) - first
        if excess <= 0:
            out[k] = 0
        elif excess >= full - first:
            out[k] = roll[k]
        else:
            out[k] = copysign(full * excess / (full - first), roll[k])
