# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Passes over the texels of a texture. The callers, in texture.py, know that all indices are valid."""

from libc.stdint cimport int32_t, int64_t, uint8_t


cdef extern from "texels.h" namespace "tddfa" nogil:
    cdef struct UvMap:
        int64_t rows
        int64_t columns
        const int32_t *triangle_id
        const float *barycentric
        const int32_t *triangles

    cdef struct Photo:
        int64_t rows
        int64_t columns
        const uint8_t *pixels
        bint scaled
        float scale_x
        float scale_y

    void c_sample_surface "tddfa::sample_surface"(
        const UvMap &map, const float *vertices, const float *visibility, const Photo &photo, uint8_t *colors,
        float *weight)
    cdef struct Sides:
        int64_t rows
        int64_t columns
        const uint8_t *colors
        const float *weight
        const uint8_t *mirrorable
        const uint8_t *change
        const uint8_t *fill

    void c_mix_sides "tddfa::mix_sides"(
        const Sides &sides, const uint8_t *where, float *known, uint8_t *out) except +


cdef int check_sizes(tuple sizes, Py_ssize_t rows, Py_ssize_t columns) except -1:
    for size in sizes:
        if size != (rows, columns):
            raise ValueError(f"expected arrays of {rows} x {columns} texels, got one of {size[0]} x {size[1]}")
    return 0


def sample_surface(
    const int32_t[:, ::1] triangle_id,
    const float[:, :, ::1] barycentric,
    const int32_t[:, ::1] triangles,
    const float[:, ::1] vertices,
    const float[::1] visibility,
    const uint8_t[:, :, ::1] image,
    double scale_x,
    double scale_y,
    uint8_t[:, :, ::1] colors,
    float[:, ::1] weight,
):
    cdef Py_ssize_t rows = triangle_id.shape[0], columns = triangle_id.shape[1]
    check_sizes(
        ((barycentric.shape[0], barycentric.shape[1]), (colors.shape[0], colors.shape[1]),
         (weight.shape[0], weight.shape[1])), rows, columns)
    if image.shape[2] != 3 or colors.shape[2] != 3 or barycentric.shape[2] != 2 or vertices.shape[1] != 3:
        raise ValueError("expected colours and vertices of 3 numbers, and barycentric weights of 2")
    if rows == 0 or columns == 0:
        return
    cdef UvMap uv_map = UvMap(rows, columns, &triangle_id[0, 0], &barycentric[0, 0, 0], &triangles[0, 0])
    cdef Photo photo = Photo(
        image.shape[0], image.shape[1], &image[0, 0, 0], scale_x != 1 or scale_y != 1, <float>scale_x, <float>scale_y)
    with nogil:
        c_sample_surface(uv_map, &vertices[0, 0], &visibility[0], photo, &colors[0, 0, 0], &weight[0, 0])


def mix_sides(
    const uint8_t[:, :, ::1] colors,
    const float[:, ::1] weight,
    const uint8_t[:, ::1] mirrorable,
    const uint8_t[:, :, ::1] change,
    const uint8_t[:, :, ::1] fill,
    const uint8_t[:, ::1] where,
    float[:, ::1] known,
    uint8_t[:, :, ::1] out,
):
    cdef Py_ssize_t rows = weight.shape[0], columns = weight.shape[1]
    check_sizes(
        ((colors.shape[0], colors.shape[1]), (mirrorable.shape[0], mirrorable.shape[1]),
         (change.shape[0], change.shape[1]), (fill.shape[0], fill.shape[1]), (where.shape[0], where.shape[1]),
         (known.shape[0], known.shape[1]), (out.shape[0], out.shape[1])), rows, columns)
    if colors.shape[2] != 3 or change.shape[2] != 3 or fill.shape[2] != 3 or out.shape[2] != 3:
        raise ValueError("expected colours of 3 numbers")
    if rows == 0 or columns == 0:
        return
    cdef Sides sides = Sides(
        rows, columns, &colors[0, 0, 0], &weight[0, 0], &mirrorable[0, 0], &change[0, 0, 0], &fill[0, 0, 0])
    with nogil:
        c_mix_sides(sides, &where[0, 0], &known[0, 0], &out[0, 0, 0])
