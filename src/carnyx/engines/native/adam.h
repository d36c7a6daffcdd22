// Adam's step (Kingma and Ba 2015) in one pass over memory.
#pragma once

#include <cmath>

#include "kernels.h"
#include "vector.h"

namespace carnyx {
namespace CARNYX_ISA {

static void adam(const Adam& run, int64_t part, int64_t parts) {
  const int64_t first = run.size * part / parts, end = run.size * (part + 1) / parts;
  const float *g = run.g, *w = run.w, *m = run.m, *v = run.v;
  float *new_w = run.new_w, *new_m = run.new_m, *new_v = run.new_v;
  const float a = run.a, c1 = run.c1, c2 = run.c2, epsilon = run.epsilon;
#pragma GCC ivdep
  for (int64_t i = first; i < end; ++i) {
    float mean = m[i] + (g[i] - m[i]) * c1, square = v[i] + (g[i] * g[i] - v[i]) * c2;
    new_m[i] = mean;
    new_v[i] = square;
    new_w[i] = w[i] - mean * a / (std::sqrt(square) + epsilon);
  }
}

}  // namespace CARNYX_ISA
}  // namespace carnyx
