// Long short-term memory over whole sequences.
//
// It goes by chunks of LANES units, with their four gates i, f, g, o. The recurrent weights of a
// part that fits into the second-level cache stay there, and the rate of that cache is the bound.

#pragma once

#include <initializer_list>

#include "kernels.h"
#include "vector.h"

namespace carnyx {
namespace CARNYX_ISA {

constexpr int64_t GATES = 4;

// exp(x), x cut to [-87, 88]: 2^n exp(r) with n = round(x / ln 2), and exp(r) by its series to r^7:
// |r| < 0.35, so what is left out is below 1e-8. NaN stays NaN.
static inline Vector exponential(Vector x) {
  x = x < all(-87.0f) ? all(-87.0f) : x;
  x = x > all(88.0f) ? all(88.0f) : x;
  const float magic = 12582912.0f;  // 1.5 * 2^23: n is in the last bits of the sum
  Vector shifted = x * 1.44269504f + magic;
  Vector n = shifted - magic;
  // ln 2 in two parts: n times the first is exact
  Vector r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
  Vector sum = all(1.0f / 5040);
  for (float factor : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f})
    sum = sum * r + factor;
  return sum * (Vector)(((Whole)shifted << 23) + 0x3f800000);
}

static inline Vector sigmoid(Vector x) { return 1.0f / (1.0f + exponential(-x)); }
static inline Vector hyperbolic_tangent(Vector x) { return 2.0f * sigmoid(2.0f * x) - 1.0f; }

// The chunks of a part are those from `first_chunk(run, part)` to that of the next part.
template <typename Run>
static inline int64_t first_chunk(const Run& run, int64_t part) {
  return run.units / L * part / run.parts;
}

// Adds to the sums the products of R rows with the columns of C chunks of a matrix [count, G U].
template <int64_t R, int64_t C, int64_t G>
static inline void add_products(Vector (&sums)[R][C][G], const float* rows, const float* matrix,
                                int64_t count, int64_t units, bool backwards) {
  for (int64_t n = 0; n < count; ++n) {
    const int64_t k = backwards ? count - 1 - n : n;
    for (int64_t c = 0; c < C; ++c)
      for (int64_t gate = 0; gate < G; ++gate) {
        Vector weights = load(matrix + (k * G + gate) * units + c * L);
        for (int64_t r = 0; r < R; ++r) sums[r][c][gate] += all(rows[r * count + k]) * weights;
      }
  }
}

// x W + b for R rows from `row`, of one chunk.
template <int64_t R>
static void project_rows(const Lstm& run, int64_t row, int64_t unit) {
  Vector sums[R][1][GATES];
  for (int64_t r = 0; r < R; ++r)
    for (int64_t gate = 0; gate < GATES; ++gate)
      sums[r][0][gate] = load(run.bias + gate * run.units + unit);
  add_products(sums, run.x + row * run.inputs, run.w + unit, run.inputs, run.units, false);
  float* to = run.sums + row * GATES * run.units + unit;
  for (int64_t r = 0; r < R; ++r)
    for (int64_t gate = 0; gate < GATES; ++gate, to += run.units) store(to, sums[r][0][gate]);
}

// Few rows meet W all at once, as long as it is at hand; many do so step by step, and the sums,
// which are then many, are not written and read again.
static inline bool projects_first(const Lstm& run) { return run.rows < ROWS; }

static void lstm_project(const Lstm& run, int64_t part) {
  if (!projects_first(run)) return;
  for (int64_t chunk = first_chunk(run, part); chunk < first_chunk(run, part + 1); ++chunk) {
    int64_t row = 0;
    for (; row + ROWS <= run.steps * run.rows; row += ROWS) project_rows<ROWS>(run, row, chunk * L);
    for (; row < run.steps * run.rows; ++row) project_rows<1>(run, row, chunk * L);
  }
}

// From the sums of one chunk: its gates, and c and h after the step. `row` counts steps and rows,
// `b` the rows alone.
static inline void update(const Lstm& run, const Vector* sums, int64_t row, int64_t b, int64_t unit) {
  const bool first = row == b, training = run.squashed;
  const int64_t units = run.units, at = row * units + unit, before = at - run.rows * units;
  float* cell = run.cell + (training ? at : b * units + unit);
  Vector last = load(first ? run.c0 + at : training ? run.cell + before : cell);
  Vector h = load(first ? run.h0 + at : run.hidden + before);
  Vector i = sigmoid(sums[0]), f = sigmoid(sums[1]), g = hyperbolic_tangent(sums[2]);
  Vector o = sigmoid(sums[3]), c = f * last + i * g, squashed = hyperbolic_tangent(c);
  if (training) {
    store(run.squashed + at, squashed);
    float* gates = run.sums + row * GATES * units + unit;
    for (Vector gate : {i, f, g, o}) store(gates, gate), gates += units;
  }
  const bool live = !run.mask || run.mask[row];
  store(cell, live ? c : last);
  store(run.hidden + at, live ? o * squashed : h);
}

// R rows of the batch from `b`, C chunks of each.
template <int64_t R, int64_t C>
static void step_block(const Lstm& run, int64_t chunk, int64_t b, int64_t t) {
  const int64_t units = run.units, unit = chunk * L, row = t * run.rows + b;
  const bool projected = projects_first(run);
  const float* start = projected ? run.sums + row * GATES * units + unit : run.bias + unit;
  Vector sums[R][C][GATES];
  for (int64_t r = 0; r < R; ++r)
    for (int64_t c = 0; c < C; ++c)
      for (int64_t gate = 0; gate < GATES; ++gate)
        sums[r][c][gate] = load(start + ((projected ? r * GATES : 0) + gate) * units + c * L);
  if (!projected)
    add_products(sums, run.x + row * run.inputs, run.w + unit, run.inputs, units, false);
  const float* before = t ? run.hidden + (row - run.rows) * units : run.h0 + b * units;
  // Forwards and backwards in turns: what was read last is still in the first-level cache.
  add_products(sums, before, run.u + unit, units, units, t % 2);
  for (int64_t r = 0; r < R; ++r)
    for (int64_t c = 0; c < C; ++c) update(run, sums[r][c], row + r, b + r, unit + c * L);
}

// The gradient of one chunk through step t, with that by h, which later steps and d_hidden have
// given: by the sums of the step, and in `dc` by the c of the step before.
static inline void chunk_gradient(const LstmGradient& run, Vector dh, int64_t row, int64_t b,
                                  int64_t unit) {
  const int64_t units = run.units, at = row * units + unit, gate = row * GATES * units + unit;
  const bool live = !run.mask || run.mask[row];
  Vector i = load(run.gates + gate), f = load(run.gates + gate + units);
  Vector g = load(run.gates + gate + 2 * units), o = load(run.gates + gate + 3 * units);
  Vector squashed = load(run.squashed + at);
  Vector before = load(row == b ? run.c0 + at : run.cell + at - run.rows * units);
  float* dc = run.dc + b * units + unit;
  Vector inner = load(dc) + dh * o * (1.0f - squashed * squashed);
  Vector sums[] = {inner * g * i * (1.0f - i), inner * before * f * (1.0f - f),
                   inner * i * (1.0f - g * g), dh * squashed * o * (1.0f - o)};
  for (int64_t k = 0; k < GATES; ++k)
    store(run.sums + gate + k * units, live ? sums[k] : Vector{});
  if (live) store(dc, inner * f);
}

// Step t for R rows and C chunks: the gradient by h from the sums of step t + 1, and through t.
template <int64_t R, int64_t C>
static void step_block(const LstmGradient& run, int64_t chunk, int64_t b, int64_t t) {
  const int64_t units = run.units, unit = chunk * L, row = t * run.rows + b, later = row + run.rows;
  Vector products[R][C][1] = {};
  if (t < run.steps - 1)
    add_products(products, run.sums + later * GATES * units, run.transposed + unit, GATES * units,
                 units, t % 2);
  for (int64_t r = 0; r < R; ++r)
    for (int64_t c = 0; c < C; ++c) {
      const int64_t own = unit + c * L, at = (b + r) * units + own;
      const bool waited = t < run.steps - 1 && run.mask && !run.mask[later + r];
      Vector dh = waited ? load(run.dh + at) : products[r][c][0];
      if (t >= 0) dh += load(run.d_hidden + (row + r) * units + own);
      store(run.dh + at, dh);
      if (t >= 0) chunk_gradient(run, dh, row + r, b + r, own);
    }
}

// Rows from `b`, R at a time, and the chunks of a part, C at a time; the first row that is left.
template <int64_t R, int64_t C, typename Run>
static int64_t step_rows(const Run& run, int64_t part, int64_t b, int64_t t) {
  for (; b + R <= run.rows; b += R) {
    int64_t chunk = first_chunk(run, part), end = first_chunk(run, part + 1);
    for (; chunk + C <= end; chunk += C) step_block<R, C>(run, chunk, b, t);
    for (; chunk < end; ++chunk) step_block<R, 1>(run, chunk, b, t);
  }
  return b;
}

static void lstm_step(const Lstm& run, int64_t part, int64_t t) {
  // What other cores have written comes at once, not line by line as the sums get there.
  for (int64_t i = 0; t && i < run.rows * run.units; i += 16)
    __builtin_prefetch(run.hidden + (t - 1) * run.rows * run.units + i);
  int64_t b = step_rows<CHUNKS, 1>(run, part, 0, t);
  step_rows<1, CHUNKS>(run, part, b, t);
}

static void lstm_gradient(const LstmGradient& run, int64_t part, int64_t t) {
  int64_t b = step_rows<CHUNKS, CHUNKS>(run, part, 0, t);
  step_rows<1, CHUNKS>(run, part, b, t);
}

}  // namespace CARNYX_ISA
}  // namespace carnyx
