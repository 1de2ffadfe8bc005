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

// A bilinear sample between any four pixels; beyond the border, all pixels are those of the border.
TDDFA_INLINE void bilinear_anywhere(const Photo &photo, const Position &x, const Position &y,
                                    std::uint8_t *out) {
  const std::int64_t stride = 3 * photo.columns, left = x.pixel, top = y.pixel;
  const std::int64_t columns[2] = {std::clamp<std::int64_t>(left, 0, photo.columns - 1),
                                   std::clamp<std::int64_t>(left + 1, 0, photo.columns - 1)};
  const std::uint8_t *above = photo.pixels + std::clamp<std::int64_t>(top, 0, photo.rows - 1) * stride,
                     *below = photo.pixels + std::clamp<std::int64_t>(top + 1, 0, photo.rows - 1) * stride;
  for (int c = 0; c < 3; ++c) {
    const float a = above[3 * columns[0] + c], b = above[3 * columns[1] + c], d = below[3 * columns[0] + c],
                e = below[3 * columns[1] + c];
    const float upper = a + x.weight * (b - a), lower = d + x.weight * (e - d);
    out[c] = nearest_byte(upper + y.weight * (lower - upper));
  }
}

// The colour at a position.
TDDFA_INLINE void bilinear(const Photo &photo, const Position &x, const Position &y, std::uint8_t *out) {
  // the byte behind the last pixel is not there
  if (x.pixel < 0 || y.pixel < 0 || x.pixel + 2 >= photo.columns || y.pixel + 1 >= photo.rows)
    return bilinear_anywhere(photo, x, y, out);
  const std::int64_t stride = 3 * photo.columns;
  const std::uint8_t *above = photo.pixels + y.pixel * stride + 3 * static_cast<std::int64_t>(x.pixel),
                     *below = above + stride;
  const Color right = Color::all(x.weight);
  const Color color = between(between(Color::at(above), Color::at(above + 3), right),
                              between(Color::at(below), Color::at(below + 3), right), Color::all(y.weight));
  std::uint8_t bytes[4];
  color.store(bytes);
  std::memcpy(out, bytes, 3);
}

} // namespace tddfa
