// What the kernels read and write, and their table, of which there is one for each instruction set.
//
// Work is cut into parts, one for each thread. Arrays are dense, the last axis first in memory.
#pragma once

#include <cstdint>

namespace carnyx {

// Long short-term memory over whole sequences. A part is some of the units: it needs of the others
// nothing but the hidden state of the step before.
struct Lstm {
  int64_t steps, rows, inputs, units, parts;
  // x [T, B, D], h0 and c0 [B, U], w [D, 4U], u [U, 4U], bias [4U], mask [T, B] or null.
  const float *x, *h0, *c0, *w, *u, *bias;
  const bool* mask;
  // Out: h of every step [T, B, U], and the last c [B, U]. A training run, which has `squashed`,
  // keeps of every step c and tanh(c), [T, B, U], and the gates, in `sums`.
  float *hidden, *cell, *squashed;
  float* sums;  // memory for x W + b, [T, B, 4U]
};

// The way back through a training run, from d_hidden [T, B, U] and, in `dc`, the gradient by the last
// c. Out: the gradients by the sums x W + h U + b of each step [T, B, 4U], by h0 and by c0 [B, U].
struct LstmGradient {
  int64_t steps, rows, units, parts;
  const float *transposed, *c0, *cell, *squashed, *gates, *d_hidden;  // the first is [4U, U]
  const bool* mask;
  float *sums, *dh, *dc;
};

// A product of matrices, [M, K], or [K, M] if `transposed`, times [K, N]. A part is some rows.
struct Product {
  int64_t rows, inner, columns;
  bool transposed;
  const float *left, *right;
  float* out;
};

// Adam's step on `size` numbers: m += (g - m) c1, v += (g^2 - v) c2, w -= a m / (sqrt(v) + epsilon),
// where each of w, m and v may be written where it is read. A part is some of the numbers.
struct Adam {
  int64_t size;
  const float *g, *w, *m, *v;
  float a, c1, c2, epsilon;
  float *new_w, *new_m, *new_v;
};

struct Kernels {
  int64_t lanes;  // the units of an LSTM are a multiple of this
  // `lstm_project` comes first for a part, then its steps in their order; `lstm_gradient` goes from
  // the last step to step -1, which is the way to h0.
  void (*lstm_project)(const Lstm&, int64_t part);
  void (*lstm_step)(const Lstm&, int64_t part, int64_t t);
  void (*lstm_gradient)(const LstmGradient&, int64_t part, int64_t t);
  void (*product)(const Product&, int64_t part, int64_t parts);
  void (*adam)(const Adam&, int64_t part, int64_t parts);
};

}  // namespace carnyx
