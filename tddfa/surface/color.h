// A colour of three numbers as a vector of four, of which the last is anything.
#pragma once

#include <cstdint>
#include <cstring>

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

// Rounds 0 .. 255 to the nearest, half to even: a float from 2^23 on has no fractional bits.
TDDFA_INLINE std::uint8_t nearest_byte(float value) {
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
struct Color {
  __m128 of;

  static TDDFA_INLINE Color all(float value) { return {_mm_set1_ps(value)}; }

  // Of four floats.
  static TDDFA_INLINE Color at(const float *values) { return {_mm_loadu_ps(values)}; }

  // Of a pixel. The first byte of the next is read too.
  static TDDFA_INLINE Color at(const std::uint8_t *pixel) {
    std::int32_t bytes;
    std::memcpy(&bytes, pixel, sizeof(bytes));
    const __m128i zero = _mm_setzero_si128(), words = _mm_unpacklo_epi8(_mm_cvtsi32_si128(bytes), zero);
    return {_mm_cvtepi32_ps(_mm_unpacklo_epi16(words, zero))};
  }

  TDDFA_INLINE void store(float *values) const { _mm_storeu_ps(values, of); }

  // Rounds 0 .. 255 to a pixel, and the first byte of the next.
  TDDFA_INLINE void store(std::uint8_t *pixel) const {
    const __m128i words = _mm_packs_epi32(_mm_cvtps_epi32(of), _mm_setzero_si128());
    const std::int32_t bytes = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
    std::memcpy(pixel, &bytes, sizeof(bytes));
  }

  TDDFA_INLINE Color in_bytes() const {
    return {_mm_min_ps(_mm_max_ps(of, _mm_setzero_ps()), _mm_set1_ps(255.0f))};
  }
};

// Stores the first, the second and the third numbers of four.
TDDFA_INLINE void store_columns(const Color &a, const Color &b, const Color &c, const Color &d, float *first,
                                float *second, float *third) {
  const __m128 ab = _mm_unpacklo_ps(a.of, b.of), cd = _mm_unpacklo_ps(c.of, d.of);
  _mm_storeu_ps(first, _mm_movelh_ps(ab, cd));
  _mm_storeu_ps(second, _mm_movehl_ps(cd, ab));
  _mm_storeu_ps(third, _mm_movelh_ps(_mm_unpackhi_ps(a.of, b.of), _mm_unpackhi_ps(c.of, d.of)));
}

TDDFA_INLINE Color operator+(const Color &a, const Color &b) {
  return {_mm_add_ps(a.of, b.of)};
}
TDDFA_INLINE Color operator-(const Color &a, const Color &b) {
  return {_mm_sub_ps(a.of, b.of)};
}
TDDFA_INLINE Color operator*(const Color &a, const Color &b) {
  return {_mm_mul_ps(a.of, b.of)};
}
#else
struct alignas(16) Color {
  float of[4];

  static Color all(float value) { return {{value, value, value, value}}; }
  static Color at(const float *values) { return {{values[0], values[1], values[2], values[3]}}; }
  static Color at(const std::uint8_t *pixel) {
    Color color;
    for (int k = 0; k < 4; ++k)
      color.of[k] = static_cast<float>(pixel[k]);
    return color;
  }
  void store(float *values) const { std::memcpy(values, of, sizeof(of)); }
  void store(std::uint8_t *pixel) const {
    for (int k = 0; k < 4; ++k)
      pixel[k] = nearest_byte(of[k]);
  }
  Color in_bytes() const {
    Color color;
    for (int k = 0; k < 4; ++k)
      color.of[k] = clamped(of[k], 0.0f, 255.0f);
    return color;
  }
};

inline void store_columns(const Color &a, const Color &b, const Color &c, const Color &d, float *first,
                          float *second, float *third) {
  float *const to[3] = {first, second, third};
  for (int k = 0; k < 3; ++k) {
    to[k][0] = a.of[k];
    to[k][1] = b.of[k];
    to[k][2] = c.of[k];
    to[k][3] = d.of[k];
  }
}

template <class Operation> inline Color each(const Color &a, const Color &b, Operation operation) {
  Color color;
  for (int k = 0; k < 4; ++k)
    color.of[k] = operation(a.of[k], b.of[k]);
  return color;
}

inline Color operator+(const Color &a, const Color &b) {
  return each(a, b, [](float x, float y) { return x + y; });
}
inline Color operator-(const Color &a, const Color &b) {
  return each(a, b, [](float x, float y) { return x - y; });
}
inline Color operator*(const Color &a, const Color &b) {
  return each(a, b, [](float x, float y) { return x * y; });
}
#endif

// A colour in memory.
struct alignas(16) Pixel {
  float of[4];
};

TDDFA_INLINE Color between(const Color &from, const Color &to, const Color &weight) {
  return from + weight * (to - from);
}

} // namespace tddfa
