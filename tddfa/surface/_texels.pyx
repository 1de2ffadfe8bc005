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
        const Sides &sides, const uint8_t *where, const uint8_t *inside, uint8_t *sources, uint8_t *out) except +

    cdef struct Rings:
        int64_t count
        const int32_t *vertices
        const int32_t *starts

    void c_smallest_around "tddfa::smallest_around"(const Rings &rings, const float *values, float *out)
    void c_mean_around "tddfa::mean_around"(const Rings &rings, const float *values, float *out)
    void c_push_pull "tddfa::push_pull"(int64_t rows, int64_t columns, const float *values, float *out) except +


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
    const uint8_t[:, ::1] inside,
    uint8_t[:, ::1] sources,
    uint8_t[:, :, ::1] out,
):
    cdef Py_ssize_t rows = weight.shape[0], columns = weight.shape[1]
    check_sizes(
        ((colors.shape[0], colors.shape[1]), (mirrorable.shape[0], mirrorable.shape[1]),
         (change.shape[0], change.shape[1]), (fill.shape[0], fill.shape[1]), (where.shape[0], where.shape[1]),
         (inside.shape[0], inside.shape[1]), (sources.shape[0], sources.shape[1]), (out.shape[0], out.shape[1])),
        rows, columns)
    if colors.shape[2] != 3 or change.shape[2] != 3 or fill.shape[2] != 3 or out.shape[2] != 3:
        raise ValueError("expected colours of 3 numbers")
    if rows == 0 or columns == 0:
        return
    cdef Sides sides = Sides(
        rows, columns, &colors[0, 0, 0], &weight[0, 0], &mirrorable[0, 0], &change[0, 0, 0], &fill[0, 0, 0])
    with nogil:
        c_mix_sides(sides, &where[0, 0], &inside[0, 0], &sources[0, 0], &out[0, 0, 0])


cdef Rings checked_rings(const int32_t[::1] vertices, const int32_t[::1] starts, Py_ssize_t values, Py_ssize_t out):
    cdef Py_ssize_t count = starts.shape[0] - 1
    if count < 1 or values != count or out != count:
        raise ValueError(f"expected values of {count} vertices, at least one, got {values} and {out}")
    return Rings(count, &vertices[0], &starts[0])


def smallest_around(
    const int32_t[::1] vertices, const int32_t[::1] starts, const float[::1] values, float[::1] out
):
    cdef Rings rings = checked_rings(vertices, starts, values.shape[0], out.shape[0])
    with nogil:
        c_smallest_around(rings, &values[0], &out[0])


def mean_around(const int32_t[::1] vertices, const int32_t[::1] starts, const float[::1] values, float[::1] out):
    cdef Rings rings = checked_rings(vertices, starts, values.shape[0], out.shape[0])
    with nogil:
        c_mean_around(rings, &values[0], &out[0])


def push_pull(const float[:, :, ::1] values, float[:, :, ::1] out):
    cdef Py_ssize_t rows = values.shape[0], columns = values.shape[1]
    check_sizes(((out.shape[0], out.shape[1]),), rows, columns)
    if values.shape[2] != 4 or out.shape[2] != 3 or rows == 0 or columns == 0:
        raise ValueError("expected pixels of 4 numbers, at least one, and results of 3")
    with nogil:
        c_push_pull(rows, columns, &values[0, 0, 0], &out[0, 0, 0])
