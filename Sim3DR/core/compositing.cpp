#include "compositing.h"

#include "bytes.h"
#include "parallel.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <vector>

namespace sim3dr {
namespace {

constexpr float INF = std::numeric_limits<float>::infinity();
constexpr std::int32_t REACH = 4, TILE = 8;

#if defined(__GNUC__) || defined(_MSC_VER)
#define RESTRICT __restrict
#else
#define RESTRICT
#endif

// Calls run(begin, end) for each run of ones in bytes that are 0 or 1.
template <class Run> void for_each_run(const std::uint8_t *bytes, std::size_t count, const Run &run) {
  const std::uint8_t *at = bytes, *end = bytes + count;
  while (at < end &&
         (at = static_cast<const std::uint8_t *>(std::memchr(at, 1, static_cast<std::size_t>(end - at))))) {
    const void *stop = std::memchr(at, 0, static_cast<std::size_t>(end - at));
    const std::uint8_t *last = stop ? static_cast<const std::uint8_t *>(stop) : end;
    run(at - bytes, last - bytes);
    at = last;
  }
}

// Pixels begin .. end of one row that belong to one hole.
struct Run {
  std::int32_t row, begin, end;
};

std::size_t root(std::vector<std::size_t> &parents, std::size_t i) {
  while (parents[i] != i)
    i = parents[i] = parents[parents[i]];
  return i;
}

// Updates the lowest depth (of pixels with a surface) and the highest depth of each column with a row.
void widen(const float *RESTRICT depth, std::int64_t count, float *RESTRICT low, float *RESTRICT high) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float z = depth[i], covered = z > -INF ? z : INF;
    low[i] = covered < low[i] ? covered : low[i];
    high[i] = z > high[i] ? z : high[i];
  }
}

// Marks pixels more than `gap` behind their neighbourhood. Most tiles are excluded as a whole by their lowest
// and highest depth; pixels are tested one by one in the few that are left.
void mark_behind(std::int32_t width, std::int32_t height, float gap, const float *depth,
                 std::uint8_t *empty) {
  const std::int32_t across = (width + TILE - 1) / TILE, down = (height + TILE - 1) / TILE;
  // with a border of empty tiles
  const std::size_t stride = static_cast<std::size_t>(across) + 2;
  std::vector<float> lowest(stride * (static_cast<std::size_t>(down) + 2), INF), highest(lowest.size(), -INF);
  std::vector<float> low(static_cast<std::size_t>(across) * TILE), high(low.size());
  for (std::int32_t tile_row = 0; tile_row < down; ++tile_row) {
    std::fill(low.begin(), low.end(), INF);
    std::fill(high.begin(), high.end(), -INF);
    const std::int32_t end = std::min(height, (tile_row + 1) * TILE);
    for (std::int32_t row = tile_row * TILE; row < end; ++row)
      widen(depth + static_cast<std::int64_t>(row) * width, width, low.data(), high.data());
    for (std::int32_t begin = 0; begin < width; begin += TILE) {
      const std::size_t tile =
          (static_cast<std::size_t>(tile_row) + 1) * stride + static_cast<std::size_t>(begin / TILE) + 1;
      lowest[tile] = *std::min_element(low.begin() + begin, low.begin() + begin + TILE);
      highest[tile] = *std::max_element(high.begin() + begin, high.begin() + begin + TILE);
    }
  }
  for (std::int32_t tile_row = 0; tile_row < down; ++tile_row)
    for (std::int32_t tile_column = 0; tile_column < across; ++tile_column) {
      const std::size_t tile =
          (static_cast<std::size_t>(tile_row) + 1) * stride + static_cast<std::size_t>(tile_column) + 1;
      float nearest = -INF;
      for (std::size_t above : {tile - stride, tile, tile + stride})
        nearest =
            std::max(nearest, std::max(std::max(highest[above - 1], highest[above]), highest[above + 1]));
      if (!(nearest - lowest[tile] > gap))
        continue;
      for (std::int32_t row = tile_row * TILE; row < std::min(height, (tile_row + 1) * TILE); ++row)
        for (std::int32_t column = tile_column * TILE; column < std::min(width, (tile_column + 1) * TILE);
             ++column) {
          float around = -INF;
          for (std::int32_t y = std::max(row - REACH, 0); y <= std::min(row + REACH, height - 1); ++y)
            for (std::int32_t x = std::max(column - REACH, 0); x <= std::min(column + REACH, width - 1); ++x)
              around = std::max(around, depth[static_cast<std::int64_t>(y) * width + x]);
          const std::int64_t pixel = static_cast<std::int64_t>(row) * width + column;
          if (around - depth[pixel] > gap)
            empty[pixel] = 1;
        }
    }
}

std::vector<Run> runs_of(const std::uint8_t *empty, std::int32_t width, std::int32_t height) {
  std::vector<Run> runs;
  for (std::int32_t row = 0; row < height; ++row)
    for_each_run(empty + static_cast<std::int64_t>(row) * width, static_cast<std::size_t>(width),
                 [&](std::int64_t begin, std::int64_t end) {
                   runs.push_back({row, static_cast<std::int32_t>(begin), static_cast<std::int32_t>(end)});
                 });
  return runs;
}

// For each run, the run that represents its hole.
std::vector<std::size_t> joined(const std::vector<Run> &runs) {
  std::vector<std::size_t> parents(runs.size());
  std::size_t above = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    parents[i] = i;
    while (above < i && (runs[above].row < runs[i].row - 1 ||
                         (runs[above].row == runs[i].row - 1 && runs[above].end < runs[i].begin)))
      ++above;
    // corners connect: one pixel beyond either end
    for (std::size_t k = above; k < i && runs[k].row == runs[i].row - 1 && runs[k].begin <= runs[i].end;
         ++k) {
      const std::size_t a = root(parents, k), b = root(parents, i);
      parents[std::max(a, b)] = std::min(a, b);
    }
  }
  for (std::size_t i = 0; i < runs.size(); ++i)
    parents[i] = root(parents, i);
  return parents;
}

// The colours of a row of a layer: in place, or looked up in the palette or gathered into `row`, which has
// one extra byte.
class Colors {
public:
  explicit Colors(const Layer &layer)
      : indexed_(layer.palette != nullptr), step_(layer.step), opacity_(indexed_ ? 1 : 3) {
    for (int i = 0; i < 256 && indexed_; ++i)
      std::memcpy(table_[i], layer.palette + 3 * i, 3);
  }

  std::int64_t step() const { return step_; }

  const std::uint8_t *of(const std::uint8_t *line, std::int32_t width, std::uint8_t *row) const {
    if (!indexed_ && step_ == 3)
      return line;
    // four bytes are one move; the fourth is overwritten by the first byte of the next pixel
    for (std::int64_t column = 0; column < width; ++column)
      std::memcpy(row + 3 * column, indexed_ ? table_[line[step_ * column]] : line + step_ * column, 4);
    return row;
  }

  // The opacity of a pixel of a translucent layer.
  std::uint8_t opacity(const std::uint8_t *line, std::int64_t column) const {
    return line[step_ * column + opacity_];
  }

private:
  bool indexed_;
  std::int64_t step_, opacity_; // of a pixel: bytes, and which of them
  std::uint8_t table_[256][4] = {};
};

void mix(const std::uint8_t *RESTRICT over, const std::uint8_t *RESTRICT background, std::int32_t count,
         float alpha, float rest, std::uint8_t *RESTRICT mixed) {
  for (std::int32_t i = 0; i < count; ++i)
    mixed[i] = rounded(static_cast<float>(over[i]) * alpha + static_cast<float>(background[i]) * rest);
}

// As `mix`, with the opacity of each pixel: `of_layer` and `of_out` have a weight for each byte. What is
// neither the layer's nor that of `out` is the background's.
void mix_fading(const std::uint8_t *RESTRICT over, const std::uint8_t *RESTRICT background,
                const std::uint8_t *RESTRICT out, const float *RESTRICT of_layer,
                const float *RESTRICT of_out, std::int32_t count, std::uint8_t *RESTRICT mixed) {
  for (std::int32_t i = 0; i < count; ++i) {
    const auto behind = static_cast<float>(background[i]);
    mixed[i] = rounded(behind + (static_cast<float>(over[i]) - behind) * of_layer[i] +
                       (static_cast<float>(out[i]) - behind) * of_out[i]);
  }
}

// Separate functions: byte pointers may alias anything, members included. Only arguments can be declared not
// to alias, and only then are these loops vectorised.
void mark_covered(const std::int32_t *RESTRICT ids, std::int64_t count, std::uint8_t *RESTRICT mask) {
  for (std::int64_t i = 0; i < count; ++i)
    mask[i] = ids[i] >= 0;
}

void mark_covered(const float *RESTRICT depth, std::int64_t count, std::uint8_t *RESTRICT mask) {
  for (std::int64_t i = 0; i < count; ++i)
    mask[i] = depth[i] > -INF;
}

// Of the pixels of a layer from `first` on.
void mark_covered(const Layer &layer, std::int64_t first, std::int64_t count, std::uint8_t *mask) {
  if (layer.triangle_id != nullptr)
    mark_covered(layer.triangle_id + first, count, mask);
  else
    mark_covered(layer.depth + first, count, mask);
}

// Exchanges the ones and zeros of a mask.
void invert(std::uint8_t *mask, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i)
    mask[i] ^= 1;
}

void add(const std::uint8_t *RESTRICT above, const std::uint8_t *RESTRICT here,
         const std::uint8_t *RESTRICT below, std::int64_t count, std::uint8_t *RESTRICT sums) {
  for (std::int64_t i = 0; i < count; ++i)
    sums[i] = static_cast<std::uint8_t>(above[i] + here[i] + below[i]);
}

void mark_edge(const std::uint8_t *RESTRICT mask, const std::uint8_t *RESTRICT sums, std::int64_t count,
               std::uint8_t *RESTRICT edge) {
  for (std::int64_t i = 0; i < count; ++i) {
    const auto around = static_cast<std::uint8_t>(sums[i] + sums[i + 1] + sums[i + 2]);
    edge[i] = static_cast<std::uint8_t>(mask[i] & static_cast<std::uint8_t>(around < 9));
  }
}

// Rows of a layer, softened at the outline.
class Outline {
public:
  explicit Outline(const Layer &layer)
      : layer_(layer), colors_(layer), width_(static_cast<std::uint32_t>(layer.width)), row_(3 * width_ + 1),
        mixed_(3 * width_), sums_(width_ + 2), edge_(width_), mask_(3 * width_),
        of_layer_(layer.translucent ? 3 * width_ : 0), of_out_(of_layer_.size()) {
    // a pixel on a straight outline has a third of its neighbourhood outside, one at a corner more
    for (int covered = 0; covered <= 9; ++covered)
      weights_[covered] = std::clamp(std::nearbyint(covered * 255.0 / 9.0) * (2.0 / 255.0) - 0.8, 0.2, 1.0);
  }

  void composite(std::int32_t begin, std::int32_t end) {
    cover(begin - 1);
    cover(begin);
    for (std::int32_t row = begin; row < end; ++row) {
      cover(row + 1);
      composite_row(row);
    }
  }

private:
  std::uint8_t *covered(std::int32_t row) {
    return mask_.data() + static_cast<std::size_t>((row + 3) % 3) * width_;
  }

  // Marks the covered pixels of a row; rows beyond the first and the last are mirrored.
  void cover(std::int32_t row) {
    const std::int32_t inner = row < 0 ? 1 : row < layer_.height ? row : layer_.height - 2;
    const std::int64_t first =
        static_cast<std::int64_t>(std::clamp(inner, 0, layer_.height - 1)) * layer_.width;
    mark_covered(layer_, first, layer_.width, covered(row));
  }

  void composite_row(std::int32_t row) {
    const std::uint8_t *mask = covered(row);
    std::uint8_t *sums = sums_.data() + 1;
    add(covered(row - 1), mask, covered(row + 1), layer_.width, sums);
    sums_.front() = sums[width_ > 1 ? 1 : 0];
    sums_.back() = sums[width_ > 1 ? width_ - 2 : 0];
    mark_edge(mask, sums_.data(), layer_.width, edge_.data());

    const std::uint8_t *line = layer_.layer + colors_.step() * row * layer_.width;
    const std::uint8_t *background = layer_.background + row * layer_.background_stride;
    std::uint8_t *out = layer_.out + row * layer_.out_stride;
    for_each_run(mask, width_, [&](std::int64_t from, std::int64_t to) {
      composite_run(line + from * colors_.step(), background + 3 * from, out + 3 * from, from, to - from);
    });
  }

  // Composites a run of covered pixels.
  void composite_run(const std::uint8_t *line, const std::uint8_t *background, std::uint8_t *out,
                     std::int64_t from, std::int64_t count) {
    const std::uint8_t *colors = colors_.of(line, static_cast<std::int32_t>(count), row_.data());
    if (layer_.translucent) {
      mix_translucent(line, colors, background, out, count);
      colors = mixed_.data();
    } else if (layer_.alpha < 1.0) {
      mix(colors, background, static_cast<std::int32_t>(3 * count), static_cast<float>(layer_.alpha),
          static_cast<float>(1.0 - layer_.alpha), mixed_.data());
      colors = mixed_.data();
    }
    std::int64_t done = 0;
    for_each_run(
        edge_.data() + from, static_cast<std::size_t>(count), [&](std::int64_t begin, std::int64_t end) {
          std::memcpy(out + 3 * done, colors + 3 * done, static_cast<std::size_t>(3 * (begin - done)));
          for (std::int64_t i = begin; i < end; ++i) {
            const std::uint8_t *sums = sums_.data() + from + i;
            const double weight = weights_[sums[0] + sums[1] + sums[2]];
            for (std::int64_t c = 3 * i; c < 3 * i + 3; ++c)
              out[c] = static_cast<std::uint8_t>(colors[c] * weight + out[c] * (1.0 - weight));
          }
          done = end;
        });
    std::memcpy(out + 3 * done, colors + 3 * done, static_cast<std::size_t>(3 * (count - done)));
  }

  // Most pixels of a run are opaque; they are mixed with one weight.
  void mix_translucent(const std::uint8_t *line, const std::uint8_t *colors, const std::uint8_t *background,
                       const std::uint8_t *out, std::int64_t count) {
    const auto alpha = static_cast<float>(layer_.alpha);
    for (std::int64_t begin = 0, end = 0; begin < count; begin = end) {
      const bool opaque = colors_.opacity(line, begin) == 255;
      while (end < count && (colors_.opacity(line, end) == 255) == opaque)
        ++end;
      const std::int64_t at = 3 * begin;
      const auto bytes = static_cast<std::int32_t>(3 * (end - begin));
      if (opaque) {
        mix(colors + at, background + at, bytes, alpha, 1.0f - alpha, mixed_.data() + at);
        continue;
      }
      for (std::int64_t i = begin; i < end; ++i) {
        const float opacity = static_cast<float>(colors_.opacity(line, i)) * (1.0f / 255.0f);
        for (std::int64_t c = 3 * i; c < 3 * i + 3; ++c) {
          of_layer_[static_cast<std::size_t>(c)] = opacity * alpha;
          of_out_[static_cast<std::size_t>(c)] = (1.0f - opacity * alpha) * (1.0f - opacity);
        }
      }
      mix_fading(colors + at, background + at, out + at, of_layer_.data() + at, of_out_.data() + at, bytes,
                 mixed_.data() + at);
    }
  }

  const Layer &layer_;
  Colors colors_;
  std::size_t width_;
  std::vector<std::uint8_t> row_, mixed_, sums_, edge_, mask_;
  std::vector<float> of_layer_, of_out_;
  double weights_[10];
};

// `drawn` are the ids or the depths of the pixels, `copy(from, to)` copies all that is drawn of one but its
// depth.
template <class Drawn, class Copy>
void close_any_holes(std::int32_t width, std::int32_t height, double max_px, float gap, float *depth,
                     const Drawn *drawn, const Copy &copy) {
  const std::int64_t pixel_count = static_cast<std::int64_t>(width) * height;
  std::vector<std::uint8_t> empty(static_cast<std::size_t>(pixel_count));
  mark_covered(drawn, pixel_count, empty.data());
  invert(empty.data(), pixel_count);
  mark_behind(width, height, gap, depth, empty.data());

  const std::vector<Run> runs = runs_of(empty.data(), width, height);
  const std::vector<std::size_t> holes = joined(runs);
  std::vector<std::int64_t> area(runs.size());
  for (std::size_t i = 0; i < runs.size(); ++i)
    area[holes[i]] += runs[i].end - runs[i].begin;
  // no pixel is farther away than the opposite side
  const double reach =
      std::min(std::sqrt(std::max(max_px, 0.0)), static_cast<double>(std::max(width, height)));
  const std::int32_t farthest = static_cast<std::int32_t>(reach) + 1;
  constexpr std::int32_t ASIDE[4] = {-1, 1, 0, 0}, DOWN[4] = {0, 0, -1, 1};
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (!(static_cast<double>(area[holes[i]]) <= max_px))
      continue;
    for (std::int32_t column = runs[i].begin; column < runs[i].end; ++column) {
      bool found = false;
      for (std::int32_t step = 1; step <= farthest && !found; ++step)
        for (int side = 0; side < 4 && !found; ++side) {
          const std::int32_t x = std::clamp(column + ASIDE[side] * step, 0, width - 1);
          const std::int32_t y = std::clamp(runs[i].row + DOWN[side] * step, 0, height - 1);
          const std::int64_t of = static_cast<std::int64_t>(y) * width + x;
          if (empty[static_cast<std::size_t>(of)])
            continue;
          const std::int64_t to = static_cast<std::int64_t>(runs[i].row) * width + column;
          depth[to] = depth[of];
          copy(of, to);
          found = true;
        }
    }
  }
}

} // namespace

void close_holes(std::int32_t width, std::int32_t height, double max_px, float gap, float *depth,
                 std::int32_t *triangle_id, float *barycentric) {
  close_any_holes(width, height, max_px, gap, depth, triangle_id, [&](std::int64_t from, std::int64_t to) {
    triangle_id[to] = triangle_id[from];
    std::copy_n(barycentric + 2 * from, 2, barycentric + 2 * to);
  });
}

void close_holes(std::int32_t width, std::int32_t height, double max_px, float gap, float *depth,
                 std::uint8_t *colors) {
  close_any_holes(width, height, max_px, gap, depth, depth, [&](std::int64_t from, std::int64_t to) {
    if (colors != nullptr)
      std::copy_n(colors + 4 * from, 4, colors + 4 * to);
  });
}

void composite(const Layer &layer, std::int32_t threads) {
  constexpr std::int32_t WORTH_A_THREAD = 1 << 18; // pixels
  const auto parts = static_cast<std::int32_t>(std::clamp<std::int64_t>(
      static_cast<std::int64_t>(layer.width) * layer.height / WORTH_A_THREAD, 1, std::max(threads, 1)));
  std::vector<Outline> outlines(static_cast<std::size_t>(parts), Outline(layer));
  in_parallel(parts, [&](std::int32_t part) {
    const std::int64_t height = layer.height;
    outlines[static_cast<std::size_t>(part)].composite(
        static_cast<std::int32_t>(height * part / parts),
        static_cast<std::int32_t>(height * (part + 1) / parts));
  });
}

void composite_averaged(const Layer &layer, std::int32_t factor) {
  const std::int32_t fine_width = layer.width * factor, each = factor * factor;
  const Colors colors(layer);
  std::vector<std::uint8_t> color_row(3 * static_cast<std::size_t>(fine_width) + 1);
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(fine_width));
  // of each pixel the sum of its colours, weighted by their opacities, how often it is covered, and the sum
  // of the opacities
  std::vector<std::int32_t> sums(5 * static_cast<std::size_t>(layer.width));
  const auto alpha = static_cast<float>(layer.alpha);
  const std::int32_t opaque = layer.translucent ? 255 : 1;
  for (std::int64_t row = 0; row < layer.height; ++row) {
    std::fill(sums.begin(), sums.end(), 0);
    for (std::int64_t fine = row * factor; fine < (row + 1) * factor; ++fine) {
      mark_covered(layer, fine * fine_width, fine_width, mask.data());
      const std::uint8_t *covered_here = mask.data();
      const std::uint8_t *values = layer.layer + fine * fine_width * colors.step();
      const std::uint8_t *line = colors.of(values, fine_width, color_row.data());
      std::int32_t *sum = sums.data();
      for (std::int32_t column = 0; column < layer.width; ++column, sum += 5)
        for (std::int32_t i = 0; i < factor; ++i, ++covered_here, line += 3) {
          const std::int32_t covered = *covered_here;
          const std::int32_t weight =
              layer.translucent ? covered * colors.opacity(values, column * factor + i) : covered;
          sum[0] += weight * line[0];
          sum[1] += weight * line[1];
          sum[2] += weight * line[2];
          sum[3] += covered;
          sum[4] += weight;
        }
    }
    std::uint8_t *out = layer.out + row * layer.out_stride;
    const std::uint8_t *background = layer.background + row * layer.background_stride;
    const std::int32_t *sum = sums.data(), all = each * opaque;
    for (std::int32_t column = 0; column < layer.width; ++column, sum += 5, out += 3, background += 3) {
      if (!sum[3])
        continue;
      const float weight = static_cast<float>(sum[4]) / static_cast<float>(all);
      // at the outline: background and `out` differ where a nearer surface covers a farther one
      const float inside = sum[3] < each ? 0.0f : layer.translucent ? weight : 1.0f;
      for (int c = 0; c < 3; ++c) {
        const auto mean = static_cast<float>((sum[c] + all / 2) / all);
        const auto behind = static_cast<float>(out[c]);
        const float below = behind + inside * (static_cast<float>(background[c]) - behind);
        out[c] = to_byte(mean * alpha + below * (1.0f - weight * alpha));
      }
    }
  }
}

} // namespace sim3dr
