// Draws a band with AVX2; rasterize.cpp checks that the machine has it. Empty on other platforms.
#include "band_arguments.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#ifdef SIM3DR_HAS_AVX2_VARIANT

// Code included from here on may use AVX2, so it must be local to this file: no standard header.
#define SIM3DR_AVX2
#if defined(__clang__)
#include <immintrin.h>
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
#include "band.h"

namespace sim3dr {
void draw_band_avx2(const BandArguments &band) {
  draw_band(band);
}
} // namespace sim3dr

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
