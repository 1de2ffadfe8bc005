// Rasterise once, interpolate anything: triangle coverage, attributes over it, vertex normals.
//
// Plain C++17, no dependency, no state. What takes `threads` works on up to so many, fewer where the work is
// small; the result is the same with any number. All but what is noexcept allocates, and throws
// std::bad_alloc where that fails.
//
// Frame: x right, y down, pixel centres at whole numbers; larger z is nearer. Column i, row j of a buffer is
// the pixel (window.left + i, window.top + j). A face is wound counter-clockwise seen from outside with y
// *up*, so in this frame a front face has a negative signed area (x1-x0)*(y2-y0) - (x2-x0)*(y1-y0).
//
// All arrays are dense and row-major. The caller answers for their sizes, for vertex indices inside
// 0 .. vertex count - 1, and for output that overlaps no input; coordinates may be anything, NaN included.
#pragma once

#include <cstdint>

namespace sim3dr {

// The part of the image that is rendered, in whole pixels. width and height are not negative; left, top,
// left + width and top + height lie within -2^30 .. 2^30.
struct Window {
  std::int32_t left;
  std::int32_t top;
  std::int32_t width;
  std::int32_t height;
};

enum class Cull : std::int32_t { none = 0, back = 1, front = 2 };

// What is seen at each pixel of the window. Every pixel is written, so the buffers may come uninitialised.
//
//   vertices      (vertex_count, 3)     x, y in px, z
//   triangles     (triangle_count, 3)   vertex indices
//   depth         (height, width)       z of the nearest surface; -infinity where there is none
//   triangle_id   (height, width)       its triangle; -1 where there is none
//   barycentric   (height, width, 2)    weights of its first and second vertex; the third is 1 - both; 0
//   where
//                                       there is none
//
// A pixel belongs to a triangle if its centre lies inside, or on a left or a top edge. Where the edge lies on
// a row of pixels is computed from the edge alone, whatever triangle it belongs to and whatever the window,
// so a pixel on an edge that two triangles share is drawn by one of them: never by none, never by both.
// Vertices that are stored twice at one position (seams) are as good as shared ones. The larger z wins, and
// at equal z the lower index. Skipped: triangles of no area, and those with a coordinate that is NaN or
// infinite.
void rasterize(const float *vertices, std::int64_t vertex_count, const std::int32_t *triangles,
               std::int64_t triangle_count, Window window, Cull cull, std::int32_t threads, float *depth,
               std::int32_t *triangle_id, float *barycentric);

// Blends vertex attributes over a raster of `pixel_count` pixels.
//
//   triangle_id, barycentric            as `rasterize` wrote them; a negative id is an empty pixel
//   triangles     (triangle count, 3)   no id reaches beyond it
//   attributes    (vertex count, channels)
//   background    (channels)            what an empty pixel gets
//   out           (pixel_count, channels)
//
// Three equal attributes give that very value at each pixel between them. Bytes are rounded to the nearest,
// half to even, and saturated; NaN gives 0.
void interpolate(const std::int32_t *triangle_id, const float *barycentric, std::int64_t pixel_count,
                 const std::int32_t *triangles, const float *attributes, std::int64_t channels,
                 const float *background, std::int32_t threads, float *out);
void interpolate(const std::int32_t *triangle_id, const float *barycentric, std::int64_t pixel_count,
                 const std::int32_t *triangles, const float *attributes, std::int64_t channels,
                 const float *background, std::int32_t threads, std::uint8_t *out);

// Unit normals (vertex_count, 3) of the vertices: the sum of (v2 - v0) x (v1 - v0) over a vertex's triangles,
// so weighted by their areas, then divided by its length. They point outward, and a front face's has z > 0.
// Zero where that sum is zero (no triangle, only degenerate ones) or not finite.
void vertex_normals(const float *vertices, std::int64_t vertex_count, const std::int32_t *triangles,
                    std::int64_t triangle_count, float *normals);

} // namespace sim3dr
