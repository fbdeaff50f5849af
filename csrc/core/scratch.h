// SPDX-License-Identifier: Apache-2.0
// Memory for the length of a call.
#pragma once

#include <cstddef>
#include <utility>

namespace slotwise {

// Uninitialised memory, dealt out in arrays. A block that is given back is kept for a later call,
// up to a limit: fresh pages take the kernel longer than the work that is done on them.
class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(size_t bytes);  // throws std::bad_alloc
  Scratch(Scratch&& other) noexcept { *this = std::move(other); }
  Scratch& operator=(Scratch&& other) noexcept {
    std::swap(block_, other.block_);
    std::swap(used_, other.used_);
    return *this;
  }
  ~Scratch();

  // What an array of `count` elements takes.
  template <class T>
  static constexpr size_t Size(size_t count) {
    return (count * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
  }

  // The next such array; the sizes of all must not exceed the block's.
  template <class T>
  T* Take(size_t count) {
    T* const array = reinterpret_cast<T*>(static_cast<char*>(block_.data) + used_);
    used_ += Size<T>(count);
    return array;
  }

  struct Block {
    void* data = nullptr;
    size_t bytes = 0;
  };

 private:
  static constexpr size_t kAlignment = 64;

  Block block_;
  size_t used_ = 0;
};

// A list of fixed length in such memory, uninitialised.
template <class T>
class ScratchArray {
 public:
  explicit ScratchArray(size_t count)
      : memory_(Scratch::Size<T>(count)), data_(memory_.Take<T>(count)), count_(count) {}

  size_t size() const { return count_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + count_; }
  T* data() { return data_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }

 private:
  Scratch memory_;
  T* data_;
  size_t count_;
};

}  // namespace slotwise
