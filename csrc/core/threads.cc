#include "core/threads.h"

#include <omp.h>
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

#include <algorithm>
#include <atomic>
#include <exception>

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
    const int threads = static_cast<int>(std::min(static_cast<size_t>(NumThreads()), useful));
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
