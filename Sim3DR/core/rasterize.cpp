#include "rasterize.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace sim3dr {
namespace {

struct Vertex {
  double x, y, z;
};

struct Pixel {
  std::int32_t column, row;
};

Vertex load(const float *vertices, std::int32_t index) {
  const float *v = vertices + 3 * static_cast<std::int64_t>(index);
  return {v[0], v[1], v[2]};
}

// lo <= hi; NaN gives hi. Clamping before a conversion to int is what keeps the conversion defined.
double clamp(double value, double lo, double hi) {
  value = value < hi ? value : hi;
  return value > lo ? value : lo;
}

// std::ceil is a library call on x86-64 without SSE 4.1.
std::int32_t ceil_to_int(double value) {
  const auto whole = static_cast<std::int32_t>(value);
  return whole + (whole < value);
}

// The corners of a triangle from high to low, and whether it takes an odd number of swaps to get there.
struct Order {
  std::uint8_t high, middle, low;
  bool odd;
};

// Indexed by three bits: 0 above 1, 0 above 2, 1 above 2. Two of the eight cannot be. A table, since the
// order is as good as random, and branches on it cost more than all the comparisons.
constexpr Order ORDERS[8] = {
    {2, 1, 0, true},  {1, 2, 0, false}, {0, 1, 2, false}, {1, 0, 2, true},
    {2, 0, 1, false}, {0, 1, 2, false}, {0, 2, 1, true},  {0, 1, 2, false},
};

// The columns of the window, and how far a crossing may be off.
struct Columns {
  std::int32_t left, right;
  double width;
  double doubt;
};

// Where an edge crosses the rows of pixels. It is always given from its upper end to its lower, so the two
// triangles that share it compute with the same numbers. A horizontal edge crosses no row: its slope is not a
// number, and nobody asks for its columns.
class Edge {
public:
  Edge(const Vertex &upper, const Vertex &lower, const Columns &columns)
      : x_(upper.x), y_(upper.y), run_(lower.x - upper.x), drop_(lower.y - upper.y), slope_(run_ / drop_),
        start_(upper.x - (columns.left - 1.0)) {}

  // The first column of left .. right whose centre lies on the edge or to the right of it; `right` if none
  // does.
  std::int32_t first_column(std::int32_t row, const Columns &columns) const {
    const double down = row - y_;
    // Counted from left - 1, so positive: the conversion rounds down.
    const double crossing = clamp(start_ + slope_ * down, 0.5, columns.width + 0.5);
    const auto whole = static_cast<std::int32_t>(crossing);
    const double rest = crossing - whole;
    std::int32_t column = columns.left + whole;
    if (!(rest > columns.doubt && rest < 1.0 - columns.doubt)) {
      // Too near to a pixel centre for the quotient: the sign of the edge function decides. It does not rise
      // with the column even as rounded, so the search ends at one place, wherever it starts from.
      const double reach = run_ * down;
      while (column < columns.right && reach - drop_ * (column - x_) > 0.0)
        ++column;
      while (column > columns.left && reach - drop_ * (column - 1.0 - x_) <= 0.0)
        --column;
    }
    return column;
  }

private:
  double x_, y_, run_, drop_, slope_, start_;
};

template <int Channels>
void interpolate_fixed(const std::int32_t *triangle_id, const float *barycentric, std::int64_t pixel_count,
                       const std::int32_t *triangles, const float *attributes, std::int64_t channels_or_zero,
                       const float *background, float *out) {
  const std::int64_t channels = Channels ? Channels : channels_or_zero;
  for (std::int64_t pixel = 0; pixel < pixel_count; ++pixel, out += channels) {
    const std::int32_t id = triangle_id[pixel];
    if (id < 0) {
      for (std::int64_t c = 0; c < channels; ++c)
        out[c] = background[c];
      continue;
    }
    const std::int32_t *triangle = triangles + 3 * static_cast<std::int64_t>(id);
    const float *first = attributes + channels * triangle[0];
    const float *second = attributes + channels * triangle[1];
    const float *third = attributes + channels * triangle[2];
    const float u = barycentric[2 * pixel], v = barycentric[2 * pixel + 1];
    for (std::int64_t c = 0; c < channels; ++c)
      out[c] = third[c] + (u * (first[c] - third[c]) + v * (second[c] - third[c]));
  }
}

} // namespace

void rasterize(const float *vertices, const std::int32_t *triangles, std::int64_t triangle_count,
               Window window, Cull cull, float *depth, std::int32_t *triangle_id,
               float *barycentric) noexcept {
  const std::int64_t pixel_count = static_cast<std::int64_t>(window.width) * window.height;
  std::fill_n(depth, pixel_count, -std::numeric_limits<float>::infinity());
  std::fill_n(triangle_id, pixel_count, -1);
  std::fill_n(barycentric, 2 * pixel_count, 0.0f);

  const std::int32_t left = window.left, right = window.left + window.width;
  const std::int32_t top = window.top, bottom = window.top + window.height;

  for (std::int64_t id = 0; id < triangle_count; ++id) {
    const std::int32_t *corners = triangles + 3 * id;
    const Vertex p[3] = {load(vertices, corners[0]), load(vertices, corners[1]), load(vertices, corners[2])};

    // Most triangles that draw nothing go here: no pixel centre of the window lies in the bounding box.
    const double upmost = std::min(std::min(p[0].y, p[1].y), p[2].y);
    const double lowest = std::max(std::max(p[0].y, p[1].y), p[2].y);
    const std::int32_t first_row = ceil_to_int(clamp(upmost, top, bottom));
    const std::int32_t end_row = ceil_to_int(clamp(lowest, top, bottom));
    if (first_row >= end_row)
      continue;
    const double leftmost = std::min(std::min(p[0].x, p[1].x), p[2].x);
    const double rightmost = std::max(std::max(p[0].x, p[1].x), p[2].x);
    if (ceil_to_int(clamp(leftmost, left, right)) >= ceil_to_int(clamp(rightmost, left, right)))
      continue;

    // Not finite if an x or a y is not. Finite floats give 1e78 at most, and none is lost.
    const double area = (p[1].x - p[0].x) * (p[2].y - p[0].y) - (p[2].x - p[0].x) * (p[1].y - p[0].y);
    if (area == 0.0 || !std::isfinite(area) || !std::isfinite(p[0].z + p[1].z + p[2].z))
      continue;
    if (cull == (area < 0.0 ? Cull::front : Cull::back))
      continue;

    const Order &order = ORDERS[4 * (p[0].y < p[1].y) + 2 * (p[0].y < p[2].y) + (p[1].y < p[2].y)];
    const Vertex &high = p[order.high], &middle = p[order.middle], &low = p[order.low];
    // The area in that order is negative where the middle lies on the left of the edge from high to low.
    const bool middle_on_left = (area < 0.0) != order.odd;

    // 2^-47 is some five times the worst that rounding does, to the quotient and to the exact test together.
    const double doubt =
        (std::abs(p[0].x) + std::abs(p[1].x) + std::abs(p[2].x) + std::abs(double(left)) + 1.0) * 0x1p-47;
    const Columns columns = {left, right, double(window.width), doubt};
    const Edge long_edge(high, low, columns);
    const Edge short_edges[2] = {{high, middle, columns}, {middle, low, columns}};
    const std::int32_t middle_row = ceil_to_int(clamp(middle.y, top, bottom));

    // The weights u of p[0] and v of p[1] are linear, and 0 at p[2].
    const double inverse = 1.0 / area;
    const double u_right = (p[1].y - p[2].y) * inverse, u_down = (p[2].x - p[1].x) * inverse;
    const double v_right = (p[2].y - p[0].y) * inverse, v_down = (p[0].x - p[2].x) * inverse;
    const double z0 = p[0].z - p[2].z, z1 = p[1].z - p[2].z;

    const auto draw = [&](Pixel at) {
      const double across = at.column - p[2].x, down = at.row - p[2].y;
      // The weights of a sliver may be rounded far off: clamped they give a point of the triangle all the
      // same.
      const double u = clamp(u_down * down + u_right * across, 0.0, 1.0);
      const double v = clamp(v_down * down + v_right * across, 0.0, 1.0 - u);
      const auto z = static_cast<float>(p[2].z + (u * z0 + v * z1));
      const std::int64_t pixel = static_cast<std::int64_t>(at.row - top) * window.width + (at.column - left);
      if (z > depth[pixel]) {
        depth[pixel] = z;
        triangle_id[pixel] = static_cast<std::int32_t>(id);
        barycentric[2 * pixel] = static_cast<float>(u);
        barycentric[2 * pixel + 1] = static_cast<float>(v);
      }
    };

    // A row of a face's triangle holds two pixels, and nobody can predict how many: a loop a row spends its
    // time in mispredicted exits. So short rows are put on a list, always `SHORT` pixels of which only the
    // count says how many are meant, and the list is drawn in one loop a triangle. A long row is drawn at
    // once.
    constexpr std::int32_t SHORT = 4, ENOUGH = 64;
    Pixel list[ENOUGH + SHORT];
    std::int32_t count = 0;
    const auto draw_list = [&] {
      for (std::int32_t i = 0; i < count; ++i)
        draw(list[i]);
      count = 0;
    };

    // first_row and middle_row are rounded up: top edges are in, bottom edges are out.
    for (std::int32_t row = first_row; row < end_row; ++row) {
      const std::int32_t on_long = long_edge.first_column(row, columns);
      const std::int32_t on_short = short_edges[row >= middle_row].first_column(row, columns);
      const std::int32_t begin = middle_on_left ? on_short : on_long;
      const std::int32_t end = middle_on_left ? on_long : on_short;
      if (end - begin > SHORT) {
        for (std::int32_t column = begin; column < end; ++column)
          draw({column, row});
        continue;
      }
      for (std::int32_t i = 0; i < SHORT; ++i)
        list[count + i] = {begin + i, row};
      count += std::max(end - begin, 0);
      if (count > ENOUGH)
        draw_list();
    }
    draw_list();
  }
}

void interpolate(const std::int32_t *triangle_id, const float *barycentric, std::int64_t pixel_count,
                 const std::int32_t *triangles, const float *attributes, std::int64_t channels,
                 const float *background, float *out) noexcept {
  const auto run = channels == 1   ? interpolate_fixed<1>
                   : channels == 2 ? interpolate_fixed<2>
                   : channels == 3 ? interpolate_fixed<3>
                                   : interpolate_fixed<0>;
  run(triangle_id, barycentric, pixel_count, triangles, attributes, channels, background, out);
}

void vertex_normals(const float *vertices, std::int64_t vertex_count, const std::int32_t *triangles,
                    std::int64_t triangle_count, float *normals) {
  // In double: a cross product of floats neither overflows nor vanishes there.
  std::vector<double> sums(static_cast<std::size_t>(3 * vertex_count));
  for (std::int64_t id = 0; id < triangle_count; ++id) {
    const std::int32_t *triangle = triangles + 3 * id;
    const Vertex p0 = load(vertices, triangle[0]), p1 = load(vertices, triangle[1]),
                 p2 = load(vertices, triangle[2]);
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

} // namespace sim3dr
