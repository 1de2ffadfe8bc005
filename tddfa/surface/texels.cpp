#include "texels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#if defined(__GNUC__) && defined(__x86_64__)
#define TDDFA_HAS_AVX2_VARIANT
#endif

#if defined(__SSE2__) || defined(_M_X64)
#define TDDFA_SSE2
#include <emmintrin.h>
#endif

// A function that is inlined into one with AVX2 is compiled with AVX2.
#if defined(__GNUC__)
#define TDDFA_INLINE inline __attribute__((always_inline))
#else
#define TDDFA_INLINE inline
#endif

namespace tddfa {
namespace {

// Rounds 0 .. 255 to the nearest, half to even: a float from 2^23 on has no fractional bits.
TDDFA_INLINE std::uint8_t rounded(float value) {
  value += 0x1p23f;
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<std::uint8_t>(bits);
}

TDDFA_INLINE float clamped(float value, float low, float high) {
  value = value > low ? value : low; // NaN gives `low`
  return value < high ? value : high;
}

#ifdef TDDFA_SSE2
// A pixel, and the first byte of the next.
TDDFA_INLINE __m128 color_at(const std::uint8_t *pixel) {
  std::int32_t bytes;
  std::memcpy(&bytes, pixel, sizeof(bytes));
  const __m128i zero = _mm_setzero_si128(), words = _mm_unpacklo_epi8(_mm_cvtsi32_si128(bytes), zero);
  return _mm_cvtepi32_ps(_mm_unpacklo_epi16(words, zero));
}

TDDFA_INLINE __m128 between(__m128 from, __m128 to, __m128 weight) {
  return _mm_add_ps(from, _mm_mul_ps(weight, _mm_sub_ps(to, from)));
}

TDDFA_INLINE void bilinear_inside(const std::uint8_t *above, std::int64_t stride, float x, float y,
                                  std::uint8_t *out) {
  const std::uint8_t *below = above + stride;
  const __m128 right = _mm_set1_ps(x), low = _mm_set1_ps(y);
  const __m128 color = between(between(color_at(above), color_at(above + 3), right),
                               between(color_at(below), color_at(below + 3), right), low);
  const __m128i words = _mm_packs_epi32(_mm_cvtps_epi32(color), _mm_setzero_si128());
  const std::int32_t bytes = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
  std::memcpy(out, &bytes, 3);
}
#endif

TDDFA_INLINE void bilinear(const Photo &photo, float x, float y, std::uint8_t *out) {
  // beyond the border, all pixels are those of the border
  x = clamped(x, -1.0f, static_cast<float>(photo.columns));
  y = clamped(y, -1.0f, static_cast<float>(photo.rows));
  // a conversion rounds towards 0
  const auto column = static_cast<std::int32_t>(x), row = static_cast<std::int32_t>(y);
  const std::int64_t left = column - (static_cast<float>(column) > x),
                     top = row - (static_cast<float>(row) > y);
  const float right_weight = x - static_cast<float>(left), low_weight = y - static_cast<float>(top);
  const std::int64_t stride = 3 * photo.columns;
#ifdef TDDFA_SSE2
  // the byte behind the last pixel is not there
  if (left >= 0 && top >= 0 && left + 2 < photo.columns && top + 1 < photo.rows)
    return bilinear_inside(photo.pixels + top * stride + 3 * left, stride, right_weight, low_weight, out);
#endif
  const std::int64_t columns[2] = {std::clamp<std::int64_t>(left, 0, photo.columns - 1),
                                   std::clamp<std::int64_t>(left + 1, 0, photo.columns - 1)};
  const std::uint8_t *above = photo.pixels + std::clamp<std::int64_t>(top, 0, photo.rows - 1) * stride,
                     *below = photo.pixels + std::clamp<std::int64_t>(top + 1, 0, photo.rows - 1) * stride;
  for (int c = 0; c < 3; ++c) {
    const float a = above[3 * columns[0] + c], b = above[3 * columns[1] + c], d = below[3 * columns[0] + c],
                e = below[3 * columns[1] + c];
    const float upper = a + right_weight * (b - a), lower = d + right_weight * (e - d);
    out[c] = rounded(upper + low_weight * (lower - upper));
  }
}

TDDFA_INLINE void sample_all(const UvMap &map, const float *vertices, const float *visibility,
                             const Photo &photo, std::uint8_t *colors, float *weight) {
  for (std::int64_t texel = 0, count = map.rows * map.columns; texel < count; ++texel, colors += 3) {
    const std::int32_t id = map.triangle_id[texel];
    if (id < 0) {
      weight[texel] = 0.0f;
      colors[0] = colors[1] = colors[2] = 0;
      continue;
    }
    const std::int32_t *corners = map.triangles + 3 * static_cast<std::int64_t>(id);
    const float u = map.barycentric[2 * texel], v = map.barycentric[2 * texel + 1];
    const auto interpolated = [&](const float *values, std::int64_t step) {
      const float first = values[step * corners[0]], second = values[step * corners[1]],
                  third = values[step * corners[2]];
      return third + (u * (first - third) + v * (second - third));
    };
    weight[texel] = interpolated(visibility, 1);
    if (weight[texel] == 0.0f) { // its colour does not count
      colors[0] = colors[1] = colors[2] = 0;
      continue;
    }
    float x = interpolated(vertices, 3), y = interpolated(vertices + 1, 3);
    if (photo.scaled) {
      x = (x + 0.5f) * photo.scale_x - 0.5f;
      y = (y + 0.5f) * photo.scale_y - 0.5f;
    }
    bilinear(photo, x, y, colors);
  }
}

// The first `count` weights three times each: one for each channel.
TDDFA_INLINE void spread(const float *weight, std::int64_t count, float *to) {
  for (std::int64_t i = 0; i < count; ++i)
    to[3 * i] = to[3 * i + 1] = to[3 * i + 2] = weight[i];
}

TDDFA_INLINE void blend_row(const std::uint8_t *__restrict own, const std::uint8_t *__restrict mirrored,
                            const std::uint8_t *__restrict change, const std::uint8_t *__restrict fill,
                            const float *__restrict own_weight, const float *__restrict mirrored_weight,
                            std::int64_t size, std::uint8_t *__restrict out) {
  for (std::int64_t i = 0; i < size; ++i) {
    const float other =
        clamped(static_cast<float>(mirrored[i]) + (static_cast<float>(change[i]) - 128.0f), 0.0f, 255.0f);
    const float base = static_cast<float>(fill[i]);
    out[i] = rounded(base + own_weight[i] * (static_cast<float>(own[i]) - base) +
                     mirrored_weight[i] * (other - base));
  }
}

TDDFA_INLINE void count_sources(const float *__restrict own, const float *__restrict known,
                                const std::uint8_t *__restrict inside, std::int64_t size,
                                std::uint8_t *__restrict sources) {
  for (std::int64_t i = 0; i < size; ++i) {
    const auto count = static_cast<std::uint8_t>(1 + (known[i] >= 0.5f) + (own[i] >= 0.5f));
    sources[i] = inside[i] ? count : 0;
  }
}

TDDFA_INLINE void mix_all(const Sides &sides, const std::uint8_t *where, const std::uint8_t *inside,
                          std::uint8_t *sources, std::uint8_t *out) {
  const std::int64_t columns = sides.columns;
  const auto width = static_cast<std::size_t>(columns);
  std::vector<float> other(width), known(width), own_spread(3 * width), other_spread(3 * width);
  std::vector<std::uint8_t> mirrored(3 * width);
  for (std::int64_t row = 0; row < sides.rows; ++row, where += columns) {
    const float *__restrict own = sides.weight + row * columns;
    const std::uint8_t *mirrorable = sides.mirrorable + row * columns;
    float *__restrict aside = other.data(), *__restrict together = known.data();
    for (std::int64_t i = 0; i < columns; ++i) {
      const float opposite = mirrorable[i] ? own[columns - 1 - i] : 0.0f;
      aside[i] = (1.0f - own[i]) * opposite;
      together[i] = own[i] + aside[i];
    }
    count_sources(own, together, inside + row * columns, columns, sources + row * columns);
    // of each row only the part from the first to the last texel that is asked for
    const std::uint8_t *begin =
        std::find_if(where, where + columns, [](std::uint8_t value) { return value != 0; });
    const std::uint8_t *end = where + columns;
    while (end > begin && end[-1] == 0)
      --end;
    const std::int64_t from = begin - where, count = end - begin, line = 3 * row * columns,
                       at = line + 3 * from;
    for (std::int64_t i = 0; i < count; ++i)
      std::memcpy(mirrored.data() + 3 * i, sides.colors + line + 3 * (columns - 1 - from - i), 3);
    spread(own + from, count, own_spread.data());
    spread(aside + from, count, other_spread.data());
    blend_row(sides.colors + at, mirrored.data(), sides.change + at, sides.fill + at, own_spread.data(),
              other_spread.data(), 3 * count, out + at);
    std::memset(out + line, 0, static_cast<std::size_t>(3 * from));
    std::memset(out + at + 3 * count, 0, static_cast<std::size_t>(3 * (columns - from - count)));
    if (count > 0 && std::memchr(begin, 0, static_cast<std::size_t>(count)) != nullptr)
      for (std::int64_t i = 0; i < count; ++i)
        if (begin[i] == 0)
          std::memset(out + at + 3 * i, 0, 3);
  }
}

#ifdef TDDFA_HAS_AVX2_VARIANT
#define TDDFA_AVX2 __attribute__((target("avx2")))

TDDFA_AVX2 void sample_avx2(const UvMap &map, const float *vertices, const float *visibility,
                            const Photo &photo, std::uint8_t *colors, float *weight) {
  sample_all(map, vertices, visibility, photo, colors, weight);
}

TDDFA_AVX2 void mix_avx2(const Sides &sides, const std::uint8_t *where, const std::uint8_t *inside,
                         std::uint8_t *sources, std::uint8_t *out) {
  mix_all(sides, where, inside, sources, out);
}

bool has_avx2() {
  static const bool has = __builtin_cpu_supports("avx2");
  return has;
}
#endif

} // namespace

void sample_surface(const UvMap &map, const float *vertices, const float *visibility, const Photo &photo,
                    std::uint8_t *colors, float *weight) {
#ifdef TDDFA_HAS_AVX2_VARIANT
  if (has_avx2())
    return sample_avx2(map, vertices, visibility, photo, colors, weight);
#endif
  sample_all(map, vertices, visibility, photo, colors, weight);
}

void mix_sides(const Sides &sides, const std::uint8_t *where, const std::uint8_t *inside,
               std::uint8_t *sources, std::uint8_t *out) {
#ifdef TDDFA_HAS_AVX2_VARIANT
  if (has_avx2())
    return mix_avx2(sides, where, inside, sources, out);
#endif
  mix_all(sides, where, inside, sources, out);
}

void smallest_around(const Rings &rings, const float *values, float *out) {
  for (std::int64_t i = 0; i < rings.count; ++i) {
    const std::int32_t *at = rings.vertices + rings.starts[i], *end = rings.vertices + rings.starts[i + 1];
    float least = values[*at];
    for (++at; at < end; ++at)
      least = values[*at] < least ? values[*at] : least;
    out[i] = least;
  }
}

void mean_around(const Rings &rings, const float *values, float *out) {
  for (std::int64_t i = 0; i < rings.count; ++i) {
    float sum = 0.0f;
    for (std::int32_t at = rings.starts[i]; at < rings.starts[i + 1]; ++at)
      sum += values[rings.vertices[at]];
    out[i] = sum / static_cast<float>(rings.starts[i + 1] - rings.starts[i]);
  }
}

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
void add_row(const float *__restrict from, float weight, std::int64_t count, float *__restrict to) {
  for (std::int64_t i = 0; i < count; ++i)
    to[i] += weight * from[i];
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

} // namespace tddfa
