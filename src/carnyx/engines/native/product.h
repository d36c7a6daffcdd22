// Products of matrices of which the second fits into the second-level cache.
#pragma once

#include "kernels.h"
#include "vector.h"

namespace carnyx {
namespace CARNYX_ISA {

// R rows of C vectors.
template <int64_t R, int64_t C>
static void product_block(const Product& run, int64_t row, int64_t column) {
  const int64_t step = run.transposed ? run.rows : 1, next = run.transposed ? 1 : run.inner;
  const float *left = run.left + row * next, *right = run.right + column;
  Vector sums[R][C] = {};
  for (int64_t k = 0; k < run.inner; ++k, left += step, right += run.columns)
    for (int64_t c = 0; c < C; ++c) {
      Vector factor = load(right + c * L);
      for (int64_t r = 0; r < R; ++r) sums[r][c] += all(left[r * next]) * factor;
    }
  for (int64_t r = 0; r < R; ++r)
    for (int64_t c = 0; c < C; ++c)
      store(run.out + (row + r) * run.columns + column + c * L, sums[r][c]);
}

// Rows from `row`, as many at a time; the first that is left.
template <int64_t R>
static int64_t product_rows(const Product& run, int64_t row, int64_t end) {
  for (; row + R <= end; row += R) {
    int64_t column = 0;
    for (; column + CHUNKS * L <= run.columns; column += CHUNKS * L)
      product_block<R, CHUNKS>(run, row, column);
    for (; column < run.columns; column += L) product_block<R, 1>(run, row, column);
  }
  return row;
}

static void product(const Product& run, int64_t part) {
  const int64_t first = run.rows * part / run.parts, end = run.rows * (part + 1) / run.parts;
  product_rows<1>(run, product_rows<ROWS>(run, first, end), end);
}

}  // namespace CARNYX_ISA
}  // namespace carnyx
