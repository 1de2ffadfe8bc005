// The colours of an eyeball that is not visible (tddfa/surface/texture.py).
#pragma once

#include "mixing.h"

#include <cstdint>

namespace tddfa {

// Texels of an eyeball: their shade, whether each is white and whether it is iris, and the parts of the
// colours of iris and white in it.
struct Eye {
  std::int64_t count;
  const std::int64_t *texels;
  const float *shade; // (count, 3)
  const std::uint8_t *white, *iris;
  const double *mix; // (count, 2)
};

// The grey of a white is `brightness` times the brightest channel of the skin, at most `brightest`; a white
// has `skin` of the colour of the skin. An iris is `iris` times the grey. The colours of the photo replace
// both where at least `enough` texels show them. What shows of a white may be a lid, lashes or tinted glass:
// its saturation is at most `saturation` times that of the skin, and its brightness at least `darkest` times
// the grey.
struct EyeRule {
  double brightness, brightest, skin, iris[3];
  std::int64_t enough;
  double saturation, darkest;
};

// Computes the colours (count, 3) of the texels of an eye. `colors` and `weight` are those of the whole
// texture, of `rows` x `columns`; without `weight` nothing of the eye is visible. The skin around is the
// fill.
void paint_eye(const Small &fill, std::int64_t rows, std::int64_t columns, const Eye &eye,
               const EyeRule &rule, const std::uint8_t *colors, const float *weight, std::uint8_t *out);

} // namespace tddfa
