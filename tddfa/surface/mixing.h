// The last pass over the texels of a UV map: a texture is mixed from its sides (tddfa/surface/texture.py).
#pragma once

#include <cstdint>

namespace tddfa {

// A BGR image that is enlarged to the size of a texture, bilinearly.
struct Small {
  std::int64_t rows, columns;
  const std::uint8_t *pixels;
};

// What a texture is mixed from: colours of the surface and how far they can be trusted; where the other side
// may be mirrored, 1 or 0; small, the change of light of mirrored colours, plus 128, and the colours of
// texels that are visible on neither side.
struct Sides {
  std::int64_t rows, columns;
  const std::uint8_t *colors;
  const float *weight;
  const std::uint8_t *mirrorable;
  Small change, fill;
};

// Changes of the fill at some texels, in ascending order: factors of the colours, or other colours.
struct Paint {
  std::int64_t dark_count;
  const std::int64_t *dark;
  const float *shade; // (dark_count, 3)
  std::int64_t painted_count;
  const std::int64_t *painted;
  const std::uint8_t *colors; // (painted_count, 3)
};

// Blends the colour of each texel, by its weight, with that of the mirrored texel, by the weight of that, and
// the rest with the painted fill, where `where` is not 0; `out` is 0 elsewhere. `sources` is 0 where `where`
// or `inside` is 0, else 1, and one more for each that is at least half: the weight of both sides together,
// and that of the own side.
void mix_sides(const Sides &sides, const Paint &paint, const std::uint8_t *where, const std::uint8_t *inside,
               std::uint8_t *sources, std::uint8_t *out);

// Colours of some texels, in ascending order, of a small image that is enlarged to `rows` x `columns`.
void enlarged_at(const Small &small, std::int64_t rows, std::int64_t columns, const std::int64_t *texels,
                 std::int64_t count, std::uint8_t *out);

} // namespace tddfa
