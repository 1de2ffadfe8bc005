// Arguments of the code that draws a band of rows, for every instruction set.
#pragma once

#include "rasterize.h"

#if defined(__GNUC__) && defined(__x86_64__) && !defined(SIM3DR_GNU_LANES) && !defined(SIM3DR_NO_AVX2)
#define SIM3DR_HAS_AVX2_VARIANT
#endif

namespace sim3dr {

// Up to here, coordinates are exact as int32, and their differences as float.
constexpr double FAR = 1e6;

// lo <= hi; NaN gives hi. Clamping before a conversion to int is what keeps the conversion defined.
inline double clamp(double value, double lo, double hi) {
  value = value < hi ? value : hi;
  return value > lo ? value : lo;
}

// What is drawn, into a band of rows of the window. Each of the last three is drawn unless it is null.
struct BandArguments {
  const float *vertices;
  const std::int32_t *triangles;
  std::int64_t triangle_count;
  Window window; // the band
  Cull cull;
  const float *attributes; // of each vertex, `channels`
  std::int64_t channels;
  bool fits_bytes; // all attributes are 0 .. 255
  float *depth;    // of the band's first pixel, as the others
  std::int32_t *triangle_id;
  float *barycentric;
  std::uint8_t *colors; // four bytes per pixel: `channels`, then 0

  std::int64_t pixel(std::int32_t column, std::int32_t row) const {
    return static_cast<std::int64_t>(row - window.top) * window.width + (column - window.left);
  }
};

void draw_band_plain(const BandArguments &band);
void draw_band_avx2(const BandArguments &band);

} // namespace sim3dr
