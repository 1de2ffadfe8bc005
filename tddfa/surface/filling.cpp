#include "filling.h"

#include "color.h"
#include "cpu.h"
#include "rounding.h"

#include <algorithm>
#include <vector>

namespace tddfa {
namespace {

// An image of colours and weights, or of colours.
struct Level {
  std::int64_t rows, columns;
  std::vector<Pixel> pixels;
};

// The parts of each destination pixel: of the source pixels that it covers, as OpenCV's INTER_AREA has them.
class Covered {
public:
  struct Parts {
    const Part *first, *behind;

    const Part *begin() const { return first; }
    const Part *end() const { return behind; }
  };

  Covered(std::int64_t from, std::int64_t to) {
    parts_.reserve(static_cast<std::size_t>(from + 2 * to));
    ends_.reserve(static_cast<std::size_t>(to) + 1);
    ends_.push_back(0);
    const double scale = static_cast<double>(from) / static_cast<double>(to);
    for (std::int64_t i = 0; i < to; ++i) {
      const double begin = static_cast<double>(i) * scale, end = begin + scale;
      for (auto k = static_cast<std::int64_t>(begin); k < from && static_cast<double>(k) < end; ++k) {
        const double covered =
            std::min(end, static_cast<double>(k + 1)) - std::max(begin, static_cast<double>(k));
        if (covered >= 1e-3) // a whole number may be rounded to just under itself
          parts_.push_back({k, static_cast<float>(covered / scale)});
      }
      ends_.push_back(parts_.size());
    }
  }

  std::size_t size() const { return ends_.size() - 1; }
  Parts operator[](std::size_t i) const { return {parts_.data() + ends_[i], parts_.data() + ends_[i + 1]}; }

private:
  std::vector<Part> parts_;
  std::vector<std::size_t> ends_;
};

// Adds `weight` times the pixels of one row to those of another.
template <class Value>
TDDFA_INLINE void add_row(const Value *__restrict from, float weight, std::int64_t count,
                          float *__restrict to) {
  for (std::int64_t i = 0; i < count; ++i)
    to[i] += weight * static_cast<float>(from[i]);
}

Level halved(const Pixel *pixels, std::int64_t rows, std::int64_t columns) {
  Level half = {std::max<std::int64_t>(rows / 2, 1), std::max<std::int64_t>(columns / 2, 1), {}};
  half.pixels.reserve(static_cast<std::size_t>(half.rows * half.columns));
  const Covered down(rows, half.rows), across(columns, half.columns);
  std::vector<float> line(static_cast<std::size_t>(4 * columns));
  for (std::size_t row = 0; row < down.size(); ++row) {
    std::fill(line.begin(), line.end(), 0.0f);
    for (const Part &part : down[row])
      add_row(pixels[part.from * columns].of, part.weight, 4 * columns, line.data());
    for (std::size_t column = 0; column < across.size(); ++column) {
      Color sum = Color::all(0.0f);
      for (const Part &part : across[column])
        sum = sum + Color::all(part.weight) * Color::at(line.data() + 4 * part.from);
      half.pixels.emplace_back();
      sum.store(half.pixels.back().of);
    }
  }
  return half;
}

// Adds a coarser level, enlarged, to a finer one where that is unknown.
std::vector<Pixel> pulled(const std::vector<Pixel> &filled, std::int64_t coarse_rows,
                          std::int64_t coarse_columns, const Pixel *pixels, std::int64_t rows,
                          std::int64_t columns) {
  std::vector<Pixel> out(static_cast<std::size_t>(rows * columns));
  std::vector<Pixel> line(static_cast<std::size_t>(coarse_columns) + 1); // the last pixel is there twice
  const std::vector<Part> down = enlarged_axis(coarse_rows, rows),
                          across = enlarged_axis(coarse_columns, columns);
  const std::int64_t below = coarse_rows > 1 ? coarse_columns : 0;
  Pixel *to = out.data();
  for (const Part &of_row : down) {
    const Pixel *above = filled.data() + of_row.from * coarse_columns;
    for (std::int64_t i = 0; i < coarse_columns; ++i)
      between(Color::at(above[i].of), Color::at(above[i + below].of), Color::all(of_row.weight))
          .store(line[static_cast<std::size_t>(i)].of);
    line.back() = line[static_cast<std::size_t>(coarse_columns - 1)];
    for (const Part &of_pixel : across) {
      const Pixel *left = line.data() + of_pixel.from;
      const Color coarse = between(Color::at(left[0].of), Color::at(left[1].of), Color::all(of_pixel.weight));
      (Color::at(pixels->of) + Color::all(1.0f - pixels->of[3]) * coarse).store(to->of);
      ++to;
      ++pixels;
    }
  }
  return out;
}

// Colours continued smoothly; the fourth number is anything.
std::vector<Pixel> completed(std::int64_t rows, std::int64_t columns, const Pixel *pixels) {
  std::vector<Level> levels; // from the second finest
  const auto level = [&](std::size_t i) { return i == 0 ? pixels : levels[i - 1].pixels.data(); };
  const auto rows_of = [&](std::size_t i) { return i == 0 ? rows : levels[i - 1].rows; };
  const auto columns_of = [&](std::size_t i) { return i == 0 ? columns : levels[i - 1].columns; };
  while (std::max(rows_of(levels.size()), columns_of(levels.size())) > 1)
    levels.push_back(halved(level(levels.size()), rows_of(levels.size()), columns_of(levels.size())));
  std::vector<Pixel> filled = {*level(levels.size())};
  for (float &value : filled[0].of)
    value /= std::max(level(levels.size())->of[3], 1e-6f);
  for (std::size_t i = levels.size(); i-- > 0;)
    filled = pulled(filled, rows_of(i + 1), columns_of(i + 1), level(i), rows_of(i), columns_of(i));
  return filled;
}

} // namespace

std::vector<Part> enlarged_axis(std::int64_t from, std::int64_t to) {
  std::vector<Part> all;
  all.reserve(static_cast<std::size_t>(to));
  for (std::int64_t i = 0; i < to; ++i) {
    const double at =
        (static_cast<double>(i) + 0.5) * static_cast<double>(from) / static_cast<double>(to) - 0.5;
    const double inside = std::min(std::max(at, 0.0), static_cast<double>(from - 1));
    const auto first = std::min(static_cast<std::int64_t>(inside), std::max<std::int64_t>(from - 2, 0));
    all.push_back({first, static_cast<float>(inside - static_cast<double>(first))});
  }
  return all;
}

void push_pull(std::int64_t rows, std::int64_t columns, const float *values, float *out) {
  std::vector<Pixel> pixels(static_cast<std::size_t>(rows * columns));
  std::memcpy(pixels.data(), values, sizeof(Pixel) * pixels.size());
  for (const Pixel &pixel : completed(rows, columns, pixels.data())) {
    std::copy_n(pixel.of, 3, out);
    out += 3;
  }
}

namespace {

// The mean colour, the mean weight and the covered fraction (weight over 0) of the texels of each pixel of a
// smaller map.
struct Shrunk {
  std::vector<Pixel> colors;
  std::vector<float> weight, covered;
};

struct Span {
  std::int64_t from, to;
};

// Adds `weight` to the covered pixels of one row.
TDDFA_INLINE void add_covered(const float *__restrict from, float weight, std::int64_t count,
                              float *__restrict to) {
  for (std::int64_t i = 0; i < count; ++i)
    to[i] += from[i] > 0.0f ? weight : 0.0f;
}

TDDFA_INLINE bool all_zero(const float *weight, std::int64_t count) {
  float sum = 0.0f;
  for (std::int64_t i = 0; i < count; ++i)
    sum += weight[i];
  return sum == 0.0f;
}

// The first to the last texel of a row that have a weight; a few more where that is faster.
TDDFA_INLINE Span visible_span(const float *weight, std::int64_t count) {
  constexpr std::int64_t STEP = 8;
  Span span = {0, count};
  while (span.from < span.to && all_zero(weight + span.from, std::min(STEP, span.to - span.from)))
    span.from += std::min(STEP, span.to - span.from);
  while (span.from + STEP < span.to && all_zero(weight + span.to - STEP, STEP))
    span.to -= STEP;
  return span;
}

// Sums of the texels in one row of a smaller map: of the columns in `span`, all others are 0.
struct Line {
  std::vector<float> colors, weight, covered;
  Span span;

  explicit Line(std::int64_t columns)
      : colors(static_cast<std::size_t>(3 * columns) + 1), weight(static_cast<std::size_t>(columns)),
        covered(static_cast<std::size_t>(columns)), span{columns, 0} {}

  void clear() {
    for (auto *sums : {&colors, &weight, &covered})
      std::fill(sums->begin(), sums->end(), 0.0f);
    span = {static_cast<std::int64_t>(weight.size()), 0};
  }

  TDDFA_INLINE void add(const Seen &seen, const Part &row) {
    const float *from = seen.weight + row.from * seen.columns;
    const Span visible = visible_span(from, seen.columns);
    if (visible.from == visible.to)
      return;
    span = {std::min(span.from, visible.from), std::max(span.to, visible.to)};
    const std::int64_t count = visible.to - visible.from;
    add_row(seen.colors + 3 * (row.from * seen.columns + visible.from), row.weight, 3 * count,
            colors.data() + 3 * visible.from);
    add_row(from + visible.from, row.weight, count, weight.data() + visible.from);
    add_covered(from + visible.from, row.weight, count, covered.data() + visible.from);
  }
};

TDDFA_INLINE Shrunk shrunk_by_any(const Seen &seen, std::int64_t rows, std::int64_t columns) {
  const auto pixels = static_cast<std::size_t>(rows * columns);
  Shrunk small = {std::vector<Pixel>(pixels), std::vector<float>(pixels), std::vector<float>(pixels)};
  Line line(seen.columns);
  const Covered down(seen.rows, rows), across(seen.columns, columns);
  std::size_t pixel = 0;
  for (std::size_t row = 0; row < down.size(); ++row) {
    line.clear();
    for (const Part &part : down[row])
      line.add(seen, part);
    for (std::size_t column = 0; column < across.size(); ++column) {
      const Covered::Parts of_pixel = across[column];
      if (of_pixel.begin()->from < line.span.to && (of_pixel.end() - 1)->from >= line.span.from) {
        Color color = Color::all(0.0f);
        for (const Part &part : of_pixel) {
          const auto from = static_cast<std::size_t>(part.from);
          color = color + Color::all(part.weight) * Color::at(line.colors.data() + 3 * from);
          small.weight[pixel] += part.weight * line.weight[from];
          small.covered[pixel] += part.weight * line.covered[from];
        }
        color.store(small.colors[pixel].of);
      }
      ++pixel;
    }
  }
  return small;
}

#ifdef TDDFA_HAS_AVX2_VARIANT
TDDFA_AVX2 Shrunk shrunk_avx2(const Seen &seen, std::int64_t rows, std::int64_t columns) {
  return shrunk_by_any(seen, rows, columns);
}
#endif

Shrunk shrunk(const Seen &seen, std::int64_t rows, std::int64_t columns) {
#ifdef TDDFA_HAS_AVX2_VARIANT
  if (has_avx2())
    return shrunk_avx2(seen, rows, columns);
#endif
  return shrunk_by_any(seen, rows, columns);
}

} // namespace

void complete(const Seen &seen, std::int64_t rows, std::int64_t columns, float nearby, std::uint8_t *change,
              std::uint8_t *fill) {
  Shrunk small = shrunk(seen, rows, columns);
  const std::int64_t pixels = rows * columns;
  Pixel *own = small.colors.data();
  const float *trust = small.weight.data();
  for (std::int64_t i = 0; i < pixels; ++i) {
    // the mean of the visible texels, in whole grey levels
    const float scale = 255.0f / std::max(rounded(255.0f * small.covered[static_cast<std::size_t>(i)]), 1.0f);
    for (float &value : own[i].of)
      value = rounded(value) * scale;
  }
  std::vector<Pixel> values(static_cast<std::size_t>(pixels));
  // each pixel and its mirror image
  const auto for_each = [&](auto &&visit) {
    for (std::int64_t line = 0; line < pixels; line += columns)
      for (std::int64_t column = 0; column < columns; ++column)
        visit(line + column, line + columns - 1 - column, values[static_cast<std::size_t>(line + column)].of);
  };
  for_each([&](std::int64_t i, std::int64_t other, float *value) {
    const float both = trust[i] * trust[other] * (trust[i] * trust[other]);
    ((Color::at(own[i].of) - Color::at(own[other].of)) * Color::all(both)).store(value);
    value[3] = std::min(both + nearby, 1.0f);
  });
  const std::vector<Pixel> light = completed(rows, columns, values.data());
  for_each([&](std::int64_t i, std::int64_t other, float *value) {
    const float aside = (1.0f - trust[i]) * trust[other];
    const Color mirrored = Color::at(own[other].of) + Color::at(light[static_cast<std::size_t>(i)].of);
    (Color::all(trust[i]) * Color::at(own[i].of) + Color::all(aside) * mirrored).store(value);
    value[3] = std::min(trust[i] + aside, 1.0f);
  });
  const std::vector<Pixel> filled = completed(rows, columns, values.data());
  const auto put = [](const Color &color, std::uint8_t *pixel) {
    std::uint8_t bytes[4];
    color.in_bytes().store(bytes);
    std::memcpy(pixel, bytes, 3);
  };
  for (std::size_t i = 0; i < filled.size(); ++i) {
    put(Color::at(light[i].of) + Color::all(128.0f), change + 3 * i);
    put(Color::at(filled[i].of), fill + 3 * i);
  }
}

} // namespace tddfa
