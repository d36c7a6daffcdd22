// Work that goes by stages, and how threads share it.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace carnyx {

inline void breathe() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Each stage has one task a part, and begins when the stage before is done.
//
// A thread does its own part, and another's when that has not been begun for a while: its thread
// may be asleep, or have lost its core. So nobody waits for a thread that is not at work.
class Stages {
 public:
  Stages(int64_t stages, int64_t parts) : stages_(stages), parts_(parts) {}
  virtual ~Stages() = default;
  int64_t parts() const { return static_cast<int64_t>(parts_.size()); }

  void run(int64_t own) {
    for (int64_t stage = 0, looks = 0; stage < stages_;) {
      bool done = true, worked = false;
      for (int64_t i = 0; i < parts(); ++i) {
        int64_t part = (own + i) % parts();
        if (parts_[part].done.load(std::memory_order_acquire) > stage) continue;
        done = false;
        if (i == 0 || looks > PATIENCE) worked |= begin(part, stage);
      }
      stage += done;
      looks = done || worked ? 0 : looks + 1;
      if (looks > LONG) std::this_thread::yield();
      if (looks) breathe();
    }
  }

  virtual void task(int64_t part, int64_t stage) = 0;

 private:
  static constexpr int64_t PATIENCE = 100, LONG = 5000;  // 3 us and 0.1 ms
  struct Part {  // each in cache lines of its own: others look at `done` all the time
    alignas(128) std::atomic<int64_t> begun{0};
    alignas(128) std::atomic<int64_t> done{0};
  };

  bool begin(int64_t part, int64_t stage) {
    if (!parts_[part].begun.compare_exchange_strong(stage, stage + 1)) return false;
    task(part, stage);
    parts_[part].done.store(stage + 1, std::memory_order_release);
    return true;
  }

  int64_t stages_;
  std::vector<Part> parts_;
};

}  // namespace carnyx
