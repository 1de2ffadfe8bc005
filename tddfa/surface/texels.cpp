#include "texels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#if defined(__GNUC__) && defined(__x86_64__)
#define TDDFA_HAS_AVX2_VARIANT
#endif

#if defined(__SSE2__) || defined(_M_X64)
#define TDDFA_SSE2
#include <emmintrin.h>
#endif

// A function that is inlined into one with AVX2 is compiled with AVX2.
#if defined(__GNUC__)
#define TDDFA_INLINE inline __attribute__((always_inline))
#else
#define TDDFA_INLINE inline
#endif

namespace tddfa {
namespace {

// Rounds 0 .. 255 to the nearest, half to even: a float from 2^23 on has no fractional bits.
TDDFA_INLINE std::uint8_t rounded(float value) {
  value += 0x1p23f;
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<std::uint8_t>(bits);
}

TDDFA_INLINE float clamped(float value, float low, float high) {
  value = value > low ? value : low; // NaN gives `low`
  return value < high ? value : high;
}

#ifdef TDDFA_SSE2
// A pixel, and the first byte of the next.
TDDFA_INLINE __m128 color_at(const std::uint8_t *pixel) {
  std::int32_t bytes;
  std::memcpy(&bytes, pixel, sizeof(bytes));
  const __m128i zero = _mm_setzero_si128(), words = _mm_unpacklo_epi8(_mm_cvtsi32_si128(bytes), zero);
  return _mm_cvtepi32_ps(_mm_unpacklo_epi16(words, zero));
}

TDDFA_INLINE __m128 between(__m128 from, __m128 to, __m128 weight) {
  return _mm_add_ps(from, _mm_mul_ps(weight, _mm_sub_ps(to, from)));
}

TDDFA_INLINE void bilinear_inside(const std::uint8_t *above, std::int64_t stride, float x, float y,
                                  std::uint8_t *out) {
  const std::uint8_t *below = above + stride;
  const __m128 right = _mm_set1_ps(x), low = _mm_set1_ps(y);
  const __m128 color = between(between(color_at(above), color_at(above + 3), right),
                               between(color_at(below), color_at(below + 3), right), low);
  const __m128i words = _mm_packs_epi32(_mm_cvtps_epi32(color), _mm_setzero_si128());
  const std::int32_t bytes = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
  std::memcpy(out, &bytes, 3);
}
#endif

// A bilinear sample between any four pixels; beyond the border, all pixels are those of the border.
TDDFA_INLINE void bilinear_anywhere(const Photo &photo, std::int64_t left, std::int64_t top, float x, float y,
                                    std::uint8_t *out) {
  const std::int64_t stride = 3 * photo.columns;
  const std::int64_t columns[2] = {std::clamp<std::int64_t>(left, 0, photo.columns - 1),
                                   std::clamp<std::int64_t>(left + 1, 0, photo.columns - 1)};
  const std::uint8_t *above = photo.pixels + std::clamp<std::int64_t>(top, 0, photo.rows - 1) * stride,
                     *below = photo.pixels + std::clamp<std::int64_t>(top + 1, 0, photo.rows - 1) * stride;
  for (int c = 0; c < 3; ++c) {
    const float a = above[3 * columns[0] + c], b = above[3 * columns[1] + c], d = below[3 * columns[0] + c],
                e = below[3 * columns[1] + c];
    const float upper = a + x * (b - a), lower = d + x * (e - d);
    out[c] = rounded(upper + y * (lower - upper));
  }
}

// What is interpolated between the vertices: x, y, and the visibility; the fourth makes it a vector.
struct alignas(16) Sampled {
  float of[4];
};

constexpr std::int64_t BLOCK = 64;

// Positions on an image of some texels: the pixel on the left of each, or above it, and the weight of the
// next.
struct Positions {
  float at[BLOCK];
  std::int32_t pixel[BLOCK];

  // A loop over all, which is vectorised.
  TDDFA_INLINE void split(bool scaled, float scale, std::int64_t side) {
    const auto last = static_cast<float>(side);
    if (scaled)
      for (float &position : at)
        position = (position + 0.5f) * scale - 0.5f;
    for (int i = 0; i < BLOCK; ++i) {
      const float position = clamped(at[i], -1.0f, last);
      const auto towards_zero = static_cast<std::int32_t>(position);
      pixel[i] = towards_zero - (static_cast<float>(towards_zero) > position);
      at[i] = position - static_cast<float>(pixel[i]);
    }
  }
};

// Samples texels from `texel` on, at most a block, all inside of triangles.
TDDFA_INLINE void sample_block(const UvMap &map, const Sampled *vertices, const Photo &photo,
                               std::int64_t texel, std::int64_t count, std::uint8_t *colors, float *weight) {
  Positions x = {}, y = {};
  bool seen = false;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int32_t *corners = map.triangles + 3 * static_cast<std::int64_t>(map.triangle_id[texel + i]);
    const float *first = vertices[corners[0]].of, *second = vertices[corners[1]].of,
                *third = vertices[corners[2]].of;
    const float u = map.barycentric[2 * (texel + i)], v = map.barycentric[2 * (texel + i) + 1];
    float here[4];
    for (int k = 0; k < 4; ++k)
      here[k] = third[k] + (u * (first[k] - third[k]) + v * (second[k] - third[k]));
    x.at[i] = here[0];
    y.at[i] = here[1];
    weight[i] = here[2];
    seen |= here[2] != 0.0f;
  }
  if (!seen) {
    std::memset(colors, 0, static_cast<std::size_t>(3 * count));
    return;
  }
  x.split(photo.scaled, photo.scale_x, photo.columns);
  y.split(photo.scaled, photo.scale_y, photo.rows);
  for (std::int64_t i = 0; i < count; ++i, colors += 3) {
    const std::int64_t left = x.pixel[i], top = y.pixel[i];
    if (weight[i] == 0.0f) { // its colour does not count
      std::memset(colors, 0, 3);
      continue;
    }
#ifdef TDDFA_SSE2
    // the byte behind the last pixel is not there
    if (left >= 0 && top >= 0 && left + 2 < photo.columns && top + 1 < photo.rows) {
      const std::int64_t stride = 3 * photo.columns;
      bilinear_inside(photo.pixels + top * stride + 3 * left, stride, x.at[i], y.at[i], colors);
      continue;
    }
#endif
    bilinear_anywhere(photo, left, top, x.at[i], y.at[i], colors);
  }
}

TDDFA_INLINE void sample_all(const UvMap &map, const Sampled *vertices, const Photo &photo,
                             std::uint8_t *colors, float *weight) {
  const std::int32_t *id = map.triangle_id;
  for (std::int64_t texel = 0, end = 0, all = map.rows * map.columns; texel < all; texel = end) {
    if (id[texel] < 0) {
      while (end < all && id[end] < 0)
        ++end;
      std::memset(weight + texel, 0, sizeof(float) * static_cast<std::size_t>(end - texel));
      std::memset(colors + 3 * texel, 0, static_cast<std::size_t>(3 * (end - texel)));
    } else {
      while (end < all && end < texel + BLOCK && id[end] >= 0)
        ++end;
      sample_block(map, vertices, photo, texel, end - texel, colors + 3 * texel, weight + texel);
    }
  }
}

// The first `count` weights three times each: one for each channel.
TDDFA_INLINE void spread(const float *weight, std::int64_t count, float *to) {
  for (std::int64_t i = 0; i < count; ++i)
    to[3 * i] = to[3 * i + 1] = to[3 * i + 2] = weight[i];
}

TDDFA_INLINE void blend_row(const std::uint8_t *__restrict own, const std::uint8_t *__restrict mirrored,
                            const std::uint8_t *__restrict change, const std::uint8_t *__restrict fill,
                            const float *__restrict own_weight, const float *__restrict mirrored_weight,
                            std::int64_t size, std::uint8_t *__restrict out) {
  for (std::int64_t i = 0; i < size; ++i) {
    const float other =
        clamped(static_cast<float>(mirrored[i]) + (static_cast<float>(change[i]) - 128.0f), 0.0f, 255.0f);
    const float base = static_cast<float>(fill[i]);
    out[i] = rounded(base + own_weight[i] * (static_cast<float>(own[i]) - base) +
                     mirrored_weight[i] * (other - base));
  }
}

TDDFA_INLINE void count_sources(const float *__restrict own, const float *__restrict known,
                                const std::uint8_t *__restrict inside, std::int64_t size,
                                std::uint8_t *__restrict sources) {
  for (std::int64_t i = 0; i < size; ++i) {
    const auto count = static_cast<std::uint8_t>(1 + (known[i] >= 0.5f) + (own[i] >= 0.5f));
    sources[i] = inside[i] ? count : 0;
  }
}

// Mixes at most a block of texels of one row, from column `first` on; `at` is the first of them.
TDDFA_INLINE void mix_block(const Sides &sides, std::int64_t at, std::int64_t first, std::int64_t count,
                            const std::uint8_t *inside, std::uint8_t *sources, std::uint8_t *out) {
  const float *own = sides.weight + at;
  // the mirror image of the last texel of the block, in the same row
  const std::int64_t opposite = at - first + (sides.columns - first - count);
  bool alone = true;
  for (std::int64_t i = 0; i < count; ++i)
    alone &= own[i] == 1.0f;
  if (alone) {
    std::memcpy(out + 3 * at, sides.colors + 3 * at, static_cast<std::size_t>(3 * count));
    for (std::int64_t i = 0; i < count; ++i)
      sources[at + i] = inside[at + i] ? 3 : 0;
    return;
  }
  float aside[BLOCK], together[BLOCK], own_spread[3 * BLOCK], other_spread[3 * BLOCK];
  std::uint8_t mirrored[3 * BLOCK];
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t other = opposite + count - 1 - i;
    aside[i] = (1.0f - own[i]) * (sides.mirrorable[at + i] ? sides.weight[other] : 0.0f);
    together[i] = own[i] + aside[i];
    std::memcpy(mirrored + 3 * i, sides.colors + 3 * other, 3);
  }
  count_sources(own, together, inside + at, count, sources + at);
  spread(own, count, own_spread);
  spread(aside, count, other_spread);
  blend_row(sides.colors + 3 * at, mirrored, sides.change + 3 * at, sides.fill + 3 * at, own_spread,
            other_spread, 3 * count, out + 3 * at);
}

TDDFA_INLINE void mix_all(const Sides &sides, const std::uint8_t *where, const std::uint8_t *inside,
                          std::uint8_t *sources, std::uint8_t *out) {
  const std::int64_t columns = sides.columns;
  for (std::int64_t row = 0, line = 0; row < sides.rows; ++row, line += columns, where += columns) {
    // of each row only the part from the first to the last texel that is asked for
    const std::uint8_t *begin =
        std::find_if(where, where + columns, [](std::uint8_t value) { return value != 0; });
    const std::uint8_t *end = where + columns;
    while (end > begin && end[-1] == 0)
      --end;
    const std::int64_t from = begin - where, to = end - where;
    for (std::int64_t first = from; first < to; first += BLOCK)
      mix_block(sides, line + first, first, std::min(BLOCK, to - first), inside, sources, out);
    std::memset(sources + line, 0, static_cast<std::size_t>(from));
    std::memset(sources + line + to, 0, static_cast<std::size_t>(columns - to));
    std::memset(out + 3 * line, 0, static_cast<std::size_t>(3 * from));
    std::memset(out + 3 * (line + to), 0, static_cast<std::size_t>(3 * (columns - to)));
    if (to > from && std::memchr(begin, 0, static_cast<std::size_t>(to - from)) != nullptr)
      for (std::int64_t i = from; i < to; ++i)
        if (where[i] == 0) {
          std::memset(out + 3 * (line + i), 0, 3);
          sources[line + i] = 0;
        }
  }
}

#ifdef TDDFA_HAS_AVX2_VARIANT
#define TDDFA_AVX2 __attribute__((target("avx2")))

TDDFA_AVX2 void sample_avx2(const UvMap &map, const Sampled *vertices, const Photo &photo,
                            std::uint8_t *colors, float *weight) {
  sample_all(map, vertices, photo, colors, weight);
}

TDDFA_AVX2 void mix_avx2(const Sides &sides, const std::uint8_t *where, const std::uint8_t *inside,
                         std::uint8_t *sources, std::uint8_t *out) {
  mix_all(sides, where, inside, sources, out);
}

bool has_avx2() {
  static const bool has = __builtin_cpu_supports("avx2");
  return has;
}
#endif

} // namespace

void sample_surface(const UvMap &map, const float *vertices, const float *visibility,
                    std::int64_t vertex_count, const Photo &photo, std::uint8_t *colors, float *weight) {
  std::vector<Sampled> sampled(static_cast<std::size_t>(vertex_count));
  for (std::int64_t i = 0; i < vertex_count; ++i)
    sampled[static_cast<std::size_t>(i)] = {{vertices[3 * i], vertices[3 * i + 1], visibility[i], 0.0f}};
#ifdef TDDFA_HAS_AVX2_VARIANT
  if (has_avx2())
    return sample_avx2(map, sampled.data(), photo, colors, weight);
#endif
  sample_all(map, sampled.data(), photo, colors, weight);
}

void mix_sides(const Sides &sides, const std::uint8_t *where, const std::uint8_t *inside,
               std::uint8_t *sources, std::uint8_t *out) {
#ifdef TDDFA_HAS_AVX2_VARIANT
  if (has_avx2())
    return mix_avx2(sides, where, inside, sources, out);
#endif
  mix_all(sides, where, inside, sources, out);
}

} // namespace tddfa
