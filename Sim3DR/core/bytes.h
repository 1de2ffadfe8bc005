// Floats to bytes.
#pragma once

#include <cstdint>
#include <cstring>

namespace sim3dr {

// Of 0 .. 255, to the nearest, half to even. There a float of 2^23 and more has no room for fractions, so the
// addition itself rounds; unlike std::lrint it is a single instruction everywhere, and vectorises.
inline std::uint8_t rounded(float value) {
  value += 0x1p23f;
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<std::uint8_t>(bits);
}

// Of any float; NaN gives 0.
inline std::uint8_t to_byte(float value) {
  value = value > 0.0f ? value : 0.0f;
  return rounded(value < 255.0f ? value : 255.0f);
}

} // namespace sim3dr
