// SPDX-License-Identifier: Apache-2.0
#include "core/openmp_team.h"

#if defined(__linux__)
#include <dlfcn.h>
#include <pthread.h>
#include <time.h>

#include <atomic>
#include <chrono>
#include <optional>
#endif

namespace slotwise {

#if defined(__linux__)
namespace {

using Clock = std::chrono::steady_clock;

// What GCC's runtime calls these, and LLVM's and Intel's too.
struct Runtime {
  void (*parallel)(void (*)(void*), void*, unsigned threads, unsigned flags);
  int (*max_threads)();
  int (*thread_num)();
};

std::atomic<const Runtime*> shared{nullptr};

// How long a thread has run, as it was seen last.
struct Member {
  clockid_t clock;
  timespec ran;

  // Whether it ran since then; none if it has ended.
  std::optional<bool> HasRun() {
    const timespec before = ran;
    if (clock_gettime(clock, &ran) != 0) return std::nullopt;
    return ran.tv_nsec != before.tv_nsec || ran.tv_sec != before.tv_sec;
  }
};

// What the calling thread knows of its team.
struct Team {
  std::optional<Member> one{};  // not known before the first region, nor if another took its place
  Clock::time_point ended{};    // when our latest region did
  Clock::time_point shunned{};  // no region before

  // Whether the members have cores now, where they wait actively for their next region.
  bool IsAwake(Clock::time_point now) {
    constexpr auto kSurely = std::chrono::microseconds(500);  // by any runtime's defaults
    if (now - ended < kSurely) return true;                   // to look takes some microseconds
    for (int i = 0; i < 2; ++i) {
      if (one && !one->HasRun().value_or(true)) return false;
    }
    return true;
  }

  // What a region took besides the caller's own work: others want the cores if it is much. Then no
  // region begins for so long that little time is lost in all.
  void Heed(Clock::time_point now, Clock::duration work, Clock::duration wait) {
    constexpr int kAtMost = 50;  // a fiftieth of the time
    ended = now;
    if (wait > work) shunned = now + kAtMost * wait;
  }
};

thread_local Team team;

struct Region {
  const Runtime& runtime;
  size_t wanted;
  void (*member)(void*, size_t);
  void* context;
  std::optional<Member> one{};
  Clock::duration work{};  // the caller's

  static void Run(void* region) {
    Region& self = *static_cast<Region*>(region);
    const auto i = static_cast<size_t>(self.runtime.thread_num());
    clockid_t clock;
    if (i == 1 && pthread_getcpuclockid(pthread_self(), &clock) == 0) self.one = {clock, {}};
    const Clock::time_point begin = Clock::now();
    if (i < self.wanted) self.member(self.context, i);
    if (i == 0) self.work = Clock::now() - begin;
  }
};

template <class Function>
bool Find(void* scope, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(scope, name));
  return function != nullptr;
}

}  // namespace

bool ShareTeamOf(const char* library) {
  if (shared.load() != nullptr) return true;
  void* const handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
  if (handle == nullptr) return false;
  // The library's own calls, too, go to what the whole program sees, if that has them.
  for (void* const scope : {dlopen(nullptr, RTLD_LAZY), handle}) {
    static Runtime found;
    if (Find(scope, "GOMP_parallel", found.parallel) &&
        Find(scope, "omp_get_max_threads", found.max_threads) &&
        Find(scope, "omp_get_thread_num", found.thread_num)) {
      shared.store(&found);
      return true;
    }
  }
  return false;
}

bool RunInTeam(size_t wanted, void (*member)(void* context, size_t i), void* context) {
  const Runtime* const runtime = shared.load(std::memory_order_acquire);
  if (runtime == nullptr || static_cast<size_t>(runtime->max_threads()) < wanted) return false;
  const Clock::time_point begin = Clock::now();
  if (begin < team.shunned || !team.IsAwake(begin)) return false;
  Region region{*runtime, wanted, member, context};
  // As many threads as the runtime's other regions have: for fewer, it would end the others.
  runtime->parallel(&Region::Run, &region, 0, 0);
  const Clock::time_point end = Clock::now();
  team.one = region.one;
  team.Heed(end, region.work, end - begin - region.work);
  return true;
}

#else

bool ShareTeamOf(const char*) { return false; }
bool RunInTeam(size_t, void (*)(void*, size_t), void*) { return false; }

#endif

}  // namespace slotwise
