# distutils: language = c++
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Binding of core/rasterize.h and core/compositing.h. Arguments are checked in raster.py and compositing.py."""

from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdint cimport int32_t, int64_t, uint8_t


cdef extern from "rasterize.h" namespace "sim3dr" nogil:
    cdef struct Window:
        int32_t left
        int32_t top
        int32_t width
        int32_t height

    cdef enum class Cull(int32_t):
        none
        back
        front

    void c_rasterize "sim3dr::rasterize"(
        const float *vertices, int64_t vertex_count, const int32_t *triangles, int64_t triangle_count, Window window,
        Cull cull, int32_t threads, float *depth, int32_t *triangle_id, float *barycentric) except +

    void c_render "sim3dr::render"(
        const float *vertices, int64_t vertex_count, const int32_t *triangles, int64_t triangle_count,
        const float *attributes, int64_t channels, Window window, Cull cull, int32_t threads, float *depth,
        uint8_t *colors) except +

    void c_interpolate "sim3dr::interpolate"(
        const int32_t *triangle_id, const float *barycentric, int64_t pixel_count,
        const int32_t *triangles, const float *attributes, int64_t vertex_count, int64_t channels,
        const float *background, int32_t threads, float *out) except +

    void c_interpolate_bytes "sim3dr::interpolate"(
        const int32_t *triangle_id, const float *barycentric, int64_t pixel_count,
        const int32_t *triangles, const float *attributes, int64_t vertex_count, int64_t channels,
        const float *background, int32_t threads, uint8_t *out) except +

    void c_vertex_normals "sim3dr::vertex_normals"(
        const float *vertices, int64_t vertex_count, const int32_t *triangles, int64_t triangle_count,
        float *normals) except +

    void c_bounds "sim3dr::bounds"(
        const float *points, int64_t rows, int64_t columns, int64_t stride, float *low, float *high)


cdef extern from "compositing.h" namespace "sim3dr" nogil:
    void c_close_holes "sim3dr::close_holes"(
        int32_t width, int32_t height, double max_px, float gap, float *depth, int32_t *triangle_id,
        float *barycentric) except +

    void c_close_holes_of_colors "sim3dr::close_holes"(
        int32_t width, int32_t height, double max_px, float gap, float *depth, uint8_t *colors) except +

    cdef struct Layer:
        int32_t width
        int32_t height
        const int32_t *triangle_id
        const float *depth
        const uint8_t *layer
        int64_t step
        const uint8_t *palette
        const uint8_t *background
        int64_t background_stride
        uint8_t *out
        int64_t out_stride
        double alpha
        bint translucent

    void c_composite "sim3dr::composite"(const Layer &layer, int32_t threads) except +
    void c_composite_averaged "sim3dr::composite_averaged"(const Layer &layer, int32_t factor) except +


cdef extern from "memory.h" namespace "sim3dr" nogil:
    cdef cppclass Memory:
        Memory(size_t bytes) except +
        void *data()


cdef class Block:
    """Memory that the next `Block` reuses after this one is released: fresh pages cost more than drawing."""

    cdef Memory *memory
    cdef Py_ssize_t size

    def __cinit__(self, Py_ssize_t size):
        self.memory = new Memory(<size_t>size)
        self.size = size

    def __dealloc__(self):
        del self.memory

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.memory.data(), self.size, 0, flags)


def rasterize(
    const float[:, ::1] vertices,
    const int32_t[:, ::1] triangles,
    int32_t left,
    int32_t top,
    int32_t cull,
    int32_t threads,
    float[:, ::1] depth,
    int32_t[:, ::1] triangle_id,
    float[:, :, ::1] barycentric,
):
    cdef Window window = Window(left, top, <int32_t>depth.shape[1], <int32_t>depth.shape[0])
    with nogil:
        c_rasterize(
            &vertices[0, 0], vertices.shape[0], &triangles[0, 0], triangles.shape[0], window, <Cull>cull, threads,
            &depth[0, 0], &triangle_id[0, 0], &barycentric[0, 0, 0])


def render(
    const float[:, ::1] vertices,
    const int32_t[:, ::1] triangles,
    const float[:, ::1] attributes,
    int32_t left,
    int32_t top,
    int32_t cull,
    int32_t threads,
    float[:, ::1] depth,
    uint8_t[:, :, ::1] colors,
):
    cdef Window window = Window(left, top, <int32_t>depth.shape[1], <int32_t>depth.shape[0])
    cdef const float *values = NULL
    cdef int64_t channels = 0
    cdef uint8_t *out = NULL
    if attributes is not None:
        values, channels, out = &attributes[0, 0], attributes.shape[1], &colors[0, 0, 0]
    with nogil:
        c_render(
            &vertices[0, 0], vertices.shape[0], &triangles[0, 0], triangles.shape[0], values, channels, window,
            <Cull>cull, threads, &depth[0, 0], out)


def interpolate(
    const int32_t[:, ::1] triangle_id,
    const float[:, :, ::1] barycentric,
    const int32_t[:, ::1] triangles,
    const float[:, ::1] attributes,
    const float[::1] background,
    int32_t threads,
    float[:, :, ::1] out,
):
    with nogil:
        c_interpolate(
            &triangle_id[0, 0], &barycentric[0, 0, 0], triangle_id.shape[0] * triangle_id.shape[1],
            &triangles[0, 0], &attributes[0, 0], attributes.shape[0], attributes.shape[1], &background[0], threads,
            &out[0, 0, 0])


def interpolate_bytes(
    const int32_t[:, ::1] triangle_id,
    const float[:, :, ::1] barycentric,
    const int32_t[:, ::1] triangles,
    const float[:, ::1] attributes,
    const float[::1] background,
    int32_t threads,
    uint8_t[:, :, ::1] out,
):
    with nogil:
        c_interpolate_bytes(
            &triangle_id[0, 0], &barycentric[0, 0, 0], triangle_id.shape[0] * triangle_id.shape[1],
            &triangles[0, 0], &attributes[0, 0], attributes.shape[0], attributes.shape[1], &background[0], threads,
            &out[0, 0, 0])


def vertex_normals(
    const float[:, ::1] vertices,
    const int32_t[:, ::1] triangles,
    float[:, ::1] normals,
):
    with nogil:
        c_vertex_normals(
            &vertices[0, 0], vertices.shape[0], &triangles[0, 0], triangles.shape[0], &normals[0, 0])


def bounds(const float[:, :] points, float[:, ::1] out):
    with nogil:
        c_bounds(
            &points[0, 0], points.shape[0], points.shape[1], points.strides[0] // <Py_ssize_t>sizeof(float),
            &out[0, 0], &out[1, 0])


def close_holes(
    float[:, ::1] depth,
    int32_t[:, ::1] triangle_id,
    float[:, :, ::1] barycentric,
    double max_px,
    float gap,
):
    with nogil:
        c_close_holes(
            <int32_t>depth.shape[1], <int32_t>depth.shape[0], max_px, gap, &depth[0, 0], &triangle_id[0, 0],
            &barycentric[0, 0, 0])


def close_holes_of_colors(float[:, ::1] depth, uint8_t[:, :, ::1] colors, double max_px, float gap):
    cdef uint8_t *values = NULL
    if colors is not None:
        values = &colors[0, 0, 0]
    with nogil:
        c_close_holes_of_colors(
            <int32_t>depth.shape[1], <int32_t>depth.shape[0], max_px, gap, &depth[0, 0], values)


def composite(
    const int32_t[:, ::1] triangle_id,
    const float[:, ::1] depth,
    const uint8_t[:, :, ::1] layer,
    const uint8_t[:, ::1] palette,
    const uint8_t[:, :, :] background,
    uint8_t[:, :, :] out,
    double alpha,
    bint translucent,
    int32_t factor,
    int32_t threads,
):
    cdef Layer arguments = Layer(
        <int32_t>out.shape[1], <int32_t>out.shape[0], NULL, &depth[0, 0], &layer[0, 0, 0], layer.shape[2], NULL,
        &background[0, 0, 0], background.strides[0], &out[0, 0, 0], out.strides[0], alpha, translucent)
    if triangle_id is not None:
        arguments.triangle_id = &triangle_id[0, 0]
    if palette is not None:
        arguments.palette = &palette[0, 0]
    with nogil:
        if factor == 1:
            c_composite(arguments, threads)
        else:
            c_composite_averaged(arguments, factor)
