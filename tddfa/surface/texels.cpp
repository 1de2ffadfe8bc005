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

TDDFA_INLINE void bilinear(const Photo &photo, float x, float y, std::uint8_t *out) {
  // beyond the border, all pixels are those of the border
  x = clamped(x, -1.0f, static_cast<float>(photo.columns));
  y = clamped(y, -1.0f, static_cast<float>(photo.rows));
  // a conversion rounds towards 0
  const auto column = static_cast<std::int32_t>(x), row = static_cast<std::int32_t>(y);
  const std::int64_t left = column - (static_cast<float>(column) > x),
                     top = row - (static_cast<float>(row) > y);
  const float right_weight = x - static_cast<float>(left), low_weight = y - static_cast<float>(top);
  const std::int64_t stride = 3 * photo.columns;
#ifdef TDDFA_SSE2
  // the byte behind the last pixel is not there
  if (left >= 0 && top >= 0 && left + 2 < photo.columns && top + 1 < photo.rows)
    return bilinear_inside(photo.pixels + top * stride + 3 * left, stride, right_weight, low_weight, out);
#endif
  const std::int64_t columns[2] = {std::clamp<std::int64_t>(left, 0, photo.columns - 1),
                                   std::clamp<std::int64_t>(left + 1, 0, photo.columns - 1)};
  const std::uint8_t *above = photo.pixels + std::clamp<std::int64_t>(top, 0, photo.rows - 1) * stride,
                     *below = photo.pixels + std::clamp<std::int64_t>(top + 1, 0, photo.rows - 1) * stride;
  for (int c = 0; c < 3; ++c) {
    const float a = above[3 * columns[0] + c], b = above[3 * columns[1] + c], d = below[3 * columns[0] + c],
                e = below[3 * columns[1] + c];
    const float upper = a + right_weight * (b - a), lower = d + right_weight * (e - d);
    out[c] = rounded(upper + low_weight * (lower - upper));
  }
}

TDDFA_INLINE void sample_all(const UvMap &map, const float *vertices, const float *visibility,
                             const Photo &photo, std::uint8_t *colors, float *weight) {
  for (std::int64_t texel = 0, count = map.rows * map.columns; texel < count; ++texel, colors += 3) {
    const std::int32_t id = map.triangle_id[texel];
    if (id < 0) {
      weight[texel] = 0.0f;
      colors[0] = colors[1] = colors[2] = 0;
      continue;
    }
    const std::int32_t *corners = map.triangles + 3 * static_cast<std::int64_t>(id);
    const float u = map.barycentric[2 * texel], v = map.barycentric[2 * texel + 1];
    const auto interpolated = [&](const float *values, std::int64_t step) {
      const float first = values[step * corners[0]], second = values[step * corners[1]],
                  third = values[step * corners[2]];
      return third + (u * (first - third) + v * (second - third));
    };
    weight[texel] = interpolated(visibility, 1);
    if (weight[texel] == 0.0f) { // its colour does not count
      colors[0] = colors[1] = colors[2] = 0;
      continue;
    }
    float x = interpolated(vertices, 3), y = interpolated(vertices + 1, 3);
    if (photo.scaled) {
      x = (x + 0.5f) * photo.scale_x - 0.5f;
      y = (y + 0.5f) * photo.scale_y - 0.5f;
    }
    bilinear(photo, x, y, colors);
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

TDDFA_INLINE void mix_all(const Sides &sides, const std::uint8_t *where, float *known, std::uint8_t *out) {
  const std::int64_t columns = sides.columns;
  const auto width = static_cast<std::size_t>(columns);
  std::vector<float> other(width), own_spread(3 * width), other_spread(3 * width);
  std::vector<std::uint8_t> mirrored(3 * width);
  for (std::int64_t row = 0; row < sides.rows; ++row, where += columns) {
    const float *__restrict own = sides.weight + row * columns;
    const std::uint8_t *mirrorable = sides.mirrorable + row * columns;
    float *__restrict aside = other.data(), *__restrict together = known + row * columns;
    for (std::int64_t i = 0; i < columns; ++i) {
      const float opposite = mirrorable[i] ? own[columns - 1 - i] : 0.0f;
      aside[i] = (1.0f - own[i]) * opposite;
      together[i] = own[i] + aside[i];
    }
    // of each row only the part from the first to the last texel that is asked for
    const std::uint8_t *begin =
        std::find_if(where, where + columns, [](std::uint8_t value) { return value != 0; });
    const std::uint8_t *end = where + columns;
    while (end > begin && end[-1] == 0)
      --end;
    const std::int64_t from = begin - where, count = end - begin, line = 3 * row * columns,
                       at = line + 3 * from;
    for (std::int64_t i = 0; i < count; ++i)
      std::memcpy(mirrored.data() + 3 * i, sides.colors + line + 3 * (columns - 1 - from - i), 3);
    spread(own + from, count, own_spread.data());
    spread(aside + from, count, other_spread.data());
    blend_row(sides.colors + at, mirrored.data(), sides.change + at, sides.fill + at, own_spread.data(),
              other_spread.data(), 3 * count, out + at);
  }
}

#ifdef TDDFA_HAS_AVX2_VARIANT
#define TDDFA_AVX2 __attribute__((target("avx2")))

TDDFA_AVX2 void sample_avx2(const UvMap &map, const float *vertices, const float *visibility,
                            const Photo &photo, std::uint8_t *colors, float *weight) {
  sample_all(map, vertices, visibility, photo, colors, weight);
}

TDDFA_AVX2 void mix_avx2(const Sides &sides, const std::uint8_t *where, float *known, std::uint8_t *out) {
  mix_all(sides, where, known, out);
}

bool has_avx2() {
  static const bool has = __builtin_cpu_supports("avx2");
  return has;
}
#endif

} // namespace

void sample_surface(const UvMap &map, const float *vertices, const float *visibility, const Photo &photo,
                    std::uint8_t *colors, float *weight) {
#ifdef TDDFA_HAS_AVX2_VARIANT
  if (has_avx2())
    return sample_avx2(map, vertices, visibility, photo, colors, weight);
#endif
  sample_all(map, vertices, visibility, photo, colors, weight);
}

void mix_sides(const Sides &sides, const std::uint8_t *where, float *known, std::uint8_t *out) {
#ifdef TDDFA_HAS_AVX2_VARIANT
  if (has_avx2())
    return mix_avx2(sides, where, known, out);
#endif
  mix_all(sides, where, known, out);
}

} // namespace tddfa
