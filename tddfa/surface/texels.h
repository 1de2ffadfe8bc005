// The passes over the texels of a UV map that sample a photo (tddfa/surface/texture.py).
#pragma once

#include "bilinear.h"

#include <cstdint>

namespace tddfa {

// A rasterised UV map (Sim3DR/raster.py) and the triangles of the mesh.
struct UvMap {
  std::int64_t rows, columns;
  const std::int32_t *triangle_id; // -1 outside
  const float *barycentric;
  const std::int32_t *triangles; // (triangle_count, 3)
  std::int64_t triangle_count;
};

// The colour (bilinear, as OpenCV's remap) and the visibility of the surface at each texel; 0 outside, and
// no colour where it is not visible.
void sample_surface(const UvMap &map, const float *vertices, const float *visibility,
                    std::int64_t vertex_count, const Photo &photo, std::uint8_t *colors, float *weight);

} // namespace tddfa
