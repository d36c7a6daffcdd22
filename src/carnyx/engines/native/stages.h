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

// Whether another thread is near: is at work, and gets a line of a cache fast.
//
// There and back takes 0.07 us on one processor, 0.2 us on one that has its cores in groups, but on
// some virtual machines, for seconds at a time, 0.4 us; and it takes forever while the system has put
// both threads on one core. Then it does not pay to share a tenth of a millisecond of work, whose
// data come from the other core and go back to it. So it is measured, now and then.
class Nearness {
 public:
  // `start` has another thread call a function.
  template <typename Start>
  bool ask(Start start) {
    int64_t time = now(), due = due_.load(std::memory_order_relaxed);
    if (time >= due && due_.compare_exchange_strong(due, time + PERIOD)) near_.store(measure(start));
    return near_.load(std::memory_order_relaxed);
  }

 private:
  static constexpr int64_t PERIOD = 30'000'000, PATIENCE = 200'000, NEAR = 250;  // ns
  static constexpr int64_t ROUNDS = 16;

  struct Ball {
    std::atomic<int64_t> hits{0};

    bool comes(int64_t hit, int64_t until) const {
      do {
        for (int64_t looks = 0; looks < 20; ++looks, breathe())
          if (hits.load(std::memory_order_acquire) == hit) return true;
      } while (now() < until);
      return false;
    }
  };

  template <typename Start>
  static bool measure(Start start) {
    auto ball = std::make_shared<Ball>();
    start([ball] {
      for (int64_t round = 0; round < ROUNDS && ball->comes(2 * round, now() + PATIENCE); ++round)
        ball->hits.store(2 * round + 1, std::memory_order_release);
    });
    for (int64_t round = 0, until = now() + PATIENCE; round < ROUNDS; ++round) {
      if (!ball->comes(2 * round + 1, until)) return false;
      if (round == 0) until = now() + (ROUNDS - 1) * NEAR;
      ball->hits.store(2 * round + 2, std::memory_order_release);
    }
    return true;
  }

  static int64_t now() {
    auto since = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
  }

  std::atomic<int64_t> due_{0};
  std::atomic<bool> near_{false};
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
