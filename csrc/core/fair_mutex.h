// SPDX-License-Identifier: Apache-2.0
// A lock of one who writes or of many who read, where readers that come later do not pass who waits
// to write, as they do with std::shared_mutex on Linux: threads that read without a pause would
// hold up a step for good.
#pragma once

#include <mutex>
#include <shared_mutex>

namespace slotwise {

class FairMutex {
 public:
  void lock() {
    const std::lock_guard<std::mutex> door(door_);
    room_.lock();
  }
  bool try_lock() {
    const std::unique_lock<std::mutex> door(door_, std::try_to_lock);
    return door.owns_lock() && room_.try_lock();
  }
  void unlock() { room_.unlock(); }
  void lock_shared() {
    const std::lock_guard<std::mutex> door(door_);
    room_.lock_shared();
  }
  void unlock_shared() { room_.unlock_shared(); }

 private:
  std::mutex door_;  // held by who waits
  std::shared_mutex room_;
};

}  // namespace slotwise
