// The kernels as XLA calls them, and the threads that share their work.
//
// XLA's C interface is used as it is: its C++ one takes many times as long to compile.

#include <algorithm>
#include <memory>

#include "kernels.h"
#include "stages.h"
#include "xla/ffi/api/c_api.h"

namespace carnyx {

#if defined(__x86_64__)
namespace avx512 { extern const Kernels kernels; }
namespace avx2 { extern const Kernels kernels; }
#endif
namespace plain { extern const Kernels kernels; }

// The best for this processor, by what the names of `hatch_build.py` stand for.
static const Kernels& best() {
#if defined(__x86_64__)
  bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
            __builtin_cpu_supports("bmi2");
  bool v4 = v3 && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd");
  if (v4) return avx512::kernels;
  if (v3) return avx2::kernels;
#endif
  return plain::kernels;
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

// How many threads some work is worth, from the least that one is.
static int64_t parts_of(XLA_FFI_CallFrame* frame, int64_t work, int64_t least) {
  int64_t threads = 1;
  XLA_FFI_ThreadPool_NumThreads_Args args = {};
  args.struct_size = XLA_FFI_ThreadPool_NumThreads_Args_STRUCT_SIZE;
  args.ctx = frame->ctx, args.num_threads = &threads;
  frame->api->XLA_FFI_ThreadPool_NumThreads(&args);
  return std::clamp<int64_t>(work / least, 1, std::clamp<int64_t>(threads, 1, 8));
}

constexpr int64_t UNITS = 64, OPERATIONS = 500'000;  // the least of a part

// A function of (part, stage) as the task of all stages.
template <typename Task>
static std::shared_ptr<Stages> stages_of(int64_t stages, int64_t parts, Task task) {
  struct Work : Stages {
    Work(int64_t stages, int64_t parts, Task task) : Stages(stages, parts), task_(task) {}
    void task(int64_t part, int64_t stage) override { task_(part, stage); }
    Task task_;
  };
  return std::make_shared<Work>(stages, parts, task);
}

// A part of some work on a thread of XLA's. When it comes to run, all may be done.
struct Helper {
  std::shared_ptr<Stages> stages;
  int64_t part;

  static void start(void* data) {
    std::unique_ptr<Helper> helper(static_cast<Helper*>(data));
    helper->stages->run(helper->part);
  }
};

// Runs the stages on this thread and on XLA's.
static void run_with_xla(XLA_FFI_CallFrame* frame, std::shared_ptr<Stages> stages) {
  for (int64_t part = 1; part < stages->parts(); ++part) {
    XLA_FFI_ThreadPool_Schedule_Args args = {};
    args.struct_size = XLA_FFI_ThreadPool_Schedule_Args_STRUCT_SIZE;
    args.ctx = frame->ctx, args.task = Helper::start, args.data = new Helper{stages, part};
    frame->api->XLA_FFI_ThreadPool_Schedule(&args);
  }
  stages->run(0);
}

// x, h, c, w, u, bias, and mask or not -> hidden, cell, sums, and squashed for a training run.
static XLA_FFI_Error* lstm(XLA_FFI_CallFrame* frame, const Kernels& kernels) {
  if (answers_metadata(frame)) return nullptr;
  const int64_t *sizes = argument(frame, 0).dims, units = argument(frame, 1).dims[1];
  Lstm run = {};
  run.steps = sizes[0], run.rows = sizes[1], run.inputs = sizes[2], run.units = units;
  run.parts = parts_of(frame, units, UNITS);
  run.x = floats(frame, 0), run.h0 = floats(frame, 1), run.c0 = floats(frame, 2);
  run.w = floats(frame, 3), run.u = floats(frame, 4), run.bias = floats(frame, 5);
  run.mask = mask(frame, 6);
  run.hidden = result(frame, 0), run.cell = result(frame, 1), run.sums = result(frame, 2);
  run.squashed = frame->rets.size > 3 ? result(frame, 3) : nullptr;
  auto stages = stages_of(run.steps + 1, run.parts, [run, &kernels](int64_t part, int64_t stage) {
    stage ? kernels.lstm_step(run, part, stage - 1) : kernels.lstm_project(run, part);
  });
  run.squashed ? run_with_xla(frame, stages) : Crew::run(stages);
  return nullptr;
}

// transposed, c, cell, squashed, gates, d_hidden, d_last, and mask or not -> sums, dh, dc.
static XLA_FFI_Error* lstm_gradient(XLA_FFI_CallFrame* frame, const Kernels& kernels) {
  if (answers_metadata(frame)) return nullptr;
  const int64_t* sizes = argument(frame, 2).dims;
  LstmGradient run = {};
  run.steps = sizes[0], run.rows = sizes[1], run.units = sizes[2];
  run.parts = parts_of(frame, run.units, UNITS);
  run.transposed = floats(frame, 0), run.c0 = floats(frame, 1), run.cell = floats(frame, 2);
  run.squashed = floats(frame, 3), run.gates = floats(frame, 4), run.d_hidden = floats(frame, 5);
  run.mask = mask(frame, 7);
  run.sums = result(frame, 0), run.dh = result(frame, 1), run.dc = result(frame, 2);
  std::copy_n(floats(frame, 6), run.rows * run.units, run.dc);
  run_with_xla(frame, stages_of(run.steps + 1, run.parts, [run, &kernels](int64_t part, int64_t s) {
    kernels.lstm_gradient(run, part, run.steps - 1 - s);
  }));
  return nullptr;
}

// left, right -> their product.
template <bool transposed>
static XLA_FFI_Error* product(XLA_FFI_CallFrame* frame, const Kernels& kernels) {
  if (answers_metadata(frame)) return nullptr;
  const int64_t *left = argument(frame, 0).dims, *right = argument(frame, 1).dims;
  Product run = {};
  run.transposed = transposed;
  run.rows = left[transposed ? 1 : 0], run.inner = right[0], run.columns = right[1];
  run.parts = parts_of(frame, 2 * run.rows * run.inner * run.columns, OPERATIONS);
  run.left = floats(frame, 0), run.right = floats(frame, 1), run.out = result(frame, 0);
  run_with_xla(frame, stages_of(1, run.parts, [run, &kernels](int64_t part, int64_t) {
    kernels.product(run, part);
  }));
  return nullptr;
}

}  // namespace carnyx

// The best kernels for this processor, how many numbers go into its registers, and the kernels of
// other instruction sets that it has then too: tests call these.
#define CARNYX_HANDLER(name, suffix, function, kernels)             \
  XLA_FFI_Error* carnyx_##name##suffix(XLA_FFI_CallFrame* frame) {  \
    return carnyx::function(frame, kernels);                        \
  }
#define CARNYX_HANDLERS(suffix, kernels)                            \
  CARNYX_HANDLER(lstm, suffix, lstm, kernels)                       \
  CARNYX_HANDLER(lstm_gradient, suffix, lstm_gradient, kernels)     \
  CARNYX_HANDLER(product, suffix, product<false>, kernels)          \
  CARNYX_HANDLER(product_transposed, suffix, product<true>, kernels)

extern "C" {
int64_t carnyx_lanes() { return carnyx::best().lanes; }
CARNYX_HANDLERS(, carnyx::best())
CARNYX_HANDLERS(_plain, carnyx::plain::kernels)
#if defined(__x86_64__)
CARNYX_HANDLERS(_avx2, carnyx::avx2::kernels)
#endif
}
