// Smooth continuation of colours into unknown parts of an image.
#pragma once

#include <cstdint>
#include <vector>

namespace tddfa {

// The part of a source pixel in a destination pixel.
struct Part {
  std::int64_t from;
  float weight;
};

// For each pixel of an axis that is enlarged, as OpenCV's INTER_LINEAR does: the pixel before it, and the
// weight of the next.
std::vector<Part> enlarged_axis(std::int64_t from, std::int64_t to);

// Continues colours smoothly where they are unknown (tddfa/surface/sampling.py): `values` has three channels
// multiplied by their weight, and the weight, for each pixel, `out` three.
void push_pull(std::int64_t rows, std::int64_t columns, const float *values, float *out);

// A texture as it was sampled: BGR, and how far each texel can be trusted.
struct Seen {
  std::int64_t rows, columns;
  const std::uint8_t *colors; // 0 where the weight is 0
  const float *weight;
};

// Computes on a smaller map, of `rows` x `columns`, what a texture is completed with. Where both a texel and
// its mirror image are visible, the difference of light between the sides is known: `change` is that
// difference plus 128, continued smoothly; `nearby` is the weight of "no difference" compared with an
// observed one. `fill` is the colours of either side, continued smoothly. Both are BGR.
void complete(const Seen &seen, std::int64_t rows, std::int64_t columns, float nearby, std::uint8_t *change,
              std::uint8_t *fill);

} // namespace tddfa
