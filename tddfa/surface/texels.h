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
void sample_surface(const UvMap &map, const float *vertices, const float *visibility, const Photo &photo,
                    std::uint8_t *colors, float *weight);

// Blends each texel with the mirrored one by their visibilities. Where both are visible, the one that faces
// the camera counts for more. `weight` becomes that of the texel's own colour, `known` is that of both
// together, up to 1.
void mix_sides(std::int64_t rows, std::int64_t columns, const std::uint8_t *colors, float *weight,
               float *known, std::uint8_t *out);

// Blends `first` and `second` by `known` and 1 - known, as OpenCV's blendLinear, where `where` is not 0.
void blend_known(std::int64_t rows, std::int64_t columns, const std::uint8_t *first,
                 const std::uint8_t *second, const float *known, const std::uint8_t *where,
                 std::uint8_t *out);

// Multiplies some texels by their shade, the more the less they are known, in place.
void darken(const std::int64_t *texels, const float *shade, std::int64_t count, const float *known,
            std::uint8_t *colors);

} // namespace tddfa
