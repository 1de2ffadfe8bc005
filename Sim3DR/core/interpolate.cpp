// Vertex attributes over the pixels of a rendering.
#include "rasterize.h"

#include "bytes.h"
#include "parallel.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

namespace sim3dr {
namespace {

inline void put(float value, std::uint8_t *to) {
  *to = to_byte(value);
}
inline void put(float value, float *to) {
  *to = value;
}

template <int Channels, class Out>
void interpolate_part(const std::int32_t *triangle_id, const float *barycentric, std::int64_t pixel_count,
                      const std::int32_t *triangles, const float *attributes, std::int64_t channels_or_zero,
                      const float *background, Out *out) {
  const std::int64_t channels = Channels ? Channels : channels_or_zero;
  for (std::int64_t pixel = 0; pixel < pixel_count; ++pixel, out += channels) {
    const std::int32_t id = triangle_id[pixel];
    if (id < 0) {
      for (std::int64_t c = 0; c < channels; ++c)
        put(background[c], out + c);
      continue;
    }
    const std::int32_t *triangle = triangles + 3 * static_cast<std::int64_t>(id);
    const float *first = attributes + channels * triangle[0];
    const float *second = attributes + channels * triangle[1];
    const float *third = attributes + channels * triangle[2];
    const float u = barycentric[2 * pixel], v = barycentric[2 * pixel + 1];
    for (std::int64_t c = 0; c < channels; ++c)
      put(third[c] + (u * (first[c] - third[c]) + v * (second[c] - third[c])), out + c);
  }
}

// Runs a function on parts of the pixels: their begin and end.
template <class Run> void in_parts(std::int64_t pixel_count, std::int32_t threads, const Run &run) {
  const auto parts = static_cast<std::int32_t>(
      std::clamp<std::int64_t>(pixel_count / (4 * WORTH_A_THREAD), 1, std::max(threads, 1)));
  in_parallel(parts,
              [&](std::int32_t part) { run(pixel_count * part / parts, pixel_count * (part + 1) / parts); });
}

template <class Out>
void interpolate_any(const std::int32_t *triangle_id, const float *barycentric, std::int64_t pixel_count,
                     const std::int32_t *triangles, const float *attributes, std::int64_t channels,
                     const float *background, std::int32_t threads, Out *out) {
  const auto run = channels == 1   ? interpolate_part<1, Out>
                   : channels == 2 ? interpolate_part<2, Out>
                   : channels == 3 ? interpolate_part<3, Out>
                                   : interpolate_part<0, Out>;
  in_parts(pixel_count, threads, [&](std::int64_t begin, std::int64_t end) {
    run(triangle_id + begin, barycentric + 2 * begin, end - begin, triangles, attributes, channels,
        background, out + begin * channels);
  });
}

#if defined(__GNUC__)

// The vector extensions of GCC and Clang.
typedef float Four __attribute__((vector_size(16)));
typedef std::int32_t FourInts __attribute__((vector_size(16)));
typedef std::uint8_t FourBytes __attribute__((vector_size(4)));

inline FourBytes to_bytes(Four value) { // as `to_byte`
  const Four most = {255.0f, 255.0f, 255.0f, 255.0f};
  value = (Four)((value > 0.0f) & (FourInts)value);
  const FourInts fits = value < most;
  value = (Four)((fits & (FourInts)value) | (~fits & (FourInts)most)) + 0x1p23f;
  return __builtin_convertvector((FourInts)value & 255, FourBytes);
}

// Bytes of two to four channels, all at once. The attributes have four columns.
template <int Channels>
void interpolate_bytes(const std::int32_t *triangle_id, const float *barycentric, std::int64_t pixel_count,
                       const std::int32_t *triangles, const Four *attributes, FourBytes background,
                       std::uint8_t *out) {
  const auto color = [&](std::int64_t pixel) {
    const std::int32_t id = triangle_id[pixel];
    if (id < 0)
      return background;
    const std::int32_t *triangle = triangles + 3 * static_cast<std::int64_t>(id);
    const Four first = attributes[triangle[0]], second = attributes[triangle[1]],
               third = attributes[triangle[2]];
    const float u = barycentric[2 * pixel], v = barycentric[2 * pixel + 1];
    return to_bytes(third + (u * (first - third) + v * (second - third)));
  };
  // Four bytes are written; the next pixel overwrites those that are its own. The last pixel has no next one.
  for (std::int64_t pixel = 0; pixel < pixel_count; ++pixel, out += Channels) {
    const FourBytes bytes = color(pixel);
    std::memcpy(out, &bytes, pixel + 1 < pixel_count ? 4 : Channels);
  }
}

template <int Channels>
void interpolate_wide(const std::int32_t *triangle_id, const float *barycentric, std::int64_t pixel_count,
                      const std::int32_t *triangles, const float *attributes, std::int64_t vertex_count,
                      const float *background, std::int32_t threads, std::uint8_t *out) {
  std::vector<Four> wide(static_cast<std::size_t>(vertex_count));
  for (std::size_t vertex = 0; vertex < wide.size(); ++vertex)
    for (std::size_t c = 0; c < Channels; ++c)
      wide[vertex][c] = attributes[Channels * vertex + c];
  Four empty = {};
  for (int c = 0; c < Channels; ++c)
    empty[c] = background[c];
  in_parts(pixel_count, threads, [&](std::int64_t begin, std::int64_t end) {
    interpolate_bytes<Channels>(triangle_id + begin, barycentric + 2 * begin, end - begin, triangles,
                                wide.data(), to_bytes(empty), out + begin * Channels);
  });
}

#endif

} // namespace

void interpolate(const std::int32_t *triangle_id, const float *barycentric, std::int64_t pixel_count,
                 const std::int32_t *triangles, const float *attributes, std::int64_t, std::int64_t channels,
                 const float *background, std::int32_t threads, float *out) {
  interpolate_any(triangle_id, barycentric, pixel_count, triangles, attributes, channels, background, threads,
                  out);
}

void interpolate(const std::int32_t *triangle_id, const float *barycentric, std::int64_t pixel_count,
                 const std::int32_t *triangles, const float *attributes, std::int64_t vertex_count,
                 std::int64_t channels, const float *background, std::int32_t threads, std::uint8_t *out) {
#if defined(__GNUC__)
  // Not for few pixels: widening the attributes would take longer.
  if (channels >= 2 && channels <= 4 && pixel_count > 2 * vertex_count) {
    const auto run = channels == 2   ? interpolate_wide<2>
                     : channels == 3 ? interpolate_wide<3>
                                     : interpolate_wide<4>;
    return run(triangle_id, barycentric, pixel_count, triangles, attributes, vertex_count, background,
               threads, out);
  }
#endif
  interpolate_any(triangle_id, barycentric, pixel_count, triangles, attributes, channels, background, threads,
                  out);
}

} // namespace sim3dr
