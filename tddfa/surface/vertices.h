// Passes over the vertices of a mesh: how well the camera sees each (tddfa/surface/visibility.py).
#pragma once

#include <cstdint>

namespace tddfa {

// The vertices around each vertex of a mesh, and itself, one after the other: those of vertex i are
// starts[i] .. starts[i + 1].
struct Rings {
  std::int64_t count; // of vertices
  const std::int32_t *vertices, *starts;
};

// The mean of the values around a vertex, and its own.
float mean_of_ring(const Rings &rings, const float *values, std::int64_t vertex);

// A mesh in px of its rendering, and the depth of the rendering: at each pixel, and the nearest around it.
struct Rendered {
  std::int64_t count;
  const float *vertices, *normals; // (count, 3)
  const std::uint8_t *part;        // (count,), or null
  std::int64_t rows, columns;
  const float *depth, *nearest; // (rows, columns)
};

// Cosines between normal and line of sight, up to which a vertex is invisible, and from which on it is fully
// visible. The tolerance of the depth test, and what is added to it per px of distance on a slope: for the
// depth around, and for that of the pixel itself, which counts for the part `lining`.
struct Limits {
  float grazing, facing, tolerance, slope_around, slope_here;
  std::uint8_t lining;
};

// How well each vertex faces the camera, 0 where a surface in front hides it. The lining is visible at any
// angle.
void unhidden(const Rendered &mesh, const Limits &limits, float *weight);

// The distance to the outline at each pixel of the rendering, (rows + 2, columns + 2): it has a border of one
// pixel. Up to the first distance a vertex is invisible, from the second on it is fully visible.
struct Outline {
  const float *distance;
  float low, high;
};

// Lowers the weights of vertices beside invisible ones, but for those with a part, and of those near to the
// outline. A vertex outside of the image, whose px `image_vertices` are in, is invisible. `rim` is the
// distance to the outline, px, of each vertex with a weight, and 0 of all others.
void feather(const Rings &rings, const Rendered &mesh, const Outline &outline, const float *image_vertices,
             float image_rows, float image_columns, const float *weight, float *out, float *rim);

} // namespace tddfa
