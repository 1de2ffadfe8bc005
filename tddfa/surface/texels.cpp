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
TDDFA_INLINE Color interpolated(const Sampled *vertices, const std::int32_t *corners, const float *weights) {
  const Color first = Color::at(vertices[corners[0]].of), second = Color::at(vertices[corners[1]].of),
              third = Color::at(vertices[corners[2]].of);
  return third + (Color::all(weights[0]) * (first - third) + Color::all(weights[1]) * (second - third));
}

// Some texels, of which each array has one number.
struct Block {
  float x[BLOCK], y[BLOCK], weight[BLOCK];
  std::int32_t column[BLOCK], row[BLOCK];
  std::uint32_t above[BLOCK], below[BLOCK];
  // Their colours; the last is written with the two bytes behind it.
  std::uint8_t colors[3 * BLOCK + 2];

  // Where the surface shows in the photo, and how far it is visible.
  TDDFA_INLINE void place(const UvMap &map, const Sampled *vertices, std::int64_t texel, std::int64_t count) {
    const auto at = [&](std::int64_t i) {
      const std::int32_t *corners = map.triangles + 3 * static_cast<std::int64_t>(map.triangle_id[texel + i]);
      return interpolated(vertices, corners, map.barycentric + 2 * (texel + i));
    };
    std::int64_t i = 0;
    for (; i + 4 <= count; i += 4)
      store_columns(at(i), at(i + 1), at(i + 2), at(i + 3), x + i, y + i, weight + i);
    if (i < count) {
      const std::int64_t last = count - 1;
      store_columns(at(i), at(std::min(i + 1, last)), at(std::min(i + 2, last)), at(last), x + i, y + i,
                    weight + i);
    }
  }

  // Which pixels they are between, and the weights of those; whether all are within the photo. The loops are
  // vectorised.
  TDDFA_INLINE bool find_pixels(const Photo &photo, std::int64_t count) {
    if (photo.scaled)
      for (std::int64_t i = 0; i < count; ++i) {
        x[i] = (x[i] + 0.5f) * photo.scale_x - 0.5f;
        y[i] = (y[i] + 0.5f) * photo.scale_y - 0.5f;
      }
    std::int32_t beyond = 0;
    const auto columns = static_cast<std::int32_t>(photo.columns),
               rows = static_cast<std::int32_t>(photo.rows);
    for (std::int64_t i = 0; i < count; ++i) {
      const Position across = Position::on(x[i], photo.columns), down = Position::on(y[i], photo.rows);
      column[i] = across.pixel;
      row[i] = down.pixel;
      beyond |= across.pixel | down.pixel | (columns - 3 - across.pixel) | (rows - 2 - down.pixel);
      const Taps taps = Taps::at(across.weight, down.weight);
      const std::uint32_t counts = weight[i] == 0.0f ? 0 : ~std::uint32_t(0); // else no colour
      above[i] = taps.above & counts;
      below[i] = taps.below & counts;
    }
    return beyond >= 0;
  }

#ifdef TDDFA_SSE2
  // Colours of texels that are within the photo, four at once.
  TDDFA_INLINE void sample_within(const Photo &photo, std::int64_t count) {
    for (std::int64_t i = 0; i < count; i += 4) {
      const __m128i first = color<0>(photo, i), second = color<1>(photo, i), third = color<2>(photo, i),
                    fourth = color<3>(photo, i);
      const __m128i pixels = _mm_packus_epi16(_mm_packs_epi32(first, second), _mm_packs_epi32(third, fourth));
      // without the fourth byte of each pixel
      const __m128i pairs = _mm_or_si128(_mm_and_si128(pixels, _mm_set_epi32(0, 0xffffff, 0, 0xffffff)),
                                         _mm_slli_epi64(_mm_srli_epi64(pixels, 32), 24));
      _mm_storel_epi64(reinterpret_cast<__m128i *>(colors + 3 * i), pairs);
      _mm_storel_epi64(reinterpret_cast<__m128i *>(colors + 3 * i + 6), _mm_srli_si128(pairs, 8));
    }
  }

private:
  template <int K> TDDFA_INLINE __m128i color(const Photo &photo, std::int64_t i) const {
    const std::int64_t stride = 3 * photo.columns;
    const std::uint8_t *pixel =
        photo.pixels + row[i + K] * stride + 3 * static_cast<std::int64_t>(column[i + K]);
    const auto weights = [i](const std::uint32_t *four) {
      const __m128i all = _mm_loadu_si128(reinterpret_cast<const __m128i *>(four + i));
      return _mm_shuffle_epi32(all, K * 0x55);
    };
    return blended(pixel, pixel + stride, weights(above), weights(below));
  }
#endif
};

// Samples texels from `texel` on, at most a block, all inside of triangles.
TDDFA_INLINE void sample_block(const UvMap &map, const Sampled *vertices, const Photo &photo,
                               std::int64_t texel, std::int64_t count, std::uint8_t *colors, float *weight) {
  Block block;
  block.place(map, vertices, texel, count);
  const std::int64_t filled = (count + 3) / 4 * 4; // those behind the last are equal to it
  [[maybe_unused]] const bool all_within = block.find_pixels(photo, filled);
#ifdef TDDFA_SSE2
  if (all_within)
    block.sample_within(photo, filled);
  else
#endif
    for (std::int64_t i = 0; i < count; ++i)
      bilinear_anywhere(photo, block.column[i], block.row[i], {block.above[i], block.below[i]},
                        block.colors + 3 * i);
  std::memcpy(colors, block.colors, static_cast<std::size_t>(3 * count));
  std::memcpy(weight, block.weight, sizeof(float) * static_cast<std::size_t>(count));
}

// Whether eight texels are outside, by the bits of their triangles.
TDDFA_INLINE bool are_outside(const std::int32_t *triangle_id) {
  std::uint64_t pairs[4];
  std::memcpy(pairs, triangle_id, sizeof(pairs));
  return (pairs[0] & pairs[1] & pairs[2] & pairs[3]) == ~std::uint64_t(0);
}

// `shown` is whether a corner of a triangle is visible, 1 or 0, from triangle -1 on, which is outside. All
// other texels have no weight and no colour.
TDDFA_INLINE void sample_all(const UvMap &map, const Sampled *vertices, const std::uint8_t *shown,
                             const Photo &photo, std::uint8_t *colors, float *weight) {
  const std::int32_t *id = map.triangle_id;
  const std::int64_t all = map.rows * map.columns;
  const auto is_shown = [&](std::int64_t texel) { return shown[id[texel] + 1]; };
  // of four texels
  const auto number_shown = [&](std::int64_t texel) {
    return is_shown(texel) + is_shown(texel + 1) + is_shown(texel + 2) + is_shown(texel + 3);
  };
  for (std::int64_t texel = 0, end = 0; texel < all; texel = end) {
    if (!is_shown(texel)) {
      while (end + 8 <= all && are_outside(id + end))
        end += 8;
      while (end + 4 <= all && number_shown(end) == 0)
        end += 4;
      while (end < all && !is_shown(end))
        ++end;
      std::memset(weight + texel, 0, sizeof(float) * static_cast<std::size_t>(end - texel));
      std::memset(colors + 3 * texel, 0, static_cast<std::size_t>(3 * (end - texel)));
    } else {
      const std::int64_t limit = std::min(all, texel + BLOCK);
      while (end + 4 <= limit && number_shown(end) == 4)
        end += 4;
      while (end < limit && is_shown(end))
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
  std::vector<std::uint8_t> visible(static_cast<std::size_t>(vertex_count));
  for (std::int64_t i = 0; i < vertex_count; ++i) {
    sampled[static_cast<std::size_t>(i)] = {{vertices[3 * i], vertices[3 * i + 1], visibility[i], 0.0f}};
    visible[static_cast<std::size_t>(i)] = visibility[i] != 0.0f;
  }
  const std::uint8_t *of = visible.data();
  std::vector<std::uint8_t> shown(static_cast<std::size_t>(map.triangle_count) + 1);
  for (std::int64_t i = 0; i < map.triangle_count; ++i) {
    const std::int32_t *corners = map.triangles + 3 * i;
    shown[static_cast<std::size_t>(i) + 1] = of[corners[0]] | of[corners[1]] | of[corners[2]];
  }
#ifdef TDDFA_HAS_AVX2_VARIANT
  if (has_avx2())
    return sample_avx2(map, sampled.data(), shown.data(), photo, colors, weight);
#endif
  sample_all(map, sampled.data(), shown.data(), photo, colors, weight);
}

} // namespace tddfa
