// The kernels as XLA calls them, and the threads that share their work.
//
// XLA's C interface is used as it is: its C++ one takes many times as long to compile.

#include <algorithm>
#include <memory>

#include "lstm.h"
#include "stages.h"
#include "xla/ffi/api/c_api.h"

namespace carnyx {

// The kernels of every instruction set that was compiled, the best first.
#if defined(__x86_64__)
namespace avx512 { extern const LstmKernel lstm; }
namespace avx2 { extern const LstmKernel lstm; }
#endif
namespace plain { extern const LstmKernel lstm; }

static const LstmKernel& kernel() {
#if defined(__x86_64__)  // what the names of `hatch_build.py` stand for
  bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
            __builtin_cpu_supports("bmi2");
  bool v4 = v3 && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd");
  if (v4) return avx512::lstm;
  if (v3) return avx2::lstm;
#endif
  return plain::lstm;
}

class LstmStages : public Stages {
 public:
  LstmStages(const Lstm& run, const LstmKernel& kernel)
      : Stages(run.steps + 1, run.parts), run_(run), kernel_(kernel) {}

 protected:
  void task(int64_t part, int64_t stage) override {
    stage ? kernel_.step(run_, part, stage - 1) : kernel_.project(run_, part);
  }

 private:
  const Lstm run_;
  const LstmKernel& kernel_;
};

// XLA asks once what the handler was compiled against.
static bool answers_metadata(XLA_FFI_CallFrame* frame) {
  XLA_FFI_Extension_Base* extension = frame->extension_start;
  if (!extension || extension->type != XLA_FFI_Extension_Metadata) return false;
  XLA_FFI_Metadata* metadata =
      reinterpret_cast<XLA_FFI_Metadata_Extension*>(extension)->metadata;
  metadata->api_version.major_version = XLA_FFI_API_MAJOR;
  metadata->api_version.minor_version = XLA_FFI_API_MINOR;
  metadata->traits = 0;
  return true;
}

static const XLA_FFI_Buffer& argument(XLA_FFI_CallFrame* frame, int64_t i) {
  return *static_cast<XLA_FFI_Buffer*>(frame->args.args[i]);
}

static float* result(XLA_FFI_CallFrame* frame, int64_t i) {
  return static_cast<float*>(static_cast<XLA_FFI_Buffer*>(frame->rets.rets[i])->data);
}

// The least number of units that a thread is worth.
constexpr int64_t UNITS_A_PART = 64;

// x, h, c, w, u, bias, and mask or not -> hidden, cell, sums.
static XLA_FFI_Error* lstm(XLA_FFI_CallFrame* frame, const LstmKernel& kernel) {
  if (answers_metadata(frame)) return nullptr;
  const float* arrays[6];
  for (int64_t i = 0; i < 6; ++i) arrays[i] = static_cast<const float*>(argument(frame, i).data);
  const int64_t *sizes = argument(frame, 0).dims, units = argument(frame, 1).dims[1];
  Lstm run = {};
  run.steps = sizes[0], run.rows = sizes[1], run.inputs = sizes[2], run.units = units;
  run.parts = std::clamp<int64_t>(units / UNITS_A_PART, 1, Crew::most());
  run.x = arrays[0], run.h0 = arrays[1], run.c0 = arrays[2];
  run.w = arrays[3], run.u = arrays[4], run.bias = arrays[5];
  run.mask = frame->args.size > 6 ? static_cast<bool*>(argument(frame, 6).data) : nullptr;
  run.hidden = result(frame, 0), run.cell = result(frame, 1), run.sums = result(frame, 2);
  Crew::run(std::make_shared<LstmStages>(run, kernel));
  return nullptr;
}

}  // namespace carnyx

// The best kernel for this processor, how many units go into its registers, and the others, which
// tests call: each runs on every processor for which it is not the best.
extern "C" {
XLA_FFI_Error* carnyx_lstm(XLA_FFI_CallFrame* frame) {
  return carnyx::lstm(frame, carnyx::kernel());
}
int64_t carnyx_lanes() { return carnyx::kernel().lanes; }
XLA_FFI_Error* carnyx_lstm_plain(XLA_FFI_CallFrame* frame) {
  return carnyx::lstm(frame, carnyx::plain::lstm);
}
#if defined(__x86_64__)
XLA_FFI_Error* carnyx_lstm_avx2(XLA_FFI_CallFrame* frame) {
  return carnyx::lstm(frame, carnyx::avx2::lstm);
}
#endif
}
