// SPDX-License-Identifier: Apache-2.0
#include "core/scratch.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <new>

#include "core/aligned.h"

namespace slotwise {
namespace {

constexpr size_t kMaxKept = 32 << 20;  // bytes of one block
constexpr size_t kPage = 4096;

std::mutex mutex;
std::array<Scratch::Block, 4> kept;
size_t oldest = 0;

}  // namespace

Scratch::Scratch(size_t bytes) {
  bytes = (std::max(bytes, size_t{1}) + kPage - 1) / kPage * kPage;
  // Whoever does not get the lock (in a forked child, no one may ever) does without.
  if (const std::unique_lock<std::mutex> lock(mutex, std::try_to_lock); lock) {
    for (Block& block : kept) {
      if (block.bytes >= bytes && block.bytes / 2 <= bytes) {
        std::swap(block, block_);
        return;
      }
    }
  }
  block_ = {AllocateAligned(kAlignment, bytes), bytes};
  if (block_.data == nullptr) throw std::bad_alloc();
}

Scratch::~Scratch() {
  if (block_.data != nullptr && block_.bytes <= kMaxKept) {
    if (const std::unique_lock<std::mutex> lock(mutex, std::try_to_lock); lock) {
      std::swap(kept[oldest], block_);
      oldest = (oldest + 1) % kept.size();
    }
  }
  FreeAligned(block_.data);
}

}  // namespace slotwise
