// Composites a raster (rasterize.h) over an image: BGR or RGB bytes, rows `stride` bytes apart.
#pragma once

#include "rasterize.h"

namespace sim3dr {

// Fills holes of up to `max_px` pixels from the pixels beside them. A pixel belongs to a hole if it is empty,
// or more than `gap` behind the nearest surface within four pixels, in x and in y; the pixels of one hole are
// connected by edges or corners. Each gets the content of the first pixel outside of holes: one step to the
// left, to the right, up, down, then two steps, and so on to sqrt(max_px) + 1. If all of those are in holes,
// it is not filled.
void close_holes(std::int32_t width, std::int32_t height, double max_px, float gap, float *depth,
                 std::int32_t *triangle_id, float *barycentric);
// The same for what `render` has drawn.
void close_holes(std::int32_t width, std::int32_t height, double max_px, float gap, float *depth,
                 std::uint8_t *colors);

// A layer and the images it is composited over, all of the size of the raster's window.
//
//   triangle_id       (height, width)       covered where it is not negative; null if `depth` tells that
//   depth             (height, width)       covered where it is not -infinity
//   layer             (height, width, step) colours of 3 channels, or an index into the palette; with
//                                           `translucent` one more channel, the opacity: 0 .. 255. What is
//                                           behind them, up to `step`, is not read.
//   palette           (256, 3)              null for a layer of colours
//   background, out   rows `stride` bytes apart; they may be the same image
//   alpha             opacity of the whole layer, 0 .. 1
struct Layer {
  std::int32_t width, height;
  const std::int32_t *triangle_id;
  const float *depth;
  const std::uint8_t *layer;
  std::int64_t step;
  const std::uint8_t *palette;
  const std::uint8_t *background;
  std::int64_t background_stride;
  std::uint8_t *out;
  std::int64_t out_stride;
  double alpha;
  bool translucent;
};

// Writes layer * alpha + background * (1 - alpha) to the covered pixels of `out`. At the outline this is
// mixed with the content of `out`, in proportion to the number of a pixel's eight neighbours that are not
// covered. Where the layer has an opacity of its own, it fades out to the content of `out`.
void composite(const Layer &layer, std::int32_t threads);

// The same for a supersampled raster with `factor` x `factor` pixels per pixel of the image, which are
// averaged: width and height are those of the image, those of the layer are `factor` times as large. A partly
// covered pixel is mixed with the content of `out` in proportion.
void composite_averaged(const Layer &layer, std::int32_t factor);

} // namespace sim3dr
