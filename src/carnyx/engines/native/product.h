// Products of matrices of which the second fits into the second-level cache.
#pragma once

#include <algorithm>
#include <vector>

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
#pragma GCC unroll 8  // otherwise the sums go to memory before they go out
  for (int64_t r = 0; r < R; ++r)
#pragma GCC unroll 8
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
    for (; column + L <= run.columns; column += L) product_block<R, 1>(run, row, column);
  }
  return row;
}

// The columns that do not fill a vector, in memory that has room for one.
static void product_rest(const Product& run, int64_t first, int64_t end) {
  const int64_t rest = run.columns % L, before = run.columns - rest;
  std::vector<float> right(run.inner * L), out(run.rows * L);
  for (int64_t k = 0; k < run.inner; ++k)
    std::copy_n(run.right + k * run.columns + before, rest, &right[k * L]);
  Product narrow = run;
  narrow.columns = L, narrow.right = right.data(), narrow.out = out.data();
  product_rows<1>(narrow, product_rows<4>(narrow, first, end), end);
  for (int64_t row = first; row < end; ++row)
    std::copy_n(&out[row * L], rest, run.out + row * run.columns + before);
}

static void product(const Product& run, int64_t part, int64_t parts) {
  const int64_t first = run.rows * part / parts, end = run.rows * (part + 1) / parts;
  product_rows<1>(run, product_rows<4>(run, first, end), end);
  if (run.columns % L) product_rest(run, first, end);
}

}  // namespace CARNYX_ISA
}  // namespace carnyx
