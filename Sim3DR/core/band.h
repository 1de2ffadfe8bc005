// Draws the triangles in one band of rows: the work of `rasterize` (rasterize.h) on one thread. Included by
// each file that compiles it for one instruction set; those files include the standard headers first.
#pragma once

#include "band_arguments.h"
#include "bytes.h"
#include "lanes.h"
#include "numbers.h"

namespace sim3dr {
namespace {

struct Vertex {
  double x, y, z;
};

struct Pixel {
  std::int32_t column, row;
};

inline Vertex load_vertex(const float *vertices, std::int32_t index) {
  const float *v = vertices + 3 * static_cast<std::int64_t>(index);
  return {v[0], v[1], v[2]};
}

// Twice the area, negative for a front face.
inline double area_of(const Vertex (&p)[3]) {
  return (p[1].x - p[0].x) * (p[2].y - p[0].y) - (p[2].x - p[0].x) * (p[1].y - p[0].y);
}

// The corners of a triangle from top to bottom, and whether that order is an odd permutation.
struct Order {
  std::uint8_t high, middle, low;
  bool odd;
};

// Indexed by three bits: 0 above 1, 0 above 2, 1 above 2. Two of the eight cannot occur. A table, since the
// order is practically random, and mispredicted branches would cost more than all the comparisons.
constexpr Order ORDERS[8] = {
    {2, 1, 0, true},  {1, 2, 0, false}, {0, 1, 2, false}, {1, 0, 2, true},
    {2, 0, 1, false}, {0, 1, 2, false}, {0, 2, 1, true},  {0, 1, 2, false},
};

inline const Order &order_of(const Vertex (&p)[3]) {
  return ORDERS[4 * (p[0].y < p[1].y) + 2 * (p[0].y < p[2].y) + (p[1].y < p[2].y)];
}

// Whether a pixel centre is on an edge or to the right of it: the test that decides for a pixel so near to an
// edge that rounding matters. An edge is always given from its upper end to its lower end, so the two
// triangles that share it compute with the same numbers. Even as rounded, the result is monotonic in the
// column.
inline bool reached(const Vertex &upper, const Vertex &lower, double column, double row) {
  return (lower.x - upper.x) * (row - upper.y) - (lower.y - upper.y) * (column - upper.x) <= 0.0;
}

// Whether a pixel belongs to a triangle.
inline bool covers(const Vertex (&p)[3], double area, double column, double row) {
  const Order &order = order_of(p);
  const Vertex &high = p[order.high], &middle = p[order.middle], &low = p[order.low];
  if (!(row >= high.y && row < low.y))
    return false;
  const bool behind_long = reached(high, low, column, row);
  const bool behind_short =
      row < middle.y ? reached(high, middle, column, row) : reached(middle, low, column, row);
  // The area in that order is negative if the middle corner is on the left of the edge from top to bottom.
  const bool middle_on_left = (area < 0.0) != order.odd;
  return middle_on_left ? behind_short && !behind_long : behind_long && !behind_short;
}

// The columns of the window, and the error bound of a crossing.
struct Columns {
  std::int32_t left, right;
  double width;
  double doubt;
};

// The crossings of an edge with the rows of pixels. A horizontal edge crosses no row: its slope is NaN, and
// its columns are never requested.
class Edge {
public:
  Edge(const Vertex &upper, const Vertex &lower, const Columns &columns)
      : upper_(upper), lower_(lower), slope_((lower.x - upper.x) / (lower.y - upper.y)),
        start_(upper.x - (columns.left - 1.0)) {}

  // The first column of left .. right whose centre is on the edge or to the right of it; `right` if there is
  // none.
  std::int32_t first_column(std::int32_t row, const Columns &columns) const {
    // Counted from left - 1, so positive: the conversion rounds down.
    const double crossing = clamp(start_ + slope_ * (row - upper_.y), 0.5, columns.width + 0.5);
    const auto whole = static_cast<std::int32_t>(crossing);
    const double rest = crossing - whole;
    std::int32_t column = columns.left + whole;
    if (!(rest > columns.doubt && rest < 1.0 - columns.doubt)) {
      // Too near to a pixel centre for the quotient. The search ends at the same column from any start.
      while (column < columns.right && !reached(upper_, lower_, column, row))
        ++column;
      while (column > columns.left && reached(upper_, lower_, column - 1.0, row))
        --column;
    }
    return column;
  }

private:
  Vertex upper_, lower_;
  double slope_, start_;
};

// What is drawn of a triangle beside its depth: nothing, or
struct NoPlane {
  NoPlane(const BandArguments &, std::int32_t) {}
#ifndef SIM3DR_NO_LANES
  template <class Block> void put(const Block &, Mask, Floats, Floats, std::int64_t) const {}
#endif
  void put(float, float, std::int64_t) const {}
};

// its index and the weights u and v of its first two corners, or
class RasterPlanes {
public:
  RasterPlanes(const BandArguments &band, std::int32_t id)
      : triangle_id_(band.triangle_id), barycentric_(band.barycentric), id_(id) {}

#ifndef SIM3DR_NO_LANES
  template <class Block>
  void put(const Block &block, Mask mask, Floats u, Floats v, std::int64_t pixel) const {
    block.put(mask, bits_of(id_), reinterpret_cast<float *>(triangle_id_ + pixel));
    block.put_pairs(mask, u, v, barycentric_ + 2 * pixel);
  }
#endif
  void put(float u, float v, std::int64_t pixel) const {
    triangle_id_[pixel] = id_;
    barycentric_[2 * pixel] = u;
    barycentric_[2 * pixel + 1] = v;
  }

private:
  std::int32_t *triangle_id_;
  float *barycentric_;
  std::int32_t id_;
};

// the attributes between its corners, as bytes: those that `interpolate` computes.
// `Clamped` unless the attributes are 0 .. 255, and so is all between them.
template <int Channels, bool Clamped> class ColorPlane {
public:
  ColorPlane(const BandArguments &band, std::int32_t id) : colors_(band.colors) {
    const std::int32_t *corners = band.triangles + 3 * static_cast<std::int64_t>(id);
    const float *first = band.attributes + Channels * static_cast<std::int64_t>(corners[0]);
    const float *second = band.attributes + Channels * static_cast<std::int64_t>(corners[1]);
    const float *third = band.attributes + Channels * static_cast<std::int64_t>(corners[2]);
    for (int c = 0; c < Channels; ++c) {
      start_[c] = third[c];
      u_step_[c] = first[c] - third[c];
      v_step_[c] = second[c] - third[c];
    }
  }

#ifndef SIM3DR_NO_LANES
  template <class Block>
  void put(const Block &block, Mask mask, Floats u, Floats v, std::int64_t pixel) const {
    Floats bits = byte_bits<0>(channel(0, u, v));
    if constexpr (Channels > 1)
      bits = bits | byte_bits<8>(channel(1, u, v));
    if constexpr (Channels > 2)
      bits = bits | byte_bits<16>(channel(2, u, v));
    if constexpr (Channels > 3)
      bits = bits | byte_bits<24>(channel(3, u, v));
    block.put(mask, bits, reinterpret_cast<float *>(colors_ + 4 * pixel));
  }
#endif
  void put(float u, float v, std::int64_t pixel) const {
    std::uint8_t color[4] = {};
    for (int c = 0; c < Channels; ++c)
      color[c] = to_byte(start_[c] + (u * u_step_[c] + v * v_step_[c]));
    std::memcpy(colors_ + 4 * pixel, color, 4);
  }

private:
#ifndef SIM3DR_NO_LANES
  Floats channel(int c, Floats u, Floats v) const {
    const Floats value = all(start_[c]) + (u * all(u_step_[c]) + v * all(v_step_[c]));
    return Clamped ? least(most(value, all(0.0f)), all(255.0f)) : value; // NaN gives 0
  }
#endif

  std::uint8_t *colors_;
  float start_[Channels], u_step_[Channels], v_step_[Channels];
};

// A large triangle, or one too thin for the precision of float: row by row, in double.
template <class Plane>
inline void draw_by_rows(const Vertex (&p)[3], const Plane &plane, Pixel first, Pixel end,
                         const BandArguments &band) {
  const double area = area_of(p);
  const std::int32_t left = band.window.left, right = left + band.window.width;
  const Order &order = order_of(p);
  const Vertex &high = p[order.high], &middle = p[order.middle], &low = p[order.low];
  const bool middle_on_left = (area < 0.0) != order.odd;

  // 2^-47 is about five times the largest rounding error of the quotient and the exact test together.
  const double doubt =
      (std::abs(p[0].x) + std::abs(p[1].x) + std::abs(p[2].x) + std::abs(double(left)) + 1.0) * 0x1p-47;
  const Columns columns = {left, right, double(band.window.width), doubt};
  const Edge long_edge(high, low, columns);
  const Edge short_edges[2] = {{high, middle, columns}, {middle, low, columns}};

  // The weights u of p[0] and v of p[1] are linear, and 0 at p[2].
  const double inverse = 1.0 / area;
  const double u_right = (p[1].y - p[2].y) * inverse, u_down = (p[2].x - p[1].x) * inverse;
  const double v_right = (p[2].y - p[0].y) * inverse, v_down = (p[0].x - p[2].x) * inverse;
  const double z0 = p[0].z - p[2].z, z1 = p[1].z - p[2].z;

  // Rows are rounded up: top edges are inside, bottom edges outside.
  for (std::int32_t row = first.row; row < end.row; ++row) {
    const std::int32_t on_long = long_edge.first_column(row, columns);
    const std::int32_t on_short = short_edges[row >= middle.y].first_column(row, columns);
    const std::int32_t stop = middle_on_left ? on_long : on_short;
    const double down = row - p[2].y;
    std::int64_t pixel = band.pixel(left, row);
    for (std::int32_t column = middle_on_left ? on_short : on_long; column < stop; ++column) {
      const double across = column - p[2].x;
      // The weights of a sliver may have a large rounding error; clamped, they still are a point of the
      // triangle.
      const double u = clamp(u_down * down + u_right * across, 0.0, 1.0);
      const double v = clamp(v_down * down + v_right * across, 0.0, 1.0 - u);
      const auto z = static_cast<float>(p[2].z + (u * z0 + v * z1));
      const std::int64_t at = pixel + (column - left);
      if (z > band.depth[at]) {
        band.depth[at] = z;
        plane.put(static_cast<float>(u), static_cast<float>(v), at);
      }
    }
  }
}

// Triangles are prepared in batches of about a hundred.
constexpr int BATCH = 128;
static_assert(BATCH % NUMBERS == 0, "the last few numbers of a batch are prepared together");

// How a triangle is drawn: not at all, in blocks of pixels, or by rows.
constexpr std::int32_t SMALL = 1, LARGE = 2;

struct Batch {
  alignas(32) float x[3][BATCH], y[3][BATCH], z[3][BATCH];
  std::int32_t first_column[BATCH], first_row[BATCH], end_column[BATCH], end_row[BATCH];
  float u[3][BATCH], v[3][BATCH], w[3][BATCH]; // at the origin, a step to the right, a step down
  float z_step[2][BATCH], doubt[BATCH];
  std::int32_t origin_column[BATCH], origin_row[BATCH];
  std::int32_t kind[BATCH];

  Vertex corner(int number, int i) const { return {x[number][i], y[number][i], z[number][i]}; }
  Pixel first(int i) const { return {first_column[i], first_row[i]}; }
  Pixel end(int i) const { return {end_column[i], end_row[i]}; }
};

inline void gather(Batch &batch, const BandArguments &band, std::int64_t begin, int count) {
  const std::int32_t *index = band.triangles + 3 * begin;
  for (int i = 0; i < count; ++i)
    for (int corner = 0; corner < 3; ++corner) {
      const float *vertex = band.vertices + 3 * static_cast<std::int64_t>(*index++);
      batch.x[corner][i] = vertex[0];
      batch.y[corner][i] = vertex[1];
      batch.z[corner][i] = vertex[2];
    }
}

// Finds how the triangles from i on are drawn, `NUMBERS` of them: which have a pixel in the window, and the
// weights of their corners as linear functions of the pixel.
inline void prepare(Batch &batch, const Window &window, Cull cull, int i) {
  const Numbers x0 = load_numbers(batch.x[0] + i), x1 = load_numbers(batch.x[1] + i),
                x2 = load_numbers(batch.x[2] + i);
  const Numbers y0 = load_numbers(batch.y[0] + i), y1 = load_numbers(batch.y[1] + i),
                y2 = load_numbers(batch.y[2] + i);
  const Numbers z0 = load_numbers(batch.z[0] + i), z1 = load_numbers(batch.z[1] + i),
                z2 = load_numbers(batch.z[2] + i);

  const Numbers leftmost = lesser(lesser(x0, x1), x2), upmost = lesser(lesser(y0, y1), y2);
  const Numbers rightmost = greater(greater(x0, x1), x2), lowest = greater(greater(y0, y1), y2);
  const double left = window.left, right = left + window.width, top = window.top,
               bottom = top + window.height;
  const Numbers first_column = ceiling(limited(leftmost, left, right));
  const Numbers first_row = ceiling(limited(upmost, top, bottom));
  const Numbers end_column = ceiling(limited(rightmost, left, right));
  const Numbers end_row = ceiling(limited(lowest, top, bottom));
  keep(first_column, batch.first_column + i);
  keep(first_row, batch.first_row + i);
  keep(end_column, batch.end_column + i);
  keep(end_row, batch.end_row + i);

  // Not finite if an x or a y is not. Finite floats give at most 1e78, which does not overflow.
  const Numbers area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0);
  const Numbers inverse = 1.0 / area;
  const Numbers u_right = (y1 - y2) * inverse, u_down = (x2 - x1) * inverse;
  const Numbers v_right = (y2 - y0) * inverse, v_down = (x0 - x2) * inverse;
  // A pixel chosen by the triangle, so that the result does not depend on the window.
  const Numbers origin_column = truncated(limited(leftmost, -FAR, FAR));
  const Numbers origin_row = truncated(limited(upmost, -FAR, FAR));
  const Numbers across = origin_column - x2, down = origin_row - y2;
  const Numbers u = u_right * across + u_down * down, v = v_right * across + v_down * down;
  keep(origin_column, batch.origin_column + i);
  keep(origin_row, batch.origin_row + i);
  keep(u, batch.u[0] + i);
  keep(u_right, batch.u[1] + i);
  keep(u_down, batch.u[2] + i);
  keep(v, batch.v[0] + i);
  keep(v_right, batch.v[1] + i);
  keep(v_down, batch.v[2] + i);
  keep(1.0 - u - v, batch.w[0] + i);
  keep(-(u_right + v_right), batch.w[1] + i);
  keep(-(u_down + v_down), batch.w[2] + i);
  keep(z0 - z2, batch.z_step[0] + i);
  keep(z1 - z2, batch.z_step[1] + i);

  // A weight in float is off by up to 2^-23 times the square of the extent over the area, and a depth by
  // that times the difference of the depths of the corners.
  const Numbers size = greater(rightmost - leftmost, lowest - upmost) + 1.0;
  const Numbers thinness = magnitude(inverse), stretch = size * size * thinness;
  const Numbers relief = magnitude(z0 - z2) + magnitude(z1 - z2);
  const Numbers reach = size + static_cast<double>(LANES);
  keep(reach * reach * thinness * 0x1p-20, batch.doubt + i);

  const Numbers zero = number(0.0), far = number(FAR);
  const Truths front = is_less(area, zero), back = is_less(zero, area);
  const Truths facing = cull == Cull::back ? front : cull == Cull::front ? back : front | back;
  const Truths drawn = facing & is_finite(area) & is_finite(z0 + z1 + z2) & is_less(first_row, end_row) &
                       is_less(first_column, end_column);
  const Truths small = is_at_most(size, number(64.0)) & is_at_most(stretch, number(64.0)) &
                       is_at_most(stretch * relief, number(128.0)) & is_less(magnitude(leftmost), far) &
                       is_less(magnitude(upmost), far);
  keep(drawn & (small + LARGE), batch.kind + i);
}

#ifndef SIM3DR_NO_LANES
// A triangle of a few pixels: eight pixels at once, in float.
template <class Block, class Plane>
inline void draw_in_blocks(const Batch &batch, int i, const Plane &plane, const BandArguments &band) {
  const Block block = {band.window.width};
  const Floats doubt = all(batch.doubt[i]), zero = all(0.0f), one = all(1.0f), under = zero - doubt;
  const Floats u_down = all(batch.u[2][i]), v_down = all(batch.v[2][i]), w_down = all(batch.w[2][i]);
  const Floats z0 = all(batch.z_step[0][i]), z1 = all(batch.z_step[1][i]), z2 = all(batch.z[2][i]);
  const Floats step = all(static_cast<float>(Block::ROWS));
  const Pixel first = batch.first(i), end = batch.end(i);
  float *depth = band.depth;
  // A block never extends into the next row on its right, or beyond the band: another thread may be writing
  // there. Pixels that are drawn twice stay as they are.
  const Pixel last = {band.window.left + band.window.width - Block::COLUMNS,
                      band.window.top + band.window.height - Block::ROWS};
  for (std::int32_t start = first.column; start < end.column; start += Block::COLUMNS) {
    const std::int32_t column = std::min(start, last.column);
    const Floats across = Block::columns(static_cast<float>(column - batch.origin_column[i]));
    const Floats u_left = all(batch.u[0][i]) + all(batch.u[1][i]) * across;
    const Floats v_left = all(batch.v[0][i]) + all(batch.v[1][i]) * across;
    const Floats w_left = all(batch.w[0][i]) + all(batch.w[1][i]) * across;
    std::int32_t row = std::min(first.row, last.row);
    Floats down = Block::rows(static_cast<float>(row - batch.origin_row[i]));
    std::int64_t pixel = band.pixel(column, row);
    for (;;) {
      Floats u = u_left + u_down * down, v = v_left + v_down * down;
      const Floats smallest = least(least(u, v), w_left + w_down * down);
      Mask inside = smallest > doubt;
      const int sure = flags(inside), maybe = flags(smallest > under);
      if (sure != maybe) {
        const Vertex p[3] = {batch.corner(0, i), batch.corner(1, i), batch.corner(2, i)};
        int known = sure;
        for (std::int32_t lane = 0; lane < LANES; ++lane)
          if ((maybe ^ sure) >> lane & 1)
            known |= covers(p, area_of(p), column + lane % Block::COLUMNS, row + lane / Block::COLUMNS)
                     << lane;
        inside = mask_of(known);
      }
      u = least(most(u, zero), one);
      v = least(most(v, zero), one - u);
      const Floats z = z2 + (u * z0 + v * z1);
      inside = inside & (z > block.load_at(depth + pixel));
      block.put(inside, z, depth + pixel);
      plane.put(block, inside, u, v, pixel);
      row += Block::ROWS;
      if (row >= end.row)
        break;
      down = down + step;
      pixel += Block::ROWS * block.stride;
      if (row > last.row) {
        row = last.row;
        down = Block::rows(static_cast<float>(row - batch.origin_row[i]));
        pixel = band.pixel(column, row);
      }
    }
  }
}
#endif

template <class Plane> inline void draw_planes(const BandArguments &band) {
  Batch batch = {};
  for (std::int64_t begin = 0; begin < band.triangle_count; begin += BATCH) {
    const auto count = static_cast<int>(std::min<std::int64_t>(BATCH, band.triangle_count - begin));
    gather(batch, band, begin, count);
    for (int i = 0; i < count; i += NUMBERS)
      prepare(batch, band.window, band.cull, i);
    for (int i = 0; i < count; ++i) {
      if (batch.kind[i] == 0)
        continue;
      const Plane plane(band, static_cast<std::int32_t>(begin + i));
#ifndef SIM3DR_NO_LANES
      if (batch.kind[i] == SMALL) {
        if (batch.end_column[i] - batch.first_column[i] <= Block<2>::COLUMNS && band.window.height >= 2)
          draw_in_blocks<Block<2>>(batch, i, plane, band);
        else
          draw_in_blocks<Block<1>>(batch, i, plane, band);
        continue;
      }
#endif
      const Vertex p[3] = {batch.corner(0, i), batch.corner(1, i), batch.corner(2, i)};
      draw_by_rows(p, plane, batch.first(i), batch.end(i), band);
    }
  }
}

template <bool Clamped> inline void draw_colors(const BandArguments &band) {
  if (band.channels == 1)
    draw_planes<ColorPlane<1, Clamped>>(band);
  else if (band.channels == 2)
    draw_planes<ColorPlane<2, Clamped>>(band);
  else if (band.channels == 3)
    draw_planes<ColorPlane<3, Clamped>>(band);
  else
    draw_planes<ColorPlane<4, Clamped>>(band);
}

inline void draw_band(const BandArguments &band) {
  if (band.triangle_id != nullptr)
    draw_planes<RasterPlanes>(band);
  else if (band.colors == nullptr)
    draw_planes<NoPlane>(band);
  else if (band.fits_bytes)
    draw_colors<false>(band);
  else
    draw_colors<true>(band);
}

} // namespace
} // namespace sim3dr
