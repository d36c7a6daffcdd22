// The kernels as XLA calls them, and the threads that share their work.
//
// XLA's C interface is used as it is: its C++ one takes many times as long to compile.

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

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

// A whole number given by name, or another where there is none.
static int64_t attribute(XLA_FFI_CallFrame* frame, const char* name, int64_t otherwise) {
  const XLA_FFI_Attrs& attrs = frame->attrs;
  for (int64_t i = 0; i < attrs.size; ++i)
    if (std::string(attrs.names[i]->ptr, attrs.names[i]->len) == name)
      return *static_cast<int64_t*>(static_cast<XLA_FFI_Scalar*>(attrs.attrs[i])->value);
  return otherwise;
}

// How many parts some work is worth, from the least that one is.
static int64_t parts_of(XLA_FFI_CallFrame* frame, int64_t work, int64_t least) {
  int64_t threads = 1;
  XLA_FFI_ThreadPool_NumThreads_Args args = {};
  args.struct_size = XLA_FFI_ThreadPool_NumThreads_Args_STRUCT_SIZE;
  args.ctx = frame->ctx, args.num_threads = &threads;
  frame->api->XLA_FFI_ThreadPool_NumThreads(&args);
  return std::clamp<int64_t>(work / least, 1, std::clamp<int64_t>(threads, 1, 8));
}

// The least of a part.
constexpr int64_t UNITS = 64, OPERATIONS = 500'000, NUMBERS = 25'000, BYTES = 50'000;

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

// Has a thread of XLA's call a function, sooner or later.
template <typename Function>
static void start_with_xla(XLA_FFI_CallFrame* frame, Function function) {
  XLA_FFI_ThreadPool_Schedule_Args args = {};
  args.struct_size = XLA_FFI_ThreadPool_Schedule_Args_STRUCT_SIZE;
  args.ctx = frame->ctx, args.data = new Function(function);
  args.task = [](void* data) {
    std::unique_ptr<Function> function(static_cast<Function*>(data));
    (*function)();
  };
  frame->api->XLA_FFI_ThreadPool_Schedule(&args);
}

// Runs the stages on this thread and on XLA's. When one of those comes to run, all may be done.
static void run_with_xla(XLA_FFI_CallFrame* frame, std::shared_ptr<Stages> stages) {
  for (int64_t part = 1; part < stages->parts(); ++part)
    start_with_xla(frame, [stages, part] { stages->run(part); });
  stages->run(0);
}

static Nearness nearness;

// Calls a function of the part and the number of parts, on as many threads as it pays to share so much
// work with, or as the caller asks for.
template <typename Task>
static void share(XLA_FFI_CallFrame* frame, int64_t work, int64_t least, Task task) {
  int64_t parts = parts_of(frame, work, least), asked = attribute(frame, "parts", 0);
  const bool small = work < 40 * least;
  if (parts > 1 && small && !nearness.ask([&](auto f) { start_with_xla(frame, f); })) parts = 1;
  if (asked) parts = asked;
  run_with_xla(frame, stages_of(1, parts, [=](int64_t part, int64_t) { task(part, parts); }));
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
  run.left = floats(frame, 0), run.right = floats(frame, 1), run.out = result(frame, 0);
  const int64_t operations = 2 * run.rows * run.inner * run.columns;
  share(frame, operations, OPERATIONS, [run, &kernels](int64_t part, int64_t parts) {
    kernels.product(run, part, parts);
  });
  return nullptr;
}

static float number(XLA_FFI_CallFrame* frame, int64_t i) { return *floats(frame, i); }

// g, w, a, c1, c2, epsilon, m, v -> w, m, v.
static XLA_FFI_Error* adam(XLA_FFI_CallFrame* frame, const Kernels& kernels) {
  if (answers_metadata(frame)) return nullptr;
  const XLA_FFI_Buffer& weights = argument(frame, 1);
  Adam run = {};
  run.size = 1;
  for (int64_t i = 0; i < weights.rank; ++i) run.size *= weights.dims[i];
  run.g = floats(frame, 0), run.w = floats(frame, 1);
  run.a = number(frame, 2), run.c1 = number(frame, 3), run.c2 = number(frame, 4);
  run.epsilon = number(frame, 5), run.m = floats(frame, 6), run.v = floats(frame, 7);
  run.new_w = result(frame, 0), run.new_m = result(frame, 1), run.new_v = result(frame, 2);
  share(frame, run.size, NUMBERS, [run, &kernels](int64_t part, int64_t parts) {
    kernels.adam(run, part, parts);
  });
  return nullptr;
}

// [N, ...], indices [B, 1], and `bytes` of a row as an attribute -> the rows of the indices, each
// brought into 0 to N - 1.
static XLA_FFI_Error* rows(XLA_FFI_CallFrame* frame) {
  if (answers_metadata(frame)) return nullptr;
  const int64_t bytes = attribute(frame, "bytes", 0);
  const int64_t last = argument(frame, 0).dims[0] - 1, count = argument(frame, 1).dims[0];
  const char* from = static_cast<const char*>(argument(frame, 0).data);
  const int32_t* indices = static_cast<const int32_t*>(argument(frame, 1).data);
  char* to = static_cast<char*>(static_cast<XLA_FFI_Buffer*>(frame->rets.rets[0])->data);
  share(frame, count * bytes, BYTES, [=](int64_t part, int64_t parts) {
    for (int64_t i = count * part / parts; i < count * (part + 1) / parts; ++i)
      std::memcpy(to + i * bytes, from + std::clamp<int64_t>(indices[i], 0, last) * bytes, bytes);
  });
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
  CARNYX_HANDLER(product_transposed, suffix, product<true>, kernels) \
  CARNYX_HANDLER(adam, suffix, adam, kernels)

extern "C" {
int64_t carnyx_lanes() { return carnyx::best().lanes; }
XLA_FFI_Error* carnyx_rows(XLA_FFI_CallFrame* frame) { return carnyx::rows(frame); }
CARNYX_HANDLERS(, carnyx::best())
CARNYX_HANDLERS(_plain, carnyx::plain::kernels)
#if defined(__x86_64__)
CARNYX_HANDLERS(_avx2, carnyx::avx2::kernels)
#endif
}
