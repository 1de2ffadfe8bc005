// A raster (rasterize.h) laid over a picture: BGR or RGB bytes, rows `stride` bytes apart.
#pragma once

#include "rasterize.h"

namespace sim3dr {

// Gives holes of up to `most` pixels what lies beside them. In a hole nothing is seen, or something that lies
// more than `gap` behind the nearest surface within four pixels, in x and in y; its pixels hang together, by
// corners too. Each gets what the first pixel beside the hole has: one step away to the left, to the right,
// up, down, then two steps, and so on to sqrt(most) + 1; none, if all of those lie in holes.
void close_holes(std::int32_t width, std::int32_t height, double most, float gap, float *depth,
                 std::int32_t *triangle_id, float *barycentric);

// What is laid over a picture, and on what: all of the raster's window.
//
//   triangle_id   (height, width)       covered where it is not negative
//   layer         (height, width, 3)    or (height, width) indices of the palette
//   palette       (256, 3)              null for a layer of colours
//   under, out    rows `stride` bytes apart; they may be one picture
//   alpha         opacity, 0 .. 1
struct Layer {
  std::int32_t width, height;
  const std::int32_t *triangle_id;
  const std::uint8_t *layer, *palette;
  const std::uint8_t *under;
  std::int64_t under_stride;
  std::uint8_t *out;
  std::int64_t out_stride;
  double alpha;
};

// Writes layer * alpha + under * (1 - alpha) to `out` where the raster is covered. At its outline that is
// mixed with what `out` holds, the more, the more of a pixel's eight neighbours are not covered.
void lay(const Layer &layer, std::int32_t threads);

// The same for a raster with `factor` x `factor` pixels for each of the picture's, whose mean is laid: width
// and height are the picture's, those of the layer are `factor` times as large. A pixel covered in part takes
// so much of the layer; the rest is what `out` holds.
void lay_average(const Layer &layer, std::int32_t factor);

} // namespace sim3dr
