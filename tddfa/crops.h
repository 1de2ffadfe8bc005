// Squares of images, scaled to crops: what the regressor takes.
#pragma once

#include <cstdint>

namespace tddfa {

struct Image {
  const std::uint8_t *pixels; // rows of 3 bytes a pixel
  std::int64_t height, width, row_stride;
};

// A square region as `tddfa.types.Roi` has it: edges in px, angle in degrees.
struct Square {
  double left, top, side, angle;
};

// Writes the crop of a square, size x size x 3 bytes; flipped, its columns are in reverse order. Bilinear at
// the square's exact edges, black outside the image: equal to the last bit to OpenCV 5's warpAffine, where
// both use fused products (x86 with AVX2).
void crop(const Image &image, const Square &square, std::int64_t size, bool flipped, std::uint8_t *out);

} // namespace tddfa
