#include "skin.h"

#include <array>
#include <cmath>
#include <vector>

namespace tddfa {
namespace {

using Tone = std::array<double, 3>;

// Red and blue relative to green, and brightness of the photo at a vertex: logarithms.
Tone tone_at(const Photo &photo, const float *vertex, const double *logarithms) {
  std::uint8_t color[3];
  bilinear(photo, Position::on(vertex[0], photo.columns), Position::on(vertex[1], photo.rows), color);
  const double blue = logarithms[color[0]], green = logarithms[color[1]], red = logarithms[color[2]];
  return {red - green, blue - green, (blue + green + red) / 3};
}

double median(std::vector<double> &values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return values.size() % 2 ? *middle : (*middle + *std::max_element(values.begin(), middle)) / 2;
}

} // namespace

void skin_trust(const Photo &photo, const SkinMesh &mesh, const SkinRule &rule, float *trust) {
  const std::int64_t count = mesh.rings.count;
  std::fill(trust, trust + count, 1.0f);
  // without branches, which would be mispredicted: each vertex is written, and kept where it belongs
  std::vector<std::int64_t> outer(static_cast<std::size_t>(count) + 1),
      inner(static_cast<std::size_t>(count) + 1);
  std::size_t outer_count = 0, inner_count = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    inner[inner_count] = outer[outer_count] = i;
    inner_count += (mesh.opacity[i] == 1.0f) & (mesh.seen[i] >= rule.well_seen);
    outer_count += (mesh.seen[i] > 0.0f) & ((mesh.opacity[i] < 1.0f) | (mesh.rim[i] < rule.near_outline));
  }
  outer.resize(outer_count);
  inner.resize(inner_count);
  if (static_cast<std::int64_t>(inner.size()) < rule.enough || outer.empty())
    return;
  std::vector<double> known[3];
  const std::size_t step = std::max<std::size_t>(1, inner.size() / static_cast<std::size_t>(rule.samples));
  for (std::size_t i = 0; i < inner.size(); i += step) {
    const Tone tone = tone_at(photo, mesh.vertices + 3 * inner[i], rule.logarithms);
    for (std::size_t k = 0; k < 3; ++k)
      known[k].push_back(tone[k]);
  }
  Tone middle, spread;
  for (std::size_t k = 0; k < 3; ++k) {
    middle[k] = median(known[k]);
    for (double &value : known[k])
      value = std::abs(value - middle[k]);
    spread[k] = std::clamp(1.5 * median(known[k]), rule.least_spread[k], rule.largest_spread[k]);
  }
  for (const std::int64_t i : outer) {
    const Tone tone = tone_at(photo, mesh.vertices + 3 * i, rule.logarithms);
    double squares = 0.0;
    for (std::size_t k = 0; k < 3; ++k) {
      double off = (tone[k] - middle[k]) / spread[k];
      if (k == 2 && mesh.opacity[i] >= rule.ear)
        off = std::max(off, 0.0);
      squares += off * off;
    }
    const double skin = (rule.other - std::sqrt(squares)) / (rule.other - rule.skin);
    trust[i] = static_cast<float>(std::clamp(skin, 0.0, 1.0));
  }
  std::vector<float> smooth(outer.size());
  for (std::int64_t pass = 0; pass < rule.smoothings; ++pass) {
    for (std::size_t k = 0; k < outer.size(); ++k) {
      const float own = trust[outer[k]];
      smooth[k] = own > 0.0f ? std::min(mean_of_ring(mesh.rings, trust, outer[k]), own) : 0.0f;
    }
    for (std::size_t k = 0; k < outer.size(); ++k)
      trust[outer[k]] = smooth[k];
  }
}

} // namespace tddfa
