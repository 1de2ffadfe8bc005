// Which vertices of a mesh show skin, by the colours of the face itself (tddfa/surface/skin.py).
#pragma once

#include "bilinear.h"
#include "vertices.h"

#include <cstdint>

namespace tddfa {

struct SkinMesh {
  Rings rings;
  const float *vertices;             // (rings.count, 3), px of the photo
  const float *opacity, *seen, *rim; // (rings.count,)
};

// What decides; the constants of tddfa/surface/skin.py.
struct SkinRule {
  float well_seen, near_outline, ear;
  std::int64_t enough, samples, smoothings;
  double least_spread[3], largest_spread[3], skin, other;
  const double *logarithms; // of the 256 values of a channel
};

// How likely each vertex shows skin.
void skin_trust(const Photo &photo, const SkinMesh &mesh, const SkinRule &rule, float *trust);

} // namespace tddfa
