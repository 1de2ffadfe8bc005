// Variants of functions for processors with AVX2.
#pragma once

#if defined(__GNUC__) && defined(__x86_64__)
#define TDDFA_HAS_AVX2_VARIANT
// A function of this kind, and `TDDFA_INLINE` functions in it, are compiled with AVX2.
#define TDDFA_AVX2 __attribute__((target("avx2")))

namespace tddfa {

inline bool has_avx2() {
  static const bool has = __builtin_cpu_supports("avx2");
  return has;
}

} // namespace tddfa
#endif
