#include "core/threads.h"

#include <omp.h>
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "core/denormals.h"

namespace slotwise {
namespace {

std::atomic<int> requested{0};
std::atomic<bool> forked{false};

#if defined(__unix__) || defined(__APPLE__)
[[maybe_unused]] const int watch_fork =
    pthread_atfork(nullptr, nullptr, [] { forked.store(true); });
#endif

// Where part `index` of `parts` begins: an even share, moved to a cache line boundary.
size_t Boundary(const Partition& p, size_t index, size_t parts) {
  if (index == 0) return 0;
  if (index == parts) return p.count;
  const size_t even = p.count / parts * index;
  return std::min(p.count, (even + p.line - 1) / p.line * p.line + p.phase);
}

// How many of `wanted` further threads the system lets us have at once.
size_t Startable(size_t wanted) {
  constexpr size_t kSpare = 4;  // for others: a thread that has ended counts for a moment longer
  std::mutex mutex;
  std::condition_variable ended;
  bool is_over = false;
  std::vector<std::thread> threads;
  threads.reserve(wanted + kSpare);
  try {
    while (threads.size() < wanted + kSpare) {
      threads.emplace_back([&] {
        std::unique_lock<std::mutex> lock(mutex);
        ended.wait(lock, [&] { return is_over; });
      });
    }
  } catch (const std::system_error&) {  // no more
  }
  const size_t started = threads.size();
  {
    const std::lock_guard<std::mutex> lock(mutex);
    is_over = true;
  }
  ended.notify_all();
  for (std::thread& thread : threads) thread.join();
  return started > kSpare ? std::min(wanted, started - kSpare) : 0;
}

// As many threads as may be had, `threads` at most: libgomp ends the process if one cannot be
// started. Each thread that calls has a pool of its own, which stays.
int Available(int threads) {
  thread_local int pool = 1, limit = std::numeric_limits<int>::max();
  threads = std::min(threads, limit);
  if (threads > pool) {
    const size_t wanted = static_cast<size_t>(threads - pool), more = Startable(wanted);
    pool += static_cast<int>(more);
    if (more < wanted) limit = pool;
  }
  return std::min(threads, pool);
}

}  // namespace

int NumThreads() {
  if (forked.load(std::memory_order_relaxed)) return 1;
  const int n = requested.load(std::memory_order_relaxed);
  return n > 0 ? n : omp_get_max_threads();
}

void SetNumThreads(int threads) { requested.store(threads); }

void ParallelFor(const Partition& p, RangeFunction function, const void* context) {
  const size_t useful = p.count / p.min_per_thread;
  if (useful >= 2) {
    const int threads =
        Available(static_cast<int>(std::min(static_cast<size_t>(NumThreads()), useful)));
    if (threads >= 2) {
      std::exception_ptr error;
#pragma omp parallel num_threads(threads)
      {
        const FlushDenormals flush;
        const size_t parts = static_cast<size_t>(omp_get_num_threads());
        const size_t index = static_cast<size_t>(omp_get_thread_num());
        const size_t begin = Boundary(p, index, parts);
        const size_t end = Boundary(p, index + 1, parts);
        try {
          if (begin < end) function(context, begin, end);
        } catch (...) {  // may not leave the region: out of memory, say
#pragma omp critical
          error = std::current_exception();
        }
      }
      if (error) std::rethrow_exception(error);
      return;
    }
  }
  const FlushDenormals flush;
  function(context, 0, p.count);
}

}  // namespace slotwise
