// Eight floats at a time: AVX2 if the including file permits it, else SSE2, which every x86-64 has, else the
// vector extensions of the compiler. All of them round alike, so a rendering is the same on every machine.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(SIM3DR_AVX2)
#include <immintrin.h>
#elif (defined(__SSE2__) || defined(_M_X64)) && !defined(SIM3DR_GNU_LANES)
#define SIM3DR_SSE2
#include <emmintrin.h>
#endif

namespace sim3dr {
namespace {

constexpr std::int32_t LANES = 8;

#if defined(SIM3DR_AVX2)

struct Floats {
  __m256 v;
};
struct Mask {
  __m256 v;
};

inline Floats all(float value) {
  return {_mm256_set1_ps(value)};
}
inline Floats count_from(float first) {
  return {_mm256_add_ps(_mm256_set1_ps(first), _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7))};
}
inline Floats load(const float *at) {
  return {_mm256_loadu_ps(at)};
}
inline Floats operator+(Floats a, Floats b) {
  return {_mm256_add_ps(a.v, b.v)};
}
inline Floats operator-(Floats a, Floats b) {
  return {_mm256_sub_ps(a.v, b.v)};
}
inline Floats operator*(Floats a, Floats b) {
  return {_mm256_mul_ps(a.v, b.v)};
}
inline Floats least(Floats a, Floats b) {
  return {_mm256_min_ps(a.v, b.v)};
}
inline Floats most(Floats a, Floats b) {
  return {_mm256_max_ps(a.v, b.v)};
}
inline Mask operator>(Floats a, Floats b) {
  return {_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)};
}
inline Mask operator&(Mask a, Mask b) {
  return {_mm256_and_ps(a.v, b.v)};
}
inline int flags(Mask mask) {
  return _mm256_movemask_ps(mask.v);
}
inline Mask mask_of(int flags) {
  const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(flags), bits), bits))};
}

// Each writes only masked elements, starting at `at`; the others are read and written back.
inline void store(Mask mask, Floats values, float *at) {
  _mm256_storeu_ps(at, _mm256_blendv_ps(_mm256_loadu_ps(at), values.v, mask.v));
}
inline void store(Mask mask, std::int32_t value, std::int32_t *at) {
  auto *place = reinterpret_cast<__m256i *>(at);
  const __m256 old = _mm256_castsi256_ps(_mm256_loadu_si256(place));
  const __m256 fresh = _mm256_castsi256_ps(_mm256_set1_epi32(value));
  _mm256_storeu_si256(place, _mm256_castps_si256(_mm256_blendv_ps(old, fresh, mask.v)));
}
// first, second, first, second ...
inline void store_pairs(Mask mask, Floats first, Floats second, float *at) {
  const auto pair = [&](__m256 a, __m256 b, int half) {
    const __m256 low = _mm256_unpacklo_ps(a, b), high = _mm256_unpackhi_ps(a, b);
    return half ? _mm256_permute2f128_ps(low, high, 0x31) : _mm256_permute2f128_ps(low, high, 0x20);
  };
  for (int half = 0; half < 2; ++half)
    store(Mask{pair(mask.v, mask.v, half)}, Floats{pair(first.v, second.v, half)}, at + LANES * half);
}

#elif defined(SIM3DR_SSE2)

struct Floats {
  __m128 low, high;
};
struct Mask {
  __m128 low, high;
};

inline Floats all(float value) {
  return {_mm_set1_ps(value), _mm_set1_ps(value)};
}
inline Floats count_from(float first) {
  const __m128 start = _mm_set1_ps(first);
  return {_mm_add_ps(start, _mm_setr_ps(0, 1, 2, 3)), _mm_add_ps(start, _mm_setr_ps(4, 5, 6, 7))};
}
inline Floats load(const float *at) {
  return {_mm_loadu_ps(at), _mm_loadu_ps(at + 4)};
}
inline Floats operator+(Floats a, Floats b) {
  return {_mm_add_ps(a.low, b.low), _mm_add_ps(a.high, b.high)};
}
inline Floats operator-(Floats a, Floats b) {
  return {_mm_sub_ps(a.low, b.low), _mm_sub_ps(a.high, b.high)};
}
inline Floats operator*(Floats a, Floats b) {
  return {_mm_mul_ps(a.low, b.low), _mm_mul_ps(a.high, b.high)};
}
inline Floats least(Floats a, Floats b) {
  return {_mm_min_ps(a.low, b.low), _mm_min_ps(a.high, b.high)};
}
inline Floats most(Floats a, Floats b) {
  return {_mm_max_ps(a.low, b.low), _mm_max_ps(a.high, b.high)};
}
inline Mask operator>(Floats a, Floats b) {
  return {_mm_cmpgt_ps(a.low, b.low), _mm_cmpgt_ps(a.high, b.high)};
}
inline Mask operator&(Mask a, Mask b) {
  return {_mm_and_ps(a.low, b.low), _mm_and_ps(a.high, b.high)};
}
inline int flags(Mask mask) {
  return _mm_movemask_ps(mask.low) | _mm_movemask_ps(mask.high) << 4;
}
inline Mask mask_of(int flags) {
  const auto half = [&](__m128i bits) {
    return _mm_castsi128_ps(_mm_cmpeq_epi32(_mm_and_si128(_mm_set1_epi32(flags), bits), bits));
  };
  return {half(_mm_setr_epi32(1, 2, 4, 8)), half(_mm_setr_epi32(16, 32, 64, 128))};
}

// Each writes only masked elements, starting at `at`; the others are read and written back.
inline void store(__m128 mask, __m128 values, float *at) {
  _mm_storeu_ps(at, _mm_or_ps(_mm_and_ps(mask, values), _mm_andnot_ps(mask, _mm_loadu_ps(at))));
}
inline void store(Mask mask, Floats values, float *at) {
  store(mask.low, values.low, at);
  store(mask.high, values.high, at + 4);
}
inline void store(Mask mask, std::int32_t value, std::int32_t *at) {
  const __m128i fresh = _mm_set1_epi32(value);
  for (const __m128 half : {mask.low, mask.high}) {
    auto *place = reinterpret_cast<__m128i *>(at);
    const __m128i bits = _mm_castps_si128(half);
    _mm_storeu_si128(
        place, _mm_or_si128(_mm_and_si128(bits, fresh), _mm_andnot_si128(bits, _mm_loadu_si128(place))));
    at += 4;
  }
}
// first, second, first, second ...
inline void store_pairs(Mask mask, Floats first, Floats second, float *at) {
  store(_mm_unpacklo_ps(mask.low, mask.low), _mm_unpacklo_ps(first.low, second.low), at);
  store(_mm_unpackhi_ps(mask.low, mask.low), _mm_unpackhi_ps(first.low, second.low), at + 4);
  store(_mm_unpacklo_ps(mask.high, mask.high), _mm_unpacklo_ps(first.high, second.high), at + 8);
  store(_mm_unpackhi_ps(mask.high, mask.high), _mm_unpackhi_ps(first.high, second.high), at + 12);
}

#elif defined(__GNUC__)

// The vector extensions of GCC and Clang, which compile to NEON on ARM.
typedef float Four __attribute__((vector_size(16)));
typedef std::int32_t FourInts __attribute__((vector_size(16)));

struct Floats {
  Four low, high;
};
struct Mask {
  FourInts low, high;
};

inline Four choose(FourInts mask, Four yes, Four no) {
  return (Four)((mask & (FourInts)yes) | (~mask & (FourInts)no));
}
inline Floats all(float value) {
  const Four four = {value, value, value, value};
  return {four, four};
}
inline Floats count_from(float first) {
  const Four start = {first, first, first, first};
  return {start + Four{0, 1, 2, 3}, start + Four{4, 5, 6, 7}};
}
inline Four load_four(const void *at) {
  Four four;
  std::memcpy(&four, at, sizeof(four));
  return four;
}
inline Floats load(const float *at) {
  return {load_four(at), load_four(at + 4)};
}
inline Floats operator+(Floats a, Floats b) {
  return {a.low + b.low, a.high + b.high};
}
inline Floats operator-(Floats a, Floats b) {
  return {a.low - b.low, a.high - b.high};
}
inline Floats operator*(Floats a, Floats b) {
  return {a.low * b.low, a.high * b.high};
}
inline Floats least(Floats a, Floats b) {
  return {choose(a.low < b.low, a.low, b.low), choose(a.high < b.high, a.high, b.high)};
}
inline Floats most(Floats a, Floats b) {
  return {choose(a.low > b.low, a.low, b.low), choose(a.high > b.high, a.high, b.high)};
}
inline Mask operator>(Floats a, Floats b) {
  return {a.low > b.low, a.high > b.high};
}
inline Mask operator&(Mask a, Mask b) {
  return {a.low & b.low, a.high & b.high};
}
inline int flags(Mask mask) {
  const FourInts bits = (mask.low & FourInts{1, 2, 4, 8}) | (mask.high & FourInts{16, 32, 64, 128});
  return bits[0] | bits[1] | bits[2] | bits[3];
}
inline Mask mask_of(int flags) {
  const FourInts low = {1, 2, 4, 8}, high = {16, 32, 64, 128}, every = {flags, flags, flags, flags};
  return {(every & low) == low, (every & high) == high};
}

// Each writes only masked elements, starting at `at`; the others are read and written back.
inline void store(FourInts mask, Four values, void *at) {
  const Four mixed = choose(mask, values, load_four(at));
  std::memcpy(at, &mixed, sizeof(mixed));
}
inline void store(Mask mask, Floats values, float *at) {
  store(mask.low, values.low, at);
  store(mask.high, values.high, at + 4);
}
inline void store(Mask mask, std::int32_t value, std::int32_t *at) {
  const FourInts fresh = {value, value, value, value};
  store(mask.low, (Four)fresh, at);
  store(mask.high, (Four)fresh, at + 4);
}
// first, second, first, second ...
inline void store_pairs(Mask mask, Floats first, Floats second, float *at) {
  const auto half = [](FourInts m, Four a, Four b, float *to) {
    store(FourInts{m[0], m[0], m[1], m[1]}, Four{a[0], b[0], a[1], b[1]}, to);
    store(FourInts{m[2], m[2], m[3], m[3]}, Four{a[2], b[2], a[3], b[3]}, to + 4);
  };
  half(mask.low, first.low, second.low, at);
  half(mask.high, first.high, second.high, at + LANES);
}

#else
#define SIM3DR_NO_LANES
#endif

} // namespace
} // namespace sim3dr
