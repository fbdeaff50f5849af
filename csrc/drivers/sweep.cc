// SPDX-License-Identifier: Apache-2.0
// The sweep driver: where a sparse update means the whole table, the rows that no id names have a
// zero gradient, or are decayed and averaged only. It streams through all of them; the rows driver
// does the others.
#include <algorithm>

#include "core/row_set.h"
#include "core/threads.h"
#include "core/zeros.h"
#include "drivers/drivers.h"
#include "passes/decay_average.h"

namespace slotwise {
namespace {

class Sweep {
 public:
  Sweep(const Kernel& kernel, const SweepCall& call)
      : call_(call), kernel_(kernel), element_(SizeOf(call.dtype)) {
    kernel.make(call.hypers, call.attrs, &coefficients_);
  }

  void Run() const {
    const size_t row_bytes = call_.width * element_ * (1 + kernel_.slots);
    const size_t min_rows = std::max(size_t{1}, kMinBytesPerThread / row_bytes);
    ParallelFor({call_.rows, min_rows, 0, 1}, &Part, this);
  }

 private:
  static void Part(const void* context, size_t begin, size_t end) {
    const Sweep& self = *static_cast<const Sweep*>(context);
    const RowSet& except = *self.call_.except;
    const size_t width = self.call_.width;
    for (size_t row = except.FirstOutside(begin, end); row < end;) {
      const size_t stop = except.FirstInside(row, end);
      self.Apply(row * width, stop * width);
      row = except.FirstOutside(stop, end);
    }
  }

  void Apply(size_t begin, size_t end) const {
    const size_t step = call_.decay_average == nullptr ? kZeroElements : kStagedBlock;
    const ByteArrays arrays = BytesOf(call_);
    while (begin < end) {
      const size_t count = std::min(step, end - begin);
      BeforeUpdate(call_.dtype, call_.decay_average, begin, count, call_.var);
      if (call_.untouched != Untouched::kKeep) {
        kernel_.update(coefficients_, arrays.From(kernel_.slots, begin * element_, kZeros), count);
      }
      AfterUpdate(call_.dtype, call_.decay_average, begin, count, call_.var);
      begin += count;
    }
  }

  const SweepCall& call_;
  const Kernel& kernel_;
  const size_t element_;  // bytes
  AnyCoefficients coefficients_;
};

}  // namespace

void RunSweep(const Kernel& kernel, const SweepCall& call) { Sweep(kernel, call).Run(); }

}  // namespace slotwise
