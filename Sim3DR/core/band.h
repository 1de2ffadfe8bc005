// Draws the triangles in one band of rows: the work of `rasterize` (rasterize.h) on one thread. Included by
// each file that compiles it for one instruction set; those files include the standard headers first.
#pragma once

#include "band_arguments.h"
#include "lanes.h"

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

// A large triangle, or one too thin for the precision of float: row by row, in double.
inline void draw_by_rows(const Vertex (&p)[3], double area, std::int32_t id, Pixel first, Pixel end,
                         const BandArguments &band) {
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
        band.triangle_id[at] = id;
        band.barycentric[2 * at] = static_cast<float>(u);
        band.barycentric[2 * at + 1] = static_cast<float>(v);
      }
    }
  }
}

// Triangles are prepared in batches of about a hundred: loops without branches over few arrays, which the
// compiler vectorises.
constexpr int BATCH = 128;

struct Batch {
  std::int32_t id[BATCH];
  Pixel first[BATCH], end[BATCH];
  alignas(32) double x[3][BATCH], y[3][BATCH], z[3][BATCH];
  alignas(32) double area[BATCH];
  alignas(32) float u[3][BATCH], v[3][BATCH], w[3][BATCH]; // at the origin, a step to the right, a step down
  alignas(32) float z_step[2][BATCH], doubt[BATCH];
  std::int32_t origin_column[BATCH], origin_row[BATCH];
  std::uint8_t small[BATCH];
};

// Selects the triangles of the batch that may have a pixel in the window, by their bounding boxes.
inline int gather(Batch &batch, const BandArguments &band, std::int64_t begin, std::int64_t end) {
  const std::int32_t top = band.window.top, bottom = top + band.window.height;
  int count = 0;
  for (std::int64_t id = begin; id < end; ++id) {
    const std::int32_t *corners = band.triangles + 3 * id;
    const Pixel a = {band.columns[corners[0]], band.rows[corners[0]]};
    const Pixel b = {band.columns[corners[1]], band.rows[corners[1]]};
    const Pixel c = {band.columns[corners[2]], band.rows[corners[2]]};
    const std::int32_t first_row = std::max(std::min(std::min(a.row, b.row), c.row), top);
    const std::int32_t end_row = std::min(std::max(std::max(a.row, b.row), c.row), bottom);
    const std::int32_t first_column = std::min(std::min(a.column, b.column), c.column);
    const std::int32_t end_column = std::max(std::max(a.column, b.column), c.column);
    batch.id[count] = static_cast<std::int32_t>(id);
    batch.first[count] = {first_column, first_row};
    batch.end[count] = {end_column, end_row};
    count += int(first_row < end_row) & int(first_column < end_column);
  }
  return count;
}

// Selects the triangles with an area, with finite coordinates, and with the right side towards the viewer.
inline int sift(Batch &batch, const BandArguments &band, int gathered) {
  const int front = band.cull != Cull::front, back = band.cull != Cull::back;
  int count = 0;
  for (int i = 0; i < gathered; ++i) {
    const std::int32_t *corners = band.triangles + 3 * static_cast<std::int64_t>(batch.id[i]);
    Vertex p[3];
    for (int corner = 0; corner < 3; ++corner) {
      p[corner] = load_vertex(band.vertices, corners[corner]);
      batch.x[corner][count] = p[corner].x;
      batch.y[corner][count] = p[corner].y;
      batch.z[corner][count] = p[corner].z;
    }
    // Not finite if an x or a y is not. Finite floats give at most 1e78, which does not overflow.
    const double area = (p[1].x - p[0].x) * (p[2].y - p[0].y) - (p[2].x - p[0].x) * (p[1].y - p[0].y);
    const double all_z = p[0].z + p[1].z + p[2].z;
    batch.id[count] = batch.id[i];
    batch.first[count] = batch.first[i];
    batch.end[count] = batch.end[i];
    batch.area[count] = area;
    const int wanted = area < 0.0 ? front : back;
    count += wanted & int(area != 0.0) & int(area - area == 0.0) & int(all_z - all_z == 0.0);
  }
  return count;
}

// The weights of the corners as linear functions of the pixel.
inline void prepare(Batch &batch, int count) {
  for (int i = 0; i < count; ++i) {
    const double x0 = batch.x[0][i], x1 = batch.x[1][i], x2 = batch.x[2][i];
    const double y0 = batch.y[0][i], y1 = batch.y[1][i], y2 = batch.y[2][i];
    const double leftmost = std::min(std::min(x0, x1), x2), upmost = std::min(std::min(y0, y1), y2);
    const double rightmost = std::max(std::max(x0, x1), x2), lowest = std::max(std::max(y0, y1), y2);
    const double inverse = 1.0 / batch.area[i];
    const double u_right = (y1 - y2) * inverse, u_down = (x2 - x1) * inverse;
    const double v_right = (y2 - y0) * inverse, v_down = (x0 - x2) * inverse;
    // A pixel chosen by the triangle, so that the result does not depend on the window.
    const auto origin_column = static_cast<std::int32_t>(clamp(leftmost, -FAR, FAR));
    const auto origin_row = static_cast<std::int32_t>(clamp(upmost, -FAR, FAR));
    const double across = origin_column - x2, down = origin_row - y2;
    const double u = u_right * across + u_down * down, v = v_right * across + v_down * down;
    batch.origin_column[i] = origin_column;
    batch.origin_row[i] = origin_row;
    batch.u[0][i] = static_cast<float>(u);
    batch.u[1][i] = static_cast<float>(u_right);
    batch.u[2][i] = static_cast<float>(u_down);
    batch.v[0][i] = static_cast<float>(v);
    batch.v[1][i] = static_cast<float>(v_right);
    batch.v[2][i] = static_cast<float>(v_down);
    batch.w[0][i] = static_cast<float>(1.0 - u - v);
    batch.w[1][i] = static_cast<float>(-(u_right + v_right));
    batch.w[2][i] = static_cast<float>(-(u_down + v_down));
    batch.z_step[0][i] = static_cast<float>(batch.z[0][i] - batch.z[2][i]);
    batch.z_step[1][i] = static_cast<float>(batch.z[1][i] - batch.z[2][i]);

    // A weight in float is off by up to 2^-23 times the square of the extent over the area, and a depth by
    // that times the difference of the depths of the corners.
    const double size = std::max(rightmost - leftmost, lowest - upmost) + 1.0;
    const double thinness = std::abs(inverse), stretch = size * size * thinness;
    const double relief = std::abs(batch.z[0][i] - batch.z[2][i]) + std::abs(batch.z[1][i] - batch.z[2][i]);
    const double reach = size + LANES;
    batch.doubt[i] = static_cast<float>(reach * reach * thinness * 0x1p-20);
#ifdef SIM3DR_NO_LANES
    batch.small[i] = false;
#else
    batch.small[i] = int(size <= 64.0) & int(stretch <= 64.0) & int(stretch * relief <= 128.0) &
                     int(std::abs(leftmost) < FAR) & int(std::abs(upmost) < FAR);
#endif
  }
}

#ifndef SIM3DR_NO_LANES
// A triangle of a few pixels: eight pixels of each row at once, in float.
inline void draw_by_lanes(const Batch &batch, int i, const BandArguments &band) {
  const Floats doubt = all(batch.doubt[i]), zero = all(0.0f), one = all(1.0f), under = zero - doubt;
  const Floats u_down = all(batch.u[2][i]), v_down = all(batch.v[2][i]), w_down = all(batch.w[2][i]);
  const Floats z0 = all(batch.z_step[0][i]), z1 = all(batch.z_step[1][i]);
  const Floats z2 = all(static_cast<float>(batch.z[2][i]));
  const Pixel first = batch.first[i], end = batch.end[i];
  const std::int32_t last_start = band.window.left + band.window.width - LANES;
  for (std::int32_t start = first.column; start < end.column; start += LANES) {
    // Eight pixels never extend into the next row: another thread may be writing it.
    const std::int32_t column = std::min(start, last_start);
    const Floats across = count_from(static_cast<float>(column - batch.origin_column[i]));
    const Floats u_left = all(batch.u[0][i]) + all(batch.u[1][i]) * across;
    const Floats v_left = all(batch.v[0][i]) + all(batch.v[1][i]) * across;
    const Floats w_left = all(batch.w[0][i]) + all(batch.w[1][i]) * across;
    Floats down = all(static_cast<float>(first.row - batch.origin_row[i]));
    std::int64_t pixel = band.pixel(column, first.row);
    for (std::int32_t row = first.row; row < end.row; ++row, pixel += band.window.width, down = down + one) {
      Floats u = u_left + u_down * down, v = v_left + v_down * down;
      const Floats smallest = least(least(u, v), w_left + w_down * down);
      Mask inside = smallest > doubt;
      const int sure = flags(inside), maybe = flags(smallest > under);
      if (sure != maybe) {
        Vertex p[3];
        for (int corner = 0; corner < 3; ++corner)
          p[corner] = {batch.x[corner][i], batch.y[corner][i], batch.z[corner][i]};
        int known = sure;
        for (std::int32_t lane = 0; lane < LANES; ++lane)
          if ((maybe ^ sure) >> lane & 1)
            known |= covers(p, batch.area[i], column + lane, row) << lane;
        inside = mask_of(known);
      }
      u = least(most(u, zero), one);
      v = least(most(v, zero), one - u);
      const Floats z = z2 + (u * z0 + v * z1);
      inside = inside & (z > load(band.depth + pixel));
      store(inside, z, band.depth + pixel);
      store(inside, batch.id[i], band.triangle_id + pixel);
      store_pairs(inside, u, v, band.barycentric + 2 * pixel);
    }
  }
}

#else
inline void draw_by_lanes(const Batch &, int, const BandArguments &) {}
#endif

inline void draw_band(const BandArguments &band) {
  Batch batch;
  for (std::int64_t begin = 0; begin < band.triangle_count; begin += BATCH) {
    const std::int64_t end = std::min<std::int64_t>(begin + BATCH, band.triangle_count);
    const int count = sift(batch, band, gather(batch, band, begin, end));
    prepare(batch, count);
    for (int i = 0; i < count; ++i) {
      if (batch.small[i]) {
        draw_by_lanes(batch, i, band);
      } else {
        Vertex p[3];
        for (int corner = 0; corner < 3; ++corner)
          p[corner] = {batch.x[corner][i], batch.y[corner][i], batch.z[corner][i]};
        draw_by_rows(p, batch.area[i], batch.id[i], batch.first[i], batch.end[i], band);
      }
    }
  }
}

} // namespace
} // namespace sim3dr
