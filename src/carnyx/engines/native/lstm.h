// Long short-term memory over whole sequences: what the kernels of `lstm.cpp` read and write.
//
// The units are cut into parts, one for each thread. A part needs of the others nothing but the
// hidden state of the step before.
#pragma once

#include <cstdint>

namespace carnyx {

struct Lstm {
  int64_t steps, rows, inputs, units, parts;
  // x [T, B, D], h0 and c0 [B, U], w [D, 4U], u [U, 4U], bias [4U], mask [T, B] or null.
  const float *x, *h0, *c0, *w, *u, *bias;
  const bool* mask;
  float *hidden, *cell;  // out: h of every step [T, B, U], the last c [B, U]
  float* sums;           // memory for x W + b: [T, B, 4U]
};

// One for each instruction set. `project` comes first for a part, then its steps in their order.
struct LstmKernel {
  int64_t lanes;  // it takes numbers of units that are multiples of this
  void (*project)(const Lstm&, int64_t part);
  void (*step)(const Lstm&, int64_t part, int64_t t);
};

}  // namespace carnyx
