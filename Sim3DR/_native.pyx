# distutils: language = c++
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Binding of core/rasterize.h. Nothing is checked here: Sim3DR/raster.py does that."""

from libc.stdint cimport int32_t, int64_t


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
        const float *vertices, const int32_t *triangles, int64_t triangle_count, Window window, Cull cull,
        float *depth, int32_t *triangle_id, float *barycentric) noexcept

    void c_interpolate "sim3dr::interpolate"(
        const int32_t *triangle_id, const float *barycentric, int64_t pixel_count,
        const int32_t *triangles, const float *attributes, int64_t channels,
        const float *background, float *out) noexcept

    void c_vertex_normals "sim3dr::vertex_normals"(
        const float *vertices, int64_t vertex_count, const int32_t *triangles, int64_t triangle_count,
        float *normals) except +


def rasterize(
    const float[:, ::1] vertices,
    const int32_t[:, ::1] triangles,
    int32_t left,
    int32_t top,
    int32_t cull,
    float[:, ::1] depth,
    int32_t[:, ::1] triangle_id,
    float[:, :, ::1] barycentric,
):
    cdef Window window = Window(left, top, <int32_t>depth.shape[1], <int32_t>depth.shape[0])
    with nogil:
        c_rasterize(
            &vertices[0, 0], &triangles[0, 0], triangles.shape[0], window, <Cull>cull,
            &depth[0, 0], &triangle_id[0, 0], &barycentric[0, 0, 0])


def interpolate(
    const int32_t[:, ::1] triangle_id,
    const float[:, :, ::1] barycentric,
    const int32_t[:, ::1] triangles,
    const float[:, ::1] attributes,
    const float[::1] background,
    float[:, :, ::1] out,
):
    with nogil:
        c_interpolate(
            &triangle_id[0, 0], &barycentric[0, 0, 0], triangle_id.shape[0] * triangle_id.shape[1],
            &triangles[0, 0], &attributes[0, 0], attributes.shape[1], &background[0], &out[0, 0, 0])


def vertex_normals(
    const float[:, ::1] vertices,
    const int32_t[:, ::1] triangles,
    float[:, ::1] normals,
):
    with nogil:
        c_vertex_normals(
            &vertices[0, 0], vertices.shape[0], &triangles[0, 0], triangles.shape[0], &normals[0, 0])
