// Anti-aliased lines.
#pragma once

#include <cstdint>

namespace tddfa {

// A BGR image without gaps between its rows.
struct Canvas {
  std::int64_t rows, columns;
  std::uint8_t *pixels;
};

// Draws lines with round ends from (x, y) to (x, y), px, pixel centres at whole numbers: `ends` has four
// numbers for each. A pixel is covered by how far its centre is inside. Lines that are not finite are not
// drawn.
void draw_lines(const Canvas &canvas, const double *ends, std::int64_t count, double radius,
                const std::uint8_t *color);

} // namespace tddfa
