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
        int64_t triangle_count

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


cdef extern from "mixing.h" namespace "tddfa" nogil:
    cdef struct Small:
        int64_t rows
        int64_t columns
        const uint8_t *pixels

    cdef struct Sides:
        int64_t rows
        int64_t columns
        const uint8_t *colors
        const float *weight
        const uint8_t *mirrorable
        Small change
        Small fill

    cdef struct Paint:
        int64_t dark_count
        const int64_t *dark
        const float *shade
        int64_t painted_count
        const int64_t *painted
        const uint8_t *colors

    void c_mix_sides "tddfa::mix_sides"(
        const Sides &sides, const Paint &paint, const uint8_t *where, const uint8_t *inside, uint8_t *sources,
        uint8_t *out) except +


cdef extern from "eyes.h" namespace "tddfa" nogil:
    cdef struct Eye:
        int64_t count
        const int64_t *texels
        const float *shade
        const uint8_t *white
        const uint8_t *iris
        const double *mix

    cdef struct EyeRule:
        double brightness
        double brightest
        double skin
        double[3] iris
        int64_t enough
        double saturation
        double darkest

    void c_paint_eye "tddfa::paint_eye"(
        const Small &fill, int64_t rows, int64_t columns, const Eye &eye, const EyeRule &rule, const uint8_t *colors,
        const float *weight, uint8_t *out) except +


cdef extern from "vertices.h" namespace "tddfa" nogil:
    cdef struct Rings:
        int64_t count
        const int32_t *vertices
        const int32_t *starts

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


cdef extern from "outline.h" namespace "tddfa" nogil:
    void c_outline_distance "tddfa::outline_distance"(
        const uint8_t *inside, int64_t rows, int64_t columns, float *distance) except +


cdef extern from "mouth.h" namespace "tddfa" nogil:
    cdef struct MouthTexels:
        int64_t count
        const int64_t *texels
        const int32_t *corners
        const float *weights
        const int64_t *triangles
        const uint8_t *chosen

    cdef struct MouthWindow:
        int64_t left
        int64_t top
        int64_t rows
        int64_t columns
        const float *depth
        const float *away
        const int32_t *nearest
        float[3] low
        float scale

    void c_sample_mouth "tddfa::sample_mouth"(
        const MouthTexels &mouth, const MouthWindow &window, const float *vertices, float tolerance, float continued,
        const Photo &photo, uint8_t *colors, float *weight)


cdef extern from "skin.h" namespace "tddfa" nogil:
    cdef struct SkinMesh:
        Rings rings
        const float *vertices
        const float *opacity
        const float *seen
        const float *rim

    cdef struct SkinRule:
        float well_seen
        float near_outline
        float ear
        int64_t enough
        int64_t samples
        int64_t smoothings
        double[3] least_spread
        double[3] largest_spread
        double skin
        double other
        const double *logarithms

    void c_skin_trust "tddfa::skin_trust"(
        const Photo &photo, const SkinMesh &mesh, const SkinRule &rule, float *trust) except +


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


cdef Photo checked_photo(const uint8_t[:, :, ::1] image, double scale_x, double scale_y):
    if image.shape[2] != 3 or image.shape[0] == 0 or image.shape[1] == 0:
        raise ValueError("expected an image of at least one pixel of 3 numbers")
    return Photo(
        image.shape[0], image.shape[1], &image[0, 0, 0], scale_x != 1 or scale_y != 1, <float>scale_x, <float>scale_y)


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
    if colors.shape[2] != 3 or barycentric.shape[2] != 2 or vertices.shape[1] != 3:
        raise ValueError("expected colours and vertices of 3 numbers, and barycentric weights of 2")
    if visibility.shape[0] != vertices.shape[0]:
        raise ValueError(f"expected the visibility of {vertices.shape[0]} vertices, got {visibility.shape[0]}")
    if rows == 0 or columns == 0:
        return
    cdef UvMap uv_map = UvMap(
        rows, columns, &triangle_id[0, 0], &barycentric[0, 0, 0], &triangles[0, 0], triangles.shape[0])
    cdef Photo photo = checked_photo(image, scale_x, scale_y)
    with nogil:
        c_sample_surface(
            uv_map, &vertices[0, 0], &visibility[0], vertices.shape[0], photo, &colors[0, 0, 0], &weight[0, 0])


cdef Small checked_small(const uint8_t[:, :, ::1] image):
    if image.shape[2] != 3 or image.shape[0] == 0 or image.shape[1] == 0:
        raise ValueError("expected images of at least one pixel of 3 numbers")
    return Small(image.shape[0], image.shape[1], &image[0, 0, 0])


def mix_sides(
    const uint8_t[:, :, ::1] colors,
    const float[:, ::1] weight,
    const uint8_t[:, ::1] mirrorable,
    const uint8_t[:, :, ::1] change,
    const uint8_t[:, :, ::1] fill,
    tuple paint,
    const uint8_t[:, ::1] where,
    const uint8_t[:, ::1] inside,
    uint8_t[:, ::1] sources,
    uint8_t[:, :, ::1] out,
):
    cdef Py_ssize_t rows = weight.shape[0], columns = weight.shape[1]
    check_sizes(
        ((colors.shape[0], colors.shape[1]), (mirrorable.shape[0], mirrorable.shape[1]),
         (where.shape[0], where.shape[1]), (inside.shape[0], inside.shape[1]), (sources.shape[0], sources.shape[1]),
         (out.shape[0], out.shape[1])),
        rows, columns)
    if colors.shape[2] != 3 or out.shape[2] != 3:
        raise ValueError("expected colours of 3 numbers")
    if rows == 0 or columns == 0:
        return
    cdef const int64_t[::1] dark, painted
    cdef const float[:, ::1] shade
    cdef const uint8_t[:, ::1] painted_colors
    dark, shade, painted, painted_colors = paint
    check_sizes(((shade.shape[0], shade.shape[1]),), dark.shape[0], 3)
    check_sizes(((painted_colors.shape[0], painted_colors.shape[1]),), painted.shape[0], 3)
    cdef Sides sides
    sides.rows, sides.columns, sides.colors, sides.weight = rows, columns, &colors[0, 0, 0], &weight[0, 0]
    sides.mirrorable, sides.change, sides.fill = &mirrorable[0, 0], checked_small(change), checked_small(fill)
    cdef Paint fill_paint = Paint(0, NULL, NULL, 0, NULL, NULL)
    if dark.shape[0]:
        fill_paint.dark_count, fill_paint.dark, fill_paint.shade = dark.shape[0], &dark[0], &shade[0, 0]
    if painted.shape[0]:
        fill_paint.painted_count = painted.shape[0]
        fill_paint.painted, fill_paint.colors = &painted[0], &painted_colors[0, 0]
    with nogil:
        c_mix_sides(sides, fill_paint, &where[0, 0], &inside[0, 0], &sources[0, 0], &out[0, 0, 0])


def paint_eye(
    const uint8_t[:, :, ::1] fill,
    eye,
    tuple rule,
    const uint8_t[:, :, ::1] colors,
    const float[:, ::1] weight,
    bint is_visible,
    uint8_t[:, ::1] out,
):
    cdef const int64_t[::1] texels
    cdef const float[:, ::1] shade
    cdef const uint8_t[::1] white, iris
    cdef const double[:, ::1] mix
    cdef Small small = checked_small(fill)
    cdef Eye ball
    cdef EyeRule rules
    texels, shade, white, iris, mix = eye
    rules.brightness, rules.brightest, rules.skin, iris_tint, rules.enough, rules.saturation, rules.darkest = rule
    rules.iris[0], rules.iris[1], rules.iris[2] = iris_tint
    cdef Py_ssize_t count = texels.shape[0]
    check_sizes(((colors.shape[0], colors.shape[1]),), weight.shape[0], weight.shape[1])
    check_sizes(
        ((shade.shape[0], shade.shape[1]), (white.shape[0], 3), (iris.shape[0], 3), (mix.shape[0], mix.shape[1] + 1),
         (out.shape[0], out.shape[1])), count, 3)
    if colors.shape[2] != 3 or count == 0:
        raise ValueError("expected colours of 3 numbers, and at least one texel")
    ball.count, ball.texels, ball.shade = count, &texels[0], &shade[0, 0]
    ball.white, ball.iris, ball.mix = &white[0], &iris[0], &mix[0, 0]
    with nogil:
        c_paint_eye(
            small, weight.shape[0], weight.shape[1], ball, rules, &colors[0, 0, 0],
            &weight[0, 0] if is_visible else NULL, &out[0, 0])


cdef Rings checked_rings(const int32_t[::1] vertices, const int32_t[::1] starts, Py_ssize_t values):
    cdef Py_ssize_t count = starts.shape[0] - 1
    if count < 1 or values != count:
        raise ValueError(f"expected values of {count} vertices, at least one, got {values}")
    return Rings(count, &vertices[0], &starts[0])


def sample_mouth(
    tuple texels,
    const uint8_t[::1] chosen,
    tuple window,
    tuple placing,
    const float[:, ::1] vertices,
    tuple limits,
    const uint8_t[:, :, ::1] image,
    double scale_x,
    double scale_y,
    uint8_t[:, :, ::1] colors,
    float[:, ::1] weight,
):
    cdef const int64_t[::1] indices, triangles
    cdef const int32_t[:, ::1] corners, nearest
    cdef const float[:, ::1] weights, depth, away
    cdef MouthTexels mouth
    cdef MouthWindow rendered
    cdef float tolerance, continued
    cdef Photo photo = checked_photo(image, scale_x, scale_y)
    indices, corners, weights, triangles = texels
    rendered.left, rendered.top, depth, away, nearest = window
    rendered.low[0], rendered.low[1], rendered.low[2], rendered.scale = placing
    tolerance, continued = limits
    check_sizes(((colors.shape[0], colors.shape[1]),), weight.shape[0], weight.shape[1])
    check_sizes(
        ((corners.shape[0], corners.shape[1]), (weights.shape[0], weights.shape[1]), (triangles.shape[0], 3)),
        indices.shape[0], 3)
    check_sizes(
        ((away.shape[0], away.shape[1]), (nearest.shape[0], nearest.shape[1])), depth.shape[0], depth.shape[1])
    if colors.shape[2] != 3 or vertices.shape[1] != 3 or not (depth.shape[0] and depth.shape[1] and indices.shape[0]):
        raise ValueError("expected at least one texel and one pixel, and colours and vertices of 3 numbers")
    mouth.count, mouth.texels, mouth.corners = indices.shape[0], &indices[0], &corners[0, 0]
    mouth.weights, mouth.triangles, mouth.chosen = &weights[0, 0], &triangles[0], &chosen[0]
    rendered.rows, rendered.columns = depth.shape[0], depth.shape[1]
    rendered.depth, rendered.away, rendered.nearest = &depth[0, 0], &away[0, 0], &nearest[0, 0]
    with nogil:
        c_sample_mouth(
            mouth, rendered, &vertices[0, 0], tolerance, continued, photo, &colors[0, 0, 0], &weight[0, 0])


def skin_trust(
    const int32_t[::1] ring_vertices,
    const int32_t[::1] starts,
    const uint8_t[:, :, ::1] image,
    const float[:, ::1] vertices,
    const float[::1] opacity,
    const float[::1] seen,
    const float[::1] rim,
    tuple limits,
    tuple counts,
    tuple distances,
    const double[:, ::1] spreads,
    const double[::1] logarithms,
    float[::1] trust,
):
    cdef Py_ssize_t count = trust.shape[0]
    cdef SkinMesh mesh
    cdef SkinRule rule
    cdef Photo photo = checked_photo(image, 1, 1)
    mesh.rings = checked_rings(ring_vertices, starts, count)
    check_sizes(
        ((vertices.shape[0], vertices.shape[1]), (opacity.shape[0], 3), (seen.shape[0], 3), (rim.shape[0], 3)),
        count, 3)
    check_sizes(((spreads.shape[0], spreads.shape[1]),), 2, 3)
    check_sizes(((logarithms.shape[0], 1),), 256, 1)
    mesh.vertices, mesh.opacity, mesh.seen, mesh.rim = &vertices[0, 0], &opacity[0], &seen[0], &rim[0]
    rule.well_seen, rule.near_outline, rule.ear = limits
    rule.enough, rule.samples, rule.smoothings = counts
    rule.skin, rule.other = distances
    for k in range(3):
        rule.least_spread[k], rule.largest_spread[k] = spreads[0, k], spreads[1, k]
    rule.logarithms = &logarithms[0]
    with nogil:
        c_skin_trust(photo, mesh, rule, &trust[0])


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


def outline_distance(const uint8_t[:, ::1] inside, float[:, ::1] distance):
    check_sizes(((distance.shape[0], distance.shape[1]),), inside.shape[0], inside.shape[1])
    if inside.shape[0] < 3 or inside.shape[1] < 3:
        raise ValueError("expected at least one pixel and its border")
    with nogil:
        c_outline_distance(&inside[0, 0], inside.shape[0], inside.shape[1], &distance[0, 0])


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
