// Bilinear samples of a photo.
#pragma once

#include "color.h"

#include <algorithm>

namespace tddfa {

// A BGR image without gaps between its rows. Image px are scaled to its px where `scaled`.
struct Photo {
  std::int64_t rows, columns;
  const std::uint8_t *pixels;
  bool scaled;
  float scale_x, scale_y;
};

// A position on an axis: the pixel before it, and the weight of the next.
struct Position {
  std::int32_t pixel;
  float weight;

  // Of an axis of `side` pixels.
  static TDDFA_INLINE Position on(float position, std::int64_t side) {
    position = clamped(position, -1.0f, static_cast<float>(side));
    const auto towards_zero = static_cast<std::int32_t>(position);
    const std::int32_t pixel = towards_zero - (static_cast<float>(towards_zero) > position);
    return {pixel, position - static_cast<float>(pixel)};
  }
};

// Weights of four pixels in steps of 2^-14, so that samples are equal on all machines: of each row, the left
// one's in the low half, the right one's in the high half.
struct Taps {
  static constexpr int BITS = 14, HALF = 1 << (BITS - 1);
  std::uint32_t above, below;

  static TDDFA_INLINE Taps at(float x, float y) {
    constexpr float ONE = 1 << BITS;
    const auto right = static_cast<std::int32_t>(x * ONE + 0.5f),
               lower = static_cast<std::int32_t>(y * ONE + 0.5f),
               both = static_cast<std::int32_t>(x * y * ONE + 0.5f);
    return {pair((1 << BITS) - right - lower + both, right - both), pair(lower - both, both)};
  }

private:
  static TDDFA_INLINE std::uint32_t pair(std::int32_t left, std::int32_t right) {
    return (static_cast<std::uint32_t>(left) & 0xffff) | static_cast<std::uint32_t>(right) << 16;
  }
};

// A bilinear sample between any four pixels; beyond the border, all pixels are those of the border.
TDDFA_INLINE void bilinear_anywhere(const Photo &photo, std::int64_t left, std::int64_t top, const Taps &taps,
                                    std::uint8_t *out) {
  const std::int64_t stride = 3 * photo.columns;
  const std::int64_t columns[2] = {std::clamp<std::int64_t>(left, 0, photo.columns - 1),
                                   std::clamp<std::int64_t>(left + 1, 0, photo.columns - 1)};
  const std::uint8_t *above = photo.pixels + std::clamp<std::int64_t>(top, 0, photo.rows - 1) * stride,
                     *below = photo.pixels + std::clamp<std::int64_t>(top + 1, 0, photo.rows - 1) * stride;
  const auto mixed = [&](const std::uint8_t *row, std::uint32_t weights, int c) {
    return row[3 * columns[0] + c] * static_cast<std::int16_t>(weights & 0xffff) +
           row[3 * columns[1] + c] * static_cast<std::int16_t>(weights >> 16);
  };
  for (int c = 0; c < 3; ++c)
    out[c] = static_cast<std::uint8_t>(
        (mixed(above, taps.above, c) + mixed(below, taps.below, c) + Taps::HALF) >> Taps::BITS);
}

// Whether a sample reads no pixel beyond the border. The bytes behind the last pixel are not there.
TDDFA_INLINE bool is_within(const Photo &photo, std::int32_t column, std::int32_t row) {
  return column >= 0 && row >= 0 && column + 2 < photo.columns && row + 1 < photo.rows;
}

#ifdef TDDFA_SSE2
// The colour between four pixels, as numbers of 32 bits; the last is anything. Two bytes behind a row's
// second pixel are read too. The weights are `Taps`, repeated.
TDDFA_INLINE __m128i blended(const std::uint8_t *above, const std::uint8_t *below, __m128i above_weights,
                             __m128i below_weights) {
  const auto blue_blue_green_green = [](const std::uint8_t *row) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i *>(row)),
                  words = _mm_unpacklo_epi8(bytes, _mm_setzero_si128());
    return _mm_unpacklo_epi16(words, _mm_srli_si128(words, 6));
  };
  const __m128i sum = _mm_add_epi32(_mm_madd_epi16(blue_blue_green_green(above), above_weights),
                                    _mm_madd_epi16(blue_blue_green_green(below), below_weights));
  return _mm_srli_epi32(_mm_add_epi32(sum, _mm_set1_epi32(Taps::HALF)), Taps::BITS);
}
#endif

// The colour at a position.
TDDFA_INLINE void bilinear(const Photo &photo, const Position &x, const Position &y, std::uint8_t *out) {
  const Taps taps = Taps::at(x.weight, y.weight);
#ifdef TDDFA_SSE2
  if (is_within(photo, x.pixel, y.pixel)) {
    const std::int64_t stride = 3 * photo.columns;
    const std::uint8_t *above = photo.pixels + y.pixel * stride + 3 * static_cast<std::int64_t>(x.pixel);
    const __m128i color =
        blended(above, above + stride, _mm_set1_epi32(static_cast<std::int32_t>(taps.above)),
                _mm_set1_epi32(static_cast<std::int32_t>(taps.below)));
    const __m128i words = _mm_packs_epi32(color, color);
    const std::int32_t bytes = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
    std::memcpy(out, &bytes, 3);
    return;
  }
#endif
  bilinear_anywhere(photo, x.pixel, y.pixel, taps, out);
}

} // namespace tddfa
