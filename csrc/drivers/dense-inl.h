// SPDX-License-Identifier: Apache-2.0
// The dense driver: walks the memory of a list of tensors, whatever the rule and dtype.

#if defined(SLOTWISE_DRIVERS_DENSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_DRIVERS_DENSE_INL_H_
#undef SLOTWISE_DRIVERS_DENSE_INL_H_
#else
#define SLOTWISE_DRIVERS_DENSE_INL_H_
#endif

#include <algorithm>

#include "passes/decay_average.h"
#include "passes/gradients.h"
#include "core/strided.h"
#include "core/threads.h"
#include "drivers/span-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class R, class Codec>
class Dense {
 public:
  explicit Dense(const DenseCall& call)
      : call_(call), coefficients_(CoefficientsOf<R, typename Codec::Compute>(call)) {}

  // The threads share the elements of all tensors, as if these lay one behind the other.
  void Run() const {
    constexpr size_t kBytesPerElement = sizeof(Stored) * (2 + RuleSpan::kSlots);
    const DenseTensor* const tensors = call_.tensors;
    const DenseTensor& last = tensors[call_.tensor_count - 1];
    const size_t phase =
        call_.tensor_count == 1 ? RuleSpan::LinePhase(static_cast<const Stored*>(tensors->var)) : 0;
    const Partition partition{last.first + last.count, kMinBytesPerThread / kBytesPerElement, phase,
                              RuleSpan::kLine};
    ParallelFor(partition, &Part, this);
  }

 private:
  using Stored = typename Codec::Stored;
  using RuleSpan = Span<R, Codec>;

  static void Part(const void* context, size_t begin, size_t end) {
    const Dense& self = *static_cast<const Dense*>(context);
    const DenseTensor* const tensors = self.call_.tensors;
    const DenseTensor* t = tensors;
    if (self.call_.tensor_count > 1) {  // the last one that begins there or before
      const auto is_before = [](size_t at, const DenseTensor& each) { return at < each.first; };
      t = std::upper_bound(tensors, tensors + self.call_.tensor_count, begin, is_before) - 1;
    }
    for (; begin < end; ++t) {
      const size_t stop = std::min(end, t->first + t->count);
      self.Apply(*t, begin - t->first, stop - t->first);
      begin = stop;
    }
  }

  void Apply(const DenseTensor& tensor, size_t begin, size_t end) const {
    Arrays<Stored> arrays;
    arrays.var = static_cast<Stored*>(tensor.var);
    for (size_t i = 0; i < kMaxSlots; ++i) arrays.slots[i] = static_cast<Stored*>(tensor.slots[i]);
    const Stored* const grad = static_cast<const Stored*>(tensor.grad.data);
    // (A variable that is its own gradient is read before it decays.)
    const bool is_plain = tensor.grad.contiguous && tensor.transform == nullptr &&
                          (tensor.decay_average == nullptr || tensor.grad.data != tensor.var);
    const size_t step = is_plain && tensor.decay_average == nullptr ? end - begin : kStagedBlock;
    Stored block[kStagedBlock];
    while (begin < end) {
      const size_t count = std::min(step, end - begin);
      if (!is_plain) {
        ReadGradient(call_.dtype, tensor.grad, tensor.transform, begin, count, block);
      }
      BeforeUpdate(call_.dtype, tensor.decay_average, begin, count, tensor.var);
      RuleSpan::Apply(
          coefficients_,
          arrays.template From<RuleSpan::kSlots>(begin, is_plain ? grad + begin : block), count);
      AfterUpdate(call_.dtype, tensor.decay_average, begin, count, tensor.var);
      begin += count;
    }
  }

  const DenseCall& call_;
  typename RuleSpan::RuleUpdate::Coefficients coefficients_;
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
