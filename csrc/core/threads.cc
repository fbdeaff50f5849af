// SPDX-License-Identifier: Apache-2.0
#include "core/threads.h"

#if defined(_OPENMP)
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <limits>
#include <mutex>
#include <string>
#include <thread>

#include "core/denormals.h"
#include "core/workers.h"

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

// How many cores' worth of time the control groups of this process allow; at least 1.
int CoresOfControlGroups() {
  double cores = std::numeric_limits<int>::max();
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string kinds = line.substr(first + 1, second - first - 1);
    const bool is_second_version = kinds.empty();
    if (!is_second_version && ("," + kinds + ",").find(",cpu,") == std::string::npos) continue;
    const std::string root = is_second_version ? "/sys/fs/cgroup" : "/sys/fs/cgroup/" + kinds;
    // In a container, the path may be seen from outside: then the root is its own group.
    for (std::string path = line.substr(second + 1);; path.erase(path.rfind('/'))) {
      std::string quota;
      double period = 0;
      if (is_second_version) {
        std::ifstream(root + path + "/cpu.max") >> quota >> period;
      } else {
        std::ifstream(root + path + "/cpu.cfs_quota_us") >> quota;
        std::ifstream(root + path + "/cpu.cfs_period_us") >> period;
      }
      const double allowed = std::strtod(quota.c_str(), nullptr);  // of "max": 0
      if (allowed > 0 && period > 0) cores = std::min(cores, std::ceil(allowed / period));
      if (path.empty() || path.find('/') == std::string::npos) break;
    }
  }
  return std::max(1, static_cast<int>(cores));
}

int CoresOfAffinity() {
#if defined(__linux__)
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof(cores), &cores) == 0) return std::max(1, CPU_COUNT(&cores));
#endif
  return std::numeric_limits<int>::max();  // or more cores than the set has room for
}

// Asking takes as long as a small update: a call goes by what was true a millisecond ago.
int RecentCoresOfAffinity() {
  using Clock = std::chrono::steady_clock;
  thread_local Clock::time_point asked;
  thread_local int cores = 0;
  const Clock::time_point now = Clock::now();
  if (cores == 0 || now - asked > std::chrono::milliseconds(1)) {
    cores = CoresOfAffinity();
    asked = now;
  }
  return cores;
}

// The number of threads that OpenMP would use; of cores, where the build has none.
int ThreadsOfOpenMP() {
#if defined(_OPENMP)
  return omp_get_max_threads();
#else
  static const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return cores;
#endif
}

// What OpenMP said when this was loaded. It counted the cores itself, unless it was told a number.
const int openmps_first = ThreadsOfOpenMP();
const bool is_told = std::getenv("OMP_NUM_THREADS") != nullptr;

// A call's parts, and what one of them threw.
struct Parts {
  const Partition& partition;
  RangeFunction function;
  const void* context;
  size_t count;
  mutable std::mutex mutex{};
  mutable std::exception_ptr error{};

  static void Run(const void* parts, size_t index) {
    const Parts& self = *static_cast<const Parts*>(parts);
    const FlushDenormals flush;
    const size_t begin = Boundary(self.partition, index, self.count);
    const size_t end = Boundary(self.partition, index + 1, self.count);
    try {
      if (begin < end) self.function(self.context, begin, end);
    } catch (...) {  // out of memory, say
      const std::lock_guard<std::mutex> lock(self.mutex);
      self.error = std::current_exception();
    }
  }
};

int Threads(int (*cores_of_affinity)()) {
  if (forked.load(std::memory_order_relaxed)) return 1;
  if (const int n = requested.load(std::memory_order_relaxed); n > 0) return n;
  const int n = ThreadsOfOpenMP();
  if (is_told || n != openmps_first) return n;
  static const int allowed = CoresOfControlGroups();
  return std::min({n, allowed, cores_of_affinity()});
}

}  // namespace

int NumThreads() { return Threads(&CoresOfAffinity); }

void SetNumThreads(int threads) { requested.store(threads); }

size_t PartsFor(size_t useful) {
  if (useful < 2) return 1;
  return std::min({useful, kMaxTasks, static_cast<size_t>(Threads(&RecentCoresOfAffinity))});
}

void ParallelFor(const Partition& p, RangeFunction function, const void* context) {
  const size_t count = PartsFor(p.count / p.min_per_thread);
  if (count < 2) {
    const FlushDenormals flush;
    function(context, 0, p.count);
    return;
  }
  const Parts parts{p, function, context, count};
  RunTasks(count, &Parts::Run, &parts);
  if (parts.error) std::rethrow_exception(parts.error);
}

}  // namespace slotwise
