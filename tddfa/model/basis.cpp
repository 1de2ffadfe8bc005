#include "basis.h"

#include <algorithm>

#if defined(__GNUC__) && defined(__x86_64__)
#define TDDFA_HAS_AVX2_VARIANT
#include <cpuid.h>
#include <immintrin.h>
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

// Vectors of 32-bit numbers.
struct Floats {
  const float *vectors;

  template <int Count>
  TDDFA_INLINE void add_to(float *out, std::int64_t start, std::int64_t length, const float *coefficients,
                           std::int64_t size) const {
    add<Count>(vectors + start, length, coefficients, size, out);
  }
};

template <typename Vectors>
TDDFA_INLINE void combine_all(const Basis &basis, const Vectors &vectors, const float *coefficients,
                              std::int64_t faces, float *out) {
  const std::int64_t block = faces == 1 ? basis.length : BLOCK;
  for (std::int64_t start = 0; start < basis.length; start += block) {
    const std::int64_t size = std::min(block, basis.length - start);
    for (std::int64_t face = 0; face < faces; ++face) {
      const float *factors = coefficients + face * basis.count;
      float *target = out + face * basis.length + start;
      std::fill_n(target, size, 0.0f);
      std::int64_t k = 0;
      for (; k + GROUP <= basis.count; k += GROUP)
        vectors.template add_to<GROUP>(target, start + k * basis.length, basis.length, factors + k, size);
      for (; k + 4 <= basis.count; k += 4)
        vectors.template add_to<4>(target, start + k * basis.length, basis.length, factors + k, size);
      for (; k < basis.count; ++k)
        vectors.template add_to<1>(target, start + k * basis.length, basis.length, factors + k, size);
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
template <typename Vectors>
__attribute__((target("avx2"))) void combine_avx2(const Basis &basis, const Vectors &vectors,
                                                  const float *coefficients, std::int64_t faces, float *out) {
  combine_all(basis, vectors, coefficients, faces, out);
}

__attribute__((target("avx2"))) void project_avx2(const float *matrix, float *points, std::int64_t count) {
  project_all(matrix, points, count);
}

bool has_avx2() {
  static const bool has = __builtin_cpu_supports("avx2");
  return has;
}

// Numbers of 16 bits: half as many bytes have to be read. The intrinsics are needed, because compilers do not
// vectorise the conversion. The sums are those of `products`, in the same order.
#define TDDFA_F16C __attribute__((target("avx2,f16c")))

constexpr int LANES = 8;

template <int Count>
TDDFA_F16C TDDFA_INLINE __m256 half_products(const std::uint16_t *const *rows, const float *coefficients,
                                             std::int64_t i) {
  if constexpr (Count == 1) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i *>(rows[0] + i));
    return _mm256_mul_ps(_mm256_set1_ps(coefficients[0]), _mm256_cvtph_ps(bits));
  } else {
    constexpr int half = Count / 2;
    return _mm256_add_ps(half_products<half>(rows, coefficients, i),
                         half_products<Count - half>(rows + half, coefficients + half, i));
  }
}

struct Halves {
  const std::uint16_t *vectors;

  template <int Count>
  TDDFA_F16C void add_to(float *out, std::int64_t start, std::int64_t length, const float *coefficients,
                         std::int64_t size) const {
    const std::uint16_t *rows[Count];
    for (int k = 0; k < Count; ++k)
      rows[k] = vectors + start + k * length;
    std::int64_t i = 0;
    for (; i + LANES <= size; i += LANES)
      _mm256_storeu_ps(out + i,
                       _mm256_add_ps(_mm256_loadu_ps(out + i), half_products<Count>(rows, coefficients, i)));
    float rest[Count];
    const float *ends[Count];
    for (; i < size; ++i) {
      for (int k = 0; k < Count; ++k) {
        rest[k] = _cvtsh_ss(rows[k][i]);
        ends[k] = rest + k;
      }
      out[i] += products<Count>(ends, coefficients, 0);
    }
  }
};
#endif

} // namespace

bool reads_halves() {
#ifdef TDDFA_HAS_AVX2_VARIANT
  // from the processor itself: not every compiler's __builtin_cpu_supports knows "f16c"
  unsigned eax, ebx, ecx = 0, edx;
  static const bool has = has_avx2() && __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C) != 0;
  return has;
#else
  return false;
#endif
}

void combine(const Basis &basis, const float *coefficients, std::int64_t faces, float *out) {
#ifdef TDDFA_HAS_AVX2_VARIANT
  if (basis.halves)
    return combine_avx2(basis, Halves{basis.halves}, coefficients, faces, out);
  if (has_avx2())
    return combine_avx2(basis, Floats{basis.vectors}, coefficients, faces, out);
#endif
  combine_all(basis, Floats{basis.vectors}, coefficients, faces, out);
}

void project(const float *matrix, float *points, std::int64_t count) {
#ifdef TDDFA_HAS_AVX2_VARIANT
  if (has_avx2())
    return project_avx2(matrix, points, count);
#endif
  project_all(matrix, points, count);
}

} // namespace tddfa
