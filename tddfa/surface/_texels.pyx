# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Passes over the texels of a texture and the vertices of a mesh. The callers know that all indices are valid."""

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
        const UvMap &map, const float *vertices, const float *visibility, int64_t vertex_count, const Photo &photo,
        uint8_t *colors, float *weight) except +
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


cdef extern from "vertices.h" namespace "tddfa" nogil:
    cdef struct Rings:
        int64_t count
        const int32_t *vertices
        const int32_t *starts

    void c_mean_around "tddfa::mean_around"(
        const Rings &rings, const float *values, const int64_t *chosen, int64_t count, float *out)

    cdef struct Rendered:
        int64_t count
        const float *vertices
        const float *normals
        const uint8_t *part
        int64_t rows
        int64_t columns
        const float *depth
        const float *nearest

    cdef struct Limits:
        float grazing
        float facing
        float tolerance
        float slope_around
        float slope_here
        uint8_t lining

    void c_unhidden "tddfa::unhidden"(const Rendered &mesh, const Limits &limits, float *weight)

    cdef struct Outline:
        const float *distance
        float low
        float high

    void c_feather "tddfa::feather"(
        const Rings &rings, const Rendered &mesh, const Outline &outline, const float *image_vertices,
        float image_rows, float image_columns, const float *weight, float *out, float *rim) except +


cdef extern from "filling.h" namespace "tddfa" nogil:
    void c_push_pull "tddfa::push_pull"(int64_t rows, int64_t columns, const float *values, float *out) except +

    cdef struct Seen:
        int64_t rows
        int64_t columns
        const uint8_t *colors
        const float *weight

    void c_complete "tddfa::complete"(
        const Seen &seen, int64_t rows, int64_t columns, float nearby, uint8_t *change, uint8_t *fill) except +


cdef int check_sizes(tuple sizes, Py_ssize_t rows, Py_ssize_t columns) except -1:
    for size in sizes:
        if size != (rows, columns):
            raise ValueError(f"expected arrays of {rows} x {columns}, got one of {size[0]} x {size[1]}")
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
    if visibility.shape[0] != vertices.shape[0]:
        raise ValueError(f"expected the visibility of {vertices.shape[0]} vertices, got {visibility.shape[0]}")
    if rows == 0 or columns == 0:
        return
    cdef UvMap uv_map = UvMap(rows, columns, &triangle_id[0, 0], &barycentric[0, 0, 0], &triangles[0, 0])
    cdef Photo photo = Photo(
        image.shape[0], image.shape[1], &image[0, 0, 0], scale_x != 1 or scale_y != 1, <float>scale_x, <float>scale_y)
    with nogil:
        c_sample_surface(
            uv_map, &vertices[0, 0], &visibility[0], vertices.shape[0], photo, &colors[0, 0, 0], &weight[0, 0])


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


cdef Rings checked_rings(const int32_t[::1] vertices, const int32_t[::1] starts, Py_ssize_t values):
    cdef Py_ssize_t count = starts.shape[0] - 1
    if count < 1 or values != count:
        raise ValueError(f"expected values of {count} vertices, at least one, got {values}")
    return Rings(count, &vertices[0], &starts[0])


def mean_around(
    const int32_t[::1] vertices,
    const int32_t[::1] starts,
    const float[::1] values,
    const int64_t[::1] of,
    float[::1] out,
):
    cdef Rings rings = checked_rings(vertices, starts, values.shape[0])
    if out.shape[0] != of.shape[0]:
        raise ValueError(f"expected results of {of.shape[0]} vertices, got {out.shape[0]}")
    if of.shape[0] == 0:
        return
    with nogil:
        c_mean_around(rings, &values[0], &of[0], of.shape[0], &out[0])


def unhidden(
    const float[:, ::1] vertices,
    const float[:, ::1] normals,
    const uint8_t[::1] part,
    const float[:, ::1] depth,
    const float[:, ::1] nearest,
    tuple limits,
    float[::1] weight,
):
    cdef Py_ssize_t count = weight.shape[0]
    cdef const uint8_t *parts = NULL
    check_sizes(((normals.shape[0], normals.shape[1]), (count, 3)), vertices.shape[0], 3)
    check_sizes(((nearest.shape[0], nearest.shape[1]),), depth.shape[0], depth.shape[1])
    if count == 0 or depth.shape[0] == 0 or depth.shape[1] == 0:
        raise ValueError("expected at least one vertex and one pixel")
    if part is not None:
        check_sizes(((part.shape[0], 3),), count, 3)
        parts = &part[0]
    cdef float grazing, facing, tolerance, slope_around, slope_here
    cdef uint8_t lining
    grazing, facing, tolerance, slope_around, slope_here, lining = limits
    cdef Rendered mesh = Rendered(
        count, &vertices[0, 0], &normals[0, 0], parts, depth.shape[0], depth.shape[1], &depth[0, 0], &nearest[0, 0])
    with nogil:
        c_unhidden(mesh, Limits(grazing, facing, tolerance, slope_around, slope_here, lining), &weight[0])


def feather(
    const int32_t[::1] ring_vertices,
    const int32_t[::1] starts,
    const float[:, ::1] vertices,
    const uint8_t[::1] part,
    const float[:, ::1] distance,
    double low,
    double high,
    const float[:, ::1] image_vertices,
    tuple image_size,
    const float[::1] weight,
    float[::1] out,
    float[::1] rim,
):
    cdef Py_ssize_t count = weight.shape[0]
    cdef const uint8_t *parts = NULL
    cdef Rings rings = checked_rings(ring_vertices, starts, count)
    check_sizes(
        ((vertices.shape[0], vertices.shape[1]), (image_vertices.shape[0], image_vertices.shape[1]),
         (out.shape[0], 3), (rim.shape[0], 3)), count, 3)
    if distance.shape[0] < 3 or distance.shape[1] < 3:
        raise ValueError("expected at least one pixel and its border")
    if part is not None:
        check_sizes(((part.shape[0], 3),), count, 3)
        parts = &part[0]
    cdef float rows, columns
    rows, columns = image_size
    cdef Rendered mesh = Rendered(
        count, &vertices[0, 0], NULL, parts, distance.shape[0] - 2, distance.shape[1] - 2, NULL, NULL)
    cdef Outline outline = Outline(&distance[0, 0], <float>low, <float>high)
    with nogil:
        c_feather(rings, mesh, outline, &image_vertices[0, 0], rows, columns, &weight[0], &out[0], &rim[0])


def push_pull(const float[:, :, ::1] values, float[:, :, ::1] out):
    cdef Py_ssize_t rows = values.shape[0], columns = values.shape[1]
    check_sizes(((out.shape[0], out.shape[1]),), rows, columns)
    if values.shape[2] != 4 or out.shape[2] != 3 or rows == 0 or columns == 0:
        raise ValueError("expected pixels of 4 numbers, at least one, and results of 3")
    with nogil:
        c_push_pull(rows, columns, &values[0, 0, 0], &out[0, 0, 0])


def complete(
    const uint8_t[:, :, ::1] colors,
    const float[:, ::1] weight,
    float nearby,
    uint8_t[:, :, ::1] change,
    uint8_t[:, :, ::1] fill,
):
    cdef Py_ssize_t rows = change.shape[0], columns = change.shape[1]
    check_sizes(((colors.shape[0], colors.shape[1]),), weight.shape[0], weight.shape[1])
    check_sizes(((fill.shape[0], fill.shape[1]),), rows, columns)
    if not (0 < rows <= weight.shape[0] and 0 < columns <= weight.shape[1]):
        raise ValueError("expected results of at least one pixel, and no more than texels")
    if colors.shape[2] != 3 or change.shape[2] != 3 or fill.shape[2] != 3:
        raise ValueError("expected colours of 3 numbers")
    cdef Seen seen = Seen(weight.shape[0], weight.shape[1], &colors[0, 0, 0], &weight[0, 0])
    with nogil:
        c_complete(seen, rows, columns, nearby, &change[0, 0, 0], &fill[0, 0, 0])


def darken(uint8_t[:, ::1] pixels, const int64_t[::1] indices, const float[:, ::1] factors):
    cdef Py_ssize_t i, channel
    if pixels.shape[1] != 3 or factors.shape[1] != 3 or factors.shape[0] != indices.shape[0]:
        raise ValueError("expected colours of 3 numbers, and factors of 3 numbers for each index")
    with nogil:
        for i in range(indices.shape[0]):
            for channel in range(3):
                pixels[indices[i], channel] = <uint8_t>(<float>pixels[indices[i], channel] * factors[i, channel])
