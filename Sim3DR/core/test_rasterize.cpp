// Tests of the core alone, made to run background the address, undefined-behaviour and thread sanitisers: see
// test.sh. What is drawn where is compared with an oracle in tests/Sim3DR; here it is mostly input that no
// caller should hand over.
#include "compositing.h"
#include "memory.h"
#include "rasterize.h"

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

namespace {

int failures = 0;
// Hash of a rendering: test.sh checks that all builds give the same bits.
std::uint32_t fingerprint = 2166136261u;

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
struct Rendering {
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

Rendering render(const std::vector<float> &vertices, const std::vector<std::int32_t> &triangles,
                 Window window, Cull cull = Cull::none, std::int32_t threads = 1) {
  const std::size_t n = static_cast<std::size_t>(window.width) * static_cast<std::size_t>(window.height);
  // Filled with rubbish: every pixel has to be written.
  Rendering rendering = {window, std::vector<float>(n, NOT_A_NUMBER), std::vector<float>(2 * n, NOT_A_NUMBER),
                         std::vector<std::int32_t>(n, 12345)};
  sim3dr::rasterize(vertices.data(), static_cast<std::int64_t>(vertices.size() / 3), triangles.data(),
                    static_cast<std::int64_t>(triangles.size() / 3), window, cull, threads,
                    rendering.depth.data(), rendering.id.data(), rendering.barycentric.data());
  return rendering;
}

// What holds of any raster at all.
bool sound(const Rendering &rendering, std::int32_t triangle_count) {
  for (std::size_t i = 0; i < rendering.id.size(); ++i) {
    const float u = rendering.barycentric[2 * i], v = rendering.barycentric[2 * i + 1];
    if (rendering.id[i] == -1) {
      if (rendering.depth[i] != -INF || u != 0.0f || v != 0.0f)
        return false;
    } else if (rendering.id[i] < 0 || rendering.id[i] >= triangle_count ||
               !std::isfinite(rendering.depth[i]) || !(u >= 0.0f && v >= 0.0f && u + v <= 1.00001f)) {
      return false;
    }
  }
  return true;
}

void test_square() {
  // Pixel centres on the diagonal, on all sides and on all corners.
  const std::vector<float> vertices = {0, 0, 1, 8, 0, 1, 8, 8, 1, 0, 8, 1};
  for (const auto &triangles : {std::vector<std::int32_t>{0, 1, 2, 0, 2, 3}, {0, 2, 1, 0, 2, 3}}) {
    const Rendering rendering = render(vertices, triangles, {-2, -2, 13, 13});
    CHECK(sound(rendering, 2));
    CHECK(rendering.count(0) + rendering.count(1) == 64);
    CHECK(rendering.at(0, 0) >= 0 && rendering.at(7, 7) >= 0);
    CHECK(rendering.at(8, 0) == -1 && rendering.at(0, 8) == -1 && rendering.at(-1, 0) == -1);
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
          const Rendering rendering = render(vertices, {0, 1, 2, 2, 1, 0}, window);
          CHECK(sound(rendering, 2));
          if (!std::isfinite(x) || !std::isfinite(y) || !std::isfinite(other_x) || !std::isfinite(other_y))
            CHECK(rendering.count(-1) == 12 * 11);
        }
  for (const float z : wild) {
    const Rendering rendering = render({0, 0, z, 9, 0, -1, 0, 9, HUGE_FLOAT}, {0, 1, 2}, window);
    CHECK(sound(rendering, 1));
    CHECK((rendering.count(0) > 0) == std::isfinite(z));
  }
  // Much larger than the window: every pixel of it, one of the two.
  const float far = 1e7f;
  const Rendering all =
      render({-far, -far, 0, far, -far, 0, far, far, 0, -far, far, 0}, {0, 1, 2, 0, 2, 3}, window);
  CHECK(all.count(-1) == 0 && all.count(0) > 0 && all.count(1) > 0);
}

void test_tall() {
  // More pixels in short rows than the core keeps on its list.
  for (const float width : {1.0f, 2.0f, 3.0f, 4.0f, 5.0f}) {
    const Rendering rendering =
        render({0, 0, 1, width, 0, 1, 0, 3000, 1, width, 3000, 1}, {0, 1, 2, 2, 1, 3}, {-1, -1, 8, 3002});
    CHECK(sound(rendering, 2));
    CHECK(rendering.count(0) + rendering.count(1) == static_cast<std::int64_t>(width) * 3000);
  }
}

class Random {
public:
  float operator()(float scale) {
    state_ = state_ * 1664525u + 1013904223u;
    return scale * (static_cast<float>(state_ >> 8) / 16777216.0f);
  }

private:
  std::uint32_t state_ = 1;
};

bool same(const Rendering &a, const Rendering &b) {
  return a.id == b.id && std::memcmp(a.depth.data(), b.depth.data(), 4 * a.depth.size()) == 0 &&
         std::memcmp(a.barycentric.data(), b.barycentric.data(), 4 * a.barycentric.size()) == 0;
}

struct Triangles {
  std::vector<float> vertices;
  std::vector<std::int32_t> triangles;
};

// Small triangles and large ones; enough for threads to be worth it.
Triangles many_triangles() {
  Random random;
  Triangles made;
  for (std::int32_t i = 0; i < 60000; ++i) {
    const float x = random(400) - 50, y = random(400) - 50, size = i % 100 ? 9.0f : 150.0f;
    for (int corner = 0; corner < 3; ++corner) {
      made.vertices.insert(made.vertices.end(), {x + random(size), y + random(size), random(100)});
      made.triangles.push_back(3 * i + corner);
    }
  }
  return made;
}

void test_windows_and_threads() {
  const auto [vertices, triangles] = many_triangles();
  const Window all = {0, 0, 301, 300};
  const Rendering whole = render(vertices, triangles, all);
  CHECK(sound(whole, 60000));
  for (std::size_t i = 0; i < whole.id.size(); ++i) {
    std::uint32_t bits[4];
    std::memcpy(bits, &whole.id[i], 4);
    std::memcpy(bits + 1, &whole.depth[i], 4);
    std::memcpy(bits + 2, &whole.barycentric[2 * i], 8);
    for (const std::uint32_t word : bits)
      fingerprint = (fingerprint ^ word) * 16777619u;
  }
  for (const std::int32_t threads : {2, 3, 8, 256})
    CHECK(same(whole, render(vertices, triangles, all, Cull::none, threads)));
  for (const std::int32_t width : {1, 3, 7, 8, 9, 50}) {
    const Window window = {301 - width, 13, width, 40};
    const Rendering part = render(vertices, triangles, window);
    bool equal = true;
    for (std::int32_t row = 0; row < 40; ++row)
      for (std::int32_t column = 0; column < width; ++column) {
        const auto to = static_cast<std::size_t>(row * width + column);
        const auto of = static_cast<std::size_t>((row + 13) * 301 + 301 - width + column);
        equal = equal && part.id[to] == whole.id[of] && part.depth[to] == whole.depth[of] &&
                part.barycentric[2 * to] == whole.barycentric[2 * of] &&
                part.barycentric[2 * to + 1] == whole.barycentric[2 * of + 1];
      }
    CHECK(equal);
  }
}

void test_callers() {
  // Eight callers at once, each with eight threads: of one mesh, into arrays of their own.
  const Triangles mesh = many_triangles();
  const std::vector<float> &vertices = mesh.vertices;
  const std::vector<std::int32_t> &triangles = mesh.triangles;
  const Window all = {0, 0, 301, 300};
  const Rendering whole = render(vertices, triangles, all);
  const std::vector<float> background(3, 7.0f);
  const auto count = static_cast<std::int64_t>(whole.id.size());
  std::vector<std::vector<std::uint8_t>> colors(8, std::vector<std::uint8_t>(3 * whole.id.size()));
  std::vector<char> equal(8, 0);
  std::vector<std::thread> callers;
  for (std::size_t k = 0; k < 8; ++k)
    callers.emplace_back([&, k] {
      const sim3dr::Memory buffer(std::size_t(1) << 20);
      std::memset(buffer.data(), static_cast<int>(k), std::size_t(1) << 20);
      const Rendering own = render(vertices, triangles, all, Cull::none, 8);
      sim3dr::interpolate(own.id.data(), own.barycentric.data(), count, triangles.data(), vertices.data(),
                          static_cast<std::int64_t>(vertices.size() / 3), 3, background.data(), 8,
                          colors[k].data());
      equal[k] = same(whole, own);
    });
  for (std::thread &caller : callers)
    caller.join();
  for (std::size_t k = 0; k < 8; ++k)
    CHECK(equal[k] && colors[k] == colors[0]);
}

void test_slivers() {
  // Thousands of thin ones: nothing but soundness, and the sanitisers.
  Random random;
  for (int i = 0; i < 20000; ++i) {
    const float x = random(40) - 10, y = random(40) - 10, dx = random(40) - 20, dy = random(40) - 20;
    const float thin = i % 2 ? 1e-6f : 1e-2f;
    const Rendering rendering =
        render({x, y, 1, x + dx, y + dy, 2, x + dx * 0.5f + random(thin), y + dy * 0.5f + random(thin), 3},
               {0, 1, 2}, {0, 0, 20, 20});
    CHECK(sound(rendering, 1));
    for (const float depth : rendering.depth)
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
    sim3dr::interpolate(id.data(), barycentric.data(), 4, triangles.data(), attributes.data(), 3, channels,
                        background.data(), 1, out.data());
    for (std::int64_t c = 0; c < channels; ++c) {
      const auto column = static_cast<std::size_t>(c), step = static_cast<std::size_t>(channels);
      const float base = static_cast<float>(10 * c);
      CHECK(out[column] == background[column] && out[3 * step + column] == background[column]);
      CHECK(out[step + column] == base + 5.0f);
      CHECK(out[2 * step + column] == base + 8.0f);
    }
  }
  sim3dr::interpolate(nullptr, nullptr, 0, nullptr, nullptr, 0, 3, nullptr, 4, static_cast<float *>(nullptr));

  // Bytes, and as many pixels as threads are worth.
  const std::size_t many = 200000;
  const std::vector<std::int32_t> ids(many, 0);
  const std::vector<float> thirds(2 * many, 0.0f), nothing(5, 0.0f);
  for (const auto &pair :
       {std::vector<float>{-3, 0}, {0.5f, 0}, {1.5f, 2}, {254.5f, 254}, {300, 255}, {INF, 0}}) {
    for (std::size_t channels = 1; channels <= 5; ++channels) {
      const std::vector<float> values(3 * channels, pair[0]);
      std::vector<std::uint8_t> bytes(many * channels, 7);
      sim3dr::interpolate(ids.data(), thirds.data(), static_cast<std::int64_t>(many), triangles.data(),
                          values.data(), 3, static_cast<std::int64_t>(channels), nothing.data(), 3,
                          bytes.data());
      for (const std::uint8_t byte : bytes)
        if (byte != static_cast<std::uint8_t>(pair[1])) {
          CHECK(false);
          break;
        }
    }
  }
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

// Holes in a plate of 40 x 30, by what they are.
void test_holes() {
  const std::int32_t width = 40, height = 30;
  const auto n = static_cast<std::size_t>(width * height);
  const auto at = [&](int x, int y) { return static_cast<std::size_t>(y * width + x); };
  std::vector<float> depth(n, 5.0f), barycentric(2 * n, 0.25f);
  std::vector<std::int32_t> id(n);
  for (std::size_t i = 0; i < n; ++i)
    id[i] = static_cast<std::int32_t>(i);
  const auto empty = [&](std::size_t pixel) {
    id[pixel] = -1;
    depth[pixel] = -INF;
  };
  empty(at(10, 10));
  empty(at(11, 11)); // hangs on by a corner
  for (int x = 20; x < 25; ++x)
    empty(at(x, 20));         // one pixel too many
  depth[at(30, 5)] = -200.0f; // the far side shows
  depth[at(31, 25)] = -90.0f; // not that far
  empty(at(0, 0));
  empty(at(39, 29));
  sim3dr::close_holes(width, height, 4.0, 100.0f, depth.data(), id.data(), barycentric.data());
  CHECK(id[at(10, 10)] == id[at(9, 10)] && depth[at(10, 10)] == 5.0f && id[at(11, 11)] == id[at(10, 11)]);
  CHECK(id[at(20, 20)] == -1 && id[at(24, 20)] == -1);
  CHECK(id[at(30, 5)] == id[at(29, 5)] && depth[at(30, 5)] == 5.0f);
  CHECK(depth[at(31, 25)] == -90.0f);
  CHECK(id[at(0, 0)] == id[at(1, 0)] && id[at(39, 29)] == id[at(38, 29)]);

  // Of colours, or of depth alone.
  std::vector<float> row = {-INF, 7, 7, 7, -INF};
  std::vector<std::uint8_t> colors(20, 9);
  std::fill_n(colors.begin() + 4, 4, std::uint8_t(8));
  sim3dr::close_holes(5, 1, 1.0, 100.0f, row.data(), colors.data());
  CHECK(row[0] == 7.0f && colors[0] == 8 && colors[3] == 8 && row[4] == 7.0f && colors[16] == 9);
  row[2] = -INF;
  sim3dr::close_holes(5, 1, 1.0, 100.0f, row.data(), nullptr);
  CHECK(row[2] == 7.0f);

  // Nothing at all is one hole, with nothing beside it.
  std::vector<float> far(6, -INF), weights(12, 0.0f);
  std::vector<std::int32_t> none(6, -1);
  sim3dr::close_holes(3, 2, 100.0, 1.0f, far.data(), none.data(), weights.data());
  CHECK(none == std::vector<std::int32_t>(6, -1));
  sim3dr::close_holes(0, 0, 100.0, 1.0f, nullptr, nullptr, nullptr);
}

void test_composite() {
  for (const std::int32_t width : {1, 2, 3, 17, 700})
    for (const std::int32_t height : {1, 2, 5, 800}) {
      const auto n = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
      std::vector<std::int32_t> id(n, 0);
      for (std::size_t i = 0; i < n; i += 7)
        id[i] = -1;
      const std::vector<std::uint8_t> layer(3 * n, 200), levels(n, 3), background(3 * n, 100);
      std::vector<std::uint8_t> palette(768, 0), one(3 * n, 100), two = one, three = one;
      std::fill(palette.begin() + 9, palette.begin() + 12, std::uint8_t(200));
      sim3dr::Layer job = {
          width,     height,     id.data(), nullptr, layer.data(), 3, nullptr, background.data(),
          3 * width, one.data(), 3 * width, 0.5,     false};
      sim3dr::composite(job, 1);
      job.out = two.data();
      sim3dr::composite(job, 5);
      job.out = three.data();
      job.layer = levels.data();
      job.step = 1;
      job.palette = palette.data();
      sim3dr::composite(job, 1);
      CHECK(one == two && one == three);
      // Covered by depth.
      std::vector<float> depth(n, -5.0f);
      for (std::size_t i = 0; i < n; i += 7)
        depth[i] = -INF;
      std::fill(three.begin(), three.end(), std::uint8_t(100));
      job.triangle_id = nullptr;
      job.depth = depth.data();
      sim3dr::composite(job, 1);
      CHECK(one == three);
      bool right = true;
      for (std::size_t i = 0; i < 3 * n; ++i)
        right = right && (id[i / 3] < 0 ? one[i] == 100 : one[i] > 100 && one[i] <= 150);
      CHECK(right);
      // A translucent layer that is opaque, and one that is clear.
      std::vector<std::uint8_t> seen(4 * n, 200), four(3 * n, 100), clear(3 * n, 100);
      for (std::size_t i = 3; i < 4 * n; i += 4)
        seen[i] = 255;
      job.layer = seen.data();
      job.step = 4;
      job.palette = nullptr;
      job.translucent = true;
      job.out = four.data();
      sim3dr::composite(job, 3);
      CHECK(one == four);
      for (std::size_t i = 3; i < 4 * n; i += 4)
        seen[i] = 0;
      job.out = clear.data();
      sim3dr::composite(job, 2);
      CHECK(clear == background);
      // The mean of 2 x 2.
      std::vector<std::uint8_t> half(3 * n, 100);
      job = {width / 2,         height / 2, id.data(),   nullptr,   layer.data(), 3,    nullptr,
             background.data(), 3 * width,  half.data(), 3 * width, 1.0,          false};
      if (width % 2 == 0 && height % 2 == 0) {
        sim3dr::composite_averaged(job, 2);
        CHECK(half[0] == 150 || half[0] == 175); // one or two of its four pixels are bare
      }
    }
}

void test_memory() {
  const auto work = [] {
    for (std::size_t i = 0; i < 300; ++i) {
      const sim3dr::Memory first(1000 * (i % 7)), second(i * i);
      std::memset(first.data(), 1, 1000 * (i % 7));
      std::memset(second.data(), 2, i * i);
      CHECK(first.data() != second.data());
    }
  };
  std::thread other(work);
  work();
  other.join();
  const void *before = nullptr;
  {
    const sim3dr::Memory some(std::size_t(5) << 20);
    before = some.data();
  }
  // what is small would hold on to all of it, as long as it lives
  const sim3dr::Memory small(std::size_t(1) << 20);
  CHECK(small.data() != before);
  const sim3dr::Memory again(std::size_t(4) << 20);
  CHECK(again.data() == before);
}

} // namespace

int main() {
  test_square();
  test_depth_and_cull();
  test_nothing_to_draw();
  test_degenerate();
  test_values();
  test_tall();
  test_windows_and_threads();
  test_callers();
  test_slivers();
  test_interpolate();
  test_normals();
  test_holes();
  test_composite();
  test_memory();
  if (failures)
    std::fprintf(stderr, "%d checks failed\n", failures);
  else
    std::printf("all checks passed, rendering %08x\n", static_cast<unsigned>(fingerprint));
  return failures != 0;
}
