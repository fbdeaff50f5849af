// SPDX-License-Identifier: Apache-2.0
#include "drivers/deferred.h"

#include <algorithm>
#include <cstring>

#include "core/scratch.h"
#include "core/targets.h"
#include "core/threads.h"
#include "core/zeros.h"
#include "passes/skip.h"

namespace slotwise {

DeferredTable::DeferredTable(const RuleEntry& rule, const Movement& movement, const Memory& memory)
    : rule_(rule),
      movement_(movement),
      memory_(memory),
      row_bytes_(memory.width * SizeOf(memory.dtype)),
      clock_(movement, memory.slot_count, memory.dtype, memory.average != nullptr,
             memory.rows * row_bytes_) {}

void DeferredTable::Replace(const ByteArrays& arrays) const {
  const Kernel kernel = rule_.rows[TargetIndex()](memory_.dtype);
  const size_t element = SizeOf(memory_.dtype);
  for (size_t begin = 0; begin < memory_.width; begin += kZeroElements) {
    kernel.update(latest_, arrays.From(kernel.slots, begin * element, kZeros),
                  std::min(kZeroElements, memory_.width - begin));
  }
}

void DeferredTable::CatchUp(size_t row) const {
  const int32_t s = memory_.last[row];
  if (s >= clock_.now()) return;
  if (movement_.drift == Drift::kReplaced) {
    if (s >= clock_.replaced_at()) return;
    ByteArrays arrays{};
    arrays.var = At(memory_.var, row);
    for (size_t i = 0; i < memory_.slot_count; ++i) arrays.slots[i] = At(memory_.slots[i], row);
    return Replace(arrays);
  }
  SkippedRow skipped{};
  skipped.var = skipped.to_var = At(memory_.var, row);
  for (size_t i = 0; i < memory_.slot_count; ++i) {
    skipped.slots[i] = skipped.to_slots[i] = At(memory_.slots[i], row);
  }
  if (memory_.average != nullptr) {
    skipped.average = skipped.to_average = At(memory_.average, row);
  }
  SkipOf(memory_.dtype)({clock_, movement_, memory_.slot_count, memory_.width}, s, skipped);
}

void DeferredTable::ReadRow(size_t row, size_t which, void* to) const {
  void* const array = which == kVar       ? memory_.var
                      : which == kAverage ? memory_.average
                                          : memory_.slots[which];
  const int32_t s = memory_.last[row];
  const bool is_replaced = movement_.drift == Drift::kReplaced;
  // (Slots of a rule that replaces var stay as they are.)
  if (s >= (is_replaced ? clock_.replaced_at() : clock_.now()) || (is_replaced && which != kVar)) {
    std::memcpy(to, At(array, row), row_bytes_);
    return;
  }
  if (is_replaced) {  // in a copy
    const size_t bytes = row_bytes_, all = bytes * (1 + memory_.slot_count);
    alignas(64) unsigned char near[4096];  // rows as long need no memory
    Scratch memory;
    unsigned char* copy = near;
    if (all > sizeof(near)) {
      memory = Scratch(Scratch::Size<unsigned char>(all));
      copy = memory.Take<unsigned char>(all);
    }
    ByteArrays arrays{};
    arrays.var = copy;
    std::memcpy(copy, At(memory_.var, row), bytes);
    for (size_t i = 0; i < memory_.slot_count; ++i) {
      arrays.slots[i] = copy + (i + 1) * bytes;
      std::memcpy(arrays.slots[i], At(memory_.slots[i], row), bytes);
    }
    Replace(arrays);
    std::memcpy(to, copy, bytes);
    return;
  }
  SkippedRow skipped{};
  skipped.var = At(memory_.var, row);
  for (size_t i = 0; i < memory_.slot_count; ++i) skipped.slots[i] = At(memory_.slots[i], row);
  if (memory_.average != nullptr) skipped.average = At(memory_.average, row);
  if (which == kVar) {
    skipped.to_var = to;
    skipped.average = nullptr;  // no need to make its polynomial
  } else if (which == kAverage) {
    skipped.to_average = to;
  } else {
    skipped.to_slots[which] = to;
  }
  SkipOf(memory_.dtype)({clock_, movement_, memory_.slot_count, memory_.width}, s, skipped);
}

void DeferredTable::Tick(const Motion& motion, const Clock::Around& around, const double* hypers,
                         const bool* attrs) {
  if (movement_.drift == Drift::kReplaced && !motion.is_idle) {
    rule_.rows[TargetIndex()](memory_.dtype).make(hypers, attrs, &latest_);
  }
  clock_.Tick(motion, around);
  is_behind_ = true;
}

void DeferredTable::FlushRange(const void* context, size_t begin, size_t end) {
  const auto& self = *static_cast<const DeferredTable*>(context);
  constexpr size_t kAhead = 8;
  for (size_t row = begin; row < end; ++row) {
    if (row + kAhead < end) self.Fetch(row + kAhead);
    self.CatchUp(row);
    self.memory_.last[row] = 0;
  }
}

void DeferredTable::Flush(const Motion* motion) {
  if (is_behind_) {
    const size_t bytes = std::max<size_t>(1, row_bytes_ * (1 + memory_.slot_count));
    const size_t min_rows = std::max<size_t>(1, kMinBytesPerThread / bytes);
    ParallelFor({memory_.rows, min_rows, 0, 1}, &FlushRange, this);
  }
  clock_.Reset(motion);
  is_behind_ = false;
}

}  // namespace slotwise
