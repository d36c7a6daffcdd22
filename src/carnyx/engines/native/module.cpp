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

static const float* floats(XLA_FFI_CallFrame* frame, int64_t i) {
  return static_cast<const float*>(argument(frame, i).data);
}

// The last argument, if it is there.
static const bool* mask(XLA_FFI_CallFrame* frame, int64_t i) {
  return frame->args.size > i ? static_cast<const bool*>(argument(frame, i).data) : nullptr;
}

static float* result(XLA_FFI_CallFrame* frame, int64_t i) {
  return static_cast<float*>(static_cast<XLA_FFI_Buffer*>(frame->rets.rets[i])->data);
}

// A function of (part, stage) as the task of all stages, on as many threads as the units are worth.
template <typename Task>
static void run_stages(int64_t stages, int64_t parts, Task task) {
  struct Work : Stages {
    Work(int64_t stages, int64_t parts, Task task) : Stages(stages, parts), task_(task) {}
    void task(int64_t part, int64_t stage) override { task_(part, stage); }
    Task task_;
  };
  Crew::run(std::make_shared<Work>(stages, parts, task));
}

static int64_t parts_of(int64_t units) {
  constexpr int64_t least = 64;  // units that a thread is worth
  return std::clamp<int64_t>(units / least, 1, Crew::most());
}

// x, h, c, w, u, bias, and mask or not -> hidden, cell, sums, and squashed for a training run.
static XLA_FFI_Error* lstm(XLA_FFI_CallFrame* frame, const LstmKernel& kernel) {
  if (answers_metadata(frame)) return nullptr;
  const int64_t *sizes = argument(frame, 0).dims, units = argument(frame, 1).dims[1];
  Lstm run = {};
  run.steps = sizes[0], run.rows = sizes[1], run.inputs = sizes[2], run.units = units;
  run.parts = parts_of(units);
  run.x = floats(frame, 0), run.h0 = floats(frame, 1), run.c0 = floats(frame, 2);
  run.w = floats(frame, 3), run.u = floats(frame, 4), run.bias = floats(frame, 5);
  run.mask = mask(frame, 6);
  run.hidden = result(frame, 0), run.cell = result(frame, 1), run.sums = result(frame, 2);
  run.squashed = frame->rets.size > 3 ? result(frame, 3) : nullptr;
  run_stages(run.steps + 1, run.parts, [run, &kernel](int64_t part, int64_t stage) {
    stage ? kernel.step(run, part, stage - 1) : kernel.project(run, part);
  });
  return nullptr;
}

// transposed, c, cell, squashed, gates, d_hidden, d_last, and mask or not -> sums, dh, dc.
static XLA_FFI_Error* lstm_gradient(XLA_FFI_CallFrame* frame, const LstmKernel& kernel) {
  if (answers_metadata(frame)) return nullptr;
  const int64_t* sizes = argument(frame, 2).dims;
  LstmGradient run = {};
  run.steps = sizes[0], run.rows = sizes[1], run.units = sizes[2], run.parts = parts_of(sizes[2]);
  run.transposed = floats(frame, 0), run.c0 = floats(frame, 1), run.cell = floats(frame, 2);
  run.squashed = floats(frame, 3), run.gates = floats(frame, 4), run.d_hidden = floats(frame, 5);
  run.mask = mask(frame, 7);
  run.sums = result(frame, 0), run.dh = result(frame, 1), run.dc = result(frame, 2);
  std::copy_n(floats(frame, 6), run.rows * run.units, run.dc);
  run_stages(run.steps + 1, run.parts, [run, &kernel](int64_t part, int64_t stage) {
    kernel.gradient(run, part, run.steps - 1 - stage);
  });
  return nullptr;
}

}  // namespace carnyx

// The best kernels for this processor, how many units go into its registers, and the others, which
// tests call: they run where they are not the best, too.
#define CARNYX_HANDLERS(suffix, kernel)                                        \
  XLA_FFI_Error* carnyx_lstm##suffix(XLA_FFI_CallFrame* frame) {               \
    return carnyx::lstm(frame, kernel);                                        \
  }                                                                            \
  XLA_FFI_Error* carnyx_lstm_gradient##suffix(XLA_FFI_CallFrame* frame) {      \
    return carnyx::lstm_gradient(frame, kernel);                               \
  }

extern "C" {
int64_t carnyx_lanes() { return carnyx::kernel().lanes; }
CARNYX_HANDLERS(, carnyx::kernel())
CARNYX_HANDLERS(_plain, carnyx::plain::lstm)
#if defined(__x86_64__)
CARNYX_HANDLERS(_avx2, carnyx::avx2::lstm)
#endif
}
