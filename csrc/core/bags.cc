// SPDX-License-Identifier: Apache-2.0
#include "core/bags.h"

#include <atomic>

#include "core/threads.h"

namespace slotwise {
namespace {

// Offsets that nobody else can change, so that what is checked is what is used.
struct OwnOffsets {
  const int64_t* from;
  int64_t* own;
  mutable std::atomic<bool> ascend{true};

  static void Copy(const void* context, size_t begin, size_t end) {
    const auto& self = *static_cast<const OwnOffsets*>(context);
    std::copy(self.from + begin, self.from + end, self.own + begin);
  }

  static void Check(const void* context, size_t begin, size_t end) {
    const auto& self = *static_cast<const OwnOffsets*>(context);
    bool ascend = true;
    for (size_t i = std::max(begin, size_t{1}); i < end; ++i) {
      ascend &= self.own[i - 1] <= self.own[i];
    }
    if (!ascend) self.ascend = false;
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

bool CopyOffsets(const int64_t* offsets, size_t count, bool has_end, size_t ids, int64_t* to) {
  const OwnOffsets own{offsets, to};
  const Partition all{count, 16384, 0, 1};
  ParallelFor(all, &OwnOffsets::Copy, &own);
  ParallelFor(all, &OwnOffsets::Check, &own);
  const auto end = static_cast<int64_t>(ids);
  if (has_end) return own.ascend && count > 0 && to[0] == 0 && to[count - 1] == end;
  to[count] = end;
  return own.ascend && to[0] == 0 && (count == 0 || to[count - 1] <= end);
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
