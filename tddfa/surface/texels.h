// The passes over the texels of a UV map that make a texture (tddfa/surface/texture.py).
#pragma once

#include <cstdint>

namespace tddfa {

// A rasterised UV map (Sim3DR/raster.py) and the triangles of the mesh.
struct UvMap {
  std::int64_t rows, columns;
  const std::int32_t *triangle_id; // -1 outside
  const float *barycentric;
  const std::int32_t *triangles;
};

// A BGR image without gaps between its rows. Image px are scaled to its px where `scaled`.
struct Photo {
  std::int64_t rows, columns;
  const std::uint8_t *pixels;
  bool scaled;
  float scale_x, scale_y;
};

// The colour (bilinear, as OpenCV's remap) and the visibility of the surface at each texel; 0 outside, and
// no colour where it is not visible.
void sample_surface(const UvMap &map, const float *vertices, const float *visibility,
                    std::int64_t vertex_count, const Photo &photo, std::uint8_t *colors, float *weight);

// What a texture is mixed from, all of one size: colours of the surface and how far they can be trusted;
// where the other side may be mirrored; the change of light of mirrored colours, plus 128; and the colours of
// texels that are visible on neither side.
struct Sides {
  std::int64_t rows, columns;
  const std::uint8_t *colors;
  const float *weight;
  const std::uint8_t *mirrorable, *change, *fill;
};

// Blends the colour of each texel, by its weight, with that of the mirrored texel, by the weight of that, and
// the rest with the fill, where `where` is not 0; `out` is 0 elsewhere. `sources` is 0 where `where` or
// `inside` is 0, else 1, and one more for each that is at least half: the weight of both sides together, and
// that of the own side.
void mix_sides(const Sides &sides, const std::uint8_t *where, const std::uint8_t *inside,
               std::uint8_t *sources, std::uint8_t *out);

} // namespace tddfa
