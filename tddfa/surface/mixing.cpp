#include "mixing.h"

#include "color.h"
#include "cpu.h"
#include "filling.h"

#include <algorithm>
#include <vector>

namespace tddfa {
namespace {

constexpr std::int64_t BLOCK = 64;
// `Color` reads and writes a byte more than a pixel.
constexpr std::int64_t BYTES = 3 * BLOCK + 1;

// One row after the other of a small image that is enlarged.
class Enlarged {
public:
  Enlarged(const Small &small, std::int64_t rows, std::int64_t columns)
      : rows_(small.rows), columns_(small.columns), down_(enlarged_axis(small.rows, rows)),
        across_(enlarged_axis(small.columns, columns)),
        pixels_(static_cast<std::size_t>(small.rows * small.columns)),
        line_(static_cast<std::size_t>(small.columns) + 1) {
    const std::uint8_t *bytes = small.pixels;
    for (Pixel &pixel : pixels_)
      for (int c = 0; c < 3; ++c)
        pixel.of[c] = static_cast<float>(*bytes++);
  }

  TDDFA_INLINE void go_to(std::int64_t row) {
    if (row == row_)
      return;
    row_ = row;
    const Part &part = down_[static_cast<std::size_t>(row)];
    const Pixel *above = pixels_.data() + part.from * columns_,
                *below = above + (part.from + 1 < rows_ ? columns_ : 0);
    const Color weight = Color::all(part.weight);
    for (std::int64_t i = 0; i < columns_; ++i)
      between(Color::at(above[i].of), Color::at(below[i].of), weight)
          .store(line_[static_cast<std::size_t>(i)].of);
    line_.back() = line_[static_cast<std::size_t>(columns_ - 1)];
  }

  TDDFA_INLINE Color at(std::int64_t column) const {
    const Part &part = across_[static_cast<std::size_t>(column)];
    const Pixel *left = line_.data() + part.from;
    return between(Color::at(left[0].of), Color::at(left[1].of), Color::all(part.weight));
  }

private:
  std::int64_t rows_, columns_;
  std::vector<Part> down_, across_;
  std::vector<Pixel> pixels_;
  std::vector<Pixel> line_; // the row, not yet enlarged in x, and its last pixel again
  std::int64_t row_ = -1;
};

TDDFA_INLINE std::int32_t bits_of(float value) {
  std::int32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

// Whether all weights have these bits. Written so that compilers vectorise it, as the loops below.
TDDFA_INLINE bool all_equal(const float *weights, std::int64_t count, std::int32_t bits) {
  std::int32_t other = 0;
  for (std::int64_t i = 0; i < count; ++i)
    other |= bits_of(weights[i]) ^ bits;
  return other == 0;
}

// The weights of mirrored texels, from those of the other side, which begin with the mirror image of the
// last.
TDDFA_INLINE void weigh_mirrored(const float *__restrict own, const float *__restrict opposite,
                                 const std::uint8_t *__restrict mirrorable, std::int64_t count,
                                 float *__restrict aside) {
  for (std::int64_t i = 0; i < count; ++i)
    aside[i] = opposite[count - 1 - i];
  for (std::int64_t i = 0; i < count; ++i)
    aside[i] *= (1.0f - own[i]) * static_cast<float>(mirrorable[i]);
}

// Whether nothing of the fill is visible.
TDDFA_INLINE bool all_known(const float *own, const float *aside, std::int64_t count) {
  std::int32_t other = 0;
  for (std::int64_t i = 0; i < count; ++i)
    other |= bits_of(own[i] + aside[i]) ^ bits_of(1.0f);
  return other == 0;
}

TDDFA_INLINE void count_sources(const float *__restrict own, const float *__restrict aside,
                                const std::uint8_t *__restrict inside, std::int64_t count,
                                std::uint8_t *__restrict sources) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int32_t is_known = own[i] + aside[i] >= 0.5f, is_own = own[i] >= 0.5f,
                       is_inside = inside[i] != 0;
    sources[i] = static_cast<std::uint8_t>((1 + is_known + is_own) & -is_inside);
  }
}

TDDFA_INLINE void copy(const std::uint8_t *pixels, std::int64_t count, std::uint8_t *to) {
  if (count == BLOCK) // a copy of a known size is a few instructions
    std::memcpy(to, pixels, static_cast<std::size_t>(3 * BLOCK));
  else
    std::memcpy(to, pixels, static_cast<std::size_t>(3 * count));
}

class Mixer {
public:
  Mixer(const Sides &sides, const Paint &paint)
      : sides_(sides), paint_(paint), change_(sides.change, sides.rows, sides.columns),
        fill_(sides.fill, sides.rows, sides.columns) {}

  // Mixes at most a block of texels of one row, from column `first` on. Blocks come in ascending order.
  TDDFA_INLINE void mix(std::int64_t row, std::int64_t first, std::int64_t count, const std::uint8_t *inside,
                        std::uint8_t *sources, std::uint8_t *out) {
    const std::int64_t at = row * sides_.columns + first;
    // the mirror image of the last texel of the block, in the same row
    const std::int64_t opposite = at - first + (sides_.columns - first - count);
    const float *own = sides_.weight + at;
    if (all_equal(own, count, bits_of(1.0f))) {
      copy(sides_.colors + 3 * at, count, out + 3 * at);
      for (std::int64_t i = 0; i < count; ++i)
        sources[at + i] = inside[at + i] ? 3 : 0;
      return;
    }
    float aside[BLOCK];
    weigh_mirrored(own, sides_.weight + opposite, sides_.mirrorable + at, count, aside);
    count_sources(own, aside, inside + at, count, sources + at);
    out += 3 * at;
    fill_.go_to(row);
    if (all_known(own, aside, count)) {
      mix_with([](std::int64_t) { return Color::all(0.0f); }, row, first, count, opposite, aside, out);
    } else if (is_painted(at, count)) {
      Pixel fill[BLOCK];
      paint(first, at, count, fill);
      mix_with([&](std::int64_t i) { return Color::at(fill[i].of); }, row, first, count, opposite, aside,
               out);
    } else {
      mix_with([&](std::int64_t i) { return fill_.at(first + i); }, row, first, count, opposite, aside, out);
    }
  }

private:
  // Whether texels of a block are darkened or painted.
  TDDFA_INLINE bool is_painted(std::int64_t at, std::int64_t count) {
    dark_ = advanced(paint_.dark, paint_.dark_count, dark_, at);
    painted_ = advanced(paint_.painted, paint_.painted_count, painted_, at);
    return (dark_ < paint_.dark_count && paint_.dark[dark_] < at + count) ||
           (painted_ < paint_.painted_count && paint_.painted[painted_] < at + count);
  }

  TDDFA_INLINE void paint(std::int64_t first, std::int64_t at, std::int64_t count, Pixel *out) {
    for (std::int64_t i = 0; i < count; ++i)
      fill_.at(first + i).store(out[i].of);
    for (; dark_ < paint_.dark_count && paint_.dark[dark_] < at + count; ++dark_) {
      float *pixel = out[paint_.dark[dark_] - at].of;
      for (int c = 0; c < 3; ++c)
        pixel[c] *= paint_.shade[3 * dark_ + c];
    }
    for (; painted_ < paint_.painted_count && paint_.painted[painted_] < at + count; ++painted_)
      for (int c = 0; c < 3; ++c)
        out[paint_.painted[painted_] - at].of[c] = static_cast<float>(paint_.colors[3 * painted_ + c]);
  }

  // The first index from `from` on whose texel is not before `texel`.
  static std::int64_t advanced(const std::int64_t *texels, std::int64_t count, std::int64_t from,
                               std::int64_t texel) {
    return from == count || texels[from] >= texel
               ? from
               : std::lower_bound(texels + from, texels + count, texel) - texels;
  }

  // Mixes a block with a fill, a function of its texels.
  template <class Fill>
  TDDFA_INLINE void mix_with(const Fill &fill, std::int64_t row, std::int64_t first, std::int64_t count,
                             std::int64_t opposite, const float *aside, std::uint8_t *out) {
    const std::int64_t at = row * sides_.columns + first;
    const float *weight = sides_.weight + at;
    std::uint8_t own[BYTES], mirrored[BYTES];
    if (!all_equal(aside, count, 0)) {
      copy(sides_.colors + 3 * at, count, own);
      copy(sides_.colors + 3 * opposite, count, mirrored);
      change_.go_to(row);
      put(count, out, [&](std::int64_t i) {
        const Color base = fill(i), change = change_.at(first + i) - Color::all(128.0f);
        const Color other = (Color::at(mirrored + 3 * (count - 1 - i)) + change).in_bytes();
        return base + Color::all(weight[i]) * (Color::at(own + 3 * i) - base) +
               Color::all(aside[i]) * (other - base);
      });
    } else if (!all_equal(weight, count, 0)) {
      copy(sides_.colors + 3 * at, count, own);
      put(count, out,
          [&](std::int64_t i) { return between(fill(i), Color::at(own + 3 * i), Color::all(weight[i])); });
    } else {
      put(count, out, fill);
    }
  }

  // Stores a function of the texels of a block. Each but the last writes a byte of the next.
  template <class ColorOf>
  static TDDFA_INLINE void put(std::int64_t count, std::uint8_t *out, const ColorOf &color_of) {
    for (std::int64_t i = 0; i + 1 < count; ++i)
      color_of(i).store(out + 3 * i);
    std::uint8_t last[4];
    color_of(count - 1).store(last);
    std::memcpy(out + 3 * (count - 1), last, 3);
  }

  const Sides &sides_;
  const Paint &paint_;
  Enlarged change_, fill_;
  std::int64_t dark_ = 0, painted_ = 0;
};

TDDFA_INLINE void mix_all(const Sides &sides, const Paint &paint, const std::uint8_t *where,
                          const std::uint8_t *inside, std::uint8_t *sources, std::uint8_t *out) {
  const std::int64_t columns = sides.columns;
  Mixer mixer(sides, paint);
  for (std::int64_t row = 0, line = 0; row < sides.rows; ++row, line += columns, where += columns) {
    // of each row only the part from the first to the last texel that is asked for
    const std::uint8_t *begin =
        std::find_if(where, where + columns, [](std::uint8_t value) { return value != 0; });
    const std::uint8_t *end = where + columns;
    while (end > begin && end[-1] == 0)
      --end;
    const std::int64_t from = begin - where, to = end - where;
    for (std::int64_t first = from; first < to; first += BLOCK)
      mixer.mix(row, first, std::min(BLOCK, to - first), inside, sources, out);
    std::memset(sources + line, 0, static_cast<std::size_t>(from));
    std::memset(sources + line + to, 0, static_cast<std::size_t>(columns - to));
    std::memset(out + 3 * line, 0, static_cast<std::size_t>(3 * from));
    std::memset(out + 3 * (line + to), 0, static_cast<std::size_t>(3 * (columns - to)));
    if (to > from && std::memchr(begin, 0, static_cast<std::size_t>(to - from)) != nullptr)
      for (std::int64_t i = from; i < to; ++i)
        if (where[i] == 0) {
          std::memset(out + 3 * (line + i), 0, 3);
          sources[line + i] = 0;
        }
  }
}

#ifdef TDDFA_HAS_AVX2_VARIANT
TDDFA_AVX2 void mix_avx2(const Sides &sides, const Paint &paint, const std::uint8_t *where,
                         const std::uint8_t *inside, std::uint8_t *sources, std::uint8_t *out) {
  mix_all(sides, paint, where, inside, sources, out);
}
#endif

} // namespace

void mix_sides(const Sides &sides, const Paint &paint, const std::uint8_t *where, const std::uint8_t *inside,
               std::uint8_t *sources, std::uint8_t *out) {
#ifdef TDDFA_HAS_AVX2_VARIANT
  if (has_avx2())
    return mix_avx2(sides, paint, where, inside, sources, out);
#endif
  mix_all(sides, paint, where, inside, sources, out);
}

void enlarged_at(const Small &small, std::int64_t rows, std::int64_t columns, const std::int64_t *texels,
                 std::int64_t count, std::uint8_t *out) {
  Enlarged enlarged(small, rows, columns);
  for (std::int64_t i = 0; i < count; ++i) {
    enlarged.go_to(texels[i] / columns);
    std::uint8_t bytes[4];
    enlarged.at(texels[i] % columns).store(bytes);
    std::memcpy(out + 3 * i, bytes, 3);
  }
}

} // namespace tddfa
