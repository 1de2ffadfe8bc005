// A few doubles at a time, with the vector extensions of GCC and Clang; one with other compilers. All round
// alike. Truths are 0, or -1 where true.
#pragma once

#include <cstdint>
#include <cstring>

namespace sim3dr {
namespace {

#if defined(__GNUC__)

#if defined(SIM3DR_AVX2)
constexpr int NUMBERS = 4;
#else
constexpr int NUMBERS = 2;
#endif

typedef double Numbers __attribute__((vector_size(8 * NUMBERS)));
typedef std::int64_t Truths __attribute__((vector_size(8 * NUMBERS)));
typedef float Singles __attribute__((vector_size(4 * NUMBERS)));
typedef std::int32_t Wholes __attribute__((vector_size(4 * NUMBERS)));

inline Numbers load_numbers(const float *from) {
  Singles singles;
  std::memcpy(&singles, from, sizeof(singles));
  return __builtin_convertvector(singles, Numbers);
}
inline void keep(Numbers value, float *to) {
  const Singles singles = __builtin_convertvector(value, Singles);
  std::memcpy(to, &singles, sizeof(singles));
}
// The value is a whole number.
inline void keep(Numbers value, std::int32_t *to) {
  const Wholes wholes = __builtin_convertvector(value, Wholes);
  std::memcpy(to, &wholes, sizeof(wholes));
}
inline void keep(Truths value, std::int32_t *to) {
  const Wholes wholes = __builtin_convertvector(value, Wholes);
  std::memcpy(to, &wholes, sizeof(wholes));
}
// Rounded towards 0.
inline Numbers truncated(Numbers value) {
  return __builtin_convertvector(__builtin_convertvector(value, Wholes), Numbers);
}
inline Numbers choose(Truths truth, Numbers yes, Numbers no) {
  return truth ? yes : no;
}
inline Truths is_less(Numbers a, Numbers b) {
  return a < b;
}
inline Truths is_at_most(Numbers a, Numbers b) {
  return a <= b;
}

#else

constexpr int NUMBERS = 1;
typedef double Numbers;
typedef std::int64_t Truths;

inline Numbers load_numbers(const float *from) {
  return *from;
}
inline void keep(Numbers value, float *to) {
  *to = static_cast<float>(value);
}
inline void keep(Numbers value, std::int32_t *to) {
  *to = static_cast<std::int32_t>(value);
}
inline void keep(Truths value, std::int32_t *to) {
  *to = static_cast<std::int32_t>(value);
}
inline Numbers truncated(Numbers value) {
  return static_cast<std::int32_t>(value);
}
inline Numbers choose(Truths truth, Numbers yes, Numbers no) {
  return truth ? yes : no;
}
inline Truths is_less(Numbers a, Numbers b) {
  return -static_cast<Truths>(a < b);
}
inline Truths is_at_most(Numbers a, Numbers b) {
  return -static_cast<Truths>(a <= b);
}

#endif

inline Numbers number(double value) {
  return Numbers{} + value;
}
inline Numbers lesser(Numbers a, Numbers b) {
  return choose(is_less(a, b), a, b);
}
inline Numbers greater(Numbers a, Numbers b) {
  return choose(is_less(b, a), a, b);
}
inline Numbers magnitude(Numbers value) {
  return choose(is_less(value, number(0.0)), -value, value);
}
// lo <= hi; NaN gives hi.
inline Numbers limited(Numbers value, double lo, double hi) {
  return greater(lesser(value, number(hi)), number(lo));
}
inline Numbers ceiling(Numbers value) {
  const Numbers whole = truncated(value);
  return choose(is_less(whole, value), whole + 1.0, whole);
}
inline Truths is_finite(Numbers value) {
  return is_at_most(value - value, number(0.0));
}

} // namespace
} // namespace sim3dr
