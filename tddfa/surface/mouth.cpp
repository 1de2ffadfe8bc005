#include "mouth.h"

#include "rounding.h"

namespace tddfa {
namespace {

// The pixel nearest to a position, counted from `first`, one of `count`.
std::int64_t pixel_of(float position, std::int64_t first, std::int64_t count) {
  const float inside = clamped(position, static_cast<float>(first), static_cast<float>(first + count - 1));
  return static_cast<std::int64_t>(rounded(inside)) - first;
}

bool is_inside(float position, std::int64_t side) {
  return position > -0.5f && position < static_cast<float>(side) - 0.5f;
}

} // namespace

void sample_mouth(const MouthTexels &mouth, const MouthWindow &window, const float *vertices, float tolerance,
                  float continued, const Photo &photo, std::uint8_t *colors, float *weight) {
  for (std::int64_t i = 0; i < mouth.count; ++i) {
    if (!mouth.chosen[mouth.triangles[i]])
      continue;
    float point[3] = {}, placed[3];
    for (std::int64_t k = 0; k < 3; ++k) {
      const float *vertex = vertices + 3 * static_cast<std::int64_t>(mouth.corners[3 * i + k]);
      for (int axis = 0; axis < 3; ++axis)
        point[axis] += vertex[axis] * mouth.weights[3 * i + k];
    }
    for (int axis = 0; axis < 3; ++axis)
      placed[axis] = (point[axis] - window.low[axis]) * window.scale;
    const std::int64_t column = pixel_of(placed[0], window.left, window.columns),
                       row = pixel_of(placed[1], window.top, window.rows);
    const std::int64_t at = row * window.columns + column, shown = window.nearest[at];
    const float trust = 1.0f - window.away[at] / continued;
    if (!(trust > 0.0f))
      continue;
    if (shown == at) {
      if (window.depth[at] - placed[2] > tolerance)
        continue;
    } else { // behind the lips, the nearest point between them
      const std::int64_t pixel[2] = {shown % window.columns + window.left,
                                     shown / window.columns + window.top};
      for (int axis = 0; axis < 2; ++axis)
        point[axis] += (static_cast<float>(pixel[axis]) - placed[axis]) / window.scale;
    }
    const float x = (point[0] + 0.5f) * photo.scale_x - 0.5f, y = (point[1] + 0.5f) * photo.scale_y - 0.5f;
    if (!is_inside(x, photo.columns) || !is_inside(y, photo.rows))
      continue;
    const std::int64_t texel = mouth.texels[i];
    weight[texel] = trust;
    bilinear(photo, Position::on(x, photo.columns), Position::on(y, photo.rows), colors + 3 * texel);
  }
}

} // namespace tddfa
