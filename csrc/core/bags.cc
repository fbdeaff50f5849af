// SPDX-License-Identifier: Apache-2.0
#include "core/bags.h"

#include <atomic>

#include "core/threads.h"

namespace slotwise {
namespace {

// Offsets that nobody else can change, so that what is checked is what is used.
struct OwnOffsets {
  static constexpr size_t kBlock = 16384;  // ranges are whole blocks

  const int64_t* from;
  int64_t* own;
  mutable std::atomic<bool> ascend{true}, count_up{true};

  static void Copy(const void* context, size_t begin, size_t end) {
    const auto& self = *static_cast<const OwnOffsets*>(context);
    for (; begin < end; begin += kBlock) self.CopyBlock(begin, std::min(begin + kBlock, end));
  }

  void CopyBlock(size_t begin, size_t end) const {
    std::copy(from + begin, from + end, own + begin);
    bool falls = false, differs = own[begin] != static_cast<int64_t>(begin);
    for (size_t i = begin + 1; i < end; ++i) {
      falls |= own[i - 1] > own[i];
      differs |= own[i] != static_cast<int64_t>(i);
    }
    if (falls) ascend = false;
    if (differs) count_up = false;
  }
};

template <class T>
struct Filling {
  Pooling mode;
  const int64_t* offsets;
  const T* weights;
  const std::vector<bool>& left_out;
  uint32_t* bags;
  T* divisors;  // null: not asked for

  static void Range(const void* context, size_t begin, size_t end) {
    const auto& self = *static_cast<const Filling*>(context);
    for (size_t bag = begin; bag < end; ++bag) self.One(bag);
  }

  void One(size_t bag) const {
    const auto first = static_cast<size_t>(offsets[bag]);
    const auto last = static_cast<size_t>(offsets[bag + 1]);
    std::fill(bags + first, bags + last, static_cast<uint32_t>(bag));
    if (divisors == nullptr) return;
    divisors[bag] = PoolDivisor<T>(mode, first, last, [&](size_t k) -> T {
      if (!left_out.empty() && left_out[k]) return 0;
      return weights == nullptr ? 1 : weights[k];
    });
  }
};

}  // namespace

OffsetsAre CopyOffsets(const int64_t* offsets, size_t count, bool has_end, size_t ids,
                       int64_t* to) {
  constexpr size_t kBlock = OwnOffsets::kBlock;
  const OwnOffsets own{offsets, to};
  ParallelFor({count, kBlock, 0, kBlock}, &OwnOffsets::Copy, &own);
  for (size_t i = kBlock; i < count; i += kBlock) {
    if (to[i - 1] > to[i]) own.ascend = false;
  }
  const auto end = static_cast<int64_t>(ids);
  if (!has_end) to[count++] = end;
  const bool fits = own.ascend && count > 0 && to[0] == 0 && to[count - 1] == end &&
                    (count == 1 || to[count - 2] <= end);
  if (!fits) return OffsetsAre::kWrong;
  return own.count_up && count == ids + 1 ? OffsetsAre::kOneIdEach : OffsetsAre::kAscending;
}

template <class T>
void Bags::Fill(Pooling mode, const int64_t* offsets, size_t bags,
                const std::vector<bool>& left_out) {
  const auto ids = static_cast<size_t>(offsets[bags]);
  const bool divides = mode != Pooling::kSum;
  memory_ = Scratch(Scratch::Size<uint32_t>(ids) + Scratch::Size<T>(divides ? bags : 0));
  auto* const bag_of = memory_.Take<uint32_t>(ids);
  auto* const divisors = divides ? memory_.Take<T>(bags) : nullptr;
  const Filling<T> filling{mode,     offsets, static_cast<const T*>(view_.weights),
                           left_out, bag_of,  divisors};
  const size_t bag_bytes = (ids / std::max(size_t{1}, bags) + 1) * sizeof(uint32_t);
  ParallelFor({bags, kMinBytesPerThread / bag_bytes + 1, 0, 1}, &Filling<T>::Range, &filling);
  view_.bags = bag_of;
  view_.divisors = divisors;
}

Bags::Bags(DType dtype, Pooling mode, const int64_t* offsets, size_t bags, const void* weights,
           const std::vector<bool>& left_out)
    : view_{nullptr, weights, nullptr} {
  if (dtype == DType::kF64) {
    Fill<double>(mode, offsets, bags, left_out);
  } else {
    Fill<float>(mode, offsets, bags, left_out);
  }
}

}  // namespace slotwise
