// All kernels, for the instruction set that is compiled for.

#include "kernels.h"

#include "adam.h"
#include "lstm.h"
#include "product.h"
#include "vector.h"

namespace carnyx {
namespace CARNYX_ISA {

extern const Kernels kernels = {L, lstm_project, lstm_step, lstm_gradient, product, adam};

}  // namespace CARNYX_ISA
}  // namespace carnyx
