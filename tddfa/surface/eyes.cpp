#include "eyes.h"

#include <algorithm>
#include <array>
#include <vector>

namespace tddfa {
namespace {

using Tint = std::array<double, 3>;

// The median colour of some pixels, found by counting.
class Median {
public:
  void add(const std::uint8_t *color) {
    for (std::size_t c = 0; c < 3; ++c)
      ++counts_[c][color[c]];
    ++total_;
  }

  std::int64_t total() const { return total_; }

  Tint color() const {
    Tint median;
    for (std::size_t c = 0; c < 3; ++c)
      median[c] = (ranked(c, (total_ - 1) / 2) + ranked(c, total_ / 2)) / 2.0;
    return median;
  }

private:
  // The value that `rank` others precede.
  int ranked(std::size_t channel, std::int64_t rank) const {
    int value = 0;
    for (std::int64_t before = counts_[channel][0]; before <= rank;
         before += counts_[channel][static_cast<std::size_t>(value)])
      ++value;
    return value;
  }

  std::array<std::int32_t, 256> counts_[3] = {};
  std::int64_t total_ = 0;
};

double saturation(const Tint &color) {
  const auto range = std::minmax_element(color.begin(), color.end());
  return *range.second > 0.0 ? 1.0 - *range.first / *range.second : 0.0;
}

// The colour with at most this saturation and at least this brightness.
Tint like_a_white(Tint color, double most, double darkest) {
  const double bright = *std::max_element(color.begin(), color.end()), saturated = saturation(color);
  const double kept = saturated > most ? most / saturated : 1.0, lighter = std::max(darkest - bright, 0.0);
  for (double &value : color)
    value = bright - kept * (bright - value) + lighter;
  return color;
}

} // namespace

void paint_eye(const Small &fill, std::int64_t rows, std::int64_t columns, const Eye &eye,
               const EyeRule &rule, const std::uint8_t *colors, const float *weight, std::uint8_t *out) {
  enlarged_at(fill, rows, columns, eye.texels, eye.count, out);
  Tint skin = {};
  for (std::int64_t i = 0; i < 3 * eye.count; ++i)
    skin[static_cast<std::size_t>(i % 3)] +=
        static_cast<std::uint8_t>(static_cast<float>(out[i]) * eye.shade[i]);
  for (double &value : skin)
    value /= static_cast<double>(eye.count);
  Median whites, irises;
  for (std::int64_t i = 0; weight != nullptr && i < eye.count; ++i) {
    const std::int64_t texel = eye.texels[i];
    if (!(weight[texel] > 0.5f))
      continue;
    if (eye.white[i])
      whites.add(colors + 3 * texel);
    if (eye.iris[i])
      irises.add(colors + 3 * texel);
  }
  const double grey = std::min(rule.brightness * *std::max_element(skin.begin(), skin.end()), rule.brightest);
  Tint white, iris;
  for (std::size_t c = 0; c < 3; ++c) {
    white[c] = rule.skin * skin[c] + (1.0 - rule.skin) * grey;
    iris[c] = rule.iris[c] * grey;
  }
  if (whites.total() >= rule.enough)
    white = like_a_white(whites.color(), rule.saturation * saturation(skin), rule.darkest * grey);
  if (irises.total() >= rule.enough)
    iris = irises.color();
  for (std::int64_t i = 0; i < eye.count; ++i)
    for (std::size_t c = 0; c < 3; ++c)
      *out++ = static_cast<std::uint8_t>(eye.mix[2 * i] * iris[c] + eye.mix[2 * i + 1] * white[c]);
}

} // namespace tddfa
