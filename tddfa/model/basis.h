// Linear combinations of basis vectors, and their projection by a camera.
#pragma once

#include <cstdint>

namespace tddfa {

struct Basis {
  const float *mean;           // length
  const float *vectors;        // count x length; or NULL, and `halves` in their place:
  const std::uint16_t *halves; // the bits of numbers of 16 bits (IEEE 754 binary16)
  std::int64_t count, length;
};

// Whether this processor has instructions that read numbers of 16 bits. Only then may a basis have `halves`.
bool reads_halves();

// out[k] = mean + sum of coefficients[k][i] * vectors[i], for `faces` rows of coefficients. The order of the
// sums is fixed: the result depends neither on the instruction set nor on the number of faces.
void combine(const Basis &basis, const float *coefficients, std::int64_t faces, float *out);

// Maps points (count, 3) by a matrix (3, 4), row by row, in place.
void project(const float *matrix, float *points, std::int64_t count);

} // namespace tddfa
