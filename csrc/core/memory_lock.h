// SPDX-License-Identifier: Apache-2.0
// Exclusive use of a range of memory, for calls with use_locking=True.
#pragma once

#include <cstddef>

namespace slotwise {

// Waits until no other lock overlaps [begin, begin + bytes). Views that share memory exclude each
// other even if they start at different addresses.
class MemoryLock {
 public:
  MemoryLock(const void* begin, size_t bytes);
  ~MemoryLock();
  MemoryLock(const MemoryLock&) = delete;
  MemoryLock& operator=(const MemoryLock&) = delete;

 private:
  const unsigned char* begin_;
  const unsigned char* end_;
};

}  // namespace slotwise
