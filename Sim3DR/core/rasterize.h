// Rasterisation: triangle coverage, interpolation of vertex attributes over it, vertex normals.
//
// Plain C++17, no dependency, no state. `threads` is the maximum number of threads; fewer are used for small
// work, and the result does not depend on it. Functions that are not noexcept allocate memory, and throw
// std::bad_alloc if that fails.
//
// Frame: x right, y down, pixel centres at whole numbers; larger z is nearer. Column i, row j of a buffer is
// the pixel (window.left + i, window.top + j). A face is wound counter-clockwise seen from outside with y
// *up*, so in this frame a front face has a negative signed area (x1-x0)*(y2-y0) - (x2-x0)*(y1-y0).
//
// All arrays are dense and row-major. The caller ensures their sizes, vertex indices inside 0 .. vertex count
// - 1, and output that overlaps no input. Coordinates may have any value, NaN included.
#pragma once

#include <cstdint>

namespace sim3dr {

// The part of the image to render, in whole pixels. width and height are not negative; left, top,
// left + width and top + height lie within -2^30 .. 2^30.
struct Window {
  std::int32_t left;
  std::int32_t top;
  std::int32_t width;
  std::int32_t height;
};

enum class Cull : std::int32_t { none = 0, back = 1, front = 2 };

// Finds the visible triangle at each pixel of the window. Every pixel is written, so the buffers may be
// uninitialised. Empty pixels get depth -infinity, triangle_id -1 and barycentric 0.
//
//   vertices      (vertex_count, 3)     x, y in px, z
//   triangles     (triangle_count, 3)   vertex indices
//   depth         (height, width)       z of the nearest surface
//   triangle_id   (height, width)       index of its triangle
//   barycentric   (height, width, 2)    weights of its first and second vertex; the third is 1 - both
//
// A pixel belongs to a triangle if its centre lies inside, or on a left or a top edge. The position of an
// edge on a row of pixels is computed from the edge alone, independent of triangle and window. So a pixel on
// an edge that two triangles share is drawn by exactly one of them. Vertices stored twice at one position
// (seams) are equivalent to shared ones. The larger z wins, and at equal z the lower index. Triangles of no
// area, and those with a NaN or infinite coordinate, are skipped.
void rasterize(const float *vertices, std::int64_t vertex_count, const std::int32_t *triangles,
               std::int64_t triangle_count, Window window, Cull cull, std::int32_t threads, float *depth,
               std::int32_t *triangle_id, float *barycentric);

// Finds the depth of the visible surface at each pixel, as `rasterize` does, and unless `colors` is null its
// colour, as `interpolate` computes bytes: in one pass, in about half the time of both.
//
//   attributes    (vertex_count, channels)   1 to 4 channels
//   depth         (height, width)            -infinity in empty pixels
//   colors        (height, width, 4)         the channels, then 0; 0 in empty pixels
void render(const float *vertices, std::int64_t vertex_count, const std::int32_t *triangles,
            std::int64_t triangle_count, const float *attributes, std::int64_t channels, Window window,
            Cull cull, std::int32_t threads, float *depth, std::uint8_t *colors);

// Interpolates vertex attributes over a raster of `pixel_count` pixels.
//
//   triangle_id, barycentric            as `rasterize` wrote them; a negative id is an empty pixel
//   triangles     (triangle count, 3)   every id is a row of it
//   attributes    (vertex count, channels)
//   background    (channels)            value of empty pixels
//   out           (pixel_count, channels)
//
// Three equal attributes give exactly that value at each pixel between them. Bytes are rounded to the
// nearest, half to even, and saturated; NaN gives 0.
void interpolate(const std::int32_t *triangle_id, const float *barycentric, std::int64_t pixel_count,
                 const std::int32_t *triangles, const float *attributes, std::int64_t vertex_count,
                 std::int64_t channels, const float *background, std::int32_t threads, float *out);
void interpolate(const std::int32_t *triangle_id, const float *barycentric, std::int64_t pixel_count,
                 const std::int32_t *triangles, const float *attributes, std::int64_t vertex_count,
                 std::int64_t channels, const float *background, std::int32_t threads, std::uint8_t *out);

// Unit normals (vertex_count, 3) of the vertices: the sum of (v2 - v0) x (v1 - v0) over a vertex's triangles,
// so weighted by their areas, then normalised. They point outward: that of a front face has z > 0. Zero if
// the sum is zero (no triangle, or only degenerate ones) or not finite.
void vertex_normals(const float *vertices, std::int64_t vertex_count, const std::int32_t *triangles,
                    std::int64_t triangle_count, float *normals);

// Minimum and maximum of each column of at least one row. Rows are `stride` floats apart; numbers are finite.
void bounds(const float *points, std::int64_t rows, std::int64_t columns, std::int64_t stride, float *low,
            float *high);

} // namespace sim3dr
