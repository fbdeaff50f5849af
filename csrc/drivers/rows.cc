// SPDX-License-Identifier: Apache-2.0
// The sparse driver: walks rows of the tables of one update, each row by one thread, with its
// occurrences in order.
#include "core/group_tasks.h"
#include "drivers/deferred.h"
#include "drivers/drivers.h"
#include "drivers/occurrences.h"
#include "passes/decay_average.h"
#include "simd/row.h"

namespace slotwise {
namespace {

class Rows {
 public:
  Rows(const Kernel& kernel, const SparseCall& call)
      : call_(call), kernel_(kernel), element_(SizeOf(call.dtype)) {
    kernel.make(call.hypers, call.attrs, &coefficients_);
  }

  size_t tables() const { return call_.table_count; }
  GroupCosts Costs(size_t t) const {
    const SparseTable& table = call_.tables[t];
    return {table.groups, 2 * (1 + kernel_.slots), table.width * element_};
  }

  // All rows of groups [begin, end) of a table.
  void operator()(size_t t, size_t begin, size_t end) const {
    const SparseTable& table = call_.tables[t];
    const DecayAndAverage* const decay_average = table.decay_average;
    const ByteArrays arrays = BytesOf(table);
    const int64_t* const rows = table.groups.rows;
    const size_t width = table.width, row_bytes = width * element_;
    Occurrences occurrences(call_.dtype, call_.duplicates, table, end);
    for (size_t g = begin; g < end; ++g) {
      if (g + kRowsAhead < end) {
        const auto next = static_cast<size_t>(rows[g + kRowsAhead]);
        const size_t ahead = next * row_bytes;
        if (table.deferred != nullptr) table.deferred->FetchStep(next);
        PrefetchRow(arrays.var + ahead, row_bytes);
        for (size_t i = 0; i < kernel_.slots; ++i) PrefetchRow(arrays.slots[i] + ahead, row_bytes);
        if (decay_average != nullptr && decay_average->average != nullptr) {
          PrefetchRow(static_cast<const char*>(decay_average->average) + ahead, row_bytes);
        }
      }
      const auto row = static_cast<size_t>(rows[g]);
      ByteArrays at = arrays.From(kernel_.slots, row * row_bytes, nullptr);
      if (table.deferred != nullptr) table.deferred->CatchUp(row);
      BeforeUpdate(call_.dtype, decay_average, row * width, width, table.var);
      occurrences.ForGroup(g, [&](const void* gradient) {
        at.grad = static_cast<const unsigned char*>(gradient);
        kernel_.update(coefficients_, at, width);
      });
      AfterUpdate(call_.dtype, decay_average, row * width, width, table.var);
      if (table.deferred != nullptr) table.deferred->Stamp(row);
    }
  }

 private:
  const SparseCall& call_;
  const Kernel& kernel_;
  const size_t element_;  // bytes
  AnyCoefficients coefficients_;
};

}  // namespace

void RunRows(const Kernel& kernel, const SparseCall& call) { RunGroups(Rows(kernel, call)); }

}  // namespace slotwise
