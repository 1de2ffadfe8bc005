#include "lines.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace tddfa {
namespace {

// A line from an end on.
struct Line {
  double x, y;        // of an end
  double right, down; // direction
  double length;
};

// Some columns of a row, or rows of a canvas: from `begin` to before `end`.
struct Range {
  std::int64_t begin, end;

  // The whole numbers from `low` to `high` that are indices of an axis of `side` pixels.
  static Range between(double low, double high, std::int64_t side) {
    low = limited(low, static_cast<double>(side));
    const auto floor = static_cast<std::int64_t>(low); // std::ceil is a call on many machines
    return {floor + (static_cast<double>(floor) < low),
            static_cast<std::int64_t>(limited(high + 1, static_cast<double>(side)))};
  }

private:
  static double limited(double value, double side) {
    value = value > 0 ? value : 0; // NaN gives 0
    return value < side ? value : side;
  }
};

// The direction and the length of a line, and half its width and half a pixel.
struct Shape {
  float right, down, length, reach;
};

// Blends a colour into a pixel by how far it is inside of a line: its position along the line and aside of
// it.
inline void blend(const Shape &line, float along, float aside, const std::uint8_t *color,
                  std::uint8_t *pixel) {
  float distance = std::abs(aside);
  if (along < 0.0f || along > line.length) {
    const float beyond = along < 0.0f ? along : along - line.length;
    distance = std::sqrt(aside * aside + beyond * beyond);
  }
  const float inside = line.reach - distance;
  if (!(inside > 0.0f))
    return;
  const auto cover = static_cast<int>(std::min(inside, 1.0f) * 256.0f + 0.5f);
  for (int c = 0; c < 3; ++c)
    pixel[c] = static_cast<std::uint8_t>(pixel[c] + (((color[c] - pixel[c]) * cover + 128) >> 8));
}

void draw_line(const Canvas &canvas, const double *ends, double reach, const std::uint8_t *color) {
  const double x = ends[2] - ends[0], y = ends[3] - ends[1], length = std::hypot(x, y);
  if (!std::isfinite(ends[0] + ends[1] + length))
    return;
  const Line line = {ends[0], ends[1], length > 0 ? x / length : 1, length > 0 ? y / length : 0, length};
  const double left = std::min(ends[0], ends[2]), right = std::max(ends[0], ends[2]);
  const Range rows =
      Range::between(std::min(ends[1], ends[3]) - reach, std::max(ends[1], ends[3]) + reach, canvas.rows);
  // Rows cross the strip of a line of any length; a level one has a strip without ends. Without its round
  // ends, a pixel so far inside is covered as a whole.
  const double down = line.down != 0 ? 1 / line.down : 0, half = reach * std::abs(down),
               inner_half = (reach - 1) * std::abs(down);
  const double across = line.right != 0 ? 1 / line.right : 0;
  const Shape shape = {static_cast<float>(line.right), static_cast<float>(line.down),
                       static_cast<float>(line.length), static_cast<float>(reach)};
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    const double from_end = static_cast<double>(row) - line.y, middle = line.x + line.right * down * from_end;
    double low = left - reach, high = right + reach, inner_low = left, inner_high = right;
    if (line.down != 0) {
      low = std::max(low, middle - half);
      high = std::min(high, middle + half);
      inner_low = middle - inner_half;
      inner_high = middle + inner_half;
    } else if (std::abs(from_end) > reach - 1) {
      inner_high = inner_low - 1;
    }
    if (line.right != 0) { // between the perpendiculars at both ends
      const double first = line.x - line.down * across * from_end, last = first + length * across;
      inner_low = std::max(inner_low, std::min(first, last));
      inner_high = std::min(inner_high, std::max(first, last));
    } else if (from_end * line.down < 0 || from_end * line.down > length) {
      inner_high = inner_low - 1;
    }
    const Range columns = Range::between(low, high, canvas.columns);
    Range inner = Range::between(inner_low, inner_high, canvas.columns);
    if (inner.begin >= inner.end)
      inner = {columns.end, columns.end};
    std::uint8_t *pixels = canvas.pixels + 3 * row * canvas.columns;
    const auto along = static_cast<float>(line.down * from_end),
               aside = static_cast<float>(line.right * from_end);
    const auto border = [&](const Range &part) {
      for (std::int64_t column = part.begin; column < part.end; ++column) {
        const auto x_from_end = static_cast<float>(static_cast<double>(column) - line.x);
        blend(shape, along + shape.right * x_from_end, aside - shape.down * x_from_end, color,
              pixels + 3 * column);
      }
    };
    border({columns.begin, inner.begin});
    for (std::uint8_t *pixel = pixels + 3 * inner.begin, *end = pixels + 3 * inner.end; pixel < end;
         pixel += 3)
      std::memcpy(pixel, color, 3);
    border({inner.end, columns.end});
  }
}

} // namespace

void draw_lines(const Canvas &canvas, const double *ends, std::int64_t count, double radius,
                const std::uint8_t *color) {
  for (std::int64_t i = 0; i < count; ++i)
    draw_line(canvas, ends + 4 * i, radius + 0.5, color);
}

} // namespace tddfa
