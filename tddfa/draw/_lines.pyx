# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Anti-aliased lines."""

from libc.stdint cimport int64_t, uint8_t


cdef extern from "lines.h" namespace "tddfa" nogil:
    cdef struct Canvas:
        int64_t rows
        int64_t columns
        uint8_t *pixels

    void c_draw_lines "tddfa::draw_lines"(
        const Canvas &canvas, const double *ends, int64_t count, double radius, const uint8_t *color)


def draw_lines(uint8_t[:, :, ::1] image, const double[:, ::1] ends, double radius, tuple color):
    if image.shape[2] != 3 or ends.shape[1] != 4:
        raise ValueError("expected an image of 3 channels, and lines of 4 numbers")
    cdef uint8_t[3] bgr
    bgr[0], bgr[1], bgr[2] = color
    if image.shape[0] == 0 or image.shape[1] == 0 or ends.shape[0] == 0:
        return
    cdef Canvas canvas = Canvas(image.shape[0], image.shape[1], &image[0, 0, 0])
    with nogil:
        c_draw_lines(canvas, &ends[0, 0], ends.shape[0], radius, bgr)
