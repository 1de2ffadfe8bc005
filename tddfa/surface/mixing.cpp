#include "mixing.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "mixing_rows.h"

namespace tddfa {
namespace {

// The memory of an `Enlargement`.
class Enlarger {
public:
  Enlarger(const Small &small, std::int64_t rows, std::int64_t columns)
      : small_(small), down_(enlarged_axis(small.rows, rows)), across_(enlarged_axis(small.columns, columns)),
        memory_(static_cast<std::size_t>(3 * small.columns) + 1) {}

  Enlargement enlargement() { return {small_, down_.data(), across_.data(), memory_.data()}; }

private:
  Small small_;
  std::vector<Part> down_, across_;
  std::vector<Pixel> memory_;
};

} // namespace

void mix_sides(const Sides &sides, const Paint &paint, const std::uint8_t *where, const std::uint8_t *inside,
               std::uint8_t *sources, std::uint8_t *out) {
  Enlarger change(sides.change, sides.rows, sides.columns), fill(sides.fill, sides.rows, sides.columns);
  const Mixing mixing = {sides, change.enlargement(), fill.enlargement(), paint};
#ifdef TDDFA_HAS_AVX2_VARIANT
  if (has_avx2())
    return mix_rows_avx2(mixing, where, inside, sources, out);
#endif
  mix_rows<OneTexel>(mixing, where, inside, sources, out);
}

void enlarged_at(const Small &small, std::int64_t rows, std::int64_t columns, const std::int64_t *texels,
                 std::int64_t count, std::uint8_t *out) {
  Enlarger enlarger(small, rows, columns);
  const Enlargement enlargement = enlarger.enlargement();
  Enlarged enlarged(enlargement);
  for (std::int64_t i = 0; i < count; ++i) {
    enlarged.go_to<OneTexel>(texels[i] / columns);
    std::uint8_t bytes[4];
    enlarged.at<OneTexel>(texels[i] % columns).store(bytes);
    std::memcpy(out + 3 * i, bytes, 3);
  }
}

} // namespace tddfa
