#include "texels.h"

#include "cpu.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace tddfa {
namespace {

// What is interpolated between the vertices, as a colour is: x, y, and the visibility.
using Sampled = Pixel;

constexpr std::int64_t BLOCK = 64;

// Interpolates between the corners of a triangle by the weights of the first and the second.
TDDFA_INLINE Sampled interpolated(const Sampled *vertices, const std::int32_t *corners,
                                  const float *weights) {
  const Color first = Color::at(vertices[corners[0]].of), second = Color::at(vertices[corners[1]].of),
              third = Color::at(vertices[corners[2]].of);
  Sampled here;
  (third + (Color::all(weights[0]) * (first - third) + Color::all(weights[1]) * (second - third)))
      .store(here.of);
  return here;
}

// Positions on an axis of some texels.
struct Positions {
  float weight[BLOCK];
  std::int32_t pixel[BLOCK];

  // A loop over all, which is vectorised.
  TDDFA_INLINE void set(const Sampled *here, int axis, std::int64_t count, bool scaled, float scale,
                        std::int64_t side) {
    for (std::int64_t i = 0; i < count; ++i)
      weight[i] = here[i].of[axis];
    if (scaled)
      for (std::int64_t i = 0; i < count; ++i)
        weight[i] = (weight[i] + 0.5f) * scale - 0.5f;
    for (std::int64_t i = 0; i < count; ++i) {
      const Position position = Position::on(weight[i], side);
      pixel[i] = position.pixel;
      weight[i] = position.weight;
    }
  }
};

// Samples texels from `texel` on, at most a block, all inside of triangles.
TDDFA_INLINE void sample_block(const UvMap &map, const Sampled *vertices, const Photo &photo,
                               std::int64_t texel, std::int64_t count, std::uint8_t *colors, float *weight) {
  Sampled here[BLOCK];
  Positions x, y;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int32_t *corners = map.triangles + 3 * static_cast<std::int64_t>(map.triangle_id[texel + i]);
    here[i] = interpolated(vertices, corners, map.barycentric + 2 * (texel + i));
    weight[i] = here[i].of[2];
  }
  x.set(here, 0, count, photo.scaled, photo.scale_x, photo.columns);
  y.set(here, 1, count, photo.scaled, photo.scale_y, photo.rows);
  for (std::int64_t i = 0; i < count; ++i, colors += 3) {
    if (weight[i] == 0.0f) // its colour does not count
      std::memset(colors, 0, 3);
    else
      bilinear(photo, {x.pixel[i], x.weight[i]}, {y.pixel[i], y.weight[i]}, colors);
  }
}

// Whether two texels are outside, read at once.
TDDFA_INLINE bool are_outside(const std::int32_t *triangle_id) {
  std::uint64_t both;
  std::memcpy(&both, triangle_id, sizeof(both));
  return both == ~std::uint64_t(0);
}

// `shown` is whether a corner of a triangle is visible, from triangle -1 on, which is outside. All other
// texels have no weight and no colour.
TDDFA_INLINE void sample_all(const UvMap &map, const Sampled *vertices, const std::uint8_t *shown,
                             const Photo &photo, std::uint8_t *colors, float *weight) {
  const std::int32_t *id = map.triangle_id;
  const auto is_shown = [&](std::int64_t texel) { return shown[id[texel] + 1] != 0; };
  for (std::int64_t texel = 0, end = 0, all = map.rows * map.columns; texel < all; texel = end) {
    if (!is_shown(texel)) {
      while (end < all && !is_shown(end))
        for (++end; end + 1 < all && are_outside(id + end); end += 2)
          continue;
      std::memset(weight + texel, 0, sizeof(float) * static_cast<std::size_t>(end - texel));
      std::memset(colors + 3 * texel, 0, static_cast<std::size_t>(3 * (end - texel)));
    } else {
      while (end < all && end < texel + BLOCK && is_shown(end))
        ++end;
      sample_block(map, vertices, photo, texel, end - texel, colors + 3 * texel, weight + texel);
    }
  }
}

#ifdef TDDFA_HAS_AVX2_VARIANT
TDDFA_AVX2 void sample_avx2(const UvMap &map, const Sampled *vertices, const std::uint8_t *shown,
                            const Photo &photo, std::uint8_t *colors, float *weight) {
  sample_all(map, vertices, shown, photo, colors, weight);
}
#endif

} // namespace

void sample_surface(const UvMap &map, const float *vertices, const float *visibility,
                    std::int64_t vertex_count, const Photo &photo, std::uint8_t *colors, float *weight) {
  std::vector<Sampled> sampled(static_cast<std::size_t>(vertex_count));
  for (std::int64_t i = 0; i < vertex_count; ++i)
    sampled[static_cast<std::size_t>(i)] = {{vertices[3 * i], vertices[3 * i + 1], visibility[i], 0.0f}};
  std::vector<std::uint8_t> shown(static_cast<std::size_t>(map.triangle_count) + 1);
  for (std::int64_t i = 0; i < map.triangle_count; ++i) {
    const std::int32_t *corners = map.triangles + 3 * i;
    shown[static_cast<std::size_t>(i) + 1] =
        visibility[corners[0]] != 0.0f || visibility[corners[1]] != 0.0f || visibility[corners[2]] != 0.0f;
  }
#ifdef TDDFA_HAS_AVX2_VARIANT
  if (has_avx2())
    return sample_avx2(map, sampled.data(), shown.data(), photo, colors, weight);
#endif
  sample_all(map, sampled.data(), shown.data(), photo, colors, weight);
}

} // namespace tddfa
