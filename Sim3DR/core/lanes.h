// Eight floats at a time: AVX2 if the including file permits it, else SSE2, which every x86-64 has, else the
// vector extensions of the compiler. All of them round alike, so a rendering is the same on every machine.
// The eight are two halves of four, since a block of pixels may be in two rows.
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

inline Floats choose(Mask mask, Floats yes, Floats no) {
  return {_mm256_blendv_ps(no.v, yes.v, mask.v)};
}
inline Floats halves(const float *low, const float *high) {
  return {_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low)), _mm_loadu_ps(high), 1)};
}
inline void store(Floats values, float *at) {
  _mm256_storeu_ps(at, values.v);
}
inline void store(Floats values, float *low, float *high) {
  _mm_storeu_ps(low, _mm256_castps256_ps128(values.v));
  _mm_storeu_ps(high, _mm256_extractf128_ps(values.v, 1));
}
inline Floats bits_of(std::int32_t value) {
  return {_mm256_castsi256_ps(_mm256_set1_epi32(value))};
}
inline Floats operator|(Floats a, Floats b) {
  return {_mm256_or_ps(a.v, b.v)};
}
template <int Shift> inline Floats byte_bits(Floats value) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtps_epi32(value.v), Shift))};
}
inline Floats first_pairs(Floats a, Floats b) {
  return {_mm256_unpacklo_ps(a.v, b.v)};
}
inline Floats last_pairs(Floats a, Floats b) {
  return {_mm256_unpackhi_ps(a.v, b.v)};
}
inline Mask first_pairs(Mask mask) {
  return {_mm256_unpacklo_ps(mask.v, mask.v)};
}
inline Mask last_pairs(Mask mask) {
  return {_mm256_unpackhi_ps(mask.v, mask.v)};
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

inline __m128 choose(__m128 mask, __m128 yes, __m128 no) {
  return _mm_or_ps(_mm_and_ps(mask, yes), _mm_andnot_ps(mask, no));
}
inline Floats choose(Mask mask, Floats yes, Floats no) {
  return {choose(mask.low, yes.low, no.low), choose(mask.high, yes.high, no.high)};
}
inline Floats halves(const float *low, const float *high) {
  return {_mm_loadu_ps(low), _mm_loadu_ps(high)};
}
inline void store(Floats values, float *low, float *high) {
  _mm_storeu_ps(low, values.low);
  _mm_storeu_ps(high, values.high);
}
inline void store(Floats values, float *at) {
  store(values, at, at + 4);
}
inline Floats bits_of(std::int32_t value) {
  const __m128 four = _mm_castsi128_ps(_mm_set1_epi32(value));
  return {four, four};
}
inline Floats operator|(Floats a, Floats b) {
  return {_mm_or_ps(a.low, b.low), _mm_or_ps(a.high, b.high)};
}
template <int Shift> inline Floats byte_bits(Floats value) {
  return {_mm_castsi128_ps(_mm_slli_epi32(_mm_cvtps_epi32(value.low), Shift)),
          _mm_castsi128_ps(_mm_slli_epi32(_mm_cvtps_epi32(value.high), Shift))};
}
inline Floats first_pairs(Floats a, Floats b) {
  return {_mm_unpacklo_ps(a.low, b.low), _mm_unpacklo_ps(a.high, b.high)};
}
inline Floats last_pairs(Floats a, Floats b) {
  return {_mm_unpackhi_ps(a.low, b.low), _mm_unpackhi_ps(a.high, b.high)};
}
inline Mask first_pairs(Mask mask) {
  return {_mm_unpacklo_ps(mask.low, mask.low), _mm_unpacklo_ps(mask.high, mask.high)};
}
inline Mask last_pairs(Mask mask) {
  return {_mm_unpackhi_ps(mask.low, mask.low), _mm_unpackhi_ps(mask.high, mask.high)};
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

inline Floats choose(Mask mask, Floats yes, Floats no) {
  return {choose(mask.low, yes.low, no.low), choose(mask.high, yes.high, no.high)};
}
inline Floats halves(const float *low, const float *high) {
  return {load_four(low), load_four(high)};
}
inline void store(Floats values, float *low, float *high) {
  std::memcpy(low, &values.low, sizeof(values.low));
  std::memcpy(high, &values.high, sizeof(values.high));
}
inline void store(Floats values, float *at) {
  store(values, at, at + 4);
}
inline Floats bits_of(std::int32_t value) {
  const FourInts four = {value, value, value, value};
  return {(Four)four, (Four)four};
}
inline Floats operator|(Floats a, Floats b) {
  return {(Four)((FourInts)a.low | (FourInts)b.low), (Four)((FourInts)a.high | (FourInts)b.high)};
}
template <int Shift> inline Floats byte_bits(Floats value) {
  const auto half = [](Four v) { return (Four)(((FourInts)(v + 0x1p23f) & 255) << Shift); }; // see `rounded`
  return {half(value.low), half(value.high)};
}
inline Floats first_pairs(Floats a, Floats b) {
  const auto half = [](Four x, Four y) { return Four{x[0], y[0], x[1], y[1]}; };
  return {half(a.low, b.low), half(a.high, b.high)};
}
inline Floats last_pairs(Floats a, Floats b) {
  const auto half = [](Four x, Four y) { return Four{x[2], y[2], x[3], y[3]}; };
  return {half(a.low, b.low), half(a.high, b.high)};
}
inline Mask first_pairs(Mask mask) {
  const auto half = [](FourInts m) { return FourInts{m[0], m[0], m[1], m[1]}; };
  return {half(mask.low), half(mask.high)};
}
inline Mask last_pairs(Mask mask) {
  const auto half = [](FourInts m) { return FourInts{m[2], m[2], m[3], m[3]}; };
  return {half(mask.low), half(mask.high)};
}

#else
#define SIM3DR_NO_LANES
#endif

#ifndef SIM3DR_NO_LANES

constexpr float COLUMN_STEPS[2][LANES] = {{0, 1, 2, 3, 4, 5, 6, 7}, {0, 1, 2, 3, 0, 1, 2, 3}};
constexpr float ROW_STEPS[2][LANES] = {{0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 1, 1, 1, 1}};

// Eight pixels: of one row, or four of each of two. A pixel of an image has one element, or a pair.
template <int Rows> struct Block {
  static constexpr std::int32_t ROWS = Rows, COLUMNS = LANES / Rows;
  std::int64_t stride; // of the image

  static Floats columns(float first) { return all(first) + load(COLUMN_STEPS[Rows - 1]); }
  static Floats rows(float first) { return all(first) + load(ROW_STEPS[Rows - 1]); }
  Floats load_at(const float *at) const { return Rows == 1 ? load(at) : halves(at, at + stride); }
  // Only masked elements are changed; the others are read and written back.
  void put(Mask mask, Floats values, float *at) const {
    const Floats mixed = choose(mask, values, load_at(at));
    if (Rows == 1)
      store(mixed, at);
    else
      store(mixed, at, at + stride);
  }
  void put_pairs(Mask mask, Floats a, Floats b, float *at) const {
    const std::int64_t second = Rows == 1 ? LANES : 2 * stride;
    put_halves(first_pairs(mask), first_pairs(a, b), at, at + second);
    put_halves(last_pairs(mask), last_pairs(a, b), at + 4, at + 4 + second);
  }

private:
  static void put_halves(Mask mask, Floats values, float *low, float *high) {
    store(choose(mask, values, halves(low, high)), low, high);
  }
};

#endif

} // namespace
} // namespace sim3dr
