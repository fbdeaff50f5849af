// SPDX-License-Identifier: Apache-2.0
// The dense driver: walks the memory of a list of tensors, whatever the rule and dtype.
#include <algorithm>

#include "core/strided.h"
#include "core/threads.h"
#include "drivers/drivers.h"
#include "passes/decay_average.h"
#include "passes/gradients.h"

namespace slotwise {
namespace {

class Dense {
 public:
  Dense(const Kernel& kernel, const DenseCall& call)
      : call_(call), kernel_(kernel), element_(SizeOf(call.dtype)) {
    kernel.make(call.hypers, call.attrs, &coefficients_);
  }

  // The threads share the elements of all tensors, as if these lay one behind the other.
  void Run() const {
    const DenseTensor* const tensors = call_.tensors;
    const DenseTensor& last = tensors[call_.tensor_count - 1];
    const size_t bytes_per_element = element_ * (2 + kernel_.slots);
    const size_t phase = call_.tensor_count == 1 ? LinePhase(tensors->var, element_) : 0;
    ParallelFor({last.first + last.count, kMinBytesPerThread / bytes_per_element, phase,
                 kLineBytes / element_},
                &Part, this);
  }

 private:
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
    const ByteArrays arrays = BytesOf(tensor);
    const auto* const grad = static_cast<const unsigned char*>(tensor.grad.data);
    // (A variable that is its own gradient is read before it decays.)
    const bool is_plain = tensor.grad.contiguous && tensor.transform == nullptr &&
                          (tensor.decay_average == nullptr || tensor.grad.data != tensor.var);
    const size_t step = is_plain && tensor.decay_average == nullptr ? end - begin : kStagedBlock;
    alignas(64) unsigned char block[kStagedBlock * sizeof(double)];
    while (begin < end) {
      const size_t count = std::min(step, end - begin);
      if (!is_plain) {
        ReadGradient(call_.dtype, tensor.grad, tensor.transform, begin, count, block);
      }
      BeforeUpdate(call_.dtype, tensor.decay_average, begin, count, tensor.var);
      const size_t at = begin * element_;
      kernel_.update(coefficients_, arrays.From(kernel_.slots, at, is_plain ? grad + at : block),
                     count);
      AfterUpdate(call_.dtype, tensor.decay_average, begin, count, tensor.var);
      begin += count;
    }
  }

  const DenseCall& call_;
  const Kernel& kernel_;
  const size_t element_;  // bytes
  AnyCoefficients coefficients_;
};

}  // namespace

void RunDense(const Kernel& kernel, const DenseCall& call) { Dense(kernel, call).Run(); }

}  // namespace slotwise
