// Mixes a texture with AVX2; mixing.cpp checks that the machine has it. Empty on other platforms.
#include "cpu.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#ifdef TDDFA_HAS_AVX2_VARIANT

// Code included from here on may use AVX2, so it must be local to this file: no standard header.
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
#include "mixing_rows.h"

namespace tddfa {
namespace {

// The colours of two texels.
struct Pair {
  __m256 of;

  TDDFA_INLINE Pair in_bytes() const {
    return {_mm256_min_ps(_mm256_max_ps(of, _mm256_setzero_ps()), _mm256_set1_ps(255.0f))};
  }
};

TDDFA_INLINE Pair operator+(const Pair &a, const Pair &b) {
  return {_mm256_add_ps(a.of, b.of)};
}
TDDFA_INLINE Pair operator-(const Pair &a, const Pair &b) {
  return {_mm256_sub_ps(a.of, b.of)};
}
TDDFA_INLINE Pair operator*(const Pair &a, const Pair &b) {
  return {_mm256_mul_ps(a.of, b.of)};
}
TDDFA_INLINE Pair between(const Pair &from, const Pair &to, const Pair &weight) {
  return from + weight * (to - from);
}

// Two texels at once: as `OneTexel`, with the same results.
struct TwoTexels {
  using Colors = Pair;
  static constexpr std::int64_t COUNT = 2;

  static TDDFA_INLINE Pair at(const Pixel *pixels) { return {_mm256_loadu_ps(pixels->of)}; }
  // The two bytes behind the pixels are read too.
  static TDDFA_INLINE Pair at(const std::uint8_t *pixels) { return from_bytes(pixels, 0x80050403'80020100); }
  static TDDFA_INLINE Pair mirrored(const std::uint8_t *last) {
    return from_bytes(last - 3, 0x80020100'80050403);
  }
  static TDDFA_INLINE Pair all(float value) { return {_mm256_set1_ps(value)}; }
  static TDDFA_INLINE Pair each(const float *weights) {
    const __m128i both = _mm_loadl_epi64(reinterpret_cast<const __m128i *>(weights));
    const __m256i spread = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    return {_mm256_castsi256_ps(_mm256_permutevar8x32_epi32(_mm256_castsi128_si256(both), spread))};
  }
  static TDDFA_INLINE Pair enlarged(const Pixel *line, const Part *parts) {
    const float *left = line[parts[0].from].of, *right = line[parts[1].from].of;
    const Pair weight = {_mm256_set_m128(_mm_set1_ps(parts[1].weight), _mm_set1_ps(parts[0].weight))};
    return between({_mm256_loadu2_m128(right, left)}, {_mm256_loadu2_m128(right + 4, left + 4)}, weight);
  }
  static TDDFA_INLINE void store(const Pair &colors, Pixel *out) { _mm256_storeu_ps(out->of, colors.of); }
  // Writes two bytes more.
  static TDDFA_INLINE void store(const Pair &colors, std::uint8_t *out) {
    const __m256i numbers = _mm256_cvtps_epi32(colors.of);
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(numbers), _mm256_extracti128_si256(numbers, 1));
    const __m128i bytes = _mm_packus_epi16(words, words);
    const __m128i order = _mm_set1_epi64x(static_cast<long long>(0x8080060504020100));
    _mm_storel_epi64(reinterpret_cast<__m128i *>(out), _mm_shuffle_epi8(bytes, order));
  }

private:
  static TDDFA_INLINE Pair from_bytes(const std::uint8_t *bytes, unsigned long long order) {
    const __m128i loaded = _mm_loadl_epi64(reinterpret_cast<const __m128i *>(bytes));
    const __m128i ordered = _mm_shuffle_epi8(loaded, _mm_set1_epi64x(static_cast<long long>(order)));
    return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(ordered))};
  }
};

} // namespace

void mix_rows_avx2(const Mixing &mixing, const std::uint8_t *where, const std::uint8_t *inside,
                   std::uint8_t *sources, std::uint8_t *out) {
  mix_rows<TwoTexels>(mixing, where, inside, sources, out);
}

} // namespace tddfa

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
