#include "filling.h"

#include "rounding.h"

#include <algorithm>
#include <vector>

namespace tddfa {
namespace {

struct Level {
  std::int64_t rows, columns;
  std::vector<float> values;
};

// The part of a source pixel in the mean that a destination pixel is.
struct Part {
  std::int64_t from;
  float weight;
};

// The parts of each destination pixel: of the source pixels that it covers, as OpenCV's INTER_AREA has them.
std::vector<std::vector<Part>> parts(std::int64_t from, std::int64_t to) {
  std::vector<std::vector<Part>> all(static_cast<std::size_t>(to));
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  for (std::int64_t i = 0; i < to; ++i) {
    const double begin = static_cast<double>(i) * scale, end = begin + scale;
    for (auto k = static_cast<std::int64_t>(begin); k < from; ++k) {
      const double covered =
          std::min(end, static_cast<double>(k + 1)) - std::max(begin, static_cast<double>(k));
      if (covered < 1e-3)
        break;
      all[static_cast<std::size_t>(i)].push_back({k, static_cast<float>(covered / scale)});
    }
  }
  return all;
}

// Adds `weight` times the pixels of one row to those of another.
template <class Value>
void add_row(const Value *__restrict from, float weight, std::int64_t count, float *__restrict to) {
  for (std::int64_t i = 0; i < count; ++i)
    to[i] += weight * static_cast<float>(from[i]);
}

Level halved(const float *values, std::int64_t rows, std::int64_t columns) {
  Level half = {std::max<std::int64_t>(rows / 2, 1), std::max<std::int64_t>(columns / 2, 1), {}};
  half.values.resize(static_cast<std::size_t>(4 * half.rows * half.columns));
  const auto down = parts(rows, half.rows), across = parts(columns, half.columns);
  std::vector<float> line(static_cast<std::size_t>(4 * columns));
  float *out = half.values.data();
  for (const auto &of_row : down) {
    std::fill(line.begin(), line.end(), 0.0f);
    for (const Part &part : of_row)
      add_row(values + 4 * part.from * columns, part.weight, 4 * columns, line.data());
    for (const auto &of_pixel : across) {
      for (const Part &part : of_pixel)
        for (int c = 0; c < 4; ++c)
          out[c] += part.weight * line[static_cast<std::size_t>(4 * part.from + c)];
      out += 4;
    }
  }
  return half;
}

// The pixel before each destination pixel, as OpenCV's INTER_LINEAR has it, and the weight of the one behind
// it.
std::vector<Part> between(std::int64_t from, std::int64_t to) {
  std::vector<Part> all;
  for (std::int64_t i = 0; i < to; ++i) {
    const double at =
        (static_cast<double>(i) + 0.5) * static_cast<double>(from) / static_cast<double>(to) - 0.5;
    const double inside = std::min(std::max(at, 0.0), static_cast<double>(from - 1));
    const auto first = std::min(static_cast<std::int64_t>(inside), std::max<std::int64_t>(from - 2, 0));
    all.push_back({first, static_cast<float>(inside - static_cast<double>(first))});
  }
  return all;
}

// Adds a coarser level, enlarged, to a finer one where that is unknown: `filled` has three channels.
std::vector<float> pulled(const std::vector<float> &filled, std::int64_t coarse_rows,
                          std::int64_t coarse_columns, const float *values, std::int64_t rows,
                          std::int64_t columns) {
  std::vector<float> out(static_cast<std::size_t>(3 * rows * columns));
  std::vector<float> line(static_cast<std::size_t>(3 * coarse_columns));
  const std::vector<Part> down = between(coarse_rows, rows), across = between(coarse_columns, columns);
  const std::int64_t below = coarse_rows > 1 ? 3 * coarse_columns : 0, right = coarse_columns > 1 ? 3 : 0;
  float *to = out.data();
  for (const Part &of_row : down) {
    const float *above = filled.data() + 3 * of_row.from * coarse_columns;
    for (std::size_t i = 0; i < line.size(); ++i)
      line[i] = above[i] + of_row.weight * (above[i + static_cast<std::size_t>(below)] - above[i]);
    for (const Part &of_pixel : across) {
      const float *left = line.data() + 3 * of_pixel.from, rest = 1.0f - values[3];
      for (int c = 0; c < 3; ++c)
        to[c] = values[c] + rest * (left[c] + of_pixel.weight * (left[c + right] - left[c]));
      to += 3;
      values += 4;
    }
  }
  return out;
}

} // namespace

void push_pull(std::int64_t rows, std::int64_t columns, const float *values, float *out) {
  std::vector<Level> levels; // from the second finest
  const auto level = [&](std::size_t i) { return i == 0 ? values : levels[i - 1].values.data(); };
  const auto rows_of = [&](std::size_t i) { return i == 0 ? rows : levels[i - 1].rows; };
  const auto columns_of = [&](std::size_t i) { return i == 0 ? columns : levels[i - 1].columns; };
  while (std::max(rows_of(levels.size()), columns_of(levels.size())) > 1)
    levels.push_back(halved(level(levels.size()), rows_of(levels.size()), columns_of(levels.size())));
  const float *coarsest = level(levels.size());
  std::vector<float> filled(3);
  for (std::size_t c = 0; c < 3; ++c)
    filled[c] = coarsest[c] / std::max(coarsest[3], 1e-6f);
  for (std::size_t i = levels.size(); i-- > 0;)
    filled = pulled(filled, rows_of(i + 1), columns_of(i + 1), level(i), rows_of(i), columns_of(i));
  std::copy(filled.begin(), filled.end(), out);
}

namespace {

// The mean colour, the mean weight and the covered fraction (weight over 0) of the texels of each pixel of a
// smaller map.
struct Shrunk {
  std::vector<float> colors, weight, covered;
};

void add_covered(const float *__restrict from, float weight, std::int64_t count, float *__restrict to) {
  for (std::int64_t i = 0; i < count; ++i)
    to[i] += weight * static_cast<float>(from[i] > 0.0f);
}

Shrunk shrunk(const Seen &seen, std::int64_t rows, std::int64_t columns) {
  const auto width = static_cast<std::size_t>(seen.columns),
             pixels = static_cast<std::size_t>(rows * columns);
  Shrunk small = {std::vector<float>(3 * pixels), std::vector<float>(pixels), std::vector<float>(pixels)};
  std::vector<float> colors(3 * width), weight(width), covered(width); // of one row of the smaller map
  const auto down = parts(seen.rows, rows), across = parts(seen.columns, columns);
  std::size_t pixel = 0;
  for (const auto &of_row : down) {
    for (auto *line : {&colors, &weight, &covered})
      std::fill(line->begin(), line->end(), 0.0f);
    for (const Part &part : of_row) {
      add_row(seen.colors + 3 * part.from * seen.columns, part.weight, 3 * seen.columns, colors.data());
      const float *from = seen.weight + part.from * seen.columns;
      add_row(from, part.weight, seen.columns, weight.data());
      add_covered(from, part.weight, seen.columns, covered.data());
    }
    for (const auto &of_pixel : across) {
      float sums[5] = {};
      for (const Part &part : of_pixel) {
        const auto from = static_cast<std::size_t>(part.from);
        for (std::size_t c = 0; c < 3; ++c)
          sums[c] += part.weight * colors[3 * from + c];
        sums[3] += part.weight * weight[from];
        sums[4] += part.weight * covered[from];
      }
      std::copy_n(sums, 3, small.colors.data() + 3 * pixel);
      small.weight[pixel] = sums[3];
      small.covered[pixel] = sums[4];
      ++pixel;
    }
  }
  return small;
}

std::uint8_t to_byte(float value) {
  return static_cast<std::uint8_t>(rounded(std::clamp(value, 0.0f, 255.0f)));
}

} // namespace

void complete(const Seen &seen, std::int64_t rows, std::int64_t columns, float nearby, std::uint8_t *change,
              std::uint8_t *fill) {
  Shrunk small = shrunk(seen, rows, columns);
  const std::int64_t pixels = rows * columns;
  float *own = small.colors.data();
  const float *trust = small.weight.data();
  for (std::int64_t i = 0; i < pixels; ++i) {
    // the mean of the visible texels, in whole grey levels
    const float scale = 255.0f / std::max(rounded(255.0f * small.covered[static_cast<std::size_t>(i)]), 1.0f);
    for (int c = 0; c < 3; ++c)
      own[3 * i + c] = rounded(own[3 * i + c]) * scale;
  }
  std::vector<float> values(static_cast<std::size_t>(4 * pixels)),
      light(static_cast<std::size_t>(3 * pixels)), filled(static_cast<std::size_t>(3 * pixels));
  // each pixel and its mirror image
  const auto for_each = [&](auto &&visit) {
    for (std::int64_t line = 0; line < pixels; line += columns)
      for (std::int64_t column = 0; column < columns; ++column)
        visit(line + column, line + columns - 1 - column, values.data() + 4 * (line + column));
  };
  for_each([&](std::int64_t i, std::int64_t other, float *value) {
    const float both = trust[i] * trust[other] * (trust[i] * trust[other]);
    for (int c = 0; c < 3; ++c)
      value[c] = (own[3 * i + c] - own[3 * other + c]) * both;
    value[3] = std::min(both + nearby, 1.0f);
  });
  push_pull(rows, columns, values.data(), light.data());
  for_each([&](std::int64_t i, std::int64_t other, float *value) {
    const float aside = (1.0f - trust[i]) * trust[other];
    for (int c = 0; c < 3; ++c)
      value[c] = trust[i] * own[3 * i + c] +
                 aside * (own[3 * other + c] + light[static_cast<std::size_t>(3 * i + c)]);
    value[3] = std::min(trust[i] + aside, 1.0f);
  });
  push_pull(rows, columns, values.data(), filled.data());
  for (std::size_t i = 0; i < filled.size(); ++i) {
    change[i] = to_byte(light[i] + 128.0f);
    fill[i] = to_byte(filled[i]);
  }
}

} // namespace tddfa
