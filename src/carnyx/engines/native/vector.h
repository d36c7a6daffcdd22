// Vectors of float32 as wide as the registers of the instruction set that is compiled for, which
// CARNYX_ISA names.
#pragma once

#include <cstdint>

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

constexpr int64_t L = LANES;
// How many sums of vectors are kept in registers at a time: ROWS times CHUNKS, or times four gates.
constexpr int64_t ROWS = LANES == 16 ? 4 : 3, CHUNKS = LANES == 16 ? 4 : 2;

static inline Vector load(const float* from) { return *reinterpret_cast<const Vector*>(from); }
static inline void store(float* to, Vector v) { *reinterpret_cast<Vector*>(to) = v; }
static inline Vector all(float x) { return x - Vector{}; }

}  // namespace CARNYX_ISA
}  // namespace carnyx
