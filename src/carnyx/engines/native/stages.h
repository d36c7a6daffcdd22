// Work that goes by stages, and the threads that share it.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
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

// Threads of our own, which live as long as the process and are made when there is work for them.
//
// They look out for the next work for some time before they sleep: to wake a thread, as XLA's have
// to be between two calls, takes 30 us, and all the steps of a small LSTM take 100. While XLA's are
// awake they contend with those, so work amid XLA's other work is better given to XLA's.
class Crew {
 public:
  // Runs the stages on this thread and on the crew, unless that is at work for another thread.
  static void run(std::shared_ptr<Stages> stages) {
    static Crew& crew = *new Crew;  // never destroyed: its threads outlive everything
    std::unique_lock<std::mutex> turn(crew.turn_, std::try_to_lock);
    if (turn.owns_lock() && stages->parts() > 1) crew.give(stages);
    stages->run(0);
  }

 private:
  void give(std::shared_ptr<Stages> stages) {
    while (size_ < stages->parts()) std::thread([this, own = size_++] { work(own); }).detach();
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stages_ = stages;
      given_.fetch_add(1);
    }
    if (asleep_.load()) wake_.notify_all();
  }

  void work(int64_t own) {
    for (int64_t seen = 0;;) {
      wait(seen);
      std::shared_ptr<Stages> stages;
      {
        std::lock_guard<std::mutex> lock(mutex_);
        stages = stages_;
        seen = given_.load();
      }
      if (own < stages->parts()) stages->run(own);
    }
  }

  void wait(int64_t seen) {
    auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(200);
    while (std::chrono::steady_clock::now() < until) {
      for (int64_t looks = 0; looks < 50; ++looks, breathe())
        if (given_.load() != seen) return;
      std::this_thread::yield();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    asleep_.fetch_add(1);
    wake_.wait(lock, [&] { return given_.load() != seen; });
    asleep_.fetch_sub(1);
  }

  int64_t size_ = 1;
  std::mutex turn_, mutex_;
  std::condition_variable wake_;
  std::atomic<int64_t> given_{0}, asleep_{0};
  std::shared_ptr<Stages> stages_;
};

}  // namespace carnyx
