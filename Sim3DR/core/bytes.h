// Conversion of floats to bytes.
#pragma once

#include <cstdint>
#include <cstring>

namespace sim3dr {
namespace { // files for other instruction sets have their own

// Rounds 0 .. 255 to the nearest, half to even. Floats from 2^23 on have no fractional bits, so the addition
// itself rounds; unlike std::lrint it is a single instruction on every machine, and is vectorised.
inline std::uint8_t rounded(float value) {
  value += 0x1p23f;
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<std::uint8_t>(bits);
}

// Rounds and saturates any float; NaN gives 0.
inline std::uint8_t to_byte(float value) {
  value = value > 0.0f ? value : 0.0f;
  return rounded(value < 255.0f ? value : 255.0f);
}

} // namespace
} // namespace sim3dr
