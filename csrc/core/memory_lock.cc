// SPDX-License-Identifier: Apache-2.0
#include "core/memory_lock.h"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace slotwise {
namespace {

struct Held {
  std::mutex mutex;
  std::condition_variable released;
  std::vector<std::pair<const unsigned char*, const unsigned char*>> ranges;
};

Held& TheHeld() {
  static Held* const held = new Held;  // never destroyed: threads may outlive static destruction
  return *held;
}

#if defined(__unix__) || defined(__APPLE__)
// The threads that held locks do not exist in a forked child.
[[maybe_unused]] const int reset_after_fork =
    pthread_atfork(nullptr, nullptr, [] { new (&TheHeld()) Held; });
#endif

}  // namespace

MemoryLock::MemoryLock(const void* begin, size_t bytes)
    : begin_(static_cast<const unsigned char*>(begin)), end_(begin_ + bytes) {
  Held& held = TheHeld();
  std::unique_lock<std::mutex> guard(held.mutex);
  held.released.wait(guard, [&] {
    return std::none_of(held.ranges.begin(), held.ranges.end(), [&](const auto& range) {
      return range.first < end_ && begin_ < range.second;
    });
  });
  held.ranges.emplace_back(begin_, end_);
}

MemoryLock::~MemoryLock() {
  Held& held = TheHeld();
  {
    const std::lock_guard<std::mutex> guard(held.mutex);
    const auto mine = std::find(held.ranges.begin(), held.ranges.end(), std::pair(begin_, end_));
    if (mine != held.ranges.end()) held.ranges.erase(mine);
  }
  held.released.notify_all();
}

}  // namespace slotwise
