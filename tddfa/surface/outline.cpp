#include "outline.h"

#include <algorithm>
#include <vector>

namespace tddfa {
namespace {

// Distances are in steps of 1/512 px: those up to 32 px, and a step more, are within 16 bits.
constexpr int UNIT = 512, STRAIGHT = 489, DIAGONAL = 701;
constexpr std::int16_t FAR = 32 * UNIT;

std::int16_t nearer(std::int16_t distance, int other) {
  return std::min(distance, static_cast<std::int16_t>(other));
}

// By way of the row above or below, for all but the first and the last pixel.
void step_from_row(const std::int16_t *__restrict row, std::int64_t columns,
                   std::int16_t *__restrict distance) {
  for (std::int64_t i = 1; i + 1 < columns; ++i)
    distance[i] =
        nearer(nearer(nearer(distance[i], row[i] + STRAIGHT), row[i - 1] + DIAGONAL), row[i + 1] + DIAGONAL);
}

// By way of the pixels before it (`back` 1) or behind it (-1), up to 31 px away. A loop over single steps
// would wait for each result; these steps of 1, 2, 4, ... px are vectorised.
void step_along(std::int64_t back, std::int64_t columns, std::int16_t *distance, std::int16_t *scratch) {
  std::int16_t *from = distance, *to = scratch;
  for (std::int64_t step = 1; step <= 16; step *= 2, std::swap(from, to)) {
    const std::int64_t count = std::max<std::int64_t>(columns - step, 0), edge = columns - count;
    const int longer = static_cast<int>(step) * STRAIGHT;
    const std::int16_t *__restrict near = from + (back > 0 ? 0 : step), *__restrict own =
                                                                            from + (back > 0 ? step : 0);
    std::int16_t *__restrict out = to + (back > 0 ? step : 0);
    for (std::int64_t i = 0; i < count; ++i)
      out[i] = nearer(own[i], near[i] + longer);
    const std::int64_t kept = back > 0 ? 0 : count; // no pixel is so far before the first
    std::copy_n(from + kept, edge, to + kept);
  }
  std::copy_n(from, columns, distance); // five steps end in the scratch memory
}

} // namespace

void outline_distance(const std::uint8_t *inside, std::int64_t rows, std::int64_t columns, float *distance) {
  std::vector<std::int16_t> distances(static_cast<std::size_t>(rows * columns)),
      scratch(static_cast<std::size_t>(columns));
  for (std::int64_t i = 0; i < rows * columns; ++i)
    distances[static_cast<std::size_t>(i)] = inside[i] ? FAR : std::int16_t(0);
  for (std::int64_t row = 1; row + 1 < rows; ++row) {
    std::int16_t *line = distances.data() + row * columns;
    step_from_row(line - columns, columns, line);
    step_along(1, columns, line, scratch.data());
  }
  for (std::int64_t row = rows - 2; row > 0; --row) {
    std::int16_t *line = distances.data() + row * columns;
    step_from_row(line + columns, columns, line);
    step_along(-1, columns, line, scratch.data());
  }
  for (std::int64_t i = 0; i < rows * columns; ++i)
    distance[i] = static_cast<float>(distances[static_cast<std::size_t>(i)]) * (1.0f / UNIT);
}

} // namespace tddfa
