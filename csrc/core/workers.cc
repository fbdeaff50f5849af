// SPDX-License-Identifier: Apache-2.0
#include "core/workers.h"

#if defined(__unix__) || defined(__APPLE__)
#include <sched.h>
#include <signal.h>
#endif

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

#include "core/openmp_team.h"
#include "hwy/cache_control.h"

namespace slotwise {
namespace {

using Clock = std::chrono::steady_clock;

// How an active wait ended: what was waited for is done; or time was up, or others want the core.
enum class Ended : uint8_t { kDone, kAlone, kAmongOthers };

// Waits actively: a moment, whatever else wants the core, then for as long as nothing does, up to a
// limit.
template <class Done>
Ended Spin(const Done& is_done) {
  constexpr auto kAnyway = std::chrono::microseconds(20), kAtMost = std::chrono::microseconds(1000);
  constexpr auto kYielded =
      std::chrono::microseconds(20);  // to somebody: else it takes one or less
  const Clock::time_point begin = Clock::now();
  for (;;) {
    for (int i = 0; i < 64; ++i) {
      if (is_done()) return Ended::kDone;
      hwy::Pause();
    }
    const Clock::time_point before = Clock::now();
    if (before - begin < kAnyway) continue;
    std::this_thread::yield();
    const Clock::time_point after = Clock::now();
    if (is_done()) return Ended::kDone;
    if (after - before > kYielded) return Ended::kAmongOthers;
    if (after - begin > kAtMost) return Ended::kAlone;
  }
}

// The core that this thread is on, if the system says so; else -1.
int ThisCore() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

// Moves this thread to another core if it is on `core`. It may still run on any core afterwards.
void Leave(int core) {
#if defined(__linux__)
  cpu_set_t allowed;
  if (core < 0 || sched_getcpu() != core) return;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0 || CPU_COUNT(&allowed) < 2) return;
  cpu_set_t others = allowed;
  CPU_CLR(static_cast<size_t>(core), &others);
  if (sched_setaffinity(0, sizeof(others), &others) == 0) {
    sched_setaffinity(0, sizeof(allowed), &allowed);
  }
#else
  (void)core;
#endif
}

// One call's tasks. It lives on the caller's stack, until the last of its helpers has left.
class Job {
 public:
  Job(size_t count, void (*task)(const void*, size_t), const void* context)
      : count_(count), task_(task), context_(context) {}

  // Does what nobody has begun, from task `first` on.
  void Work(size_t first) {
    for (size_t k = 0; k < count_; ++k) {
      const size_t i = (first + k) % count_;
      if (Claim(i)) task_(context_, i);
    }
  }

  void Enter() { helpers_.fetch_add(1, std::memory_order_relaxed); }

  // Called by a helper, which does not touch the job afterwards.
  void Leave() {
    if (helpers_.fetch_sub(1, std::memory_order_acq_rel) != (kSleeps | 1)) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    left_.notify_all();
  }

  void AwaitHelpers() {
    const auto is_alone = [&] {
      return (helpers_.load(std::memory_order_acquire) & ~kSleeps) == 0;
    };
    if (Spin(is_alone) == Ended::kDone) return;
    std::unique_lock<std::mutex> lock(mutex_);
    helpers_.fetch_or(kSleeps, std::memory_order_acq_rel);
    left_.wait(lock, is_alone);
  }

 private:
  static constexpr uint32_t kSleeps = uint32_t{1} << 31;

  bool Claim(size_t i) {
    std::atomic<uint64_t>& word = begun_[i / 64];
    const uint64_t bit = uint64_t{1} << (i % 64);
    if ((word.load(std::memory_order_relaxed) & bit) != 0) return false;
    return (word.fetch_or(bit, std::memory_order_relaxed) & bit) == 0;
  }

  // All jobs share these: a job may be gone when its caller is told.
  static std::mutex mutex_;
  static std::condition_variable left_;

  const size_t count_;
  void (*const task_)(const void*, size_t);
  const void* const context_;
  std::array<std::atomic<uint64_t>, kMaxTasks / 64> begun_{};
  std::atomic<uint32_t> helpers_{0};
};

std::mutex Job::mutex_;
std::condition_variable Job::left_;

class Worker {
 public:
  explicit Worker(size_t index) : index_(index) {}

  // Called by whoever has a job: gives it to this worker, if it has none.
  bool Hand(Job& job) {
    Job* none = nullptr;
    if (job_.load(std::memory_order_relaxed) != nullptr) return false;
    job.Enter();
    if (!job_.compare_exchange_strong(none, &job)) {
      job.Leave();
      return false;
    }
    if (sleeps_.load()) {
      callers_core_.store(ThisCore(), std::memory_order_relaxed);
      {
        const std::lock_guard<std::mutex> lock(mutex_);
      }  // until it really does
      wake_.notify_one();
    }
    return true;
  }

  // Called by the same thread: takes the job back if the worker has not begun it.
  void TakeBack(Job& job) {
    Job* expected = &job;
    if (job_.compare_exchange_strong(expected, nullptr)) job.Leave();
  }

  [[noreturn]] void Run() {
    for (;;) {
      Job* job = job_.load();
      if (job != nullptr && job_.compare_exchange_strong(job, Busy())) {
        job->Work(index_);
        job_.store(nullptr);
        job->Leave();
      } else {
        Wait();
      }
    }
  }

 private:
  static Job* Busy() { return reinterpret_cast<Job*>(alignof(Job)); }

  void Wait() {
    const auto has_job = [&] { return job_.load() != nullptr; };
    const Ended ended = Spin(has_job);
    if (ended == Ended::kDone) return;
    const int callers = callers_core_.load(std::memory_order_relaxed);
    if (ended == Ended::kAmongOthers && ThisCore() != callers) crowded_ = Clock::now();
    std::unique_lock<std::mutex> lock(mutex_);
    sleeps_.store(true);
    // Once: who comes too late for the job that woke it waits actively for the next one.
    if (!has_job()) wake_.wait(lock);
    sleeps_.store(false);
    lock.unlock();
    // The system likes to wake a thread on the core of who wakes it. There it would get its turn
    // when the caller has done everything alone. But if others wanted another core just now, a task
    // that is begun there would wait for them.
    constexpr auto kRecently = std::chrono::milliseconds(100);
    if (Clock::now() - crowded_ > kRecently) Leave(callers_core_.load(std::memory_order_relaxed));
  }

  const size_t index_;
  alignas(64) std::atomic<Job*> job_{nullptr};  // not begun; or Busy()
  std::atomic<bool> sleeps_{false};
  std::atomic<int> callers_core_{-1};  // of the one who woke it
  Clock::time_point crowded_{};        // when it last met others on another core; its own
  std::mutex mutex_;
  std::condition_variable wake_;
};

// All workers that were ever needed. They are never stopped, so they are never freed.
class Workers {
 public:
  // Starts more if there are fewer than `wanted`. Returns how many may be used, `wanted` at most.
  size_t Have(size_t wanted) {
    wanted = std::min(wanted, kMaxTasks - 1);
    if (count_.load(std::memory_order_acquire) < wanted && !is_full_.load()) Grow(wanted);
    return std::min(wanted, count_.load(std::memory_order_acquire));
  }

  Worker& operator[](size_t i) { return *workers_[i]; }

 private:
  void Grow(size_t wanted) {
    const std::lock_guard<std::mutex> lock(mutex_);
    [[maybe_unused]] const SignalsBlocked blocked;
    while (count_.load() < wanted) {
      const size_t i = count_.load();
      try {
        auto worker = std::make_unique<Worker>(i + 1);
        std::thread([running = worker.get()] { running->Run(); }).detach();
        workers_[i] = worker.release();
      } catch (const std::system_error&) {  // no more threads for this process
        is_full_.store(true);
        return;
      }
      count_.store(i + 1, std::memory_order_release);
    }
  }

  // Handlers of the program's run in its own threads.
  class SignalsBlocked {
#if defined(__unix__) || defined(__APPLE__)
   public:
    SignalsBlocked() {
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

   private:
    sigset_t before_;
#endif
  };

  std::mutex mutex_;
  std::atomic<size_t> count_{0};
  std::atomic<bool> is_full_{false};
  std::array<Worker*, kMaxTasks> workers_{};
};

Workers& AllWorkers() {
  static Workers* const all = new Workers;  // outlives every static object of the program
  return *all;
}

}  // namespace

void RunTasks(size_t count, void (*task)(const void*, size_t), const void* context) {
  Job job(count, task, context);
  const auto work = [](void* all, size_t first) { static_cast<Job*>(all)->Work(first); };
  if (count > 1 && RunInTeam(count, work, &job)) return;
  Workers& workers = AllWorkers();
  const size_t helpers = count > 1 ? workers.Have(count - 1) : 0;
  for (size_t i = 0; i < helpers; ++i) workers[i].Hand(job);
  job.Work(0);
  for (size_t i = 0; i < helpers; ++i) workers[i].TakeBack(job);
  job.AwaitHelpers();
}

}  // namespace slotwise
