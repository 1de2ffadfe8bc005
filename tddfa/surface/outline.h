// Distances to the outline of a surface (tddfa/surface/visibility.py).
#pragma once

#include <cstdint>

namespace tddfa {

// The distance of each pixel to the nearest one outside, px, as OpenCV's DIST_L2 measures it with a mask of 3
// x 3 (Borgefors: steps of 0.955 and 1.3693 px); those of 29 px and more are at least 29. `inside` is 0 in
// the first and the last row and column.
void outline_distance(const std::uint8_t *inside, std::int64_t rows, std::int64_t columns, float *distance);

} // namespace tddfa
