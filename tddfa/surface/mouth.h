// The inside of an open mouth (tddfa/surface/mouth.py): each texel has a depth test of its own.
#pragma once

#include "bilinear.h"

#include <cstdint>

namespace tddfa {

// Texels inside the mouth: flat indices, the vertices around each and their weights, and the triangle of
// each.
struct MouthTexels {
  std::int64_t count;
  const std::int64_t *texels;
  const std::int32_t *corners; // (count, 3)
  const float *weights;        // (count, 3)
  const std::int64_t *triangles;
  const std::uint8_t *chosen; // whether the texels of a triangle are sampled
};

// A window of a rendering: depth, how far each pixel is from the nearest one that shows the inside of the
// mouth, and the index of that one.
struct MouthWindow {
  std::int64_t left, top, rows, columns;
  const float *depth, *away;
  const std::int32_t *nearest;
  float low[3], scale; // (point - low) * scale is px of the rendering
};

// Sets colours and weights of the texels that are visible between the lips, or so little behind them that the
// colours there continue: up to `continued`. `tolerance` is that of the depth test; both are px of the
// rendering.
void sample_mouth(const MouthTexels &mouth, const MouthWindow &window, const float *vertices, float tolerance,
                  float continued, const Photo &photo, std::uint8_t *colors, float *weight);

} // namespace tddfa
