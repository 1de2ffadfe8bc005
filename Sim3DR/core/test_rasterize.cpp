// Tests of the core alone, made to run under the address and undefined-behaviour sanitisers: see test.sh.
// What is drawn where is compared with an oracle in tests/Sim3DR; here it is mostly input that no caller
// should hand over.
#include "rasterize.h"

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <vector>

namespace {

int failures = 0;

void check(bool ok, const char *what, const char *file, int line) {
  if (ok)
    return;
  std::fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
  ++failures;
}

#define CHECK(condition) check((condition), #condition, __FILE__, __LINE__)

using sim3dr::Cull;
using sim3dr::Window;

constexpr float INF = std::numeric_limits<float>::infinity();
constexpr float NOT_A_NUMBER = std::numeric_limits<float>::quiet_NaN();
constexpr float HUGE_FLOAT = std::numeric_limits<float>::max();
constexpr float TINY_FLOAT = std::numeric_limits<float>::denorm_min();

// Exactly as large as they must be, so that the address sanitiser sees a step beyond.
struct Picture {
  Window window;
  std::vector<float> depth, barycentric;
  std::vector<std::int32_t> id;

  std::int64_t count(std::int32_t triangle) const {
    std::int64_t n = 0;
    for (const std::int32_t i : id)
      n += i == triangle;
    return n;
  }
  std::int32_t at(std::int32_t x, std::int32_t y) const {
    return id[static_cast<std::size_t>(y - window.top) * static_cast<std::size_t>(window.width) +
              static_cast<std::size_t>(x - window.left)];
  }
};

Picture render(const std::vector<float> &vertices, const std::vector<std::int32_t> &triangles, Window window,
               Cull cull = Cull::none) {
  const std::size_t n = static_cast<std::size_t>(window.width) * static_cast<std::size_t>(window.height);
  // Filled with rubbish: every pixel has to be written.
  Picture picture = {window, std::vector<float>(n, NOT_A_NUMBER), std::vector<float>(2 * n, NOT_A_NUMBER),
                     std::vector<std::int32_t>(n, 12345)};
  sim3dr::rasterize(vertices.data(), triangles.data(), static_cast<std::int64_t>(triangles.size() / 3),
                    window, cull, picture.depth.data(), picture.id.data(), picture.barycentric.data());
  return picture;
}

// What holds of any raster at all.
bool sound(const Picture &picture, std::int32_t triangle_count) {
  for (std::size_t i = 0; i < picture.id.size(); ++i) {
    const float u = picture.barycentric[2 * i], v = picture.barycentric[2 * i + 1];
    if (picture.id[i] == -1) {
      if (picture.depth[i] != -INF || u != 0.0f || v != 0.0f)
        return false;
    } else if (picture.id[i] < 0 || picture.id[i] >= triangle_count || !std::isfinite(picture.depth[i]) ||
               !(u >= 0.0f && v >= 0.0f && u + v <= 1.00001f)) {
      return false;
    }
  }
  return true;
}

void test_square() {
  // Pixel centres on the diagonal, on all sides and on all corners.
  const std::vector<float> vertices = {0, 0, 1, 8, 0, 1, 8, 8, 1, 0, 8, 1};
  for (const auto &triangles : {std::vector<std::int32_t>{0, 1, 2, 0, 2, 3}, {0, 2, 1, 0, 2, 3}}) {
    const Picture picture = render(vertices, triangles, {-2, -2, 13, 13});
    CHECK(sound(picture, 2));
    CHECK(picture.count(0) + picture.count(1) == 64);
    CHECK(picture.at(0, 0) >= 0 && picture.at(7, 7) >= 0);
    CHECK(picture.at(8, 0) == -1 && picture.at(0, 8) == -1 && picture.at(-1, 0) == -1);
    // Each alone draws what it draws beside the other: no pixel twice.
    std::int64_t alone = 0;
    for (int half = 0; half < 2; ++half)
      alone +=
          render(vertices, {triangles.begin() + 3 * half, triangles.begin() + 3 * half + 3}, {-2, -2, 13, 13})
              .count(0);
    CHECK(alone == 64);
  }
}

void test_depth_and_cull() {
  const std::vector<float> vertices = {0, 0, 1, 9, 0, 1, 0, 9, 1, 0, 0, 2, 9, 0, 2, 0, 9, 2};
  CHECK(render(vertices, {0, 1, 2, 3, 4, 5}, {0, 0, 9, 9}).count(1) == 45);
  CHECK(render(vertices, {3, 4, 5, 0, 1, 2}, {0, 0, 9, 9}).count(0) == 45);
  CHECK(render(vertices, {0, 1, 2, 0, 2, 1}, {0, 0, 9, 9}).count(0) == 45); // equal z: the lower index
  CHECK(render(vertices, {0, 1, 2}, {0, 0, 9, 9}, Cull::back).count(0) == 0);
  CHECK(render(vertices, {0, 1, 2}, {0, 0, 9, 9}, Cull::front).count(0) == 45);
  CHECK(render(vertices, {0, 2, 1}, {0, 0, 9, 9}, Cull::back).count(0) == 45);
}

void test_nothing_to_draw() {
  CHECK(render({}, {}, {0, 0, 0, 0}).id.empty());
  CHECK(render({}, {}, {0, 0, 3, 2}).count(-1) == 6);
  const std::vector<float> vertices = {0, 0, 0, 9, 0, 0, 0, 9, 0};
  CHECK(render(vertices, {0, 1, 2}, {0, 0, 0, 5}).id.empty());
  CHECK(render(vertices, {0, 1, 2}, {0, 0, 5, 0}).id.empty());
  for (const Window window :
       {Window{100, 0, 4, 4}, Window{-100, 0, 4, 4}, Window{0, 100, 4, 4}, Window{0, -100, 4, 4},
        Window{1 << 29, 1 << 29, 4, 4}, Window{-(1 << 30), -(1 << 30), 4, 4},
        Window{(1 << 30) - 4, (1 << 30) - 4, 4, 4}})
    CHECK(render(vertices, {0, 1, 2}, window).count(-1) == 16);
}

void test_degenerate() {
  const std::vector<float> vertices = {0, 0, 0, 4, 4, 0, 8, 8, 0, 8, 0, 0, 4, 4, 0};
  for (const auto &triangle :
       {std::vector<std::int32_t>{0, 0, 0}, {0, 1, 2}, {2, 1, 0}, {0, 0, 3}, {1, 4, 3}, {0, 3, 3}, {3, 0, 3}})
    CHECK(render(vertices, triangle, {0, 0, 9, 9}).count(0) == 0);
}

void test_values() {
  // Every combination of wild coordinates in two of the corners, all windings.
  const float wild[] = {NOT_A_NUMBER, INF,   -INF,   HUGE_FLOAT, -HUGE_FLOAT, TINY_FLOAT, -TINY_FLOAT,
                        1e30f,        -1e9f, 2.1e9f, 0.0f,       5.0f,        7.999999f};
  const Window window = {-3, -2, 12, 11};
  for (const float x : wild)
    for (const float y : wild)
      for (const float other_x : wild)
        for (const float other_y : wild) {
          const std::vector<float> vertices = {x, y, 1, other_x, other_y, 2, 4, 6, 3};
          const Picture picture = render(vertices, {0, 1, 2, 2, 1, 0}, window);
          CHECK(sound(picture, 2));
          if (!std::isfinite(x) || !std::isfinite(y) || !std::isfinite(other_x) || !std::isfinite(other_y))
            CHECK(picture.count(-1) == 12 * 11);
        }
  for (const float z : wild) {
    const Picture picture = render({0, 0, z, 9, 0, -1, 0, 9, HUGE_FLOAT}, {0, 1, 2}, window);
    CHECK(sound(picture, 1));
    CHECK((picture.count(0) > 0) == std::isfinite(z));
  }
  // Much larger than the window: every pixel of it, one of the two.
  const float far = 1e7f;
  const Picture all =
      render({-far, -far, 0, far, -far, 0, far, far, 0, -far, far, 0}, {0, 1, 2, 0, 2, 3}, window);
  CHECK(all.count(-1) == 0 && all.count(0) > 0 && all.count(1) > 0);
}

void test_tall() {
  // More pixels in short rows than the core keeps on its list.
  for (const float width : {1.0f, 2.0f, 3.0f, 4.0f, 5.0f}) {
    const Picture picture =
        render({0, 0, 1, width, 0, 1, 0, 3000, 1, width, 3000, 1}, {0, 1, 2, 2, 1, 3}, {-1, -1, 8, 3002});
    CHECK(sound(picture, 2));
    CHECK(picture.count(0) + picture.count(1) == static_cast<std::int64_t>(width) * 3000);
  }
}

void test_slivers() {
  // Thousands of thin ones: nothing but soundness, and the sanitisers.
  std::uint32_t state = 1;
  const auto random = [&](float scale) {
    state = state * 1664525u + 1013904223u;
    return scale * (static_cast<float>(state >> 8) / 16777216.0f);
  };
  for (int i = 0; i < 20000; ++i) {
    const float x = random(40) - 10, y = random(40) - 10, dx = random(40) - 20, dy = random(40) - 20;
    const float thin = i % 2 ? 1e-6f : 1e-2f;
    const Picture picture =
        render({x, y, 1, x + dx, y + dy, 2, x + dx * 0.5f + random(thin), y + dy * 0.5f + random(thin), 3},
               {0, 1, 2}, {0, 0, 20, 20});
    CHECK(sound(picture, 1));
    for (const float depth : picture.depth)
      CHECK(depth == -INF || (depth >= 0.9999f && depth <= 3.0001f));
  }
}

void test_interpolate() {
  const std::vector<std::int32_t> id = {-1, 0, 1, -1}, triangles = {0, 1, 2, 2, 1, 0};
  const std::vector<float> barycentric = {0, 0, 0.25f, 0.25f, 1, 0, 0, 0};
  for (std::int64_t channels = 1; channels <= 5; ++channels) {
    std::vector<float> attributes, background, out(static_cast<std::size_t>(4 * channels), NOT_A_NUMBER);
    for (int vertex = 0; vertex < 3; ++vertex)
      for (int c = 0; c < channels; ++c)
        attributes.push_back(static_cast<float>(10 * c + 4 * vertex));
    for (int c = 0; c < channels; ++c)
      background.push_back(static_cast<float>(-c));
    sim3dr::interpolate(id.data(), barycentric.data(), 4, triangles.data(), attributes.data(), channels,
                        background.data(), out.data());
    for (std::int64_t c = 0; c < channels; ++c) {
      const auto column = static_cast<std::size_t>(c), step = static_cast<std::size_t>(channels);
      const float base = static_cast<float>(10 * c);
      CHECK(out[column] == background[column] && out[3 * step + column] == background[column]);
      CHECK(out[step + column] == base + 5.0f);
      CHECK(out[2 * step + column] == base + 8.0f);
    }
  }
  sim3dr::interpolate(nullptr, nullptr, 0, nullptr, nullptr, 3, nullptr, nullptr);
}

void test_normals() {
  // A front face of the image frame looks at the viewer. Vertices 3 and 4 have only a degenerate one, or
  // none.
  const std::vector<float> vertices = {0, 0, 0, 0, 4, 0, 4, 0, 0, 9, 9, 9, 1, 2, 3};
  const std::vector<std::int32_t> triangles = {0, 1, 2, 3, 3, 3};
  std::vector<float> normals(15, NOT_A_NUMBER);
  sim3dr::vertex_normals(vertices.data(), 5, triangles.data(), 2, normals.data());
  for (std::size_t vertex = 0; vertex < 5; ++vertex) {
    CHECK(normals[3 * vertex] == 0.0f && normals[3 * vertex + 1] == 0.0f);
    CHECK(normals[3 * vertex + 2] == (vertex < 3 ? 1.0f : 0.0f));
  }
  for (const float scale : {1e38f, 1e-30f, NOT_A_NUMBER, INF}) {
    const std::vector<float> scaled = {0, 0, 0, 0, scale, 0, scale, 0, 0};
    sim3dr::vertex_normals(scaled.data(), 3, triangles.data(), 1, normals.data());
    CHECK(normals[0] == 0.0f && normals[2] == (std::isfinite(scale) ? 1.0f : 0.0f));
  }
  sim3dr::vertex_normals(nullptr, 0, nullptr, 0, nullptr);
}

} // namespace

int main() {
  test_square();
  test_depth_and_cull();
  test_nothing_to_draw();
  test_degenerate();
  test_values();
  test_tall();
  test_slivers();
  test_interpolate();
  test_normals();
  if (failures)
    std::fprintf(stderr, "%d checks failed\n", failures);
  else
    std::puts("all checks passed");
  return failures != 0;
}
