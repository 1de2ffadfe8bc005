#include "crops.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#if defined(__GNUC__) && defined(__x86_64__)
#include <immintrin.h>
#define TDDFA_HAS_AVX2_VARIANT
#endif

namespace tddfa {
namespace {

constexpr double RADIANS = 3.14159265358979323846 / 180;

// Maps px (column, row) of a crop to px of an image.
template <typename Number> struct Map {
  Number xx, xy, x0, yx, yy, y0;
};

Map<double> crop_to_image(const Square &square, double size) {
  const double scale = square.side / size;
  if (square.angle == 0) // without the rounding of a rotation about the centre
    return {scale, 0, square.left + 0.5 * scale, 0, scale, square.top + 0.5 * scale};
  const double c = scale * std::cos(square.angle * RADIANS), s = scale * std::sin(square.angle * RADIANS);
  const double x = square.left + square.side / 2, y = square.top + square.side / 2, half = (size - 1) / 2;
  return {c, -s, x - (c * half - s * half), s, c, y - (s * half + c * half)};
}

// The part of the image under the square. Coordinates are relative to it: in float, small numbers are more
// exact.
struct Part {
  std::int64_t left, top, right, bottom;
};

Part part_under(const Map<double> &map, double size, const Image &image) {
  // half a px of the crop beyond the centres of its outer px
  double low_x = INFINITY, low_y = INFINITY, high_x = -INFINITY, high_y = -INFINITY;
  for (const double u : {-0.5, size - 0.5})
    for (const double v : {-0.5, size - 0.5}) {
      const double x = map.xx * u + map.xy * v + map.x0, y = map.yx * u + map.yy * v + map.y0;
      low_x = std::min(low_x, x), high_x = std::max(high_x, x);
      low_y = std::min(low_y, y), high_y = std::max(high_y, y);
    }
  const auto bounded = [](double value, std::int64_t limit) { // 0 for NaN
    return static_cast<std::int64_t>(std::min(std::max(0.0, value), static_cast<double>(limit)));
  };
  return {bounded(std::floor(low_x) - 1, image.width), bounded(std::floor(low_y) - 1, image.height),
          bounded(std::ceil(high_x) + 2, image.width), bounded(std::ceil(high_y) + 2, image.height)};
}

struct Source {
  const std::uint8_t *pixels;
  std::int64_t row_stride;
  float width, height;
};

// A channel of a px, 0 outside.
inline float at(const Source &source, std::int64_t x, std::int64_t y, int channel) {
  const bool inside =
      x >= 0 && y >= 0 && static_cast<float>(x) < source.width && static_cast<float>(y) < source.height;
  return inside ? source.pixels[y * source.row_stride + 3 * x + channel] : 0.0f;
}

inline bool is_outside(const Source &source, float x, float y) {
  return !(x >= -1 && y >= -1 && x < source.width && y < source.height);
}

template <typename Blend>
inline void interpolate(const Source &source, float x, float y, std::uint8_t *out, Blend blend) {
  if (is_outside(source, x, y)) {
    out[0] = out[1] = out[2] = 0;
    return;
  }
  const float left = std::floor(x), top = std::floor(y), a = x - left, b = y - top;
  const auto column = static_cast<std::int64_t>(left), row = static_cast<std::int64_t>(top);
  for (int k = 0; k < 3; ++k) {
    const float above = blend(at(source, column, row, k), at(source, column + 1, row, k), a);
    const float below = blend(at(source, column, row + 1, k), at(source, column + 1, row + 1, k), a);
    out[k] = static_cast<std::uint8_t>(std::nearbyint(blend(above, below, b)));
  }
}

void crop_plain(const Source &source, const Map<float> &map, std::int64_t size, bool flipped,
                std::uint8_t *out) {
  const auto blend = [](float a, float b, float weight) { return a + weight * (b - a); };
  for (std::int64_t row = 0; row < size; ++row) {
    const float v = static_cast<float>(row), x0 = v * map.xy + map.x0, y0 = v * map.yy + map.y0;
    for (std::int64_t column = 0; column < size; ++column) {
      const float u = static_cast<float>(column);
      std::uint8_t *target = out + 3 * (row * size + (flipped ? size - 1 - column : column));
      interpolate(source, map.xx * u + x0, map.yx * u + y0, target, blend);
    }
  }
}

#ifdef TDDFA_HAS_AVX2_VARIANT
#define TDDFA_AVX2 __attribute__((target("avx2,fma")))

bool has_avx2() {
  static const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return has;
}

// Two px, (b g r 0 | b g r 0), and their right neighbours; 8 bytes are read of each.
struct Neighbours {
  __m256 left, right;
};

TDDFA_AVX2 inline Neighbours neighbours(const std::uint8_t *first, const std::uint8_t *second) {
  const __m128i one = _mm_loadl_epi64(reinterpret_cast<const __m128i *>(first));
  const __m128i other = _mm_loadl_epi64(reinterpret_cast<const __m128i *>(second));
  const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(one), other, 1);
  const __m256i left =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, -1, -1, -1, 1, -1, -1, -1, 2, -1, -1, -1, -1, -1, -1, -1));
  const __m256i right =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(3, -1, -1, -1, 4, -1, -1, -1, 5, -1, -1, -1, -1, -1, -1, -1));
  return {_mm256_cvtepi32_ps(_mm256_shuffle_epi8(both, left)),
          _mm256_cvtepi32_ps(_mm256_shuffle_epi8(both, right))};
}

TDDFA_AVX2 inline __m256 blended(__m256 from, __m256 to, __m256 weight) {
  return _mm256_fmadd_ps(weight, _mm256_sub_ps(to, from), from);
}

// Eight px of a row of a crop.
struct Group {
  const std::uint8_t *pixels;
  std::int64_t next_row;
  alignas(32) std::int32_t offset[8];
  __m256 a, b; // weights of the right neighbours, and of those below
};

// The px `Index` and `Index` + 4: one in each half of the vector.
template <int Index> TDDFA_AVX2 inline __m256i interpolated(const Group &group) {
  const std::uint8_t *first = group.pixels + group.offset[Index],
                     *second = group.pixels + group.offset[Index + 4];
  const Neighbours above = neighbours(first, second),
                   below = neighbours(first + group.next_row, second + group.next_row);
  const __m256 a = _mm256_permute_ps(group.a, 0x55 * Index), b = _mm256_permute_ps(group.b, 0x55 * Index);
  return _mm256_cvtps_epi32(
      blended(blended(above.left, above.right, a), blended(below.left, below.right, a), b));
}

// Writes four px of 4 bytes as 3 bytes each.
TDDFA_AVX2 inline void write_four(__m128i pixels, std::uint8_t *out) {
  _mm_storel_epi64(reinterpret_cast<__m128i *>(out), pixels);
  const int rest = _mm_extract_epi32(pixels, 2);
  std::memcpy(out + 8, &rest, 4);
}

TDDFA_AVX2 inline void write_eight(const Group &group, bool flipped, std::uint8_t *out) {
  const __m256i first = _mm256_packs_epi32(interpolated<0>(group), interpolated<1>(group));
  const __m256i last = _mm256_packs_epi32(interpolated<2>(group), interpolated<3>(group));
  const __m256i bytes = _mm256_packus_epi16(first, last); // the first four px, the last four
  const __m128i forward = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
  const __m128i backward = _mm_setr_epi8(12, 13, 14, 8, 9, 10, 4, 5, 6, 0, 1, 2, -1, -1, -1, -1);
  const __m256i packed =
      _mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(flipped ? backward : forward));
  write_four(_mm256_castsi256_si128(packed), flipped ? out + 12 : out);
  write_four(_mm256_extracti128_si256(packed, 1), flipped ? out : out + 12);
}

TDDFA_AVX2 void crop_avx2(const Source &source, const Map<float> &map, std::int64_t size, bool flipped,
                          std::uint8_t *out) {
  const auto blend = [](float a, float b, float weight) TDDFA_AVX2 { return std::fma(weight, b - a, a); };
  const __m256 xx = _mm256_set1_ps(map.xx), yx = _mm256_set1_ps(map.yx);
  // 8 bytes are read from a px: two more than two px have
  const __m256i last_x = _mm256_set1_epi32(static_cast<int>(source.width) - 2);
  const __m256i last_y = _mm256_set1_epi32(static_cast<int>(source.height) - 1);
  const __m256i stride = _mm256_set1_epi32(static_cast<int>(source.row_stride)), none = _mm256_set1_epi32(-1);
  const __m256 steps = _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256 minus_one = _mm256_set1_ps(-1), width = _mm256_set1_ps(source.width),
               height = _mm256_set1_ps(source.height);
  const std::int64_t step = flipped ? -3 : 3;
  Group group;
  group.pixels = source.pixels, group.next_row = source.row_stride;
  // OpenCV adds in another order in the columns that its vectors of 16 leave over
  const std::int64_t rest = (size - 1) / 16 * 16;
  alignas(32) float x[8], y[8];
  for (std::int64_t row = 0; row < size; ++row) {
    const float v = static_cast<float>(row);
    const __m256 x0 = _mm256_set1_ps(v * map.xy + map.x0), y0 = _mm256_set1_ps(v * map.yy + map.y0);
    std::uint8_t *target = out + 3 * row * size + (flipped ? 3 * (size - 1) : 0);
    for (std::int64_t column = 0; column < size; column += 8) {
      const __m256 u = _mm256_add_ps(_mm256_set1_ps(static_cast<float>(column)), steps);
      __m256 xs = _mm256_fmadd_ps(xx, u, x0), ys = _mm256_fmadd_ps(yx, u, y0);
      if (column >= rest) {
        xs = _mm256_add_ps(_mm256_fmadd_ps(xx, u, _mm256_set1_ps(v * map.xy)), _mm256_set1_ps(map.x0));
        ys = _mm256_add_ps(_mm256_fmadd_ps(yx, u, _mm256_set1_ps(v * map.yy)), _mm256_set1_ps(map.y0));
      }
      const __m256 left = _mm256_floor_ps(xs), top = _mm256_floor_ps(ys);
      const __m256i columns = _mm256_cvtps_epi32(left), rows = _mm256_cvtps_epi32(top);
      const __m256i inside = _mm256_and_si256(
          _mm256_and_si256(_mm256_cmpgt_epi32(columns, none), _mm256_cmpgt_epi32(last_x, columns)),
          _mm256_and_si256(_mm256_cmpgt_epi32(rows, none), _mm256_cmpgt_epi32(last_y, rows)));
      const int count = static_cast<int>(std::min<std::int64_t>(8, size - column));
      if (count < 8 || _mm256_movemask_epi8(inside) != -1) {
        const __m256 beyond = _mm256_or_ps(
            _mm256_or_ps(_mm256_cmp_ps(xs, minus_one, _CMP_LT_OQ), _mm256_cmp_ps(xs, width, _CMP_GE_OQ)),
            _mm256_or_ps(_mm256_cmp_ps(ys, minus_one, _CMP_LT_OQ), _mm256_cmp_ps(ys, height, _CMP_GE_OQ)));
        if (_mm256_movemask_ps(beyond) == 0xff) {
          for (int i = 0; i < count; ++i, target += step)
            target[0] = target[1] = target[2] = 0;
          continue;
        }
        _mm256_store_ps(x, xs), _mm256_store_ps(y, ys);
        for (int i = 0; i < count; ++i, target += step)
          interpolate(source, x[i], y[i], target, blend);
        continue;
      }
      const __m256i three = _mm256_add_epi32(columns, _mm256_add_epi32(columns, columns));
      _mm256_store_si256(reinterpret_cast<__m256i *>(group.offset),
                         _mm256_add_epi32(_mm256_mullo_epi32(rows, stride), three));
      group.a = _mm256_sub_ps(xs, left), group.b = _mm256_sub_ps(ys, top);
      write_eight(group, flipped, flipped ? target - 21 : target);
      target += 8 * step;
    }
  }
}
#endif

} // namespace

void crop(const Image &image, const Square &square, std::int64_t size, bool flipped, std::uint8_t *out) {
  const Map<double> exact = crop_to_image(square, static_cast<double>(size));
  const Part part = part_under(exact, static_cast<double>(size), image);
  if (part.left >= part.right || part.top >= part.bottom) {
    std::fill_n(out, 3 * size * size, std::uint8_t{0});
    return;
  }
  const auto single = [](double value) { return static_cast<float>(value); };
  const Map<float> map{single(exact.xx), single(exact.xy), single(exact.x0 - static_cast<double>(part.left)),
                       single(exact.yx), single(exact.yy), single(exact.y0 - static_cast<double>(part.top))};
  const Source source{image.pixels + part.top * image.row_stride + 3 * part.left, image.row_stride,
                      static_cast<float>(part.right - part.left), static_cast<float>(part.bottom - part.top)};
#ifdef TDDFA_HAS_AVX2_VARIANT
  // offsets in a part are 32-bit numbers
  if (has_avx2() && (part.bottom - part.top) * std::abs(image.row_stride) < (std::int64_t{1} << 31))
    return crop_avx2(source, map, size, flipped, out);
#endif
  crop_plain(source, map, size, flipped, out);
}

} // namespace tddfa
