#include "vertices.h"

#include "rounding.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace tddfa {
namespace {

// 0 up to `low`, 1 from `high` on.
float beyond(float value, float low, float high) {
  return std::clamp((value - low) * (1.0f / (high - low)), 0.0f, 1.0f);
}

// The index, below `count`, of the pixel nearest to a position.
std::int64_t nearest_pixel(float position, std::int64_t count) {
  const float limited = std::clamp(position, 0.0f, static_cast<float>(count - 1));
  return static_cast<std::int64_t>(rounded(limited));
}

float smallest_of_ring(const Rings &rings, const float *values, std::int64_t vertex) {
  float least = values[vertex];
  for (std::int32_t at = rings.starts[vertex]; at < rings.starts[vertex + 1]; ++at)
    least = std::min(least, values[rings.vertices[at]]);
  return least;
}

} // namespace

float mean_of_ring(const Rings &rings, const float *values, std::int64_t vertex) {
  const std::int32_t begin = rings.starts[vertex], end = rings.starts[vertex + 1];
  float sum = 0.0f;
  for (std::int32_t at = begin; at < end; ++at)
    sum += values[rings.vertices[at]];
  return sum / static_cast<float>(end - begin);
}

void unhidden(const Rendered &mesh, const Limits &limits, float *weight) {
  for (std::int64_t i = 0; i < mesh.count; ++i) {
    const float *vertex = mesh.vertices + 3 * i;
    const float facing = mesh.normals[3 * i + 2];
    const bool lining = mesh.part != nullptr && mesh.part[i] == limits.lining;
    weight[i] = 0.0f;
    if (facing <= (lining ? 0.0f : limits.grazing))
      continue;
    const std::int64_t pixel =
        nearest_pixel(vertex[1], mesh.rows) * mesh.columns + nearest_pixel(vertex[0], mesh.columns);
    const float steepness =
        std::sqrt(std::clamp(1.0f - facing * facing, 0.0f, 1.0f)) / std::max(facing, limits.grazing);
    const float depth = lining ? mesh.depth[pixel] : mesh.nearest[pixel];
    const float slope = lining ? limits.slope_here : limits.slope_around;
    if (depth - vertex[2] <= limits.tolerance + slope * steepness)
      weight[i] = lining ? 1.0f : beyond(facing, limits.grazing, limits.facing);
  }
}

void feather(const Rings &rings, const Rendered &mesh, const Outline &outline, const float *image_vertices,
             float image_rows, float image_columns, const float *weight, float *out, float *rim) {
  std::vector<float> eroded(static_cast<std::size_t>(mesh.count));
  for (std::int64_t i = 0; i < mesh.count; ++i)
    eroded[static_cast<std::size_t>(i)] = weight[i] > 0.0f ? smallest_of_ring(rings, weight, i) : 0.0f;
  for (std::int64_t i = 0; i < mesh.count; ++i) {
    out[i] = rim[i] = 0.0f;
    if (weight[i] == 0.0f)
      continue;
    const float *vertex = mesh.vertices + 3 * i;
    const std::int64_t row = nearest_pixel(vertex[1], mesh.rows),
                       column = nearest_pixel(vertex[0], mesh.columns);
    rim[i] = outline.distance[(row + 1) * (mesh.columns + 2) + column + 1];
    const float x = image_vertices[3 * i], y = image_vertices[3 * i + 1];
    if (!(x > -0.5f && y > -0.5f && x < image_columns - 0.5f && y < image_rows - 0.5f))
      continue;
    // eyeballs are seen between the lids, teeth between the lips: there is no room for a margin
    const bool no_margin = mesh.part != nullptr && mesh.part[i] > 0;
    const float own = no_margin                                    ? weight[i]
                      : eroded[static_cast<std::size_t>(i)] > 0.0f ? mean_of_ring(rings, eroded.data(), i)
                                                                   : 0.0f;
    out[i] = own * beyond(rim[i], outline.low, outline.high);
  }
}

} // namespace tddfa
