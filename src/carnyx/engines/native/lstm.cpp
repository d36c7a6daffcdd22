// The arithmetic of `lstm.h`, compiled once for each instruction set (CARNYX_ISA names it).
//
// It goes by chunks of LANES units, with their four gates i, f, g, o. The recurrent weights of a
// part that fits into the second-level cache stay there, and the rate of that cache is the bound.

#include "lstm.h"

#include <initializer_list>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif

namespace carnyx {
namespace CARNYX_ISA {

typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Whole __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

constexpr int64_t L = LANES, GATES = 4;
// What is summed in registers at a time, times four gates: rows of x, chunks of a step.
constexpr int64_t ROWS = LANES == 16 ? 4 : 3, CHUNKS = LANES == 16 ? 4 : 2;

static inline Vector load(const float* from) { return *reinterpret_cast<const Vector*>(from); }
static inline void store(float* to, Vector v) { *reinterpret_cast<Vector*>(to) = v; }
static inline Vector all(float x) { return x - Vector{}; }

// exp(x), x cut to [-87, 88]: 2^n exp(r) with n = round(x / ln 2), and exp(r) by its series to r^7:
// |r| < 0.35, so what is left out is below 1e-8. NaN stays NaN.
static inline Vector exponential(Vector x) {
  x = x < all(-87.0f) ? all(-87.0f) : x;
  x = x > all(88.0f) ? all(88.0f) : x;
  const float magic = 12582912.0f;  // 1.5 * 2^23: n is in the last bits of the sum
  Vector shifted = x * 1.44269504f + magic;
  Vector n = shifted - magic;
  Vector r = (x - n * 0.693145752f) - n * 1.42860677e-6f;  // ln 2, of which n times the first is exact
  Vector sum = all(1.0f / 5040);
  for (float factor : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f})
    sum = sum * r + factor;
  return sum * (Vector)(((Whole)shifted << 23) + 0x3f800000);
}

static inline Vector sigmoid(Vector x) { return 1.0f / (1.0f + exponential(-x)); }
static inline Vector hyperbolic_tangent(Vector x) { return 2.0f * sigmoid(2.0f * x) - 1.0f; }

// The chunks of a part are those from `first_chunk(run, part)` to that of the next part.
static inline int64_t first_chunk(const Lstm& run, int64_t part) {
  return run.units / L * part / run.parts;
}

// x W + b for R rows from `row`, of one chunk.
template <int64_t R>
static void project_rows(const Lstm& run, int64_t row, int64_t chunk) {
  const float *x = run.x + row * run.inputs, *w = run.w + chunk * L, *bias = run.bias + chunk * L;
  Vector sums[R][GATES];
  for (int64_t r = 0; r < R; ++r)
    for (int64_t gate = 0; gate < GATES; ++gate) sums[r][gate] = load(bias + gate * run.units);
  for (int64_t k = 0; k < run.inputs; ++k, w += GATES * run.units)
    for (int64_t r = 0; r < R; ++r)
      for (int64_t gate = 0; gate < GATES; ++gate)
        sums[r][gate] += all(x[r * run.inputs + k]) * load(w + gate * run.units);
  float* to = run.sums + row * GATES * run.units + chunk * L;
  for (int64_t r = 0; r < R; ++r)
    for (int64_t gate = 0; gate < GATES; ++gate)
      store(to + (r * GATES + gate) * run.units, sums[r][gate]);
}

static void project(const Lstm& run, int64_t part) {
  for (int64_t chunk = first_chunk(run, part); chunk < first_chunk(run, part + 1); ++chunk) {
    int64_t row = 0;
    for (; row + ROWS <= run.steps * run.rows; row += ROWS) project_rows<ROWS>(run, row, chunk);
    for (; row < run.steps * run.rows; ++row) project_rows<1>(run, row, chunk);
  }
}

// R rows of the batch from `b`, C chunks of each.
template <int64_t R, int64_t C>
static void step_block(const Lstm& run, int64_t chunk, int64_t b, int64_t t) {
  const int64_t units = run.units, first = chunk * L, row = t * run.rows + b;
  const float* before = t ? run.hidden + (row - run.rows) * units : run.h0 + b * units;
  const float* start = run.sums + row * GATES * units + first;

  Vector sums[R][C][GATES];
  for (int64_t r = 0; r < R; ++r)
    for (int64_t c = 0; c < C; ++c)
      for (int64_t gate = 0; gate < GATES; ++gate)
        sums[r][c][gate] = load(start + (r * GATES + gate) * units + c * L);
  // Forwards and backwards in turns: what was read last is still in the first-level cache.
  for (int64_t n = 0; n < units; ++n) {
    int64_t k = t % 2 ? units - 1 - n : n;
    const float* u = run.u + k * GATES * units + first;
    for (int64_t c = 0; c < C; ++c)
      for (int64_t gate = 0; gate < GATES; ++gate) {
        Vector weights = load(u + gate * units + c * L);
        for (int64_t r = 0; r < R; ++r) sums[r][c][gate] += all(before[r * units + k]) * weights;
      }
  }
  for (int64_t r = 0; r < R; ++r)
    for (int64_t c = 0; c < C; ++c) {
      int64_t at = r * units + first + c * L;
      float* cell = run.cell + b * units + at;
      Vector last = load(t ? cell : run.c0 + b * units + at), h = load(before + at);
      if (!run.mask || run.mask[row + r]) {
        Vector* z = sums[r][c];
        last = sigmoid(z[1]) * last + sigmoid(z[0]) * hyperbolic_tangent(z[2]);
        h = sigmoid(z[3]) * hyperbolic_tangent(last);
      }
      store(cell, last);
      store(run.hidden + row * units + at, h);
    }
}

// All rows, in blocks as large as the registers take, then in smaller ones.
template <int64_t R, int64_t C>
static int64_t step_rows(const Lstm& run, int64_t part, int64_t b, int64_t t) {
  for (; b + R <= run.rows; b += R) {
    int64_t chunk = first_chunk(run, part), end = first_chunk(run, part + 1);
    for (; chunk + C <= end; chunk += C) step_block<R, C>(run, chunk, b, t);
    for (; chunk < end; ++chunk) step_block<R, 1>(run, chunk, b, t);
  }
  return b;
}

static void step(const Lstm& run, int64_t part, int64_t t) {
  // What other cores have written comes at once, not line by line as the sums get there.
  for (int64_t i = 0; t && i < run.rows * run.units; i += 16)
    __builtin_prefetch(run.hidden + (t - 1) * run.rows * run.units + i);
  int64_t b = step_rows<CHUNKS, 1>(run, part, 0, t);
  step_rows<1, CHUNKS>(run, part, b, t);
}

extern const LstmKernel lstm = {L, project, step};

}  // namespace CARNYX_ISA
}  // namespace carnyx
