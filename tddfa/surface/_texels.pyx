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
    void c_mix_sides "tddfa::mix_sides"(
        int64_t rows, int64_t columns, const uint8_t *colors, float *weight, float *known, uint8_t *out) except +
    void c_blend_known "tddfa::blend_known"(
        int64_t rows, int64_t columns, const uint8_t *first, const uint8_t *second, const float *known,
        const uint8_t *where, uint8_t *out) except +
    void c_darken "tddfa::darken"(
        const int64_t *texels, const float *shade, int64_t count, const float *known, uint8_t *colors)


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


def mix_sides(const uint8_t[:, :, ::1] colors, float[:, ::1] weight, float[:, ::1] known, uint8_t[:, :, ::1] out):
    cdef Py_ssize_t rows = weight.shape[0], columns = weight.shape[1]
    check_sizes(
        ((colors.shape[0], colors.shape[1]), (known.shape[0], known.shape[1]), (out.shape[0], out.shape[1])),
        rows, columns)
    if colors.shape[2] != 3 or out.shape[2] != 3:
        raise ValueError("expected colours of 3 numbers")
    if rows == 0 or columns == 0:
        return
    with nogil:
        c_mix_sides(rows, columns, &colors[0, 0, 0], &weight[0, 0], &known[0, 0], &out[0, 0, 0])


def blend_known(
    const uint8_t[:, :, ::1] first,
    const uint8_t[:, :, ::1] second,
    const float[:, ::1] known,
    const uint8_t[:, ::1] where,
    uint8_t[:, :, ::1] out,
):
    cdef Py_ssize_t rows = known.shape[0], columns = known.shape[1]
    check_sizes(
        ((first.shape[0], first.shape[1]), (second.shape[0], second.shape[1]), (where.shape[0], where.shape[1]),
         (out.shape[0], out.shape[1])), rows, columns)
    if first.shape[2] != 3 or second.shape[2] != 3 or out.shape[2] != 3:
        raise ValueError("expected colours of 3 numbers")
    if rows == 0 or columns == 0:
        return
    with nogil:
        c_blend_known(rows, columns, &first[0, 0, 0], &second[0, 0, 0], &known[0, 0], &where[0, 0], &out[0, 0, 0])


def darken(const int64_t[::1] texels, const float[::1] shade, const float[:, ::1] known, uint8_t[:, :, ::1] colors):
    check_sizes(((colors.shape[0], colors.shape[1]),), known.shape[0], known.shape[1])
    if shade.shape[0] != texels.shape[0] or colors.shape[2] != 3:
        raise ValueError("expected one shade for each texel, and colours of 3 numbers")
    if texels.shape[0] == 0:
        return
    with nogil:
        c_darken(&texels[0], &shade[0], texels.shape[0], &known[0, 0], &colors[0, 0, 0])
