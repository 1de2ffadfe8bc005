#include "rasterize.h"

#include "band_arguments.h"
#include "parallel.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <vector>

#include "band.h"

namespace sim3dr {

void draw_band_plain(const BandArguments &band) {
  draw_band(band);
}

namespace {

bool has_avx2() {
#ifdef SIM3DR_HAS_AVX2_VARIANT
  static const bool has = __builtin_cpu_supports("avx2");
  return has;
#else
  return false;
#endif
}

// Rows that divide the window into bands of about the same number of vertices: the work of a band depends on
// its triangles more than on its pixels.
std::vector<std::int32_t> even_cuts(const float *vertices, std::int64_t vertex_count, Window window,
                                    std::int32_t bands) {
  std::vector<std::int32_t> cuts = {window.top};
  if (bands > 1) {
    std::vector<std::int64_t> in_row(static_cast<std::size_t>(window.height) + 1);
    for (std::int64_t vertex = 0; vertex < vertex_count; ++vertex)
      ++in_row[static_cast<std::size_t>(
          clamp(static_cast<double>(vertices[3 * vertex + 1]) - window.top, 0.0, window.height))];
    in_row.front() = in_row.back() = 0; // above and below the window, most of them
    const std::int64_t total = std::accumulate(in_row.begin(), in_row.end(), std::int64_t(0));
    std::int64_t passed = 0;
    for (std::int32_t row = 0; row < window.height; ++row) {
      passed += in_row[static_cast<std::size_t>(row)];
      if (passed * bands > total * static_cast<std::int64_t>(cuts.size()) &&
          static_cast<std::int32_t>(cuts.size()) < bands && row > 0)
        cuts.push_back(window.top + row);
    }
  }
  cuts.push_back(window.top + window.height);
  return cuts;
}

// The same images, from pixel `first` on.
BandArguments from_pixel(BandArguments band, std::int64_t first) {
  band.depth += first;
  if (band.triangle_id != nullptr) {
    band.triangle_id += first;
    band.barycentric += 2 * first;
  }
  if (band.colors != nullptr)
    band.colors += 4 * first;
  return band;
}

void clear(const BandArguments &band, std::int64_t pixel_count) {
  std::fill_n(band.depth, pixel_count, -std::numeric_limits<float>::infinity());
  if (band.triangle_id != nullptr) {
    std::fill_n(band.triangle_id, pixel_count, -1);
    std::fill_n(band.barycentric, 2 * pixel_count, 0.0f);
  }
  if (band.colors != nullptr)
    std::fill_n(band.colors, 4 * pixel_count, std::uint8_t(0));
}

void draw(const BandArguments &whole, std::int64_t vertex_count, std::int32_t threads) {
  const Window window = whole.window;
  const auto draw_band_here = has_avx2() ? draw_band_avx2 : draw_band_plain;
  // A band is a window like any other, and the value of a pixel does not depend on the window.
  const auto draw_rows = [&](std::int32_t begin, std::int32_t end) {
    BandArguments band = from_pixel(whole, static_cast<std::int64_t>(begin - window.top) * window.width);
    band.window.top = begin;
    band.window.height = end - begin;
    clear(band, static_cast<std::int64_t>(band.window.width) * band.window.height);
    draw_band_here(band);
  };
  const std::int64_t work =
      whole.triangle_count + static_cast<std::int64_t>(window.width) * window.height / 2;
  const auto bands = static_cast<std::int32_t>(std::min<std::int64_t>(threads, work / WORTH_A_THREAD));
  const std::vector<std::int32_t> cuts = even_cuts(whole.vertices, vertex_count, window, bands);
  in_parallel(static_cast<std::int32_t>(cuts.size()) - 1,
              [&](std::int32_t i) { draw_rows(cuts[i], cuts[i + 1]); });
}

// Whether all values are 0 .. 255; a loop without a branch is vectorised.
bool fits_bytes(const float *values, std::int64_t count) {
  std::int32_t beyond = 0;
  for (std::int64_t i = 0; i < count; ++i)
    beyond |=
        static_cast<std::int32_t>(!(values[i] >= 0.0f)) | static_cast<std::int32_t>(!(values[i] <= 255.0f));
  return beyond == 0;
}

// Draws into a window that may be narrower than a block of pixels: at least eight columns are rendered, so
// that a pixel has the same value in any window.
void draw_any_width(const BandArguments &narrow, std::int64_t vertex_count, std::int32_t threads) {
  const Window window = narrow.window;
  if (window.width >= LANES || window.width <= 0)
    return draw(narrow, vertex_count, threads);
  const auto pixels = static_cast<std::size_t>(LANES) * static_cast<std::size_t>(window.height);
  std::vector<float> depth(pixels), barycentric(2 * pixels);
  std::vector<std::int32_t> triangle_id(pixels);
  std::vector<std::uint8_t> colors(4 * pixels);
  BandArguments wide = narrow;
  wide.window.left = std::min(window.left, (1 << 30) - LANES);
  wide.window.width = LANES;
  wide.depth = depth.data();
  if (narrow.triangle_id != nullptr) {
    wide.triangle_id = triangle_id.data();
    wide.barycentric = barycentric.data();
  }
  if (narrow.colors != nullptr)
    wide.colors = colors.data();
  draw(wide, vertex_count, threads);
  for (std::int64_t row = 0; row < window.height; ++row) {
    const BandArguments from = from_pixel(wide, row * LANES + (window.left - wide.window.left));
    const BandArguments to = from_pixel(narrow, row * window.width);
    std::copy_n(from.depth, window.width, to.depth);
    if (narrow.triangle_id != nullptr) {
      std::copy_n(from.triangle_id, window.width, to.triangle_id);
      std::copy_n(from.barycentric, 2 * window.width, to.barycentric);
    }
    if (narrow.colors != nullptr)
      std::copy_n(from.colors, 4 * window.width, to.colors);
  }
}

} // namespace

void rasterize(const float *vertices, std::int64_t vertex_count, const std::int32_t *triangles,
               std::int64_t triangle_count, Window window, Cull cull, std::int32_t threads, float *depth,
               std::int32_t *triangle_id, float *barycentric) {
  draw_any_width({vertices, triangles, triangle_count, window, cull, nullptr, 0, false, depth, triangle_id,
                  barycentric, nullptr},
                 vertex_count, threads);
}

void render(const float *vertices, std::int64_t vertex_count, const std::int32_t *triangles,
            std::int64_t triangle_count, const float *attributes, std::int64_t channels, Window window,
            Cull cull, std::int32_t threads, float *depth, std::uint8_t *colors) {
  const bool fits = colors != nullptr && fits_bytes(attributes, vertex_count * channels);
  draw_any_width({vertices, triangles, triangle_count, window, cull, attributes, channels, fits, depth,
                  nullptr, nullptr, colors},
                 vertex_count, threads);
}

void vertex_normals(const float *vertices, std::int64_t vertex_count, const std::int32_t *triangles,
                    std::int64_t triangle_count, float *normals) {
  // In double: the cross product of floats neither overflows nor underflows.
  std::vector<double> sums(static_cast<std::size_t>(3 * vertex_count));
  for (std::int64_t id = 0; id < triangle_count; ++id) {
    const std::int32_t *triangle = triangles + 3 * id;
    const Vertex p0 = load_vertex(vertices, triangle[0]), p1 = load_vertex(vertices, triangle[1]),
                 p2 = load_vertex(vertices, triangle[2]);
    const Vertex e = {p2.x - p0.x, p2.y - p0.y, p2.z - p0.z}, f = {p1.x - p0.x, p1.y - p0.y, p1.z - p0.z};
    const Vertex normal = {e.y * f.z - e.z * f.y, e.z * f.x - e.x * f.z, e.x * f.y - e.y * f.x};
    for (int corner = 0; corner < 3; ++corner) {
      double *sum = sums.data() + 3 * static_cast<std::int64_t>(triangle[corner]);
      sum[0] += normal.x;
      sum[1] += normal.y;
      sum[2] += normal.z;
    }
  }
  for (std::int64_t vertex = 0; vertex < vertex_count; ++vertex) {
    const double *sum = sums.data() + 3 * vertex;
    const double length = std::sqrt(sum[0] * sum[0] + sum[1] * sum[1] + sum[2] * sum[2]);
    const double scale = length > 0.0 && std::isfinite(length) ? 1.0 / length : 0.0;
    for (int axis = 0; axis < 3; ++axis)
      normals[3 * vertex + axis] = scale > 0.0 ? static_cast<float>(sum[axis] * scale) : 0.0f;
  }
}

void bounds(const float *points, std::int64_t rows, std::int64_t columns, std::int64_t stride, float *low,
            float *high) {
  std::int64_t row = 0;
  if (columns == 3 && stride == 3 && rows >= 8) {
    // eight rows at a time, so that each number is compared with those of its column: a loop that is
    // vectorised
    float least[24], most[24];
    std::copy_n(points, 24, least);
    std::copy_n(points, 24, most);
    for (; row + 8 <= rows; row += 8)
      for (int i = 0; i < 24; ++i) {
        const float value = points[3 * row + i];
        least[i] = value < least[i] ? value : least[i];
        most[i] = value > most[i] ? value : most[i];
      }
    for (int column = 0; column < 3; ++column) {
      low[column] = least[column];
      high[column] = most[column];
      for (int i = column + 3; i < 24; i += 3) {
        low[column] = std::min(low[column], least[i]);
        high[column] = std::max(high[column], most[i]);
      }
    }
  } else {
    std::copy_n(points, columns, low);
    std::copy_n(points, columns, high);
  }
  for (; row < rows; ++row)
    for (std::int64_t column = 0; column < columns; ++column) {
      low[column] = std::min(low[column], points[row * stride + column]);
      high[column] = std::max(high[column], points[row * stride + column]);
    }
}

} // namespace sim3dr
