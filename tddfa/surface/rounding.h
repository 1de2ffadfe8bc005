#pragma once

namespace tddfa {

// Rounds 0 .. 2^22 to the nearest, half to even, without the call that std::nearbyint is: a float from 2^23
// on has no fractional bits.
inline float rounded(float value) {
  return value + 0x1p23f - 0x1p23f;
}

} // namespace tddfa
