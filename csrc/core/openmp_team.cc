// SPDX-License-Identifier: Apache-2.0
#include "core/openmp_team.h"

#if defined(__linux__)
#include <dlfcn.h>
#include <pthread.h>
#include <time.h>

#include <atomic>
#include <optional>
#endif

namespace slotwise {

#if defined(__linux__)
namespace {

// What GCC's runtime calls these, and LLVM's and Intel's too.
struct Runtime {
  void (*parallel)(void (*)(void*), void*, unsigned threads, unsigned flags);
  int (*max_threads)();
  int (*thread_num)();
};

std::atomic<const Runtime*> shared{nullptr};

// How long a thread of the calling thread's team has run, as it was seen last.
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

thread_local std::optional<Member> member_one;

// Whether the team has a core now, where it waits actively for its next region. It is not known of
// a thread's first team, nor of one that takes the place of another: their first region tells.
bool IsAwake() {
  for (int i = 0; i < 2; ++i) {
    if (member_one && !member_one->HasRun().value_or(true)) return false;
  }
  return true;
}

struct Region {
  const Runtime& runtime;
  size_t wanted;
  void (*member)(void*, size_t);
  void* context;
  std::optional<Member> one{};

  static void Run(void* region) {
    Region& self = *static_cast<Region*>(region);
    const auto i = static_cast<size_t>(self.runtime.thread_num());
    clockid_t clock;
    if (i == 1 && pthread_getcpuclockid(pthread_self(), &clock) == 0) self.one = {clock, {}};
    if (i < self.wanted) self.member(self.context, i);
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
  if (runtime == nullptr || static_cast<size_t>(runtime->max_threads()) < wanted || !IsAwake()) {
    return false;
  }
  Region region{*runtime, wanted, member, context};
  // As many threads as the runtime's other regions have: for fewer, it would end the others.
  runtime->parallel(&Region::Run, &region, 0, 0);
  member_one = region.one;
  return true;
}

#else

bool ShareTeamOf(const char*) { return false; }
bool RunInTeam(size_t, void (*)(void*, size_t), void*) { return false; }

#endif

}  // namespace slotwise
