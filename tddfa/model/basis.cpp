#include "basis.h"

#include <algorithm>

#if defined(__GNUC__) && defined(__x86_64__)
#define TDDFA_HAS_AVX2_VARIANT
#endif

// A function that is inlined into one with AVX2 is compiled with AVX2.
#if defined(__GNUC__)
#define TDDFA_INLINE inline __attribute__((always_inline))
#else
#define TDDFA_INLINE inline
#endif

// The arrays do not overlap; so many of them are more than a compiler would check before it vectorises a
// loop.
#if defined(__clang__)
#define TDDFA_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define TDDFA_INDEPENDENT _Pragma("GCC ivdep")
#elif defined(_MSC_VER)
#define TDDFA_INDEPENDENT __pragma(loop(ivdep))
#else
#define TDDFA_INDEPENDENT
#endif

namespace tddfa {
namespace {

// The basis does not fit into the caches, so reading it takes most of the time: of several faces, each block
// of it is read once. A single face is not split: long rows are read fastest.
constexpr std::int64_t BLOCK = 4096;
// Basis vectors that are added in one pass over the result, which stays in the cache.
constexpr int GROUP = 12;

// The sum of `Count` products, as a tree: it is faster than a chain, and rounds less.
template <int Count>
TDDFA_INLINE float products(const float *const *rows, const float *coefficients, std::int64_t i) {
  if constexpr (Count == 1) {
    return coefficients[0] * rows[0][i];
  } else {
    constexpr int half = Count / 2;
    return products<half>(rows, coefficients, i) +
           products<Count - half>(rows + half, coefficients + half, i);
  }
}

template <int Count>
TDDFA_INLINE void add(const float *vectors, std::int64_t length, const float *coefficients, std::int64_t size,
                      float *out) {
  const float *rows[Count];
  float factors[Count];
  for (int k = 0; k < Count; ++k) {
    rows[k] = vectors + k * length;
    factors[k] = coefficients[k];
  }
  TDDFA_INDEPENDENT
  for (std::int64_t i = 0; i < size; ++i)
    out[i] += products<Count>(rows, factors, i);
}

TDDFA_INLINE void combine_all(const Basis &basis, const float *coefficients, std::int64_t faces, float *out) {
  const std::int64_t block = faces == 1 ? basis.length : BLOCK;
  for (std::int64_t start = 0; start < basis.length; start += block) {
    const std::int64_t size = std::min(block, basis.length - start);
    for (std::int64_t face = 0; face < faces; ++face) {
      const float *factors = coefficients + face * basis.count, *vectors = basis.vectors + start;
      float *target = out + face * basis.length + start;
      std::fill_n(target, size, 0.0f);
      std::int64_t k = 0;
      for (; k + GROUP <= basis.count; k += GROUP)
        add<GROUP>(vectors + k * basis.length, basis.length, factors + k, size, target);
      for (; k + 4 <= basis.count; k += 4)
        add<4>(vectors + k * basis.length, basis.length, factors + k, size, target);
      for (; k < basis.count; ++k)
        add<1>(vectors + k * basis.length, basis.length, factors + k, size, target);
      // last, because it is larger than the others: its rounding would count in each sum
      const float *mean = basis.mean + start;
      TDDFA_INDEPENDENT
      for (std::int64_t i = 0; i < size; ++i)
        target[i] += mean[i];
    }
  }
}

TDDFA_INLINE void project_all(const float *m, float *points, std::int64_t count) {
  const float a = m[0], b = m[1], c = m[2], d = m[3], e = m[4], f = m[5], g = m[6], h = m[7], i = m[8],
              j = m[9], k = m[10], l = m[11];
  for (float *at = points, *end = points + 3 * count; at != end; at += 3) {
    const float x = at[0], y = at[1], z = at[2];
    at[0] = a * x + b * y + c * z + d;
    at[1] = e * x + f * y + g * z + h;
    at[2] = i * x + j * y + k * z + l;
  }
}

#ifdef TDDFA_HAS_AVX2_VARIANT
__attribute__((target("avx2"))) void combine_avx2(const Basis &basis, const float *coefficients,
                                                  std::int64_t faces, float *out) {
  combine_all(basis, coefficients, faces, out);
}

__attribute__((target("avx2"))) void project_avx2(const float *matrix, float *points, std::int64_t count) {
  project_all(matrix, points, count);
}

bool has_avx2() {
  static const bool has = __builtin_cpu_supports("avx2");
  return has;
}
#endif

} // namespace

void combine(const Basis &basis, const float *coefficients, std::int64_t faces, float *out) {
#ifdef TDDFA_HAS_AVX2_VARIANT
  if (has_avx2())
    return combine_avx2(basis, coefficients, faces, out);
#endif
  combine_all(basis, coefficients, faces, out);
}

void project(const float *matrix, float *points, std::int64_t count) {
#ifdef TDDFA_HAS_AVX2_VARIANT
  if (has_avx2())
    return project_avx2(matrix, points, count);
#endif
  project_all(matrix, points, count);
}

} // namespace tddfa
