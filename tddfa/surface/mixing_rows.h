// Mixes a texture row by row: the work of `mix_sides` (mixing.h). Included by each file that compiles it for
// one instruction set; those files include the standard headers first.
#pragma once

#include "color.h"
#include "cpu.h"
#include "filling.h"
#include "mixing.h"

namespace tddfa {

// A small image, what it takes to enlarge it, and memory for three rows of it and a pixel more.
struct Enlargement {
  Small small;
  const Part *down, *across; // for each row and each column of the enlarged image
  Pixel *memory;
};

// What `mix_rows` needs.
struct Mixing {
  Sides sides;
  Enlargement change, fill;
  Paint paint;
};

void mix_rows_avx2(const Mixing &mixing, const std::uint8_t *where, const std::uint8_t *inside,
                   std::uint8_t *sources, std::uint8_t *out);

namespace {

constexpr std::int64_t BLOCK = 64;
// Two bytes more than the pixels are read.
constexpr std::int64_t BYTES = 3 * BLOCK + 2;

// One texel after the other, as vectors of its three numbers.
struct OneTexel {
  using Colors = Color;
  static constexpr std::int64_t COUNT = 1;

  static TDDFA_INLINE Color at(const Pixel *pixels) { return Color::at(pixels->of); }
  static TDDFA_INLINE Color at(const std::uint8_t *pixels) { return Color::at(pixels); }
  // The mirror image of some texels, of which the last is given.
  static TDDFA_INLINE Color mirrored(const std::uint8_t *last) { return Color::at(last); }
  static TDDFA_INLINE Color all(float value) { return Color::all(value); }
  static TDDFA_INLINE Color each(const float *weights) { return Color::all(*weights); }
  static TDDFA_INLINE Color enlarged(const Pixel *line, const Part *parts) {
    const Pixel *left = line + parts->from;
    return between(Color::at(left[0].of), Color::at(left[1].of), Color::all(parts->weight));
  }
  static TDDFA_INLINE void store(const Color &color, Pixel *out) { color.store(out->of); }
  // Writes a byte more.
  static TDDFA_INLINE void store(const Color &color, std::uint8_t *out) { color.store(out); }
};

// One row after the other of a small image that is enlarged.
class Enlarged {
public:
  explicit Enlarged(const Enlargement &of)
      : of_(of), above_(of.memory), below_(above_ + of.small.columns), line_(below_ + of.small.columns) {}

  template <class Texels> TDDFA_INLINE void go_to(std::int64_t row) {
    if (row == row_)
      return;
    row_ = row;
    const Part &part = of_.down[row];
    const std::int64_t columns = of_.small.columns, next = std::min(part.from + 1, of_.small.rows - 1);
    if (part.from != from_) {
      if (part.from == from_ + 1)
        std::swap(above_, below_);
      else
        load(part.from, above_);
      load(next, below_);
      from_ = part.from;
    }
    std::int64_t i = 0;
    for (; i + Texels::COUNT <= columns; i += Texels::COUNT)
      blend<Texels>(i, part.weight);
    for (; i < columns; ++i)
      blend<OneTexel>(i, part.weight);
    line_[columns] = line_[columns - 1];
  }

  template <class Texels> TDDFA_INLINE typename Texels::Colors at(std::int64_t column) const {
    return Texels::enlarged(line_, of_.across + column);
  }

private:
  TDDFA_INLINE void load(std::int64_t row, Pixel *to) const {
    const std::uint8_t *bytes = of_.small.pixels + 3 * row * of_.small.columns;
    for (std::int64_t i = 0; i < of_.small.columns; ++i, bytes += 3)
      to[i] = {{static_cast<float>(bytes[0]), static_cast<float>(bytes[1]), static_cast<float>(bytes[2]), 0}};
  }

  template <class Texels> TDDFA_INLINE void blend(std::int64_t i, float weight) {
    Texels::store(between(Texels::at(above_ + i), Texels::at(below_ + i), Texels::all(weight)), line_ + i);
  }

  const Enlargement &of_;
  Pixel *above_, *below_; // the rows of the small image from `from_` on
  Pixel *line_;           // the row `row_`, not yet enlarged in x, and its last pixel again
  std::int64_t row_ = -1, from_ = -2;
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

// `Texels` are computed at once.
template <class Texels> class Mixer {
public:
  explicit Mixer(const Mixing &mixing)
      : sides_(mixing.sides), paint_(mixing.paint), change_(mixing.change), fill_(mixing.fill) {}

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
    if (all_known(own, aside, count)) {
      mix_with([](auto texels, std::int64_t) { return decltype(texels)::all(0.0f); }, row, first, count,
               opposite, aside, out);
      return;
    }
    fill_.template go_to<Texels>(row);
    if (is_painted(at, count)) {
      Pixel fill[BLOCK];
      paint(first, at, count, fill);
      mix_with([&](auto texels, std::int64_t i) { return decltype(texels)::at(fill + i); }, row, first, count,
               opposite, aside, out);
    } else {
      mix_with([&](auto texels, std::int64_t i) { return fill_.template at<decltype(texels)>(first + i); },
               row, first, count, opposite, aside, out);
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
    std::int64_t i = 0;
    for (; i + Texels::COUNT <= count; i += Texels::COUNT)
      Texels::store(fill_.template at<Texels>(first + i), out + i);
    for (; i < count; ++i)
      OneTexel::store(fill_.template at<OneTexel>(first + i), out + i);
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
      change_.template go_to<Texels>(row);
      put(count, out, [&](auto texels, std::int64_t i) {
        using T = decltype(texels);
        const auto base = fill(texels, i), change = change_.template at<T>(first + i) - T::all(128.0f);
        const auto other = (T::mirrored(mirrored + 3 * (count - 1 - i)) + change).in_bytes();
        return base + T::each(weight + i) * (T::at(own + 3 * i) - base) + T::each(aside + i) * (other - base);
      });
    } else if (!all_equal(weight, count, 0)) {
      copy(sides_.colors + 3 * at, count, own);
      put(count, out, [&](auto texels, std::int64_t i) {
        using T = decltype(texels);
        return between(fill(texels, i), T::at(own + 3 * i), T::each(weight + i));
      });
    } else {
      put(count, out, fill);
    }
  }

  // Stores a function of the texels of a block. Each but the last writes up to two bytes of the next.
  template <class ColorOf>
  static TDDFA_INLINE void put(std::int64_t count, std::uint8_t *out, const ColorOf &color_of) {
    std::int64_t i = 0;
    for (; i + Texels::COUNT < count; i += Texels::COUNT)
      Texels::store(color_of(Texels(), i), out + 3 * i);
    for (; i < count; ++i) {
      std::uint8_t pixel[4];
      OneTexel::store(color_of(OneTexel(), i), pixel);
      std::memcpy(out + 3 * i, pixel, 3);
    }
  }

  const Sides &sides_;
  const Paint &paint_;
  Enlarged change_, fill_;
  std::int64_t dark_ = 0, painted_ = 0;
};

// Whether eight bytes are 0.
TDDFA_INLINE bool are_all_zero(const std::uint8_t *bytes) {
  std::uint64_t all;
  std::memcpy(&all, bytes, sizeof(all));
  return all == 0;
}

template <class Texels>
inline void mix_rows(const Mixing &mixing, const std::uint8_t *where, const std::uint8_t *inside,
                     std::uint8_t *sources, std::uint8_t *out) {
  const std::int64_t columns = mixing.sides.columns;
  Mixer<Texels> mixer(mixing);
  for (std::int64_t row = 0, line = 0; row < mixing.sides.rows; ++row, line += columns, where += columns) {
    // of each row only the part from the first to the last texel that is asked for
    const std::uint8_t *begin = where, *end = where + columns;
    while (begin + 8 <= end && are_all_zero(begin))
      begin += 8;
    while (begin < end && *begin == 0)
      ++begin;
    while (begin + 8 <= end && are_all_zero(end - 8))
      end -= 8;
    while (begin < end && end[-1] == 0)
      --end;
    const std::int64_t from = begin - where, to = end - where;
    for (std::int64_t first = from; first < to; first += BLOCK)
      mixer.mix(row, first, std::min(BLOCK, to - first), inside, sources, out);
    std::memset(sources + line, 0, static_cast<std::size_t>(from));
    std::memset(sources + line + to, 0, static_cast<std::size_t>(columns - to));
    std::memset(out + 3 * line, 0, static_cast<std::size_t>(3 * from));
    std::memset(out + 3 * (line + to), 0, static_cast<std::size_t>(3 * (columns - to)));
    const auto gap_from = [end](const std::uint8_t *texel) {
      const void *zero =
          texel == end ? nullptr : std::memchr(texel, 0, static_cast<std::size_t>(end - texel));
      return static_cast<const std::uint8_t *>(zero);
    };
    for (const std::uint8_t *gap = gap_from(begin); gap != nullptr; gap = gap_from(gap)) {
      const std::int64_t at = line + (gap - where);
      while (*gap == 0) // the last texel is not
        ++gap;
      const auto count = static_cast<std::size_t>(line + (gap - where) - at);
      std::memset(out + 3 * at, 0, 3 * count);
      std::memset(sources + at, 0, count);
    }
  }
}

} // namespace
} // namespace tddfa
